//! The latency half of `evaluate`: dense and survivor on one workload, in turn.

use darwinlm_task::{
    EvaluationReport, ExitCode, LatencyReport, LatencyWorkload, Memory, ModelLatency, Spread,
};
use tch::Tensor;
use tokio::task::block_in_place;

use super::super::compute::Prepared;
use super::super::context::Context;
use crate::device;
use crate::failure::{Failure, OrFail};
use crate::latency::{LatencyError, PAIRS, Pass, compare, median};
use crate::model::{DenseModel, Model, ModelConfig};
use crate::tokens::Sequences;

/// Checks that the model can hold the workload.
///
/// # Errors
/// Exit code 78, naming the fields.
pub(in crate::command) fn check(
    workload: LatencyWorkload,
    config: &ModelConfig,
) -> Result<(), Failure> {
    let LatencyWorkload {
        batch,
        prompt_tokens,
        new_tokens,
    } = workload;
    let tokens = i64::from(prompt_tokens) + i64::from(new_tokens);
    if batch == 0 || prompt_tokens == 0 || tokens > config.max_positions {
        return Err(Failure::new(
            ExitCode::BadSpec,
            format!(
                "spec.evaluation.latency asks for {batch} sequences of promptTokens {prompt_tokens} \
                 and newTokens {new_tokens}; at least 1, at least 1 and together at most the model's \
                 context (max_position_embeddings), {}, are accepted",
                config.max_positions
            ),
        ));
    }
    Ok(())
}

/// Whether an evaluation that was stored earlier holds what is asked for now.
pub(super) fn holds(asked: Option<LatencyWorkload>, stored: &EvaluationReport) -> bool {
    let found = stored.latency.as_ref().map(|latency| latency.workload);
    asked.is_none() || asked == found
}

/// `None` when told to stop.
pub(super) fn measure(
    context: &Context,
    prepared: &Prepared,
    dense: &DenseModel,
    pruned: &Model,
    tokens: &Sequences,
    workload: LatencyWorkload,
) -> Result<Option<LatencyReport>, Failure> {
    let prompts_BT = prompts(tokens, workload, prepared.device);
    let models = [&dense.model, pruned];
    let compared = block_in_place(|| {
        let hear = |done, total| context.reporter.progress(done, total, "pairs");
        let flag = &context.stop.flag;
        compare(models, &prompts_BT, workload.new_tokens, flag, hear)
    });
    let pairs = match compared {
        Err(LatencyError::Cancelled) => return Ok(None),
        other => other.or_fail(ExitCode::Bug, "failed to measure latency")?,
    };
    let of = |at: usize| pairs.iter().map(|pair| pair[at]).collect::<Vec<Pass>>();
    let percent = |[dense, pruned]: &[Pass; 2]| dense.total() * 100 / pruned.total().max(1);
    Ok(Some(LatencyReport {
        workload,
        pairs: PAIRS,
        device: device::name(prepared.device),
        dense: figures(&dense.model, &of(0), workload),
        pruned: figures(pruned, &of(1), workload),
        speedup_percent: spread(&pairs.iter().map(percent).collect::<Vec<_>>()),
    }))
}

/// Tokens of the slice one after the other, from the start again where there are too few [B, T].
fn prompts(tokens: &Sequences, workload: LatencyWorkload, device: tch::Device) -> Tensor {
    let wanted = workload.batch as usize * workload.prompt_tokens as usize;
    let all = (0..tokens.count()).flat_map(|sequence| tokens.sequence(sequence));
    let ids: Vec<i64> = all.cycle().take(wanted).map(|&id| i64::from(id)).collect();
    Tensor::from_slice(&ids)
        .view([i64::from(workload.batch), i64::from(workload.prompt_tokens)])
        .to_device(device)
}

fn figures(model: &Model, passes: &[Pass], workload: LatencyWorkload) -> ModelLatency {
    let prompt: Vec<u64> = passes.iter().map(|pass| pass.prompt).collect();
    let news = u64::from(workload.new_tokens);
    let token: Vec<u64> = match news {
        0 => Vec::new(),
        _ => passes.iter().map(|pass| pass.tokens / news).collect(),
    };
    let batch = u64::from(workload.batch);
    let read = batch * u64::from(workload.prompt_tokens);
    let are_any = !token.is_empty();
    ModelLatency {
        prompt_microseconds: spread(&microseconds(&prompt)),
        prompt_tokens_per_second: a_second(read, median(&prompt)),
        token_microseconds: are_any.then(|| spread(&microseconds(&token))),
        new_tokens_per_second: are_any.then(|| a_second(batch, median(&token))),
        memory: memory(model, passes),
    }
}

fn microseconds(nanoseconds: &[u64]) -> Vec<u64> {
    let rounded = nanoseconds.iter().map(|time| (time + 500) / 1000);
    rounded.collect()
}

/// Tokens in a second as a decimal number.
fn a_second(tokens: u64, nanoseconds: u64) -> String {
    format!("{:.1}", tokens as f64 * 1e9 / nanoseconds.max(1) as f64)
}

/// The largest of all passes.
fn memory(model: &Model, passes: &[Pass]) -> Memory {
    let weights = model.bytes();
    let peaks: Option<Vec<u64>> = passes.iter().map(|pass| pass.peak_bytes).collect();
    match peaks.and_then(|peaks| peaks.into_iter().max()) {
        Some(peak) => Memory::AllocatorPeak {
            bytes: weights + peak,
        },
        None => {
            let cache = passes.iter().map(|pass| pass.cache_bytes).max();
            Memory::WeightsAndCache {
                bytes: weights + cache.unwrap_or_default(),
            }
        }
    }
}

fn spread(figures: &[u64]) -> Spread {
    Spread {
        median: median(figures),
        least: figures.iter().copied().min().unwrap_or_default(),
        most: figures.iter().copied().max().unwrap_or_default(),
    }
}
