//! The seam to whatever computes trials, and the thread it computes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};

use darwinlm_search::{Outcome, Problem, Survivor, Trial};
use darwinlm_task::DeviceClass;
use tokio::sync::oneshot;

use crate::Validation;

/// Computes trials, one at a time, blocking for as long as one takes.
pub trait TrialRunner: Send + 'static {
    /// Trains and scores one candidate.
    ///
    /// A loss or fitness that is not finite is an outcome ([`Outcome::Failed`]), not an error.
    ///
    /// # Errors
    /// When the trial does not fit in memory, or anything else goes wrong with it.
    fn run(&mut self, trial: &Trial, problem: &Problem) -> Result<Ran, TrialError>;

    /// Measures a survivor on the validation slice; `None` where that is not done.
    ///
    /// # Errors
    /// Like [`TrialRunner::run`].
    fn validate(
        &mut self,
        survivor: &Survivor,
        problem: &Problem,
    ) -> Result<Option<Validation>, TrialError> {
        let _ = (survivor, problem);
        Ok(None)
    }
}

/// A trial that ran.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ran {
    /// What came of it.
    pub outcome: Outcome,
    /// Tokens trained on.
    pub tokens_trained: u64,
    /// Tokens scored on.
    pub tokens_scored: u64,
    /// Device seconds.
    pub seconds: f64,
    /// What it ran on.
    pub device_class: DeviceClass,
}

/// A trial that gave no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrialError {
    /// It raised an exception; it is tried again, three times in all.
    #[error("{message}")]
    Exception {
        /// What it said.
        message: String,
    },
    /// It does not fit in memory; trying again would not help.
    #[error("{message}")]
    OutOfMemory {
        /// What would fit.
        message: String,
    },
}

enum Order {
    Trial(Box<Trial>, oneshot::Sender<Result<Ran, TrialError>>),
    Validation(
        Box<Survivor>,
        oneshot::Sender<Result<Option<Validation>, TrialError>>,
    ),
}

/// A thread that owns the runner, so that tensors stay on one thread and beats go on elsewhere.
///
/// Dropped while the runner computes, it lets the thread finish on its own: a worker that has to
/// stop does not wait for a trial of minutes.
pub(super) struct RunnerThread {
    orders: mpsc::Sender<Order>,
}

impl RunnerThread {
    pub(super) fn start<R: TrialRunner>(runner: R, problem: Arc<Problem>) -> Self {
        let (orders, incoming) = mpsc::channel();
        std::thread::Builder::new()
            .name("trials".to_owned())
            .spawn(move || serve(runner, &problem, &incoming))
            .expect("a process can have one more thread");
        Self { orders }
    }

    pub(super) async fn run(&self, trial: Trial) -> Result<Ran, TrialError> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Trial(Box::new(trial), reply), answer)
            .await
    }

    pub(super) async fn validate(
        &self,
        survivor: Survivor,
    ) -> Result<Option<Validation>, TrialError> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Validation(Box::new(survivor), reply), answer)
            .await
    }

    async fn order<T>(
        &self,
        order: Order,
        answer: oneshot::Receiver<Result<T, TrialError>>,
    ) -> Result<T, TrialError> {
        self.orders
            .send(order)
            .expect("the thread serves as long as it is held");
        answer
            .await
            .expect("the thread answers every order, also after a panic")
    }
}

fn serve<R: TrialRunner>(mut runner: R, problem: &Problem, orders: &mpsc::Receiver<Order>) {
    // A reply that nobody waits for is a worker that stops.
    for order in orders {
        match order {
            Order::Trial(trial, reply) => {
                drop(reply.send(guarded(|| runner.run(&trial, problem))));
            }
            Order::Validation(survivor, reply) => {
                drop(reply.send(guarded(|| runner.validate(&survivor, problem))));
            }
        }
    }
}

/// Turns a panic into an exception: tensors panic where an operation cannot fail by design.
fn guarded<T>(run: impl FnOnce() -> Result<T, TrialError>) -> Result<T, TrialError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        let message = text.unwrap_or_else(|| "it panicked without a message".to_owned());
        Err(TrialError::Exception { message })
    })
}
