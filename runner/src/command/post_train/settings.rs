//! From the spec to numbers and to the order of the sequences.

use darwinlm_search::{Minibatch, Optimizer, Purpose, Stream};
use darwinlm_task::{ExitCode, NumericsPlan, PostTrainingSpec};

use crate::failure::{Failure, OrFail};
use crate::tokens::Sequences;
use crate::train::{AdamWSettings, LearningRate, PostTrainingSettings, TrainSettings};

/// The pool in sequences of the length asked for, and how to train on it.
///
/// # Errors
/// Exit code 78, naming the field, what it holds and what would be accepted.
pub(super) fn settings(
    training: &PostTrainingSpec,
    numerics: &NumericsPlan,
    pool: &Sequences,
) -> Result<(Sequences, PostTrainingSettings), Failure> {
    let PostTrainingSpec {
        tokens,
        sequence_length,
        batch_sequences,
        learning_rate,
        warmup_percent,
        final_learning_rate_percent,
        weight_decay,
        gradient_norm,
        distillation_percent,
        checkpoint_every_tokens: _,
    } = training;
    let longest = pool.length();
    if *sequence_length > longest {
        return Err(wrong(
            "sequenceLength",
            sequence_length,
            &format!("at most data.calibration.sequenceLength, {longest}"),
        ));
    }
    for (field, found) in [
        ("warmupPercent", warmup_percent),
        ("finalLearningRatePercent", final_learning_rate_percent),
        ("distillationPercent", distillation_percent),
    ] {
        if *found > 100 {
            return Err(wrong(field, found, "0 to 100"));
        }
    }
    let optimizer = Optimizer {
        learning_rate: learning_rate.clone(),
        weight_decay: weight_decay.clone(),
        batch_sequences: *batch_sequences,
    };
    let number = "spec.postTraining";
    let peak = optimizer
        .learning_rate()
        .or_fail(ExitCode::BadSpec, number)?;
    let decay = optimizer
        .weight_decay()
        .or_fail(ExitCode::BadSpec, number)?;
    let norm: f64 = gradient_norm.parse().unwrap_or(f64::NAN);
    if !(norm > 0.0 && norm.is_finite()) {
        return Err(wrong(
            "gradientNorm",
            gradient_norm,
            "a positive decimal number",
        ));
    }
    let pool = pool.shortened(*sequence_length);
    let sequences = tokens.div_ceil(u64::from(pool.length()));
    let steps = sequences.div_ceil(u64::from((*batch_sequences).max(1)));
    let settings = PostTrainingSettings {
        train: TrainSettings {
            adamw: AdamWSettings::new(peak, decay),
            batch_sequences: *batch_sequences,
            micro_batch_sequences: numerics.micro_batch_sequences,
            logit_chunk_tokens: numerics.logit_chunk_tokens,
        },
        rate: LearningRate {
            peak,
            last: f64::from(*final_learning_rate_percent) / 100.0,
            warmup: (steps * u64::from(*warmup_percent)).div_ceil(100),
            steps,
        },
        gradient_norm: norm,
    };
    Ok((pool, settings))
}

/// The sequences of all steps, in order: the whole pool before any of it again.
pub(super) fn order(training: &PostTrainingSpec, pool: &Sequences, seed: u64) -> Minibatch {
    let mut stream = Stream::new(seed, 0, 0, Purpose::PostTraining);
    pool.pool().draw(training.tokens, &mut stream)
}

fn wrong(field: &str, found: impl std::fmt::Display, accepted: &str) -> Failure {
    Failure::new(
        ExitCode::BadSpec,
        format!("spec.postTraining.{field} is {found}; accepted: {accepted}"),
    )
}
