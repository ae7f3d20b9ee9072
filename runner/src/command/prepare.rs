//! `prepare`: fetches and checks the model and the data, tokenises, fixes the numerics plan.

mod again;
mod model;
mod texts;
mod tokens;

use darwinlm_search::{ModuleKind, Shape};
use darwinlm_store::{digest_bytes, guard_run};
use darwinlm_task::{
    DataSpec, DeviceRequest, ExitCode, LatencyWorkload, ModelReport, NumericsPlan, Plan,
    PreparedReport, PruningSpec, TargetSpec,
};
use serde_json::json;

use self::model::Model;
use super::compute::ladders;
use super::context::{Context, Ended, store_failure};
use super::evaluate::latency;
use super::target;
use crate::device;
use crate::failure::Failure;
use crate::model::ModelConfig;
use crate::sources::{Fetcher, SourceError, Variables};

/// What a run asks for, as far as it can be checked here.
pub(super) struct Asked<'a> {
    pub(super) model: &'a str,
    pub(super) data: &'a DataSpec,
    pub(super) pruning: &'a PruningSpec,
    pub(super) target: TargetSpec,
    pub(super) threads: Option<u32>,
    /// What is timed at the end of the run.
    pub(super) latency: Option<LatencyWorkload>,
}

/// Does the task.
pub(super) async fn prepare(
    context: &Context,
    asked: &Asked<'_>,
    search_digest: &str,
) -> Result<Ended, Failure> {
    let Asked {
        model,
        data,
        pruning,
        target,
        threads,
        latency: workload,
    } = *asked;
    guard_run(&context.store, &context.paths, search_digest)
        .await
        .map_err(store_failure)?;
    let numerics = plan_numerics(context.spec.device, threads)?;
    device::set_threads(numerics.threads);

    if let Some((plan, shape)) = again::find(context, asked, &numerics).await? {
        report(context, &plan, &shape);
        return Ok(Ended::Done);
    }
    let tell = |done, total| context.reporter.progress(done, total, "bytes");
    let fetcher = Fetcher {
        variables: Variables::of_this_process(),
        scratch: context.cache.join("sources"),
        tell: &tell,
    };
    let model = Model::open(context, model, &fetcher).await?;
    check_length(data, &model.config)?;
    // Found only by `evaluate`, it would end a run that has searched for days.
    if let Some(workload) = workload {
        latency::check(workload, &model.config)?;
    }
    let shape = model.config.shape(pruning.attention_unit);
    let dense_parameters = dense_parameters(&shape);
    // What counts in latency is checked by `measure`, which is the first to know any.
    if !pruning.spacing.is_measured() && !target.is_measured() {
        target::check(&shape, &ladders(&shape, pruning, None)?, None, target)?;
    }
    model.check_weights(device::kind(numerics.dtype))?;
    model.keep(context).await?;
    let tokens = tokens::make(context, data, &model, &fetcher).await?;

    let [calibration, training, fitness, validation] = tokens.slices;
    let plan = Plan {
        version: darwinlm_task::VERSION,
        model: model.digest,
        fetched: model.fetched.into_iter().chain(tokens.fetched).collect(),
        tokens: tokens.digest,
        calibration,
        training,
        fitness,
        validation,
        dense_parameters,
        numerics,
    };
    keep_plan(context, &plan).await?;
    report(context, &plan, &shape);
    // The store has it all now. What cannot be removed here goes with the pod or its folder.
    let _ = std::fs::remove_dir_all(&fetcher.scratch);
    Ok(Ended::Done)
}

fn report(context: &Context, plan: &Plan, shape: &Shape) {
    context.reporter.update(|report| {
        report.prepared = Some(PreparedReport {
            model: ModelReport {
                digest: plan.model.clone(),
                blocks: shape.blocks,
                parameters: plan.dense_parameters,
            },
            tokens: plan.tokens.clone(),
        });
    });
}

/// The failure of a source, by the field that names it.
pub(super) fn source_failure(field: &str, error: SourceError) -> Failure {
    let code = error.exit_code();
    Failure::new(code, format!("{field}: {error}"))
}

fn dense_parameters(shape: &Shape) -> u64 {
    let of_kind = |kind| shape.parameters_at(kind, shape.units(kind));
    let of_block: u64 = ModuleKind::ALL.into_iter().map(of_kind).sum();
    shape.fixed_parameters() + u64::from(shape.blocks) * of_block
}

/// The device class comes from what was asked for: `prepare` itself may run without the device.
fn plan_numerics(device: DeviceRequest, threads: Option<u32>) -> Result<NumericsPlan, Failure> {
    let threads = threads.unwrap_or(NumericsPlan::DEFAULT_THREADS);
    if threads == 0 {
        return Err(Failure::new(
            ExitCode::BadSpec,
            "threads is 0; accepted: 1 or more",
        ));
    }
    Ok(match device {
        DeviceRequest::Cpu => NumericsPlan::cpu(threads),
        DeviceRequest::Cuda => NumericsPlan::cuda(threads),
        DeviceRequest::Auto if device::cuda().is_ok() => NumericsPlan::cuda(threads),
        DeviceRequest::Auto => NumericsPlan::cpu(threads),
    })
}

fn check_length(data: &DataSpec, config: &ModelConfig) -> Result<(), Failure> {
    let asked = i64::from(data.sequence_length);
    if asked > config.max_positions {
        return Err(Failure::new(
            ExitCode::BadSpec,
            format!(
                "spec.data.calibration.sequenceLength is {asked}; the model's context \
                 (max_position_embeddings) is {}",
                config.max_positions
            ),
        ));
    }
    Ok(())
}

/// Writes `plan.json`, or finds the same plan there.
async fn keep_plan(context: &Context, plan: &Plan) -> Result<(), Failure> {
    let key = context.paths.plan();
    let settled = context
        .store
        .put_json_create(&key, plan)
        .await
        .map_err(store_failure)?;
    if settled.ours {
        return Ok(());
    }
    Err(other_inputs(
        context,
        &String::from_utf8_lossy(&settled.stored),
        &json!(plan).to_string(),
    ))
}

/// The run was prepared before, from something else.
fn other_inputs(context: &Context, stored: &str, ours: &str) -> Failure {
    let (key, store) = (context.paths.plan(), context.store.url());
    Failure::new(
        ExitCode::BadSpec,
        format!(
            "{key} in {store} was made from other inputs: it holds {stored}, this run makes {ours}. \
             Put the model, the data, the worker's device, its CPU limit and the runner's version \
             back as they were, or use another run name"
        ),
    )
}

/// sha256 of a JSON value's compact text, as hex. Only values made here are digested, whose keys
/// are written in one order.
pub(super) fn digest_of(value: &serde_json::Value) -> String {
    digest_bytes(value.to_string().as_bytes()).sha256
}
