//! The tokens of a run: four disjoint slices, each drawn from all of its source.

use std::collections::BTreeMap;
use std::path::PathBuf;

use darwinlm_store::{FolderWriter, digest_file};
use darwinlm_task::{
    DataSpec, ExitCode, PlannedTokens, SliceSpec, TOKENS_VERSION, TextSource, TokenSlice, paths,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::block_in_place;

use super::super::source::local;
use super::super::work::{Context, store_failure};
use super::digest_of;
use super::model::Model;
use crate::failure::{Failure, OrFail};
use crate::tokens::{Sequences, SliceRequest, TextTokenizer, cut, documents};

/// What a `tokens/` folder is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TokensAbout {
    version: u32,
    sequence_length: u32,
    sequences: BTreeMap<String, u32>,
}

/// The token files of a run.
pub(super) struct Tokens {
    /// The folder `tokens/<digest>/`.
    pub(super) digest: String,
    /// In the order of [`TokenSlice::ALL`].
    pub(super) slices: [PlannedTokens; 4],
}

/// What a text is, wherever it lies: slices of equal texts are cut apart from each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    sha256: String,
    kind: Option<String>,
    /// Only where the kind has fields: another word for nothing is no other text.
    text_field: Option<String>,
}

impl Identity {
    fn of(sha256: String, extension: Option<&str>, text_field: &str) -> Self {
        Self {
            sha256,
            kind: extension.map(str::to_owned),
            text_field: (extension == Some("jsonl")).then(|| text_field.to_owned()),
        }
    }
}

/// A text that one slice or more come from.
struct Text {
    /// The first field that names it.
    field: String,
    path: PathBuf,
    slices: Vec<TokenSlice>,
}

/// Tokenises and keeps every slice, unless equal ones are in the store.
pub(super) async fn make(
    context: &Context,
    data: &DataSpec,
    model: &Model,
) -> Result<Tokens, Failure> {
    let texts = texts(data).await?;
    let digest = tokens_digest(data, model, &texts);
    let writer = FolderWriter::new(&context.store, &paths::tokens(&digest));
    let folder = match writer.complete().await.map_err(store_failure)? {
        Some(folder) => folder,
        None => {
            let slices = block_in_place(|| tokenise(data, model, &texts))?;
            let mut files = BTreeMap::new();
            let mut sequences = BTreeMap::new();
            for (slice, tokens) in &slices {
                let name = format!("{}.safetensors", slice.name());
                let path = context.cache.join(format!("{}-{name}", context.worker));
                block_in_place(|| tokens.write(&path))
                    .or_fail(ExitCode::Bug, format!("failed to write {}", path.display()))?;
                let file = writer.put_file(&name, &path).await.map_err(store_failure);
                let _ = std::fs::remove_file(&path);
                files.insert(name, file?);
                sequences.insert(slice.name().to_owned(), tokens.count());
            }
            let about = TokensAbout {
                version: TOKENS_VERSION,
                sequence_length: data.sequence_length,
                sequences,
            };
            writer.finish(&about, files).await.map_err(store_failure)?
        }
    };
    let about: TokensAbout = folder.about().map_err(store_failure)?;
    let planned = |slice: TokenSlice| {
        let file = folder
            .file(&format!("{}.safetensors", slice.name()))
            .map_err(store_failure)?;
        let sequences = about.sequences.get(slice.name()).copied();
        Ok(PlannedTokens {
            sha256: file.sha256.clone(),
            sequences: sequences.unwrap_or_default(),
            sequence_length: about.sequence_length,
        })
    };
    let slices: Vec<_> = TokenSlice::ALL
        .into_iter()
        .map(planned)
        .collect::<Result<_, Failure>>()?;
    let slices = slices.try_into().expect("there are four slices");
    Ok(Tokens { digest, slices })
}

fn spec(data: &DataSpec, slice: TokenSlice) -> &SliceSpec {
    match slice {
        TokenSlice::Calibration => &data.calibration,
        TokenSlice::Training => &data.training,
        TokenSlice::Fitness => &data.fitness,
        TokenSlice::Validation => &data.validation,
    }
}

