//! A folder of weights as Hugging Face lays it out: one file, or shards with an index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use super::{MappedTensors, WeightsError};

/// All tensors of a checkpoint folder, by name.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    shards: Vec<MappedTensors>,
    shard_of: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens `model.safetensors`, or every shard that `model.safetensors.index.json` names.
    pub fn open(folder: &Path) -> Result<Self, WeightsError> {
        let single = folder.join("model.safetensors");
        let index = folder.join("model.safetensors.index.json");
        if single.exists() {
            let shard = MappedTensors::open(&single)?;
            let shard_of = shard.names().into_iter().map(|name| (name, 0)).collect();
            return Ok(Self {
                folder: folder.to_owned(),
                shards: vec![shard],
                shard_of,
            });
        }
        if index.exists() {
            return Self::open_sharded(folder, &index);
        }
        Err(WeightsError::NoCheckpoint {
            folder: folder.to_owned(),
        })
    }

    fn open_sharded(folder: &Path, index: &Path) -> Result<Self, WeightsError> {
        let unusable = |reason: String| WeightsError::Index {
            path: index.to_owned(),
            reason,
        };
        let text = std::fs::read(index).map_err(|source| WeightsError::Io {
            path: index.to_owned(),
            source,
        })?;
        let parsed: ShardIndex = serde_json::from_slice(&text)
            .map_err(|error| unusable(format!("failed to read weight_map: {error}")))?;
        let files: BTreeSet<&String> = parsed.weight_map.values().collect();
        let mut shards = Vec::with_capacity(files.len());
        let mut number = BTreeMap::new();
        for file in files {
            if Path::new(file).components().count() != 1 {
                return Err(unusable(format!(
                    "shard \"{file}\" is not a plain file name"
                )));
            }
            number.insert(file.clone(), shards.len());
            shards.push(MappedTensors::open(&folder.join(file))?);
        }
        let shard_of: BTreeMap<String, usize> = parsed
            .weight_map
            .iter()
            .map(|(name, file)| (name.clone(), number[file]))
            .collect();
        for (name, &shard) in &shard_of {
            if !shards[shard].contains(name) {
                let path = shards[shard].path().to_owned();
                return Err(WeightsError::Missing {
                    name: name.clone(),
                    path,
                });
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            shards,
            shard_of,
        })
    }

    /// The names of the files that hold the weights.
    pub fn file_names(&self) -> impl Iterator<Item = String> {
        let names = self
            .shards
            .iter()
            .filter_map(|shard| shard.path().file_name());
        names.map(|name| name.to_string_lossy().into_owned())
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.shard_of.keys().map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.shard_of.contains_key(name)
    }

    /// The refusal of a tensor that the model does not have.
    pub fn left_over(&self, name: &str) -> WeightsError {
        WeightsError::LeftOver {
            name: name.to_owned(),
            path: self.file_of(name),
        }
    }

    /// The refusal of an output matrix that should be the embeddings and is not.
    pub fn untied(&self, name: &str) -> WeightsError {
        WeightsError::Untied {
            name: name.to_owned(),
            path: self.file_of(name),
        }
    }

    fn file_of(&self, name: &str) -> PathBuf {
        match self.shard_of.get(name) {
            Some(&shard) => self.shards[shard].path().to_owned(),
            None => self.folder.clone(),
        }
    }

    /// Reads a weight of the given shape, checks that every value is finite, and brings it to
    /// `device` as `kind`.
    pub fn weight(
        &self,
        name: &str,
        shape: &[i64],
        kind: Kind,
        device: Device,
    ) -> Result<Tensor, WeightsError> {
        let &shard = self
            .shard_of
            .get(name)
            .ok_or_else(|| WeightsError::Missing {
                name: name.to_owned(),
                path: self.folder.clone(),
            })?;
        let file = &self.shards[shard];
        let (owned, path) = (name.to_owned(), file.path().to_owned());
        let found = file.shape(name)?;
        if found != shape {
            let expected = shape.to_vec();
            return Err(WeightsError::Shape {
                name: owned,
                path,
                found,
                expected,
            });
        }
        let stored = file.float(name)?;
        let torch = |source| WeightsError::Torch {
            name: name.to_owned(),
            source,
        };
        let converted = stored
            .f_to_device(device)
            .and_then(|t| t.f_to_kind(kind))
            .map_err(torch)?;
        // a finite value may still overflow in a narrower type, so what is checked is what is used
        let finite = converted
            .f_isfinite()
            .and_then(|t| t.f_all())
            .map_err(torch)?;
        if finite.int64_value(&[]) == 0 {
            return Err(WeightsError::NonFinite { name: owned, path });
        }
        Ok(converted)
    }
}
