//! What the model card tells, gathered from what the run recorded.

use std::collections::BTreeSet;

use darwinlm_search::Problem;
use darwinlm_store::Ledger;
use darwinlm_task::{DeviceClass, Plan, PostTrainingSpec, TargetSpec};

use super::super::context::{Context, store_failure};
use super::super::search::Found;
use crate::export::Provenance;
use crate::failure::Failure;

/// The devices that so many generations were computed on.
pub(super) async fn devices(
    ledger: &Ledger,
    generations: u32,
) -> Result<BTreeSet<DeviceClass>, Failure> {
    let mut devices = BTreeSet::new();
    for generation in 1..=generations {
        let cost = ledger.cost(generation).await.map_err(store_failure)?;
        devices.extend(cost.devices());
    }
    Ok(devices)
}

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
    let devices = devices(&ledger, found.generation).await?;
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
