//! The loss curve of the survivor's training, as its trained weights were stored with it.

use darwinlm_search::Digest;
use darwinlm_store::{Folder, Store, open_folder};
use darwinlm_task::paths::{MANIFEST, RunPaths, TRAINED_LOSSES};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::FactsError;

/// How the survivor was trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// Tokens in all.
    pub tokens: u64,
    /// The loss of every step, in nats per token.
    pub losses: Vec<f64>,
}

/// What the manifest of trained weights says of them.
#[derive(Deserialize)]
struct About {
    training: String,
    tokens: u64,
    /// The search whose survivor it is; weights of an earlier version do not say it.
    ledger: Option<Digest>,
}

impl Training {
    /// The one that was evaluated; before there is an evaluation, the newest of this search's survivor.
    pub(super) async fn read(
        store: &Store,
        paths: &RunPaths,
        ledger: Digest,
        evaluated: Option<&str>,
    ) -> Result<Option<Self>, FactsError> {
        let all = store.list_files(&paths.trainings()).await?;
        let mut manifests: Vec<_> = all
            .iter()
            .filter_map(|file| {
                let below = file.key.strip_prefix(&paths.trainings())?;
                let digest = below.strip_prefix('/')?.split('/').next()?;
                let folder = paths.trained(digest);
                let is_manifest = file.key == format!("{folder}/{MANIFEST}");
                is_manifest.then_some((file.modified_unix_seconds, folder))
            })
            .collect();
        manifests.sort_unstable();
        let mut found = None;
        for (_, key) in manifests {
            let Some(folder) = open_folder(store, &key).await? else {
                continue;
            };
            let about: About = folder.about()?;
            if evaluated.is_some_and(|digest| digest == about.training) {
                found = Some((folder, about));
                break;
            }
            if about.ledger == Some(ledger) {
                found = Some((folder, about));
            }
        }
        let Some((folder, About { tokens, .. })) = found else {
            return Ok(None);
        };
        let losses = losses(&folder).await?;
        Ok(Some(Self { tokens, losses }))
    }

    /// Tokens after a step, counted from 1.
    pub(crate) fn tokens_after(&self, step: usize) -> f64 {
        self.tokens as f64 * step as f64 / self.losses.len().max(1) as f64
    }
}

async fn losses(folder: &Folder) -> Result<Vec<f64>, FactsError> {
    let bytes = folder.read(TRAINED_LOSSES).await?;
    doubles(&bytes).map_err(|source| FactsError::Unreadable {
        key: format!("{}/{TRAINED_LOSSES}", folder.key()),
        source,
    })
}

fn doubles(bytes: &[u8]) -> Result<Vec<f64>, Box<dyn std::error::Error + Send + Sync>> {
    let file = SafeTensors::deserialize(bytes)?;
    let losses = file.tensor("losses")?;
    if losses.dtype() != Dtype::F64 {
        let found = losses.dtype();
        return Err(format!("its losses are {found:?}; F64 is accepted").into());
    }
    let (numbers, _) = losses.data().as_chunks();
    Ok(numbers.iter().copied().map(f64::from_le_bytes).collect())
}
