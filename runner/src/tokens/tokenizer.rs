//! Tokens out of documents.

use std::path::Path;

use tokenizers::Tokenizer;

use super::TokensError;

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

    /// Adds a document to a stream of token ids: its own without special tokens, then the end of
    /// text.
    pub fn append(&self, document: &str, stream: &mut Vec<i32>) -> Result<(), TokensError> {
        let encoding =
            self.tokenizer
                .encode(document, false)
                .map_err(|error| TokensError::Tokenizer {
                    path: self.path.clone(),
                    reason: error.to_string(),
                })?;
        let ids = encoding.get_ids().iter().map(|&id| i64::from(id));
        for id in ids.chain(self.end_of_text) {
            stream.push(self.checked(id)?);
        }
        Ok(())
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
