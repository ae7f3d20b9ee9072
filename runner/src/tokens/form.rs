//! The forms that text comes in, told by the names of files.

use std::path::Path;

/// How a file holds text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// `.txt`: one document.
    Plain,
    /// `.jsonl`: a document in each line.
    Lines,
    /// `.jsonl.gz`.
    LinesGzip,
    /// `.jsonl.zst`.
    LinesZstd,
    /// `.parquet`: a document in each row.
    Parquet,
    /// `.safetensors`: tokens already, `input_ids` [sequences, length].
    Tokens,
}

impl Form {
    /// The forms that are read, for messages.
    pub const ACCEPTED: &str =
        ".txt, .jsonl, .jsonl.gz, .jsonl.zst, .parquet, .safetensors (input_ids)";

    /// The form of a file; `None` when it is none that is read.
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let endings = [
            (".txt", Self::Plain),
            (".jsonl", Self::Lines),
            (".jsonl.gz", Self::LinesGzip),
            (".jsonl.zst", Self::LinesZstd),
            (".parquet", Self::Parquet),
            (".safetensors", Self::Tokens),
        ];
        let found = endings.into_iter().find(|(end, _)| name.ends_with(end));
        found.map(|(_, form)| form)
    }

    /// Whether a document is one of several fields of an object or row.
    pub const fn has_fields(self) -> bool {
        match self {
            Self::Plain | Self::Tokens => false,
            Self::Lines | Self::LinesGzip | Self::LinesZstd | Self::Parquet => true,
        }
    }

    /// The word for it in digests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "txt",
            Self::Lines => "jsonl",
            Self::LinesGzip => "jsonl.gz",
            Self::LinesZstd => "jsonl.zst",
            Self::Parquet => "parquet",
            Self::Tokens => "safetensors",
        }
    }
}
