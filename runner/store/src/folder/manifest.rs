//! `manifest.json`: what a write-once folder is about, and the digest of each of its files.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const VERSION: u32 = 1;

/// A file of a write-once folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileEntry {
    /// Its name within the folder: the name asked for, with the start of its sha256 before the
    /// extension. Writers that disagree on the content write different files.
    pub stored: String,
    /// sha256 of its content, 64 hex digits.
    pub sha256: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// The content of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format.
    pub version: u32,
    /// What the folder is about, in its kind's own words.
    pub about: Value,
    /// The files by the name they are asked for.
    pub files: BTreeMap<String, FileEntry>,
}

impl FileEntry {
    /// The entry of a file with this name and content.
    pub(super) fn new(name: &str, digest: crate::FileDigest) -> Self {
        let crate::FileDigest { sha256, bytes } = digest;
        let mark = &sha256[..16];
        let stored = match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => format!("{stem}.{mark}.{extension}"),
            _ => format!("{name}.{mark}"),
        };
        Self {
            stored,
            sha256,
            bytes,
        }
    }
}

impl Manifest {
    /// A manifest of this version.
    pub(super) fn new(about: Value, files: BTreeMap<String, FileEntry>) -> Self {
        Self {
            version: VERSION,
            about: sorted(about),
            files,
        }
    }

    /// The bytes: the same for the same content, whoever writes them.
    pub(super) fn to_bytes(&self) -> Bytes {
        let mut text = serde_json::to_string_pretty(self).expect("a manifest has text keys only");
        text.push('\n');
        text.into()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if manifest.version != VERSION {
            return Err(format!(
                "version is {}, this build reads {VERSION}",
                manifest.version
            ));
        }
        Ok(manifest)
    }
}

/// The value with the fields of every object in the order of their names: `serde_json` keeps the
/// order of insertion when some other crate of the build asks it to.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> = fields
                .into_iter()
                .map(|(name, value)| (name, sorted(value)))
                .collect();
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        leaf @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => leaf,
    }
}
