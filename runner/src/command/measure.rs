//! `measure`: the table of latencies that ladders and speed-up budgets are made from.

use darwinlm_search::{PerKind, Shape};
use darwinlm_store::Store;
use darwinlm_task::paths::RunPaths;
use darwinlm_task::{
    ExitCode, FailureReason, ForwardPass, LATENCY_VERSION, LatencyRecord, MeasuredReport,
    PruningSpec, StoredLatency, TargetSpec, TokenSlice, paths,
};
use serde_json::json;
use tokio::task::block_in_place;

use super::compute::{Prepared, ladders};
use super::context::{Context, Ended, store_failure};
use super::prepare::digest_of;
use super::target;
use crate::device;
use crate::failure::{Failure, OrFail};
use crate::latency::{LatencyError, Modules, ROUNDS, sizes, time_modules};
use crate::model::DenseModel;
use crate::tokens::Sequences;

/// The table of latencies that a run is made from.
pub(super) struct Latency {
    pub(super) digest: String,
    /// sha256 of the stored file, as hex.
    pub(super) sha256: String,
    pub(super) stored: StoredLatency,
}

impl Latency {
    /// Reads what `measure` has left.
    pub(super) async fn read(store: &Store, of: &RunPaths) -> Result<Self, Failure> {
        let key = of.latency();
        let LatencyRecord { digest, sha256 } = store.get_json(&key).await.map_err(store_failure)?;
        let key = paths::latency(&digest);
        let bytes = store.read_verified(&key, &sha256).await;
        let doing = || format!("failed to read {key}");
        let stored: StoredLatency = serde_json::from_slice(&bytes.map_err(store_failure)?)
            .or_fail(ExitCode::BadData, doing())?;
        if stored.version != LATENCY_VERSION {
            let found = stored.version;
            let found = format!("its version is {found}; accepted: {LATENCY_VERSION}");
            return Err(Failure::new(
                ExitCode::BadData,
                format!("{}: {found}", doing()),
            ));
        }
        Ok(Self {
            digest,
            sha256,
            stored,
        })
    }
}

/// Times the modules, unless the run has a table already, and checks the target against it.
///
/// The first table that is stored for a model, numerics, device and sizes stays; so does the first
/// that the run names. Everything later is made from what is stored.
pub(super) async fn task(
    context: &Context,
    pruning: &PruningSpec,
    target: TargetSpec,
) -> Result<Ended, Failure> {
    let prepared = Prepared::open(context).await?;
    let (found, planned) = (prepared.device_class, prepared.numerics().device_class);
    if found != planned {
        // The first table decides ladders and budget for good.
        let message = format!("measure works on {found:?}; the run was planned for {planned:?}");
        let reason = FailureReason::DeviceUnusable.as_str();
        return Err(Failure::because(ExitCode::BadSpec, reason, message));
    }
    let dense = prepared.dense(context).await?;
    let shape = dense.config.shape(pruning.attention_unit);
    let key = context.paths.latency();
    if !store_knows(context, &key).await? {
        let sizes = wanted(&shape, pruning)?;
        let Some(record) = find_or_measure(context, &prepared, &dense, &shape, &sizes).await?
        else {
            return Ok(Ended::Stopped);
        };
        let settled = context.store.put_json_create(&key, &record).await;
        settled.map_err(store_failure)?;
    }
    let latency = Latency::read(&context.store, &context.paths).await?;
    let table = Some(&latency.stored.table);
    let ladders = ladders(&shape, pruning, table)?;
    target::check(&shape, &ladders, table, target)?;
    report(context, &shape, &latency)
}

async fn store_knows(context: &Context, key: &str) -> Result<bool, Failure> {
    context.store.exists(key).await.map_err(store_failure)
}

/// The sizes of each kind to time.
fn wanted(shape: &Shape, pruning: &PruningSpec) -> Result<PerKind<Vec<u32>>, Failure> {
    if pruning.spacing.is_measured() {
        return Ok(sizes(shape, pruning.mlp_granularity));
    }
    let ladders = ladders(shape, pruning, None)?;
    Ok(PerKind::of(|kind| ladders[kind].as_slice().to_vec()))
}

/// `None` when told to stop.
async fn find_or_measure(
    context: &Context,
    prepared: &Prepared,
    dense: &DenseModel,
    shape: &Shape,
    sizes: &PerKind<Vec<u32>>,
) -> Result<Option<LatencyRecord>, Failure> {
    let workload = ForwardPass {
        sequences: prepared.numerics().micro_batch_sequences,
        sequence_length: prepared.plan.calibration.sequence_length,
    };
    let device = device::name(prepared.device);
    let digest = digest_of(&json!({
        "version": LATENCY_VERSION,
        "model": prepared.plan.model,
        "numerics": prepared.numerics(),
        "device": device,
        "workload": workload,
        "attentionUnit": shape.attention_unit,
        "sizes": sizes,
        "rounds": ROUNDS,
        "runner": env!("CARGO_PKG_VERSION"),
        // a device without a name is taken for nobody else's
        "run": (device == device::UNKNOWN).then(|| context.paths.prefix()),
    }));
    let key = paths::latency(&digest);
    context.uses(&key).await?;
    if !store_knows(context, &key).await? {
        let calibration = prepared.sequences(context, TokenSlice::Calibration, dense);
        let tokens_BT = batch(&calibration.await?, workload, prepared.device);
        context.timesheet.computing();
        let timed = block_in_place(|| {
            let hear = |done, total| context.reporter.progress(done, total, "times");
            time_modules(dense, shape, sizes, &tokens_BT, &context.stop.flag, hear)
        });
        let Modules {
            table,
            whole_nanoseconds,
        } = match timed {
            Err(LatencyError::Cancelled) => return Ok(None),
            other => other.or_fail(ExitCode::Bug, "failed to time the modules")?,
        };
        let stored = StoredLatency {
            version: LATENCY_VERSION,
            model: prepared.plan.model.clone(),
            numerics: *prepared.numerics(),
            device,
            workload,
            attention_unit: shape.attention_unit,
            rounds: ROUNDS,
            whole_nanoseconds,
            table,
        };
        let settled = context.store.put_json_create(&key, &stored).await;
        if settled.map_err(store_failure)?.ours {
            context.timesheet.kept();
        }
    }
    let bytes = context.store.get(&key).await.map_err(store_failure)?;
    let sha256 = darwinlm_store::digest_bytes(&bytes).sha256;
    Ok(Some(LatencyRecord { digest, sha256 }))
}

/// The first sequences, again from the start where there are too few.
fn batch(tokens: &Sequences, workload: ForwardPass, device: tch::Device) -> tch::Tensor {
    let sequences: Vec<u32> = (0..workload.sequences)
        .map(|sequence| sequence % tokens.count())
        .collect();
    tokens.batch(&sequences, workload.sequence_length, device)
}

fn report(context: &Context, shape: &Shape, latency: &Latency) -> Result<Ended, Failure> {
    context.reporter.update(|report| {
        report.measured = Some(MeasuredReport {
            digest: latency.digest.clone(),
            device: latency.stored.device.clone(),
            dense_nanoseconds: latency.stored.table.dense(shape.blocks),
        });
    });
    Ok(Ended::Done)
}
