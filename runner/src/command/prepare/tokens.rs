//! The tokens of a run: four disjoint slices, each drawn from all that is read of its source.

use std::collections::BTreeMap;
use std::path::Path;

use darwinlm_store::FolderWriter;
use darwinlm_task::{
    DataSpec, ExitCode, Fetched, PlannedTokens, TOKENS_VERSION, TokenSlice, paths,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::block_in_place;

use super::super::context::{Context, store_failure};
use super::model::Model;
use super::texts::{Identity, Text, fetched, spec, texts};
use super::{digest_of, source_failure};
use crate::failure::{Failure, OrFail};
use crate::sources::Fetcher;
use crate::tokens::{Form, Sequences, SliceRequest, TextTokenizer, cut, documents};

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
    /// Where texts were fetched from.
    pub(super) fetched: Vec<Fetched>,
}

/// Tokenises and keeps every slice, unless equal ones are in the store.
pub(super) async fn make(
    context: &Context,
    data: &DataSpec,
    model: &Model,
    fetcher: &Fetcher<'_>,
) -> Result<Tokens, Failure> {
    let texts = texts(data, fetcher).await?;
    let digest = tokens_digest(data, model, &texts);
    let folder = paths::tokens(&digest);
    context.uses(&folder).await?;
    let writer = FolderWriter::new(&context.store, &folder);
    let folder = match writer.complete().await.map_err(store_failure)? {
        Some(folder) => folder,
        None => {
            let slices = tokenise(data, model, &texts, fetcher).await?;
            let mut files = BTreeMap::new();
            let mut sequences = BTreeMap::new();
            for (slice, tokens) in &slices {
                let name = format!("{}.safetensors", slice.name());
                let path = context.cache.join(format!("{}-{name}", context.worker));
                block_in_place(|| tokens.write(&path)).or_fail(
                    ExitCode::StoreUnavailable,
                    format!("failed to write {}", path.display()),
                )?;
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
    Ok(Tokens {
        digest,
        slices,
        fetched: fetched(&texts),
    })
}

/// Equal inputs have equal tokens: the digest names the texts by their content, not by their place.
fn tokens_digest(data: &DataSpec, model: &Model, texts: &BTreeMap<Identity, Text>) -> String {
    let of = |slice: TokenSlice| {
        let mut from = texts
            .iter()
            .filter(|(_, text)| text.slices.contains(&slice));
        from.next().map(|(identity, _)| identity.digested())
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
async fn tokenise(
    data: &DataSpec,
    model: &Model,
    texts: &BTreeMap<Identity, Text>,
    fetcher: &Fetcher<'_>,
) -> Result<BTreeMap<TokenSlice, Sequences>, Failure> {
    let length = data.sequence_length;
    let mut made = BTreeMap::new();
    for text in texts.values() {
        let requests: Vec<_> = text
            .slices
            .iter()
            .map(|&slice| SliceRequest {
                name: slice.name(),
                tokens: spec(data, slice).tokens,
            })
            .collect();
        let needed = match text.is_read_whole() {
            true => u64::MAX,
            false => requests.iter().map(|slice| slice.needed(length)).sum(),
        };
        let whole = read(text, length, needed, model, fetcher).await?;
        let pieces = cut(&whole, &requests).or_fail(
            ExitCode::BadData,
            format!("{} {} is too short", text.field, text.from()),
        )?;
        made.extend(text.slices.iter().copied().zip(pieces));
    }
    Ok(made)
}

/// The sequences of one text: the file after the one that has enough is not even fetched.
async fn read(
    text: &Text,
    length: u32,
    needed: u64,
    model: &Model,
    fetcher: &Fetcher<'_>,
) -> Result<Sequences, Failure> {
    let mut stream = Stream::default();
    for file in &text.files {
        let path = text.place.fetch(file, fetcher).await;
        let path = path.map_err(|error| source_failure(&text.field, error))?;
        if Form::of(&path) == Some(Form::Tokens) {
            return block_in_place(|| sequences(text, &path, length, model));
        }
        block_in_place(|| stream.fill(text, &path, needed, model))?;
        if stream.ids.len() as u64 >= needed {
            break;
        }
    }
    Ok(Sequences::pack(&stream.ids, length))
}

/// The sequences of a file of tokens.
fn sequences(text: &Text, path: &Path, length: u32, model: &Model) -> Result<Sequences, Failure> {
    let sequences = Sequences::open(path, model.config.vocabulary)
        .or_fail(ExitCode::BadData, format!("{} cannot be used", text.field))?;
    if sequences.length() == length {
        return Ok(sequences);
    }
    Err(Failure::new(
        ExitCode::BadSpec,
        format!(
            "{} holds sequences of {} tokens; spec.data.calibration.sequenceLength is {length}",
            path.display(),
            sequences.length(),
        ),
    ))
}

/// The tokens of a text so far.
#[derive(Default)]
struct Stream {
    tokenizer: Option<TextTokenizer>,
    ids: Vec<i32>,
}

impl Stream {
    /// Adds documents of a file until there are enough tokens.
    fn fill(
        &mut self,
        text: &Text,
        path: &Path,
        needed: u64,
        model: &Model,
    ) -> Result<(), Failure> {
        let wrong = || format!("{} cannot be used", text.field);
        let (vocabulary, end_of_text) = (model.config.vocabulary, model.config.end_of_text);
        if self.tokenizer.is_none() {
            let opened = TextTokenizer::open(&model.folder, vocabulary, end_of_text);
            self.tokenizer = Some(opened.or_fail(ExitCode::BadData, wrong())?);
        }
        let tokenizer = self.tokenizer.as_ref().expect("it was just opened");
        let documents = documents(path, &text.text_field).or_fail(ExitCode::BadData, wrong())?;
        for document in documents {
            let document = document.or_fail(ExitCode::BadData, wrong())?;
            tokenizer
                .append(&document, &mut self.ids)
                .or_fail(ExitCode::BadData, wrong())?;
            if self.ids.len() as u64 >= needed {
                break;
            }
        }
        Ok(())
    }
}