/// The texts of the spec by what they are. A slice without a source of its own uses calibration's.
async fn texts(data: &DataSpec) -> Result<BTreeMap<Identity, Text>, Failure> {
    let mut known: BTreeMap<PathBuf, String> = BTreeMap::new();
    let mut texts: BTreeMap<Identity, Text> = BTreeMap::new();
    for slice in TokenSlice::ALL {
        let own = spec(data, slice).source.as_ref().map(|own| (slice, own));
        let calibration = data.calibration.source.as_ref();
        let shared = calibration.map(|source| (TokenSlice::Calibration, source));
        let (named_by, source) = own.or(shared).ok_or_else(|| {
            Failure::new(ExitCode::BadSpec, "spec.data.calibration.source is missing")
        })?;
        let field = format!("spec.data.{}.source", named_by.name());
        let TextSource { url, text_field } = source;
        let path = local(&field, url)?;
        let sha256 = match known.get(&path) {
            Some(sha256) => sha256.clone(),
            None => digest_file(&path).await.map_err(store_failure)?.sha256,
        };
        known.insert(path.clone(), sha256.clone());
        let extension = path.extension().and_then(|extension| extension.to_str());
        let identity = Identity::of(sha256, extension, text_field);
        let text = texts.entry(identity).or_insert_with(|| Text {
            field,
            path,
            slices: Vec::new(),
        });
        text.slices.push(slice);
    }
    Ok(texts)
}

/// Equal inputs have equal tokens: the digest names the texts by their content, not by their place.
fn tokens_digest(data: &DataSpec, model: &Model, texts: &BTreeMap<Identity, Text>) -> String {
    let of = |slice: TokenSlice| {
        let mut from = texts
            .iter()
            .filter(|(_, text)| text.slices.contains(&slice));
        from.next().map(|(identity, _)| identity)
    };
    let slices = TokenSlice::ALL.map(|slice| {
        json!({ "slice": slice.name(), "tokens": spec(data, slice).tokens, "source": of(slice) })
    });
    digest_of(&json!({
        "version": TOKENS_VERSION,
        "sequenceLength": data.sequence_length,
        "slices": slices,
        "tokenizer": model.digests.get("tokenizer.json"),
        "vocabulary": model.config.vocabulary,
        "endOfText": model.config.end_of_text,
    }))
}

/// Cuts every slice out of its text.
fn tokenise(
    data: &DataSpec,
    model: &Model,
    texts: &BTreeMap<Identity, Text>,
) -> Result<BTreeMap<TokenSlice, Sequences>, Failure> {
    let mut made = BTreeMap::new();
    for (identity, text) in texts {
        let requests: Vec<_> = text
            .slices
            .iter()
            .map(|&slice| SliceRequest {
                name: slice.name(),
                tokens: spec(data, slice).tokens,
            })
            .collect();
        let field = identity.text_field.as_deref().unwrap_or_default();
        let whole = sequences(text, field, data.sequence_length, model)?;
        let pieces = cut(&whole, &requests).or_fail(
            ExitCode::BadData,
            format!("{} {} is too short", text.field, text.path.display()),
        )?;
        made.extend(text.slices.iter().copied().zip(pieces));
    }
    Ok(made)
}

/// All sequences of one text.
fn sequences(
    text: &Text,
    text_field: &str,
    length: u32,
    model: &Model,
) -> Result<Sequences, Failure> {
    let Text { field, path, .. } = text;
    let wrong = || format!("{field} cannot be used");
    let (vocabulary, end_of_text) = (model.config.vocabulary, model.config.end_of_text);
    if path.extension().is_some_and(|kind| kind == "safetensors") {
        let sequences = Sequences::open(path, vocabulary).or_fail(ExitCode::BadData, wrong())?;
        if sequences.length() != length {
            return Err(Failure::new(
                ExitCode::BadSpec,
                format!(
                    "{} holds sequences of {} tokens; spec.data.calibration.sequenceLength is {}",
                    path.display(),
                    sequences.length(),
                    length
                ),
            ));
        }
        return Ok(sequences);
    }
    let tokenizer = TextTokenizer::open(&model.folder, vocabulary, end_of_text)
        .or_fail(ExitCode::BadData, wrong())?;
    let documents = documents(path, text_field).or_fail(ExitCode::BadData, wrong())?;
    let stream = tokenizer
        .stream(&documents)
        .or_fail(ExitCode::BadData, wrong())?;
    Ok(Sequences::pack(&stream, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_field_tells_texts_apart_only_where_there_are_fields() {
        let of = |kind, field| Identity::of("00".to_owned(), Some(kind), field);
        assert_eq!(of("txt", "text"), of("txt", "body"));
        assert_eq!(of("safetensors", "text"), of("safetensors", "body"));
        assert_ne!(of("jsonl", "text"), of("jsonl", "body"));
    }
}
