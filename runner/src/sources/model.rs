//! A model's folder: which of its files are fetched, and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::place::is_plain;
use super::{Fetcher, Listed, Place, SourceError, is_remote};

/// What of a model's folder is kept beside the weights: configuration, tokenizer and licence, never
/// code.
pub const MODEL_FILES: [&str; 14] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    INDEX,
    "tokenizer.model",
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
];
const INDEX: &str = "model.safetensors.index.json";
const WEIGHTS: &str = "model.safetensors";

/// A model somewhere, and the folder of this machine that it is fetched to.
#[derive(Debug)]
pub struct ModelSource {
    place: Place,
    folder: PathBuf,
    /// What lies in the model's folder, by name; a web server does not say.
    listed: BTreeMap<String, Listed>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl ModelSource {
    /// Opens the address and looks what is there.
    ///
    /// # Errors
    /// When the address is none of a model's, nothing is there, or the server refuses.
    pub async fn open(url: &str, fetcher: &Fetcher<'_>) -> Result<Self, SourceError> {
        let place = Place::of_model(url, fetcher).await?;
        let listed = match &place {
            Place::Folder(_) | Place::Web(_) => Vec::new(),
            Place::Hub(hub) => hub.folder().await?,
            Place::Bucket(bucket) => bucket.folder().await?,
        };
        let (folder, is_there) = match &place {
            Place::Folder(folder) => (folder.folder(), folder.folder().exists()),
            Place::Web(_) => (fetcher.place_of(&place.from()), true),
            Place::Hub(_) | Place::Bucket(_) => {
                (fetcher.place_of(&place.from()), !listed.is_empty())
            }
        };
        if !is_there {
            return Err(SourceError::Missing { what: place.from() });
        }
        if !matches!(place, Place::Folder(_) | Place::Hub(_)) {
            // Without a commit nobody knows whether what an earlier process left is still the same.
            let _ = std::fs::remove_dir_all(&folder);
        }
        if is_remote(url) {
            make(&folder)?;
        }
        let by_name = |file: Listed| {
            let name = file.name.rsplit('/').next().unwrap_or_default().to_owned();
            (name, file)
        };
        Ok(Self {
            listed: listed.into_iter().map(by_name).collect(),
            place,
            folder,
        })
    }

    /// Where the files are on this machine.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The address that was fetched, pinned; none for a folder that was here.
    pub fn fetched_from(&self) -> Option<String> {
        match &self.place {
            Place::Folder(_) => None,
            other => Some(other.from()),
        }
    }

    /// Fetches the configuration alone.
    ///
    /// # Errors
    /// When there is none, or it cannot be fetched.
    pub async fn fetch_configuration(&self, fetcher: &Fetcher<'_>) -> Result<(), SourceError> {
        let name = "config.json";
        match self.fetch_if_there(name, fetcher).await? {
            true => Ok(()),
            false => Err(self.missing(name)),
        }
    }

    /// Fetches everything but the weights: it says whether they are worth fetching.
    ///
    /// # Errors
    /// When there is no config.json, or a file cannot be fetched.
    pub async fn fetch_descriptions(&self, fetcher: &Fetcher<'_>) -> Result<(), SourceError> {
        for name in MODEL_FILES {
            let found = self.fetch_if_there(name, fetcher).await?;
            if !found && name == "config.json" {
                return Err(self.missing(name));
            }
        }
        Ok(())
    }

    /// Fetches `model.safetensors`, or every shard that the index names: of weights those alone that
    /// are read, for some folders hold them a second time.
    ///
    /// # Errors
    /// When there are none, or a file cannot be fetched.
    pub async fn fetch_weights(&self, fetcher: &Fetcher<'_>) -> Result<(), SourceError> {
        let is_here = matches!(self.place, Place::Folder(_));
        if is_here || self.fetch_if_there(WEIGHTS, fetcher).await? {
            return Ok(());
        }
        let index = self.folder.join(INDEX);
        if !index.exists() {
            return Err(self.missing("model.safetensors or model.safetensors.index.json"));
        }
        let what = format!("{INDEX} of {}", self.place.from());
        let text = std::fs::read(&index).map_err(|source| SourceError::Local {
            operation: "read",
            path: index,
            source,
        })?;
        let read: Index = serde_json::from_slice(&text).map_err(|error| SourceError::Answer {
            what,
            reason: error.to_string(),
        })?;
        let shards: BTreeSet<String> = read.weight_map.into_values().collect();
        for shard in shards {
            if !self.fetch_if_there(&shard, fetcher).await? {
                return Err(self.missing(&shard));
            }
        }
        Ok(())
    }

    fn missing(&self, name: &str) -> SourceError {
        SourceError::Missing {
            what: format!("{name} at {}", self.place.from()),
        }
    }

    async fn fetch_if_there(&self, name: &str, fetcher: &Fetcher<'_>) -> Result<bool, SourceError> {
        // An index is the server's word, too: it names files of its own folder alone.
        if !is_plain(Path::new(name)) || name.contains('/') {
            return Err(SourceError::Answer {
                what: format!("{INDEX} of {}", self.place.from()),
                reason: format!("shard {name:?} is not a plain file name"),
            });
        }
        let to = self.folder.join(name);
        let listed = self.listed.get(name);
        match (&self.place, listed) {
            (Place::Folder(_), _) => Ok(to.exists()),
            (Place::Web(web), _) => match web.fetch_below(name, &to, fetcher).await {
                Ok(()) => Ok(true),
                Err(SourceError::Missing { .. }) => Ok(false),
                // Whoever may not list a bucket is told so of every file that is not there; of the
                // first one it is the truth.
                Err(SourceError::Denied { .. }) if name != "config.json" => Ok(false),
                Err(error) => Err(error),
            },
            (Place::Hub(_) | Place::Bucket(_), None) => Ok(false),
            (Place::Hub(hub), Some(file)) => hub.fetch(file, &to, fetcher).await.map(|()| true),
            (Place::Bucket(bucket), Some(file)) => {
                bucket.fetch(file, &to, fetcher).await.map(|()| true)
            }
        }
    }
}

fn make(folder: &Path) -> Result<(), SourceError> {
    std::fs::create_dir_all(folder).map_err(|source| SourceError::Local {
        operation: "make",
        path: folder.to_owned(),
        source,
    })
}
