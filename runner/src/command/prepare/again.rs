//! A run that was prepared before: what was fetched once is not asked for again.

use darwinlm_search::Shape;
use darwinlm_store::open_folder;
use darwinlm_task::{ExitCode, NumericsPlan, Plan, TokenSlice, paths};

use super::super::context::{Context, store_failure};
use super::{Asked, other_inputs};
use crate::failure::{Failure, OrFail};
use crate::model::ModelConfig;
use crate::sources::is_remote;

/// The plan of this run, where a source lies on another machine: a branch may have moved since, or
/// the server be gone, and the run goes on with what it began with.
///
/// Sources on this machine cost little to look at, so that a run of those alone looks again, and says
/// so when a file was changed under it.
///
/// # Errors
/// Exit code 78 when the plan was made with other numerics.
pub(super) async fn find(
    context: &Context,
    asked: &Asked<'_>,
    numerics: &NumericsPlan,
) -> Result<Option<(Plan, Shape)>, Failure> {
    let texts = TokenSlice::ALL.map(|slice| super::texts::spec(asked.data, slice).source.as_ref());
    let texts = texts.into_iter().flatten().map(|text| text.url.as_str());
    if !texts.chain([asked.model]).any(is_remote) {
        return Ok(None);
    }
    let key = context.paths.plan();
    if !context.store.exists(&key).await.map_err(store_failure)? {
        return Ok(None);
    }
    let plan: Plan = context.store.get_json(&key).await.map_err(store_failure)?;
    if plan.numerics != *numerics {
        return Err(other_inputs(
            context,
            &serde_json::json!(plan.numerics).to_string(),
            &serde_json::json!(numerics).to_string(),
        ));
    }
    let open = async |key: String| {
        open_folder(&context.store, &key)
            .await
            .map_err(store_failure)
    };
    let model = open(paths::model(&plan.model)).await?;
    let (Some(model), Some(_)) = (model, open(paths::tokens(&plan.tokens)).await?) else {
        return Ok(None);
    };
    let config = model.read("config.json").await.map_err(store_failure)?;
    let config = ModelConfig::parse(&config, "config.json".as_ref())
        .or_fail(ExitCode::BadData, "the model in the store is refused")?;
    let shape = config.shape(asked.pruning.attention_unit);
    Ok(Some((plan, shape)))
}
