//! The texts of a run: which places they lie in, and which slices share one.

use std::collections::BTreeMap;
use std::path::Path;

use darwinlm_store::digest_file;
use darwinlm_task::{DataSpec, ExitCode, Fetched, SliceSpec, TextSource, TokenSlice};
use serde_json::{Value, json};

use super::super::context::store_failure;
use super::source_failure;
use crate::failure::Failure;
use crate::sources::{Fetcher, Listed, Place, is_remote};
use crate::tokens::{Form, TokensError};

/// The longest file that is read whole: about a hundred million tokens.
const WHOLE_BYTES: u64 = 512 << 20;

/// What a text is, wherever it lies: slices of equal texts are cut apart from each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    files: Vec<Content>,
    /// Only where a form has fields: another word for nothing is no other text.
    text_field: Option<String>,
}

/// What a file of a text is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Content {
    /// `sha256:…` of a file that is here or that a server says it of; else the server's own word.
    content: String,
    form: Form,
}

impl Identity {
    /// What stands for this text in the digest of tokens. One file is written as it was when there
    /// could be no more, so that tokens made then are found again.
    pub(super) fn digested(&self) -> Value {
        match self.files.as_slice() {
            [Content { content, form }] => json!({
                "sha256": content.trim_start_matches("sha256:"),
                "kind": form.name(),
                "textField": self.text_field,
            }),
            files => {
                let files = files.iter();
                let files: Vec<Value> = files
                    .map(|file| json!({ "content": file.content, "form": file.form.name() }))
                    .collect();
                json!({ "files": files, "textField": self.text_field })
            }
        }
    }
}

/// A text that one slice or more come from.
pub(super) struct Text {
    /// The first field that names it.
    pub(super) field: String,
    pub(super) text_field: String,
    pub(super) place: Place,
    /// Its files in the order they are read.
    pub(super) files: Vec<Listed>,
    pub(super) slices: Vec<TokenSlice>,
}

impl Text {
    /// Whether all of it is read, to draw from the whole: one file of plain letters that is not too
    /// long to tokenise. Of anything else there may be a thousand times what is needed.
    pub(super) fn is_read_whole(&self) -> bool {
        match self.files.as_slice() {
            [file] => {
                let form = Form::of(Path::new(&file.name));
                matches!(form, Some(Form::Plain | Form::Lines))
                    && file.bytes.is_some_and(|bytes| bytes <= WHOLE_BYTES)
            }
            _ => false,
        }
    }

    /// Its address, for messages.
    pub(super) fn from(&self) -> String {
        self.place.from()
    }
}

pub(super) fn spec(data: &DataSpec, slice: TokenSlice) -> &SliceSpec {
    match slice {
        TokenSlice::Calibration => &data.calibration,
        TokenSlice::Training => &data.training,
        TokenSlice::Fitness => &data.fitness,
        TokenSlice::Validation => &data.validation,
    }
}

/// The texts of the spec by what they are. A slice without a source of its own uses calibration's.
///
/// # Errors
/// When a source is missing or cannot be read, or two that differ share a file.
pub(super) async fn texts(
    data: &DataSpec,
    fetcher: &Fetcher<'_>,
) -> Result<BTreeMap<Identity, Text>, Failure> {
    // A source that several slices name is asked once.
    let mut known: BTreeMap<(&str, &str), Identity> = BTreeMap::new();
    let mut texts: BTreeMap<Identity, Text> = BTreeMap::new();
    for slice in TokenSlice::ALL {
        let (named_by, source) = source_of(data, slice)?;
        let TextSource { url, text_field } = source;
        if let Some(identity) = known.get(&(url.as_str(), text_field.as_str())) {
            let text = texts.get_mut(identity).expect("what is known is kept");
            text.slices.push(slice);
            continue;
        }
        let field = format!("spec.data.{}.source", named_by.name());
        let (place, mut files) = open(&field, url, fetcher).await?;
        let identity = Identity {
            files: contents(&field, &place, &mut files, fetcher).await?,
            text_field: has_fields(&files).then(|| text_field.clone()),
        };
        known.insert((url, text_field), identity.clone());
        let text = texts.entry(identity).or_insert_with(|| Text {
            field,
            text_field: text_field.clone(),
            place,
            files,
            slices: Vec::new(),
        });
        text.slices.push(slice);
    }
    refuse_shared_files(&texts)?;
    Ok(texts)
}

