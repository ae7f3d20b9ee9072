//! Where a run keeps its files.

use std::fmt;

use super::{
    STORE_SCHEMES,
    segments::{Address, AddressError, joined},
};

/// Where a run keeps its files, or an export goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreUrl {
    /// Amazon S3 or what speaks its protocol.
    S3 {
        /// Bucket.
        bucket: String,
        /// Prefix of all keys; empty is the whole bucket.
        prefix: String,
    },
    /// Google Cloud Storage.
    Gcs {
        /// Bucket.
        bucket: String,
        /// Prefix of all names; empty is the whole bucket.
        prefix: String,
    },
    /// Azure Blob Storage.
    Azure {
        /// Container.
        container: String,
        /// Prefix of all names; empty is the whole container.
        prefix: String,
    },
    /// A persistent volume claim in the run's namespace, mounted as a folder.
    PersistentVolumeClaim {
        /// Name of the claim.
        claim: String,
        /// Path within it; empty is all of it.
        path: String,
    },
    /// A folder of this machine.
    File {
        /// Absolute path.
        path: String,
    },
    /// The memory of one process, for tests.
    Memory {
        /// Prefix; empty is all of it.
        prefix: String,
    },
}

impl StoreUrl {
    /// Reads the address of a store.
    ///
    /// # Errors
    /// When the scheme is not one of a store, or a part is missing or malformed.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let unknown = || AddressError::Scheme {
            found: text.to_owned(),
            accepted: STORE_SCHEMES,
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(unknown)?;
        let address = |accepted| Address { text, accepted };
        match scheme {
            "s3" => {
                let (bucket, prefix) = address("s3://bucket/prefix").host_and_path(rest)?;
                Ok(Self::S3 { bucket, prefix })
            }
            "gs" => {
                let (bucket, prefix) = address("gs://bucket/prefix").host_and_path(rest)?;
                Ok(Self::Gcs { bucket, prefix })
            }
            "az" => {
                let (container, prefix) = address("az://container/prefix").host_and_path(rest)?;
                Ok(Self::Azure { container, prefix })
            }
            "pvc" => {
                let address = address("pvc://claim/path");
                let (claim, path) = address.host_and_path(rest)?;
                Ok(Self::PersistentVolumeClaim {
                    claim: address.claim(claim)?,
                    path,
                })
            }
            "file" => {
                let address = address("file:///absolute/path");
                let path = rest
                    .strip_prefix('/')
                    .ok_or_else(|| address.error("no absolute path"))?;
                Ok(Self::File {
                    path: format!("/{}", address.path(path)?),
                })
            }
            "memory" => {
                let prefix = rest.strip_prefix('/').unwrap_or(rest);
                Ok(Self::Memory {
                    prefix: address("memory:///prefix").path(prefix)?,
                })
            }
            _ => Err(unknown()),
        }
    }

    /// Whether this lies on the machine that opens it, so that pods could not share it.
    pub const fn is_local(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Memory { .. })
    }

    /// The claim to mount, if the store lies in one.
    pub fn claim(&self) -> Option<&str> {
        match self {
            Self::PersistentVolumeClaim { claim, path: _ } => Some(claim),
            Self::S3 { .. }
            | Self::Gcs { .. }
            | Self::Azure { .. }
            | Self::File { .. }
            | Self::Memory { .. } => None,
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, prefix } => write!(f, "s3://{}", joined(bucket, prefix)),
            Self::Gcs { bucket, prefix } => write!(f, "gs://{}", joined(bucket, prefix)),
            Self::Azure { container, prefix } => write!(f, "az://{}", joined(container, prefix)),
            Self::PersistentVolumeClaim { claim, path } => {
                write!(f, "pvc://{}", joined(claim, path))
            }
            Self::File { path } => write!(f, "file://{path}"),
            Self::Memory { prefix } => write!(f, "memory:///{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_store_prints_as_it_was_written() {
        for text in [
            "s3://bucket/prefix",
            "gs://bucket",
            "az://container/a/b",
            "pvc://store/runs",
            "pvc://store",
            "file:///srv/store",
            "memory:///",
            "memory:///tests",
        ] {
            assert_eq!(StoreUrl::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            StoreUrl::parse("memory://").unwrap(),
            StoreUrl::Memory {
                prefix: String::new()
            }
        );
    }

    #[test]
    fn slashes_at_the_end_name_the_same_store() {
        assert_eq!(
            StoreUrl::parse("s3://bucket/a/"),
            StoreUrl::parse("s3://bucket/a")
        );
        assert_eq!(
            StoreUrl::parse("s3://bucket/"),
            StoreUrl::parse("s3://bucket")
        );
    }

    #[test]
    fn only_a_volume_has_a_claim() {
        assert_eq!(
            StoreUrl::parse("pvc://store/runs").unwrap().claim(),
            Some("store")
        );
        assert_eq!(StoreUrl::parse("s3://store/runs").unwrap().claim(), None);
    }

    #[test]
    fn what_is_no_store_is_refused_with_what_is_accepted() {
        for text in [
            "https://host/path",
            "hf://a/b",
            "bucket/prefix",
            "S3://bucket",
        ] {
            let error = StoreUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(STORE_SCHEMES), "{error}");
        }
        for text in [
            "pvc://a_b/c",
            "pvc:///c",
            "s3://b/../c",
            "file://srv",
            "s3://b/a//c",
        ] {
            assert!(StoreUrl::parse(text).is_err(), "{text}");
        }
    }
}
