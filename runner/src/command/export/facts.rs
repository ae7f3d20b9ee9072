//! What the model card tells, gathered from what the run recorded.

use std::collections::BTreeSet;

use darwinlm_search::{Problem, Survivor};
use darwinlm_store::{Ledger, digest_bytes};
use darwinlm_task::{EvaluationReport, ExitCode, Plan, TargetSpec};

use super::super::search::Found;
use super::super::work::{Context, store_failure};
use crate::export::Provenance;
use crate::failure::{Failure, OrFail};

/// What the run measured, and the sha256 of the file that says so.
pub(super) struct Evaluation {
    pub(super) sha256: String,
    pub(super) report: EvaluationReport,
}

impl Evaluation {
    /// The evaluation of the survivor, if there is one: a run that went on after it has another.
    pub(super) async fn of(
        context: &Context,
        survivor: &Survivor,
    ) -> Result<Option<Self>, Failure> {
        let key = context.paths.evaluation();
        let bytes = context.store.get_if_exists(&key).await;
        let Some(bytes) = bytes.map_err(store_failure)? else {
            return Ok(None);
        };
        let report: EvaluationReport = serde_json::from_slice(&bytes)
            .or_fail(ExitCode::BadData, format!("failed to read {key}"))?;
        let sha256 = digest_bytes(&bytes).sha256;
        let evaluation = Self { sha256, report };
        Ok(Some(evaluation).filter(|found| found.report.pruned.parameters == survivor.parameters))
    }
}

/// Where the survivor comes from.
pub(super) async fn provenance(
    context: &Context,
    plan: &Plan,
    database: String,
    target: TargetSpec,
    problem: &Problem,
    found: &Found,
) -> Result<Provenance, Failure> {
    let ledger = Ledger::new(&context.store, &context.paths);
    let mut devices = BTreeSet::new();
    for generation in 1..=found.generation {
        let cost = ledger.cost(generation).await.map_err(store_failure)?;
        devices.extend(cost.devices());
    }
    let run = &context.spec.run;
    Ok(Provenance {
        run: format!("{}.{}", run.namespace, run.name),
        ledger: found.digest,
        generations: found.generation,
        seed: problem.seed,
        target,
        database,
        database_manifest: problem.pins.level_database,
        plan: plan.clone(),
        devices,
        runner: env!("CARGO_PKG_VERSION"),
    })
}
