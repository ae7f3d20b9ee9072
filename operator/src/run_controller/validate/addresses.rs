//! Addresses as a worker sees them: a claim is a mounted folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use darwinlm_api::sources::{AddressError, Source, StoreUrl};

use super::{ClaimUse, Placement, Rejection, VOLUMES};

/// What to write instead of an address that is not supported.
const INSTEAD: &str = "use pvc://claim/path";

/// Translates addresses and remembers which claims they lie in.
pub(super) struct Addresses<'a> {
    placement: &'a Placement,
    claims: BTreeMap<String, ClaimUse>,
}

impl<'a> Addresses<'a> {
    pub(super) fn new(placement: &'a Placement) -> Self {
        Self {
            placement,
            claims: BTreeMap::new(),
        }
    }

    /// The claims that pods mount.
    pub(super) fn into_claims(self) -> BTreeMap<String, ClaimUse> {
        self.claims
    }

    /// A model's folder.
    pub(super) fn model(&mut self, field: &str, text: &str) -> Result<String, Rejection> {
        self.source(field, text, Source::parse_model(text))
    }

    /// A file of text, or several.
    pub(super) fn data(&mut self, field: &str, text: &str) -> Result<String, Rejection> {
        self.source(field, text, Source::parse_data(text))
    }

    fn source(
        &mut self,
        field: &str,
        text: &str,
        source: Result<Source, AddressError>,
    ) -> Result<String, Rejection> {
        match source.map_err(|error| Rejection::invalid(field, error))? {
            Source::PersistentVolumeClaim { claim, path } => {
                self.claimed(field, &claim, &path, false)
            }
            Source::File { path } => self.on_this_machine(field, text, &path),
            Source::HuggingFace { .. }
            | Source::HuggingFaceDataset { .. }
            | Source::S3 { .. }
            | Source::Gcs { .. }
            | Source::Azure { .. }
            | Source::Http { .. } => Ok(text.to_owned()),
        }
    }

    /// The store of the run, or what replaces it on this machine.
    pub(super) fn store(&mut self, field: &str, text: &str) -> Result<String, Rejection> {
        if let Placement::Local {
            store: Some(store), ..
        } = self.placement
        {
            return Ok(store.clone());
        }
        match StoreUrl::parse(text) {
            Ok(StoreUrl::S3 { .. } | StoreUrl::Gcs { .. } | StoreUrl::Azure { .. }) => {
                Ok(text.trim_end_matches('/').to_owned())
            }
            _ => self.folder(field, text),
        }
    }

    /// A folder to write to.
    pub(super) fn folder(&mut self, field: &str, text: &str) -> Result<String, Rejection> {
        match StoreUrl::parse(text).map_err(|error| Rejection::invalid(field, error))? {
            StoreUrl::PersistentVolumeClaim { claim, path } => {
                self.claimed(field, &claim, &path, true)
            }
            StoreUrl::File { path } => self.on_this_machine(field, text, &path),
            StoreUrl::S3 { .. }
            | StoreUrl::Gcs { .. }
            | StoreUrl::Azure { .. }
            | StoreUrl::Memory { .. } => Err(unsupported(field, text)),
        }
    }

    fn claimed(
        &mut self,
        field: &str,
        claim: &str,
        path: &str,
        is_written: bool,
    ) -> Result<String, Rejection> {
        let folder = match self.placement {
            Placement::Pods => {
                self.note(claim, field, is_written);
                PathBuf::from(VOLUMES).join(claim)
            }
            Placement::Local { volumes, .. } => volumes.get(claim).cloned().ok_or_else(|| {
                Rejection::invalid(
                    field,
                    format_args!(
                        "lies in the claim {claim:?}; say which folder stands for it on this \
                         machine: --volume {claim}=DIR"
                    ),
                )
            })?,
        };
        file_url(
            field,
            &if path.is_empty() {
                folder
            } else {
                folder.join(path)
            },
        )
    }

    fn note(&mut self, claim: &str, field: &str, is_written: bool) {
        let new = ClaimUse {
            field: field.to_owned(),
            is_written,
        };
        match self.claims.get_mut(claim) {
            Some(known) if is_written && !known.is_written => *known = new,
            Some(_) => {}
            None => {
                self.claims.insert(claim.to_owned(), new);
            }
        }
    }

    fn on_this_machine(&self, field: &str, text: &str, path: &str) -> Result<String, Rejection> {
        match self.placement {
            Placement::Local { .. } => file_url(field, Path::new(path)),
            Placement::Pods => Err(Rejection::invalid(
                field,
                format_args!("is {text:?}, a path on your machine that no pod sees; {INSTEAD}"),
            )),
        }
    }
}

fn unsupported(field: &str, text: &str) -> Rejection {
    let scheme = text.split("://").next().unwrap_or(text);
    Rejection::not_yet_supported(&format!("{field}: {scheme}://"), INSTEAD)
}

/// The URL of a path. It is not escaped, for not every reader of it would undo that.
fn file_url(field: &str, path: &Path) -> Result<String, Rejection> {
    let shown = path.display();
    match path.to_str() {
        Some(text) if path.is_absolute() && !text.contains(['%', '?', '#']) => {
            Ok(format!("file://{text}"))
        }
        _ => Err(Rejection::invalid(
            field,
            format_args!("lies at {shown}; an absolute path without % ? # is accepted"),
        )),
    }
}
