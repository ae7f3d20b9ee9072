//! A store that errs in a chosen way at chosen creates.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// How a create errs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It writes, and answers with a network error.
    AnswerLost,
    /// It does not write, and answers with a network error.
    RequestLost,
    /// It writes, the answer is lost below us, and the retry answers "exists".
    RetriedBelow,
    /// It says that it wrote, and did not.
    Forgotten,
    /// It replaces what is there, and says so.
    Replaces,
    /// It replaces what is there, and says that it did not.
    ReplacesInSecret,
}

/// A store in memory whose creates err.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    inner: Arc<InMemory>,
    faults: Arc<Mutex<Faults>>,
    creates: Arc<AtomicU32>,
}

#[derive(Debug)]
struct Faults {
    fault: Fault,
    /// Only keys that contain this.
    keys: String,
    /// So many of every so many creates.
    left: u32,
}

impl Broken {
    /// The next `times` creates of keys that contain `keys` err.
    pub(crate) fn new(fault: Fault, keys: &str, times: u32) -> Self {
        Self {
            inner: Arc::new(InMemory::new()),
            faults: Arc::new(Mutex::new(Faults {
                fault,
                keys: keys.to_owned(),
                left: times,
            })),
            creates: Arc::default(),
        }
    }

    pub(crate) fn store(&self) -> darwinlm_store::Store {
        darwinlm_store::Store::over(Arc::new(self.clone()), "broken:///")
    }

    /// Faults that did not happen yet.
    pub(crate) fn left(&self) -> u32 {
        self.faults.lock().unwrap().left
    }

    /// Creates so far, with and without faults.
    pub(crate) fn creates(&self) -> u32 {
        self.creates.load(Ordering::SeqCst)
    }

    fn fault(&self, location: &Path) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        if faults.left == 0 || !location.as_ref().contains(&faults.keys) {
            return None;
        }
        faults.left -= 1;
        Some(faults.fault)
    }
}

fn network_error() -> Error {
    Error::Generic {
        store: "Broken",
        source: "connection reset by peer".into(),
    }
}

fn exists(location: &Path) -> Error {
    Error::AlreadyExists {
        path: location.to_string(),
        source: "412".into(),
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Broken")
    }
}

#[async_trait]
impl ObjectStore for Broken {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut opts: PutOptions,
    ) -> Result<PutResult> {
        let fault = if opts.mode == PutMode::Create {
            self.creates.fetch_add(1, Ordering::SeqCst);
            self.fault(location)
        } else {
            None
        };
        match fault {
            None => self.inner.put_opts(location, payload, opts).await,
            Some(Fault::RequestLost) => Err(network_error()),
            Some(Fault::Forgotten) => Ok(PutResult {
                e_tag: None,
                version: None,
                extensions: Default::default(),
            }),
            Some(Fault::AnswerLost) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(network_error())
            }
            Some(Fault::RetriedBelow) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(exists(location))
            }
            Some(Fault::Replaces) => {
                opts.mode = PutMode::Overwrite;
                self.inner.put_opts(location, payload, opts).await
            }
            Some(Fault::ReplacesInSecret) => {
                opts.mode = PutMode::Overwrite;
                self.inner.put_opts(location, payload, opts).await?;
                Err(exists(location))
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
