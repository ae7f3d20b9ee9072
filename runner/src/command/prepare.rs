//! `prepare`: fetches and checks the model and the data, tokenises, fixes the numerics plan.

mod model;
mod tokens;

use darwinlm_search::{AttentionUnit, ModuleKind};
use darwinlm_store::{digest_bytes, guard_run};
use darwinlm_task::{
    DataSpec, DeviceRequest, ExitCode, ModelReport, NumericsPlan, Plan, PreparedReport,
};
use serde_json::json;

use self::model::Model;
use super::work::{Context, Ended, store_failure};
use crate::device;
use crate::failure::Failure;
use crate::model::ModelConfig;

pub(super) async fn prepare(
    context: &Context,
    model: &str,
    data: &DataSpec,
    threads: Option<u32>,
    search_digest: &str,
) -> Result<Ended, Failure> {
    guard_run(&context.store, &context.paths, search_digest)
        .await
        .map_err(store_failure)?;
    let numerics = plan_numerics(context.spec.device, threads)?;
    device::set_threads(numerics.threads);

    let model = Model::open(context, model).await?;
    check_length(data, &model.config)?;
    model.check_weights(device::kind(numerics.dtype))?;
    model.keep(context).await?;
    let tokens = tokens::make(context, data, &model).await?;

    let shape = model.config.shape(AttentionUnit::QueryHead);
    let blocks = u64::from(shape.blocks);
    let dense_parameters = shape.fixed_parameters()
        + blocks
            * [ModuleKind::Attention, ModuleKind::Mlp]
                .map(|kind| shape.parameters_at(kind, shape.units(kind)))
                .iter()
                .sum::<u64>();
    let [calibration, training, fitness, validation] = tokens.slices;
    let plan = Plan {
        version: darwinlm_task::VERSION,
        model: model.digest.clone(),
        tokens: tokens.digest.clone(),
        calibration,
        training,
        fitness,
        validation,
        dense_parameters,
        numerics,
    };
    keep_plan(context, &plan).await?;
    context.reporter.update(|report| {
        report.prepared = Some(PreparedReport {
            model: ModelReport {
                digest: model.digest,
                blocks: shape.blocks,
                parameters: dense_parameters,
            },
            tokens: tokens.digest,
        });
    });
    Ok(Ended::Done)
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
    Err(Failure::new(
        ExitCode::BadSpec,
        format!(
            "{key} in {} was made from other inputs: it holds {}, this run makes {}. Put the \
             model, the data, the worker's device and its CPU limit back as they were, or use \
             another run name",
            context.store.url(),
            String::from_utf8_lossy(&settled.stored),
            json!(plan)
        ),
    ))
}

/// sha256 of a JSON value's compact text, as hex. Only values made here are digested, whose keys
/// are written in one order.
pub(super) fn digest_of(value: &serde_json::Value) -> String {
    digest_bytes(value.to_string().as_bytes()).sha256
}
