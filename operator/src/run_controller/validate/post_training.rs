//! How the survivor is trained after the search.

use darwinlm_api::{PostTraining, PruningRunSpec};
use darwinlm_search::Optimizer;
use darwinlm_task::PostTrainingSpec;

use super::{Rejection, at_least_one, tokens};

/// How often the training slice may be repeated: beyond a few times little is learnt (Muennighoff et
/// al., arXiv 2305.16264), beyond this a number was left at its default.
const MOST_PASSES: u64 = 100;

/// Checkpoints of a training that does not say how often it wants one.
const CHECKPOINTS: u64 = 20;

/// Checks how the survivor is trained, if it is.
pub(super) fn post_training(spec: &PruningRunSpec) -> Result<Option<PostTrainingSpec>, Rejection> {
    let Some(asked) = &spec.post_training else {
        return Ok(None);
    };
    let PostTraining {
        tokens: asked_tokens,
        learning_rate,
        warmup_percent,
        final_learning_rate_percent,
        weight_decay,
        gradient_norm,
        distillation_percent,
        batch_sequences,
        sequence_length,
        workers,
        checkpoint_every_tokens,
    } = asked;
    let field = |name: &str| format!("spec.postTraining.{name}");
    if *workers > 1 {
        return Err(Rejection::not_yet_supported(
            &format!("spec.postTraining.workers: {workers}"),
            "use 1",
        ));
    }
    let longest = at_least_one(
        "spec.data.calibration.sequenceLength",
        spec.data.calibration.sequence_length,
    )?;
    let sequence_length = match sequence_length {
        None => longest,
        Some(length) => at_least_one(&field("sequenceLength"), *length)?,
    };
    if sequence_length > longest {
        return Err(Rejection::invalid(
            &field("sequenceLength"),
            format_args!(
                "is {sequence_length}; at most spec.data.calibration.sequenceLength, {longest}, is \
                 accepted"
            ),
        ));
    }
    let asked_tokens = tokens(&field("tokens"), *asked_tokens, u64::from(sequence_length))?;
    let slice = tokens("spec.data.training.tokens", spec.data.training.tokens, 1)?;
    if asked_tokens.div_ceil(MOST_PASSES) > slice {
        return Err(Rejection::invalid(
            &field("tokens"),
            format_args!(
                "is {asked_tokens}; at most {MOST_PASSES} times spec.data.training.tokens, {slice}, \
                 is accepted"
            ),
        ));
    }
    let optimizer = Optimizer {
        learning_rate: learning_rate.clone(),
        weight_decay: weight_decay.clone(),
        batch_sequences: at_least_one(&field("batchSequences"), *batch_sequences)?,
    };
    optimizer
        .learning_rate()
        .and_then(|_| optimizer.weight_decay())
        .map_err(|error| Rejection::invalid("spec.postTraining:", error))?;
    if !gradient_norm
        .parse()
        .is_ok_and(|norm: f64| norm > 0.0 && norm.is_finite())
    {
        return Err(Rejection::invalid(
            &field("gradientNorm"),
            format_args!("is {gradient_norm:?}; a positive decimal number is accepted"),
        ));
    }
    Ok(Some(PostTrainingSpec {
        tokens: asked_tokens,
        sequence_length,
        batch_sequences: optimizer.batch_sequences,
        learning_rate: optimizer.learning_rate,
        warmup_percent: percent(&field("warmupPercent"), *warmup_percent)?,
        final_learning_rate_percent: percent(
            &field("finalLearningRatePercent"),
            *final_learning_rate_percent,
        )?,
        weight_decay: optimizer.weight_decay,
        gradient_norm: gradient_norm.clone(),
        distillation_percent: percent(&field("distillationPercent"), *distillation_percent)?,
        checkpoint_every_tokens: match checkpoint_every_tokens {
            None => asked_tokens.div_ceil(CHECKPOINTS),
            Some(every) => tokens(&field("checkpointEveryTokens"), *every, 1)?,
        },
    }))
}

fn percent(field: &str, found: i32) -> Result<u32, Rejection> {
    match u32::try_from(found) {
        Ok(percent) if percent <= 100 => Ok(percent),
        _ => Err(Rejection::invalid(
            field,
            format_args!("is {found}; 0 to 100 are accepted"),
        )),
    }
}
