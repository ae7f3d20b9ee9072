//! What the model card tells, gathered from what the run recorded.

use darwinlm_search::Problem;
use darwinlm_store::Ledger;
use darwinlm_task::{Plan, PostTrainingSpec, TargetSpec};

use super::super::context::{Context, store_failure};
use super::super::search::Found;
use crate::export::Provenance;
use crate::failure::Failure;

/// Where the survivor comes from.
pub(super) async fn provenance(
    context: &Context,
    plan: &Plan,
    database: String,
    target: TargetSpec,
    training: Option<&PostTrainingSpec>,
    problem: &Problem,
    found: &Found,
) -> Result<Provenance, Failure> {
    let ledger = Ledger::new(&context.store, &context.paths);
    let devices = ledger.devices(found.generation).await;
    let devices = devices.map_err(store_failure)?;
    let run = &context.spec.run;
    Ok(Provenance {
        run: format!("{}.{}", run.namespace, run.name),
        ledger: found.digest,
        generations: found.generation,
        seed: problem.seed,
        target,
        training: training.cloned(),
        database,
        database_manifest: problem.pins.level_database,
        plan: plan.clone(),
        devices,
        runner: env!("CARGO_PKG_VERSION"),
    })
}
