//! Where a model or data come from.

use std::fmt;

use super::{
    DATA_SCHEMES, MODEL_SCHEMES,
    segments::{Address, AddressError, joined},
};

/// Where a model or data come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A model on the Hugging Face Hub.
    HuggingFace {
        /// `organisation/name`, or `name` alone.
        repository: String,
        /// Branch, tag or commit; none is the default branch.
        revision: Option<String>,
    },
    /// Files of a data set on the Hugging Face Hub.
    HuggingFaceDataset {
        /// `organisation/name`.
        repository: String,
        /// Branch, tag or commit, without a slash; none is the default branch.
        revision: Option<String>,
        /// Path in the repository, which may hold `*` and `**`; empty is all of it.
        path: String,
    },
    /// Amazon S3 or what speaks its protocol.
    S3 {
        /// Bucket.
        bucket: String,
        /// Key, or prefix of keys.
        path: String,
    },
    /// Google Cloud Storage.
    Gcs {
        /// Bucket.
        bucket: String,
        /// Name, or prefix of names.
        path: String,
    },
    /// Azure Blob Storage.
    Azure {
        /// Container.
        container: String,
        /// Name, or prefix of names.
        path: String,
    },
    /// A web server.
    Http {
        /// The whole URL.
        url: String,
    },
    /// A persistent volume claim in the run's namespace.
    PersistentVolumeClaim {
        /// Name of the claim.
        claim: String,
        /// Path within it; empty is all of it.
        path: String,
    },
    /// A folder or file of this machine.
    File {
        /// Absolute path.
        path: String,
    },
}

impl Source {
    /// Reads the source of a model.
    ///
    /// # Errors
    /// When the scheme is not one of a model, or a part is missing or malformed.
    pub fn parse_model(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix("hf://") {
            Some(rest) => hugging_face(text, rest),
            None => anywhere(text, MODEL_SCHEMES),
        }
    }

    /// Reads the source of data.
    ///
    /// # Errors
    /// When the scheme is not one of data, or a part is missing or malformed.
    pub fn parse_data(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix("hf-dataset://") {
            Some(rest) => hugging_face_dataset(text, rest),
            None => anywhere(text, DATA_SCHEMES),
        }
    }

    /// Whether this lies on the machine that reads it, so that no pod could.
    pub const fn is_local(&self) -> bool {
        matches!(self, Self::File { .. })
    }
}

fn hugging_face(text: &str, rest: &str) -> Result<Source, AddressError> {
    let address = Address {
        text,
        accepted: "hf://organisation/name[@revision]",
    };
    let (repository, revision) = with_revision(address, rest)?;
    if !(1..=2).contains(&repository.split('/').count()) {
        return Err(address.error("more than organisation and name"));
    }
    Ok(Source::HuggingFace {
        repository: repository_name(address, repository)?,
        revision,
    })
}

fn hugging_face_dataset(text: &str, rest: &str) -> Result<Source, AddressError> {
    let address = Address {
        text,
        accepted: "hf-dataset://organisation/name[@revision][/path]",
    };
    let (organisation, rest) = rest
        .split_once('/')
        .ok_or_else(|| address.error("no name after the organisation"))?;
    let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (name, revision) = with_revision(address, name)?;
    Ok(Source::HuggingFaceDataset {
        repository: repository_name(address, &format!("{organisation}/{name}"))?,
        revision,
        path: address.path(path)?,
    })
}

fn with_revision<'a>(
    address: Address<'_>,
    text: &'a str,
) -> Result<(&'a str, Option<String>), AddressError> {
    match text.split_once('@') {
        None => Ok((text, None)),
        Some((_, "")) => Err(address.error("no revision after @")),
        Some((name, revision)) => Ok((name, Some(address.path(revision)?))),
    }
}

fn repository_name(address: Address<'_>, name: &str) -> Result<String, AddressError> {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    if name.split('/').all(part) {
        Ok(name.to_owned())
    } else {
        Err(address.error("no repository's name after the scheme"))
    }
}

