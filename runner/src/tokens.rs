//! Text and tokens: from documents to fixed-length sequences on disk.

mod documents;
mod form;
mod parquet;
mod sequences;
mod slices;
mod tokenizer;

pub use documents::{Documents, documents};
pub use form::Form;
pub use sequences::Sequences;
pub use slices::{SliceRequest, cut};
pub use tokenizer::TextTokenizer;

use std::path::PathBuf;

/// Why tokens could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The operating system refused.
    #[error("failed to read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is of a kind that is not read.
    #[error("{path} is no text that is read here; accepted: {}", Form::ACCEPTED)]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// A line of a .jsonl file has no text.
    #[error("{path}, line {line}: {reason}; accepted: an object with the text field \"{field}\"")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
        /// The field that was looked for.
        field: String,
    },
    /// A .parquet file cannot be read, or has no such column.
    #[error("{path}: {reason}; accepted: a column of text \"{field}\"")]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// The column that was looked for.
        field: String,
    },
    /// The tokenizer cannot be used.
    #[error("failed to use tokenizer {path}: {reason}")]
    Tokenizer {
        /// `tokenizer.json`.
        path: PathBuf,
        /// What the tokenizers library said.
        reason: String,
    },
    /// A token id lies outside the model's vocabulary.
    #[error("{what} holds token id {found}; the model's vocabulary has {vocabulary}")]
    OutsideVocabulary {
        /// Where the id was found.
        what: String,
        /// The id.
        found: i64,
        /// Ids from 0 up to this are accepted.
        vocabulary: i64,
    },
    /// There is too little text.
    #[error("found {found} tokens; the slices need {needed}: {slices}")]
    TooLittle {
        /// Tokens in the source.
        found: u64,
        /// Tokens that all slices need together.
        needed: u64,
        /// Each slice with its need.
        slices: String,
    },
    /// `input_ids` has another shape than [sequences, length].
    #[error(
        "{path}: input_ids has shape {found:?}; accepted: [sequences, length], length at least 3"
    )]
    Shape {
        /// The file.
        path: PathBuf,
        /// The shape in the file.
        found: Vec<i64>,
    },
    /// A safetensors file could not be read or written.
    #[error(transparent)]
    File(#[from] crate::weights::WeightsError),
}
