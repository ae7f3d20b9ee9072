//! The trained survivor, as every later task opens it.

use darwinlm_store::open_folder;
use darwinlm_task::{ExitCode, PostTrainingSpec};
use serde_json::json;
use tokio::task::block_in_place;

use crate::command::compute::Prepared;
use crate::command::context::{Context, store_failure};
use crate::command::prepare::digest_of;
use crate::command::search::Found;
use crate::failure::{Failure, OrFail};
use crate::model::Model;
use crate::weights::{MappedTensors, WeightsError};

/// The weights, under their names in a checkpoint.
pub(super) const TRAINED_WEIGHTS: &str = "model.safetensors";

/// Version of the recipe: another one is another training.
const VERSION: u32 = 1;

/// The digest of everything that decides the trained weights.
pub(in crate::command) fn training_digest(
    prepared: &Prepared,
    found: &Found,
    training: &PostTrainingSpec,
) -> String {
    let decides = PostTrainingSpec {
        checkpoint_every_tokens: 0,
        ..training.clone()
    };
    digest_of(&json!({
        "version": VERSION,
        "ledger": found.digest,
        "genome": found.survivor.genome,
        "training": decides,
        "tokens": prepared.plan.training.sha256,
        "numerics": prepared.plan.numerics,
    }))
}

/// The survivor with its trained weights; `survivor` is how the search left it.
///
/// # Errors
/// Exit code 66 when it is not trained yet, 65 when the weights are those of another model.
pub(in crate::command) async fn open_trained(
    context: &Context,
    digest: &str,
    survivor: &Model,
) -> Result<Model, Failure> {
    let key = context.paths.trained(digest);
    let folder = open_folder(&context.store, &key)
        .await
        .map_err(store_failure)?;
    let folder = folder.ok_or_else(|| {
        Failure::new(
            ExitCode::InputMissing,
            format!("{key} is not complete: post-train has to run first"),
        )
    })?;
    let path = folder
        .fetch(TRAINED_WEIGHTS, &context.cache)
        .await
        .map_err(store_failure)?;
    block_in_place(|| {
        let file = MappedTensors::open(&path)?;
        let mut wrong: Option<WeightsError> = None;
        let model = survivor.map_weights(|name, weight| {
            file.float_like(name, weight).unwrap_or_else(|error| {
                wrong.get_or_insert(error);
                weight.shallow_clone()
            })
        });
        wrong.map_or(Ok(model), Err)
    })
    .or_fail(ExitCode::BadData, format!("failed to read {key}"))
}
