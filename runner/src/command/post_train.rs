//! `post-train`: trains the survivor, checkpoint by checkpoint, and leaves its weights.

mod checkpoints;
mod settings;
mod trained;

use std::time::Duration;

use darwinlm_store::{Claim, Claimed, Claims};
use darwinlm_task::{
    ExitCode, FailureReason, PostTrainingSpec, PruningSpec, SearchSettings, TargetSpec, TokenSlice,
    TrainingReport,
};
use tokio::task::block_in_place;

use self::checkpoints::Checkpoints;
use self::settings::{order, settings};
use super::compute::Prepared;
use super::context::{Context, Ended, store_failure};
use super::search::{Found, found, problem};
use crate::failure::{Failure, OrFail, caught};
use crate::stitch::stitch;
use crate::train::{Distillation, PostTraining, TrainError};

pub(super) use trained::{open_trained, training_digest};

/// Training that raised an exception so often is a bug; see the store's claims.
const EXCEPTIONS: usize = 3;

/// How often a second worker looks whether the first is done.
const POLL: Duration = Duration::from_millis(500);

/// Trains the survivor unless its trained weights are there; goes on from the newest checkpoint.
///
/// A Job has one worker. When its pod is replaced while it still computes somewhere, the claim lets
/// only one of them train.
pub(super) async fn task(
    context: &Context,
    pruning: &PruningSpec,
    target: TargetSpec,
    search: &SearchSettings,
    training: &PostTrainingSpec,
) -> Result<Ended, Failure> {
    let prepared = Prepared::open(context).await?;
    let folder = prepared.database_folder(context, pruning).await?;
    let about = folder.about().map_err(store_failure)?;
    let problem = problem(&prepared, &about, &folder, target, search)?;
    let found = found(context, &problem).await?;
    let digest = training_digest(&prepared, &found, training);
    let job = Training {
        context,
        prepared,
        pruning,
        seed: problem.seed,
        found,
        training,
        checkpoints: Checkpoints::new(context, &digest),
    };
    let subject = format!("post-train-{digest}");
    let mut claims = Claims::new(
        &context.store,
        context.paths.prefix(),
        &context.worker,
        context.times,
    );
    loop {
        if let Some((losses, key)) = job.checkpoints.trained().await? {
            job.checkpoints.sweep(u64::MAX).await?;
            job.say(training.tokens, losses.last(), Some(key));
            return Ok(Ended::Done);
        }
        if *context.stop.watch.borrow() {
            return Ok(Ended::Stopped);
        }
        match claims.claim(&subject, EXCEPTIONS).await {
            Ok(Claimed::Mine(claim)) => {
                // the owner before may have finished between our look and our claim
                let ended = match job.checkpoints.trained().await? {
                    Some(_) => Ok(Ended::Done),
                    None => caught(job.train(&claim)).await,
                };
                if let Some(stopped) = conclude(claim, ended).await? {
                    return Ok(stopped);
                }
            }
            Ok(Claimed::Held) => {
                context.timesheet.waiting();
                tokio::time::sleep(POLL).await;
            }
            Ok(Claimed::Failed { messages }) => {
                let last = messages.last().map_or("", String::as_str);
                let message = format!("post-training failed {EXCEPTIONS} times: {last}");
                return Err(Failure::new(ExitCode::Bug, message));
            }
            Err(error) => return Err(store_failure(error)),
        }
    }
}

/// Ends a claim as its work ended; `None` when the weights are there.
async fn conclude(claim: Claim, ended: Result<Ended, Failure>) -> Result<Option<Ended>, Failure> {
    match ended {
        Ok(Ended::Done) => {
            claim.finish().await;
            Ok(None)
        }
        Ok(stopped @ (Ended::Stopped | Ended::BudgetSpent)) => {
            claim.release().await;
            Ok(Some(stopped))
        }
        Err(failure) => {
            match failure.code {
                ExitCode::Bug => claim.fail(&failure.to_string()).await,
                _ => claim.release().await,
            }
            Err(failure)
        }
    }
}

