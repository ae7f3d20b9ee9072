//! Trials that give no outcome: exceptions, panics, too little memory, too few finite ones.

use std::time::Duration;

use darwinlm_search::{Outcome, Problem, Survivor, Trial};
use darwinlm_store::{Ran, TrialError, TrialRunner, Validation, WorkEnd};
use darwinlm_task::ExitCode;

use crate::setting::{memory, run};
use crate::table::{Table, problem, reference};

/// A table that errs at one trial.
struct Erring<F> {
    table: Table,
    at: &'static str,
    err: F,
}

impl<F: FnMut(usize) -> Result<(), TrialError> + Send + 'static> TrialRunner for Erring<F> {
    fn run(&mut self, trial: &Trial, problem: &Problem) -> Result<Ran, TrialError> {
        let ran = self.table.run(trial, problem)?;
        if trial.id.to_string() == self.at {
            let ran = self.table.ran.lock().unwrap().clone();
            (self.err)(ran.into_iter().filter(|id| *id == trial.id).count())?;
        }
        Ok(ran)
    }

    fn validate(
        &mut self,
        survivor: &Survivor,
        problem: &Problem,
    ) -> Result<Option<Validation>, TrialError> {
        if self.at == "validation" {
            (self.err)(0)?;
        }
        self.table.validate(survivor, problem)
    }
}

fn exception(attempt: usize) -> TrialError {
    TrialError::Exception {
        message: format!("cuBLAS said no at attempt {attempt}"),
    }
}

const AT: &str = "g000001-s1-t";

/// A trial of the second step; which slots get there is the table's business.
fn second_step() -> &'static str {
    let mut search = darwinlm_search::Search::new(problem(1)).unwrap();
    for trial in search.ask() {
        search
            .tell(trial.id, crate::table::outcome(&trial))
            .unwrap();
    }
    let id = search.ask()[1].id.to_string();
    assert!(id.starts_with(AT));
    id.leak()
}

#[tokio::test]
async fn two_exceptions_are_forgiven() {
    let (store, problem) = (memory(), problem(2));
    let table = Table::new(Duration::ZERO);
    let err = |attempt| {
        if attempt < 3 {
            Err(exception(attempt))
        } else {
            Ok(())
        }
    };
    let runner = Erring {
        table: table.clone(),
        at: second_step(),
        err,
    };
    let worked = run(&store, &problem, "a", runner).await.unwrap();
    assert_eq!(worked.end, WorkEnd::Done);
    assert_eq!(
        worked.report.digest,
        reference(&problem).digest().to_string()
    );
    assert_eq!(worked.report.trials.repeated, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_exceptions_end_every_worker_naming_trial_and_message() {
    let (store, problem) = (memory(), problem(2));
    let table = Table::new(Duration::from_millis(1));
    let at = second_step();
    let worker = |i: usize| {
        let (store, problem) = (store.clone(), problem.clone());
        let err = |attempt| Err(exception(attempt));
        let runner = Erring {
            table: table.clone(),
            at,
            err,
        };
        tokio::spawn(async move { run(&store, &problem, &format!("w{i}"), runner).await })
    };
    for ended in futures::future::join_all((0..3).map(worker)).await {
        let error = ended.unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.exit_code()),
            ("Exceptions", ExitCode::Bug)
        );
        let text = error.to_string();
        assert!(
            text.contains(at) && text.contains("cuBLAS said no at attempt 3"),
            "{text}"
        );
    }
    let ran = table.ran.lock().unwrap();
    assert_eq!(ran.iter().filter(|id| id.to_string() == at).count(), 3);
}

#[tokio::test]
async fn a_panic_is_an_exception() {
    let (store, problem) = (memory(), problem(1));
    let err = |attempt| {
        if attempt < 2 {
            panic!("index out of range")
        } else {
            Ok(())
        }
    };
    let runner = Erring {
        table: Table::new(Duration::ZERO),
        at: second_step(),
        err,
    };
    let worked = run(&store, &problem, "a", runner).await.unwrap();
    assert_eq!(
        (worked.end, worked.report.trials.repeated),
        (WorkEnd::Done, 1)
    );
    let err = |_| panic!("index {} out of range", 8);
    let runner = Erring {
        table: Table::new(Duration::ZERO),
        at: second_step(),
        err,
    };
    let error = run(&memory(), &problem, "a", runner).await.unwrap_err();
    assert!(
        error.to_string().contains("index 8 out of range"),
        "{error}"
    );
}

#[tokio::test]
async fn what_does_not_fit_in_memory_ends_at_once_and_gives_the_claim_back() {
    let (store, problem) = (memory(), problem(1));
    let message = "microBatchSequences 2 would fit".to_owned();
    let err = move |_| {
        Err(TrialError::OutOfMemory {
            message: message.clone(),
        })
    };
    let runner = Erring {
        table: Table::new(Duration::ZERO),
        at: second_step(),
        err,
    };
    let error = run(&store, &problem, "a", runner).await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::OutOfMemory);
    let text = error.to_string();
    assert!(
        text.contains(second_step()) && text.contains("2 would fit"),
        "{text}"
    );
    let worked = run(&store, &problem, "b", Table::new(Duration::ZERO))
        .await
        .unwrap();
    assert_eq!(
        (worked.end, worked.report.trials.repeated),
        (WorkEnd::Done, 1)
    );
}

#[tokio::test]
async fn a_survivor_that_cannot_be_validated_does_not_stop_the_search() {
    let (store, problem) = (memory(), problem(2));
    let err = |attempt| Err(exception(attempt));
    let runner = Erring {
        table: Table::new(Duration::ZERO),
        at: "validation",
        err,
    };
    let worked = run(&store, &problem, "a", runner).await.unwrap();
    assert_eq!(worked.end, WorkEnd::Done);
    assert!(
        worked
            .report
            .survivors
            .iter()
            .all(|survivor| survivor.validation_kl.is_none())
    );
    assert_eq!(
        worked.report.digest,
        reference(&problem).digest().to_string()
    );
}

struct NeverFinite;

impl TrialRunner for NeverFinite {
    fn run(&mut self, _: &Trial, _: &Problem) -> Result<Ran, TrialError> {
        Ok(Ran {
            outcome: Outcome::of(f64::NAN),
            tokens_trained: 1,
            tokens_scored: 1,
            seconds: 1.0,
            device_class: darwinlm_task::DeviceClass::Cpu,
        })
    }
}

#[tokio::test]
async fn too_few_finite_candidates_fail_the_run_naming_the_step() {
    let error = run(&memory(), &problem(1), "a", NeverFinite)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.exit_code()),
        ("Search", ExitCode::BadData)
    );
    assert!(
        error.to_string().contains("generation 1, selection step 0"),
        "{error}"
    );
}
