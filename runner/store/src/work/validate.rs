//! Survivors on the validation slice: an extra that whichever worker claims it computes.

use darwinlm_search::Survivor;

use super::{EXCEPTIONS_PER_TRIAL, Looked, TrialError, WorkError, Worker, stopped};
use crate::{Claim, Claimed};

impl Worker<'_> {
    /// Validates the newest survivor, unless it is known or another worker is at it.
    pub(super) async fn validate_newest(&mut self) -> Result<Looked, WorkError> {
        match self.history.not_validated().into_iter().next() {
            Some(survivor) if survivor.genome == self.search.survivor().genome => {
                self.validate(survivor).await
            }
            _ => Ok(Looked::Moved),
        }
    }

    /// Validates every survivor that no worker has; waits for those that others are at, so that
    /// all workers end with the same report.
    pub(super) async fn validate_all(&mut self) -> Result<Looked, WorkError> {
        loop {
            let Some(survivor) = self.history.not_validated().into_iter().next() else {
                return Ok(Looked::Moved);
            };
            if *self.options.stop.borrow() {
                return Ok(Looked::Stopped);
            }
            match self.validate(survivor).await? {
                Looked::Moved => self.publish(),
                Looked::Idle => self.wait().await,
                Looked::Stopped => return Ok(Looked::Stopped),
            }
        }
    }

    async fn validate(&mut self, survivor: Survivor) -> Result<Looked, WorkError> {
        if self.is_validated(&survivor).await? {
            return Ok(Looked::Moved);
        }
        let subject = format!("survivor-{:06}", survivor.born_in_generation);
        match self.claims.claim(&subject, EXCEPTIONS_PER_TRIAL).await? {
            Claimed::Held => Ok(Looked::Idle),
            Claimed::Mine(claim) => self.measure(survivor, subject, claim).await,
            Claimed::Failed { messages } => {
                // It decides nothing: the search goes on without the figures.
                let last = messages.last();
                tracing::warn!(subject, ?last, "A survivor cannot be validated.");
                let record = self.validations.put(&survivor, None).await?;
                self.history.validated(record);
                Ok(Looked::Moved)
            }
        }
    }

    async fn is_validated(&mut self, survivor: &Survivor) -> Result<bool, WorkError> {
        let record = self.validations.get(survivor.born_in_generation).await?;
        let is_known = record.is_some();
        record
            .into_iter()
            .for_each(|record| self.history.validated(record));
        Ok(is_known)
    }

    async fn measure(
        &mut self,
        survivor: Survivor,
        subject: String,
        claim: Claim,
    ) -> Result<Looked, WorkError> {
        // The owner before may have finished between our look and our claim.
        if self.is_validated(&survivor).await? {
            claim.finish().await;
            return Ok(Looked::Moved);
        }
        self.timesheet.computing();
        let measured = tokio::select! {
            // First: a runner that was told to stop may answer with an exception that is none.
            biased;
            () = stopped(self.options.stop.clone()) => None,
            measured = self.runner.validate(survivor.clone()) => Some(measured),
        };
        match measured {
            None => {
                self.timesheet.waiting();
                claim.release().await;
                Ok(Looked::Stopped)
            }
            Some(Ok(validation)) => {
                let record = self.validations.put(&survivor, validation).await?;
                self.timesheet.kept();
                self.history.validated(record);
                claim.finish().await;
                Ok(Looked::Moved)
            }
            Some(Err(TrialError::OutOfMemory { message })) => {
                self.timesheet.waiting();
                claim.release().await;
                Err(WorkError::OutOfMemory { subject, message })
            }
            Some(Err(TrialError::Exception { message })) => {
                tracing::warn!(subject, message, "Validation raised an exception.");
                self.timesheet.exception();
                claim.fail(&message).await;
                Ok(Looked::Idle)
            }
        }
    }
}
