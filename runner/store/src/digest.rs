//! sha256 of bytes and of files, as hex.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::StoreError;

/// What a file holds, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileDigest {
    /// sha256, 64 hex digits.
    pub sha256: String,
    /// Length in bytes.
    pub bytes: u64,
}

/// A sha256 in the making.
#[derive(Clone, Default)]
pub(crate) struct Hasher {
    sha256: Sha256,
    bytes: u64,
}

impl Hasher {
    pub(crate) fn update(&mut self, chunk: &[u8]) {
        self.sha256.update(chunk);
        self.bytes += chunk.len() as u64;
    }

    pub(crate) fn finish(self) -> FileDigest {
        FileDigest {
            sha256: hex(&self.sha256.finalize()),
            bytes: self.bytes,
        }
    }
}

/// The digest of bytes in memory.
pub fn digest_bytes(bytes: &[u8]) -> FileDigest {
    let mut hasher = Hasher::default();
    hasher.update(bytes);
    hasher.finish()
}

/// The digest of a file on this machine, read once in pieces of 1 MiB.
///
/// # Errors
/// When the file cannot be read.
pub async fn digest_file(path: &Path) -> Result<FileDigest, StoreError> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        let failed = |source| StoreError::Local {
            operation: "read",
            path: path.clone(),
            source,
        };
        let mut file = std::fs::File::open(&path).map_err(failed)?;
        let mut hasher = Hasher::default();
        let mut chunk = vec![0; 1 << 20];
        loop {
            let read = file.read(&mut chunk).map_err(failed)?;
            if read == 0 {
                return Ok(hasher.finish());
            }
            hasher.update(&chunk[..read]);
        }
    })
    .await
    .expect("hashing a file does not panic")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes any text");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_and_its_bytes_have_one_digest() {
        let bytes: Vec<u8> = (0..(3 << 20) + 7)
            .map(|i: u32| i.to_le_bytes()[1])
            .collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &bytes).unwrap();
        assert_eq!(
            digest_file(file.path()).await.unwrap(),
            digest_bytes(&bytes)
        );
    }

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        let known = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(
            digest_bytes(b""),
            FileDigest {
                sha256: known.to_owned(),
                bytes: 0
            }
        );
    }
}
