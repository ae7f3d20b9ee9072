//! `darwinlm.json` of an exported folder: what it is an export of, and what has to lie in it.

use std::collections::BTreeMap;
use std::path::Path;

use darwinlm_search::{Digest, Genome};
use darwinlm_store::{FileDigest, StoreError, digest_file};
use darwinlm_task::{ExportFormat, QueryHeadLayout};
use serde::{Deserialize, Serialize};

use super::place::RECORD;

/// The model card's name.
pub(super) const CARD: &str = "README.md";

/// Version of what is written: another version is another export.
const FORMAT_VERSION: u32 = 2;

/// What a folder is an export of; equal ones hold equal models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Identity {
    format_version: u32,
    /// The format.
    pub(super) format: ExportFormat,
    /// Where the format has one: stock layouts need none.
    query_head_layout: Option<QueryHeadLayout>,
    /// Head of the search's hash chain; by its entry 0 it pins database, tokens and numerics.
    pub(super) ledger: Digest,
    /// The survivor's.
    pub(super) genome: Genome,
    /// Digest of its training, if it was trained.
    training: Option<String>,
    /// sha256 of the `evaluation.json` that the model card tells of.
    evaluation: Option<String>,
}

impl Identity {
    pub(super) fn new(
        format: ExportFormat,
        layout: QueryHeadLayout,
        ledger: Digest,
        genome: Genome,
        training: Option<String>,
        evaluation: Option<String>,
    ) -> Self {
        let query_head_layout = match format {
            ExportFormat::Transformers => Some(layout),
            ExportFormat::MaskedDense => None,
        };
        Self {
            format_version: FORMAT_VERSION,
            format,
            query_head_layout,
            ledger,
            genome,
            training,
            evaluation,
        }
    }
}

/// What the file holds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Record {
    of: Identity,
    /// Every file but this one and the model card, which people edit.
    files: BTreeMap<String, FileDigest>,
}

impl Record {
    /// The record of a folder that is written.
    pub(super) async fn over(of: Identity, folder: &Path) -> Result<Self, StoreError> {
        let local = |source| StoreError::Local {
            operation: "read",
            path: folder.to_owned(),
            source,
        };
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(local)? {
            let entry = entry.map_err(local)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if ![RECORD, CARD].contains(&name.as_str()) {
                files.insert(name, digest_file(&entry.path()).await?);
            }
        }
        Ok(Self { of, files })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .expect("a record holds only strings, numbers and lists");
        bytes.push(b'\n');
        bytes
    }
}

/// Whether a folder is this very export, with every file in its full length.
pub(super) fn is_there(of: &Identity, folder: &Path) -> bool {
    let Ok(bytes) = std::fs::read(folder.join(RECORD)) else {
        return false;
    };
    // what cannot be read is another version's, and replaced
    serde_json::from_slice::<Record>(&bytes).is_ok_and(|record| {
        let whole = |(name, file): (&String, &FileDigest)| {
            std::fs::metadata(folder.join(name)).is_ok_and(|found| found.len() == file.bytes)
        };
        record.of == *of && record.files.iter().all(whole)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(format: ExportFormat, layout: QueryHeadLayout) -> Identity {
        let genome = serde_json::from_str(r#"{"attention":"01","mlp":"10"}"#).unwrap();
        Identity::new(format, layout, Digest::of(b"ledger"), genome, None, None)
    }

    fn transformers() -> Identity {
        identity(ExportFormat::Transformers, QueryHeadLayout::Gather)
    }

    /// A folder with an export of a few bytes.
    async fn exported(of: &Identity) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["model.safetensors", CARD] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        let record = Record::over(of.clone(), folder.path()).await.unwrap();
        std::fs::write(folder.path().join(RECORD), record.to_bytes()).unwrap();
        folder
    }

    #[tokio::test]
    async fn an_export_is_found_again_though_its_card_was_edited() {
        let folder = exported(&transformers()).await;
        assert!(is_there(&transformers(), folder.path()));
        std::fs::write(folder.path().join(CARD), "mine").unwrap();
        assert!(is_there(&transformers(), folder.path()));
    }

    #[tokio::test]
    async fn an_export_of_anything_else_is_not_taken_for_it() {
        let folder = exported(&transformers()).await;
        let others = [
            identity(ExportFormat::Transformers, QueryHeadLayout::Expand),
            identity(ExportFormat::MaskedDense, QueryHeadLayout::Gather),
            Identity {
                ledger: Digest::of(b"another"),
                ..transformers()
            },
            Identity {
                training: Some("0".repeat(64)),
                ..transformers()
            },
            Identity {
                evaluation: Some("0".repeat(64)),
                ..transformers()
            },
        ];
        for other in others {
            assert!(!is_there(&other, folder.path()), "{other:?}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_missing_or_cut_short_is_no_export() {
        let folder = exported(&transformers()).await;
        let weights = folder.path().join("model.safetensors");
        std::fs::write(&weights, "model.safe").unwrap();
        assert!(!is_there(&transformers(), folder.path()));
        std::fs::remove_file(&weights).unwrap();
        assert!(!is_there(&transformers(), folder.path()));
    }

    #[test]
    fn a_masked_model_is_the_same_in_every_layout() {
        let [gather, expand] = [QueryHeadLayout::Gather, QueryHeadLayout::Expand]
            .map(|layout| identity(ExportFormat::MaskedDense, layout));
        assert_eq!(gather, expand);
    }
}