fn source_of(data: &DataSpec, slice: TokenSlice) -> Result<(TokenSlice, &TextSource), Failure> {
    let own = spec(data, slice).source.as_ref().map(|own| (slice, own));
    let calibration = data.calibration.source.as_ref();
    let shared = calibration.map(|source| (TokenSlice::Calibration, source));
    own.or(shared)
        .ok_or_else(|| Failure::new(ExitCode::BadSpec, "spec.data.calibration.source is missing"))
}

/// Opens a source and checks that its files are of forms that are read.
async fn open(
    field: &str,
    url: &str,
    fetcher: &Fetcher<'_>,
) -> Result<(Place, Vec<Listed>), Failure> {
    let failed = |error| source_failure(field, error);
    let place = Place::of_text(url, fetcher).await.map_err(failed)?;
    let files = place.list().await.map_err(failed)?;
    for file in &files {
        let form = Form::of(Path::new(&file.name));
        let is_alone = files.len() == 1;
        if form.is_none() || (form == Some(Form::Tokens) && !is_alone) {
            let path = file.name.clone().into();
            let error = TokensError::Extension { path };
            let hint = if form.is_some() {
                "; tokens come from one file"
            } else {
                ""
            };
            let message = format!("{field} cannot be used: {error}{hint}");
            return Err(Failure::new(ExitCode::BadData, message));
        }
    }
    Ok((place, files))
}

fn has_fields(files: &[Listed]) -> bool {
    let mut forms = files
        .iter()
        .filter_map(|file| Form::of(Path::new(&file.name)));
    forms.any(Form::has_fields)
}

/// What tells each file from any other. Where a server says it of a file that is one of many,
/// nothing is fetched for it; a file that is alone is read in any case, and from then on it is that
/// very content that is meant.
async fn contents(
    field: &str,
    place: &Place,
    files: &mut [Listed],
    fetcher: &Fetcher<'_>,
) -> Result<Vec<Content>, Failure> {
    let mut contents = Vec::with_capacity(files.len());
    let are_many = files.len() > 1;
    for file in files {
        let said = file
            .content
            .clone()
            .filter(|said| said.starts_with("sha256:") || are_many);
        let content = match said {
            Some(said) => said,
            None => {
                let path = place.fetch(file, fetcher).await;
                let path = path.map_err(|error| source_failure(field, error))?;
                let digest = digest_file(&path).await.map_err(store_failure)?;
                let content = format!("sha256:{}", digest.sha256);
                file.content = Some(content.clone());
                file.bytes = Some(digest.bytes);
                content
            }
        };
        let form = Form::of(Path::new(&file.name)).expect("opening refuses other files");
        contents.push(Content { content, form });
    }
    Ok(contents)
}

/// Slices of one source are cut apart from each other; those of two that share a file would not be.
fn refuse_shared_files(texts: &BTreeMap<Identity, Text>) -> Result<(), Failure> {
    let mut seen: BTreeMap<(&str, Option<&str>), &Text> = BTreeMap::new();
    for (identity, text) in texts {
        for (content, file) in identity.files.iter().zip(&text.files) {
            let field = Some(text.text_field.as_str()).filter(|_| content.form.has_fields());
            let Some(other) = seen.insert((&content.content, field), text) else {
                continue;
            };
            if other.field != text.field {
                return Err(Failure::new(
                    ExitCode::BadSpec,
                    format!(
                        "{} and {} both hold {}, so that their slices would share text; name one \
                         source for both, or sources without a common file",
                        other.field, text.field, file.name
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// What was fetched for the data, by the field that names it.
pub(super) fn fetched(texts: &BTreeMap<Identity, Text>) -> Vec<Fetched> {
    let remote = texts.values().filter(|text| is_remote(&text.from()));
    let mut fetched: Vec<Fetched> = remote
        .map(|text| Fetched {
            field: text.field.clone(),
            from: text.from(),
        })
        .collect();
    fetched.sort_by(|one, other| one.field.cmp(&other.field));
    fetched
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_field_counts_only_where_there_are_fields() {
        let listed = |name: &str| Listed {
            name: name.to_owned(),
            bytes: None,
            content: None,
        };
        for (names, has) in [
            (&["a.txt"][..], false),
            (&["a.safetensors"], false),
            (&["a.jsonl.gz"], true),
            (&["a.txt", "b.parquet"], true),
        ] {
            let files: Vec<_> = names.iter().copied().map(listed).collect();
            assert_eq!(has_fields(&files), has, "{names:?}");
        }
    }
}
