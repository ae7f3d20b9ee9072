//! Documents out of files, and tokens out of documents.

use std::path::Path;

use serde_json::Value;
use tokenizers::Tokenizer;

use super::TokensError;

/// Documents of a file: a `.txt` file is one, every line of a `.jsonl` file is one (its `field`).
pub fn documents(path: &Path, field: &str) -> Result<Vec<String>, TokensError> {
    let io = |source| TokensError::Io {
        path: path.to_owned(),
        source,
    };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("txt") => Ok(vec![std::fs::read_to_string(path).map_err(io)?]),
        Some("jsonl") => {
            let text = std::fs::read_to_string(path).map_err(io)?;
            let lines = text
                .lines()
                .enumerate()
                .filter(|(_, line)| !line.trim().is_empty());
            lines
                .map(|(index, line)| {
                    document(line, field).map_err(|reason| TokensError::Line {
                        path: path.to_owned(),
                        line: index + 1,
                        reason,
                        field: field.to_owned(),
                    })
                })
                .collect()
        }
        _ => Err(TokensError::Extension {
            path: path.to_owned(),
        }),
    }
}

fn document(line: &str, field: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let text = value
        .get(field)
        .ok_or_else(|| format!("there is no field \"{field}\""))?;
    Ok(text
        .as_str()
        .ok_or_else(|| format!("field \"{field}\" is no text"))?
        .to_owned())
}

/// A model's own tokenizer.
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    path: std::path::PathBuf,
    vocabulary: i64,
    end_of_text: Option<i64>,
}

impl TextTokenizer {
    /// Opens `tokenizer.json` of a model folder. `end_of_text` follows every document, if given.
    pub fn open(
        folder: &Path,
        vocabulary: i64,
        end_of_text: Option<i64>,
    ) -> Result<Self, TokensError> {
        let path = folder.join("tokenizer.json");
        let mut tokenizer =
            Tokenizer::from_file(&path).map_err(|error| TokensError::Tokenizer {
                path: path.clone(),
                reason: error.to_string(),
            })?;
        let setting = |error: tokenizers::Error| TokensError::Tokenizer {
            path: path.clone(),
            reason: error.to_string(),
        };
        // a tokenizer may carry a chat's length limit, which would cut documents short
        tokenizer.with_truncation(None).map_err(setting)?;
        tokenizer.with_padding(None);
        Ok(Self {
            tokenizer,
            path,
            vocabulary,
            end_of_text,
        })
    }

    /// One stream of token ids: each document without special tokens, then the end of text.
    pub fn stream(&self, documents: &[String]) -> Result<Vec<i32>, TokensError> {
        let mut stream = Vec::new();
        for document in documents {
            let encoding = self
                .tokenizer
                .encode(document.as_str(), false)
                .map_err(|error| TokensError::Tokenizer {
                    path: self.path.clone(),
                    reason: error.to_string(),
                })?;
            let ids = encoding.get_ids().iter().map(|&id| i64::from(id));
            for id in ids.chain(self.end_of_text) {
                stream.push(self.checked(id)?);
            }
        }
        Ok(stream)
    }

    fn checked(&self, id: i64) -> Result<i32, TokensError> {
        let narrow = i32::try_from(id)
            .ok()
            .filter(|_| (0..self.vocabulary).contains(&id));
        narrow.ok_or_else(|| TokensError::OutsideVocabulary {
            what: "the tokenizer's output".to_owned(),
            found: id,
            vocabulary: self.vocabulary,
        })
    }
}
