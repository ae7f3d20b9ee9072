//! One open trial from a claim to a stored result.

use darwinlm_search::{Trial, TrialId};
use futures::future::try_join_all;

use super::{EXCEPTIONS_PER_TRIAL, Looked, Ran, TrialError, WorkError, Worker, stopped};
use crate::{Claim, Claimed, TrialResult};

impl Worker<'_> {
    /// Tells the search what is known of its open trials, and computes one that is free.
    pub(super) async fn look(&mut self) -> Result<Looked, WorkError> {
        let mut trials = self.search.ask();
        if !trials.is_empty() {
            let begin = self.offset % trials.len();
            trials.rotate_left(begin);
        }
        let follows = self.search.digest();
        let reads = trials
            .iter()
            .map(|trial| self.results.get(trial.id, follows));
        let mut looked = Looked::Idle;
        for result in try_join_all(reads).await?.into_iter().flatten() {
            self.tell(&result).await?;
            looked = Looked::Moved;
        }
        if let Looked::Moved = looked {
            return Ok(looked);
        }
        for trial in trials {
            let subject = trial.id.to_string();
            match self.claims.claim(&subject, EXCEPTIONS_PER_TRIAL).await? {
                Claimed::Held => {}
                Claimed::Failed { messages } => return Err(WorkError::trial(subject, messages)),
                Claimed::Mine(claim) => return self.compute(trial, claim).await,
            }
        }
        Ok(looked)
    }

    /// Computes a trial under a claim and stores its result.
    async fn compute(&mut self, trial: Trial, claim: Claim) -> Result<Looked, WorkError> {
        let id = trial.id;
        // The owner before may have finished between our look and our claim.
        if let Some(result) = self.results.get(id, self.search.digest()).await? {
            claim.finish().await;
            self.tell(&result).await?;
            return Ok(Looked::Moved);
        }
        self.timesheet.claimed(claim.attempt());
        self.timesheet.computing();
        let ran = tokio::select! {
            // First: a runner that was told to stop may answer with an exception that is none.
            biased;
            () = stopped(self.options.stop.clone()) => None,
            ran = self.runner.run(trial) => Some(ran),
        };
        match ran {
            None => {
                self.timesheet.waiting();
                claim.release().await;
                Ok(Looked::Stopped)
            }
            Some(Ok(ran)) => {
                self.keep(id, ran, &claim).await?;
                claim.finish().await;
                Ok(Looked::Moved)
            }
            Some(Err(TrialError::OutOfMemory { message })) => {
                self.timesheet.waiting();
                claim.release().await;
                Err(WorkError::OutOfMemory {
                    subject: id.to_string(),
                    message,
                })
            }
            Some(Err(TrialError::Exception { message })) => {
                tracing::warn!(trial = %id, attempt = claim.attempt(), message, "A trial raised an exception.");
                self.timesheet.exception();
                claim.fail(&message).await;
                // Idle: a pause before the next attempt, which may well be another worker's.
                Ok(Looked::Idle)
            }
        }
    }

    async fn keep(&mut self, trial: TrialId, ran: Ran, claim: &Claim) -> Result<(), WorkError> {
        let Ran {
            outcome,
            tokens_trained,
            tokens_scored,
            seconds,
            device_class,
        } = ran;
        let result = TrialResult {
            trial,
            follows: self.search.digest(),
            outcome,
            attempt: claim.attempt(),
            token: claim.token().to_owned(),
            worker: self.options.worker.clone(),
            device: device_class,
            milliseconds: whole_milliseconds(seconds),
            tokens_trained,
            tokens_scored,
        };
        let (stored, ours) = self.results.put(&result).await?;
        if !ours {
            claim.was_lost();
        }
        self.timesheet.ran(&result, ours);
        self.tell(&stored).await
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates"
)]
fn whole_milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}