struct Training<'a> {
    context: &'a Context,
    prepared: Prepared,
    pruning: &'a PruningSpec,
    seed: u64,
    found: Found,
    training: &'a PostTrainingSpec,
    checkpoints: Checkpoints<'a>,
}

impl Training<'_> {
    /// Takes every step that is left.
    async fn train(&self, claim: &Claim) -> Result<Ended, Failure> {
        let Self {
            context, prepared, ..
        } = self;
        let (database, _) = prepared.database(context, self.pruning).await?;
        let dense = prepared.dense(context).await?;
        let survivor = block_in_place(|| stitch(&dense, &database, &self.found.survivor.genome))
            .or_fail(ExitCode::BadData, "failed to assemble the survivor")?;
        let pool = prepared
            .sequences(context, TokenSlice::Training, &dense)
            .await?;
        let (pool, settings) = settings(self.training, prepared.numerics(), &pool)?;
        let order = order(self.training, &pool, self.seed);
        let share = f64::from(self.training.distillation_percent) / 100.0;
        // its memory is wanted for what is trained, unless it teaches
        let dense = (share > 0.0).then_some(dense.model);
        let teacher = dense.as_ref().map(|dense| Distillation { dense, share });
        let mut run = block_in_place(|| {
            PostTraining::new(survivor, settings, &pool, &order, teacher)
                .or_fail(ExitCode::Bug, "failed to start training")
        })?;
        let mut newest = self.checkpoints.resume(&mut run).await?;
        let mut unsaved = 0;
        context.timesheet.computing();
        self.say(run.tokens(), run.losses().last(), newest.clone());
        while !run.is_done() {
            let taken = match block_in_place(|| run.step(&context.stop.flag)) {
                Err(TrainError::Cancelled) => return Ok(Ended::Stopped),
                other => other.map_err(failure)?,
            };
            context.metrics.trained(taken);
            unsaved += taken.tokens;
            if unsaved >= self.training.checkpoint_every_tokens && !run.is_done() {
                if claim.is_lost().await.map_err(store_failure)? {
                    return Ok(self.lost());
                }
                newest = Some(self.checkpoints.write(&run).await?);
                context.timesheet.kept();
                context.timesheet.computing();
                unsaved = 0;
            }
            self.say(run.tokens(), run.losses().last(), newest.clone());
        }
        if claim.is_lost().await.map_err(store_failure)? {
            return Ok(self.lost());
        }
        self.checkpoints.finish(&run, self.found.digest).await?;
        context.timesheet.kept();
        Ok(Ended::Done)
    }

    /// Another worker trains: this one must not write beside it.
    fn lost(&self) -> Ended {
        tracing::warn!("the claim was retaken while this worker stood still; it leaves");
        Ended::Stopped
    }

    /// Says how far the training is.
    fn say(&self, tokens: u64, loss: Option<&f64>, checkpoint: Option<String>) {
        let total = self.training.tokens;
        let report = TrainingReport {
            tokens,
            total_tokens: total,
            loss: loss.map(|loss| format!("{loss:.6}")),
            checkpoint,
        };
        self.context
            .reporter
            .update(|whole| whole.training = Some(report));
        self.context
            .reporter
            .progress(tokens, total, "training tokens");
    }
}

/// What an error of training means to the user.
fn failure(error: TrainError) -> Failure {
    match error {
        TrainError::NonFinite { .. } => Failure::because(
            ExitCode::BadSpec,
            FailureReason::NonFinite.as_str(),
            format!(
                "post-training: {error}; in another run, a lower spec.postTraining.learningRate or \
                 gradientNorm may do"
            ),
        ),
        // a full or broken disk, as likely as not: nothing that is wrong with the training
        TrainError::Weights(error) => Err::<(), _>(error)
            .or_fail(ExitCode::StoreUnavailable, "failed to keep a checkpoint")
            .expect_err("it is an error"),
        error => Err::<(), _>(error)
            .or_fail(ExitCode::Bug, "failed to train")
            .expect_err("it is an error"),
    }
}