/// The schemes that serve models and data alike.
fn anywhere(text: &str, schemes: &'static str) -> Result<Source, AddressError> {
    let unknown = || AddressError::Scheme {
        found: text.to_owned(),
        accepted: schemes,
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(unknown)?;
    let address = |accepted| Address { text, accepted };
    match scheme {
        "s3" => {
            let (bucket, path) = address("s3://bucket/path").host_and_path(rest)?;
            Ok(Source::S3 { bucket, path })
        }
        "gs" => {
            let (bucket, path) = address("gs://bucket/path").host_and_path(rest)?;
            Ok(Source::Gcs { bucket, path })
        }
        "az" => {
            let (container, path) = address("az://container/path").host_and_path(rest)?;
            Ok(Source::Azure { container, path })
        }
        "http" | "https" => {
            let address = address("http(s)://host[:port]/path");
            let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
            if host.is_empty() {
                return Err(address.error("no host"));
            }
            if host.contains('@') {
                return Err(address.error("a user or password (credentials belong in a Secret)"));
            }
            if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
                return Err(address.error("white space"));
            }
            Ok(Source::Http {
                url: text.to_owned(),
            })
        }
        "pvc" => {
            let address = address("pvc://claim/path");
            let (claim, path) = address.host_and_path(rest)?;
            Ok(Source::PersistentVolumeClaim {
                claim: address.claim(claim)?,
                path,
            })
        }
        "file" => {
            let address = address("file:///absolute/path");
            let path = rest
                .strip_prefix('/')
                .ok_or_else(|| address.error("no absolute path"))?;
            Ok(Source::File {
                path: format!("/{}", address.path(path)?),
            })
        }
        _ => Err(unknown()),
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |revision: &Option<String>| {
            revision
                .as_ref()
                .map(|revision| format!("@{revision}"))
                .unwrap_or_default()
        };
        match self {
            Self::HuggingFace {
                repository,
                revision,
            } => {
                write!(f, "hf://{repository}{}", at(revision))
            }
            Self::HuggingFaceDataset {
                repository,
                revision,
                path,
            } => {
                let repository = format!("{repository}{}", at(revision));
                write!(f, "hf-dataset://{}", joined(&repository, path))
            }
            Self::S3 { bucket, path } => write!(f, "s3://{}", joined(bucket, path)),
            Self::Gcs { bucket, path } => write!(f, "gs://{}", joined(bucket, path)),
            Self::Azure { container, path } => write!(f, "az://{}", joined(container, path)),
            Self::Http { url } => f.write_str(url),
            Self::PersistentVolumeClaim { claim, path } => {
                write!(f, "pvc://{}", joined(claim, path))
            }
            Self::File { path } => write!(f, "file://{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_on_the_hub_is_read_with_its_revision() {
        let source = Source::parse_model("hf://meta-llama/Llama-2-7b-hf@refs/pr/1").unwrap();
        assert_eq!(
            source,
            Source::HuggingFace {
                repository: "meta-llama/Llama-2-7b-hf".to_owned(),
                revision: Some("refs/pr/1".to_owned()),
            }
        );
        let Source::HuggingFace { revision: None, .. } = Source::parse_model("hf://gpt2").unwrap()
        else {
            panic!("a name alone is a repository without a revision");
        };
    }

    #[test]
    fn a_data_set_on_the_hub_is_read_with_its_path() {
        let text = "hf-dataset://HuggingFaceFW/fineweb-edu@v1/sample/10BT/*.parquet";
        assert_eq!(
            Source::parse_data(text).unwrap(),
            Source::HuggingFaceDataset {
                repository: "HuggingFaceFW/fineweb-edu".to_owned(),
                revision: Some("v1".to_owned()),
                path: "sample/10BT/*.parquet".to_owned(),
            }
        );
    }

    #[test]
    fn every_source_prints_as_it_was_written() {
        for text in [
            "hf://gpt2",
            "hf://meta-llama/Llama-2-7b-hf@main",
            "s3://bucket/models/llama",
            "s3://bucket",
            "gs://bucket/a",
            "az://container/a/b",
            "http://example.org:8080/a?b=c",
            "https://example.org/models/llama/",
            "pvc://models.data/llama",
            "file:///srv/models/llama",
        ] {
            assert_eq!(Source::parse_model(text).unwrap().to_string(), text);
        }
        for text in [
            "hf-dataset://a/b",
            "hf-dataset://a/b@v1/c/*.parquet",
            "s3://b/*.jsonl",
        ] {
            assert_eq!(Source::parse_data(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_scheme_of_the_other_purpose_is_refused_with_what_is_accepted() {
        let error = Source::parse_model("hf-dataset://a/b").unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"hf-dataset://a/b\" has no accepted scheme, hf://, s3://, gs://, az://, http://, \
             https://, pvc:// or file:/// is accepted"
        );
        assert!(Source::parse_data("hf://a/b").is_err());
        assert!(Source::parse_model("ftp://a/b").is_err());
        assert!(Source::parse_model("/srv/models").is_err());
    }

    #[test]
    fn malformed_parts_are_named() {
        for (text, problem) in [
            ("hf://", "no repository's name"),
            ("hf://a/b/c", "more than organisation and name"),
            ("hf://a/b@", "no revision after @"),
            ("hf://a/../b", "more than organisation and name"),
            ("hf://../b", "no repository's name"),
            ("s3://", "no name after the scheme"),
            ("s3:///key", "no name after the scheme"),
            (
                "s3://key:secret@bucket/path",
                "a name with characters other than",
            ),
            ("s3://bucket/a//b", "an empty part"),
            ("https:///path", "no host"),
            (
                "https://user:password@host/path",
                "credentials belong in a Secret",
            ),
            ("https://host/a b", "white space"),
            (
                "pvc://Claim/path",
                "a claim's name that Kubernetes does not accept",
            ),
            ("pvc://claim/../../etc", "a part . or .."),
            ("file://relative/path", "no absolute path"),
            ("file:///srv/../etc", "a part . or .."),
        ] {
            let error = Source::parse_model(text).unwrap_err().to_string();
            assert!(
                error.contains(problem) && error.contains(text),
                "{text}: {error}"
            );
        }
        let error = Source::parse_data("hf-dataset://squad")
            .unwrap_err()
            .to_string();
        assert!(error.contains("no name after the organisation"), "{error}");
    }
}
