//! What is still done for a run that is being deleted: its Jobs leave, then its own prefix of the
//! store. Pure.

use std::time::Duration;

use darwinlm_api::conditions::{self, ConditionType};
use darwinlm_api::{PruningRun, PruningRunStatus, Retain};
use darwinlm_task::TaskKind;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::decide::{ATTEMPTS, Action, Failure, NewJob};
use super::made_from::MadeFrom;
use super::observed::{Observed, ObservedJob};
use super::validate::{Rejection, ValidatedRun};
use crate::names::JobKey;

/// What holds a deleted run back until its prefix is removed.
pub const FINALIZER: &str = "darwinlm.io/clean-up";

/// The next step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Carry these out, or wait if there are none; look again soon.
    Wait(Vec<Action>),
    /// Let the run go.
    Release(Outcome),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was to be removed.
    Kept,
    /// What was to be removed is; in words.
    Removed(String),
    /// Something is left that should have been removed; in words.
    Left(String),
}

/// A deleted run as it stands.
#[derive(Clone, Copy, Debug)]
pub struct Leaving<'a> {
    /// The run, if it can be carried out.
    pub run: Result<&'a ValidatedRun, &'a Rejection>,
    /// `spec.retain`.
    pub retain: Retain,
    /// URLs of what was exported, or would have been.
    pub exports: &'a [String],
    /// Its Jobs.
    pub observed: &'a Observed,
    /// Its pods that have not ended, but for those of the clean-up.
    pub pods: usize,
    /// When it was deleted.
    pub deleted: Timestamp,
    /// How long it may be held back.
    pub time_box: Duration,
}

/// Decides what to do next. Whatever happens, after the time box the run is let go.
pub fn next(leaving: Leaving<'_>, now: Timestamp) -> Step {
    let Leaving {
        run,
        retain,
        exports,
        observed,
        pods,
        deleted,
        time_box,
    } = leaving;
    if retain == Retain::All {
        return Step::Release(Outcome::Kept);
    }
    let run = match run {
        Ok(run) => run,
        Err(rejection) => {
            let words = format!("nothing was removed: {rejection}");
            return Step::Release(Outcome::Left(words));
        }
    };
    let (own, others): (Vec<_>, Vec<_>) = observed
        .jobs
        .iter()
        .partition(|job| job.key.task == TaskKind::CleanUp);
    // A worker that still writes would leave more behind.
    let step = if !others.is_empty() || pods > 0 {
        let present = others.iter().filter(|job| !job.deleting);
        Step::Wait(present.map(|job| Action::Withdraw(job.key)).collect())
    } else {
        clean_up(run, exports, &own)
    };
    let limit = SignedDuration::try_from(time_box).unwrap_or(SignedDuration::MAX);
    match step {
        Step::Wait(_) if now.duration_since(deleted) >= limit => {
            let what = match (others.len(), pods) {
                (0, 0) => "the clean-up did not end",
                _ => "its workers did not leave",
            };
            let words = format!("{what} within {} s", time_box.as_secs());
            Step::Release(Outcome::Left(words))
        }
        step => step,
    }
}

/// The Job that removes the prefix.
fn clean_up(run: &ValidatedRun, exports: &[String], jobs: &[&ObservedJob]) -> Step {
    let newest = jobs.iter().max_by_key(|job| job.key);
    let attempt = match newest {
        Some(job) if job.says_done() => {
            let progress = job.report.as_ref().and_then(|said| said.progress.as_ref());
            let files = progress.map_or(0, |progress| progress.done);
            return Step::Release(Outcome::Removed(format!("{files} files were removed")));
        }
        Some(job) if job.is_live() => return Step::Wait(Vec::new()),
        Some(job) => {
            let failure = Failure::of(job);
            if failure.is_final || job.key.attempt >= ATTEMPTS {
                return Step::Release(Outcome::Left(failure.message));
            }
            job.key.attempt + 1
        }
        None => 1,
    };
    let key = JobKey {
        task: TaskKind::CleanUp,
        first_generation: 0,
        attempt,
    };
    Step::Wait(vec![Action::Create(NewJob {
        key,
        workers: 1,
        task: run.clean_up(exports),
        made_from: MadeFrom::default(),
    })])
}

/// What a deleted run still needs of its spec: nothing that only a later task would.
pub fn essence(run: &PruningRun) -> PruningRun {
    let mut run = run.clone();
    run.spec.post_training = None;
    run.spec.evaluation = None;
    run.spec.export = None;
    run.spec.budget = None;
    run
}

/// What a deleted run has exported, by its status, or would have, by its spec: that may have changed
/// since.
pub fn exports(run: &PruningRun, status: &PruningRunStatus) -> Vec<String> {
    let told = status.artifacts.iter().flat_map(|known| &known.exports);
    let asked = run.spec.export.iter().map(|export| &export.destination);
    told.chain(asked).cloned().collect()
}

/// Whether the run must be held back when it is deleted: something of it is or will be in the store.
pub fn holds_back(retain: Retain, observed: &Observed, actions: &[Action]) -> bool {
    let makes = actions
        .iter()
        .any(|action| matches!(action, Action::Create(_)));
    let is_prepared = conditions::is_true(&observed.status.conditions, ConditionType::Prepared);
    let has_made = is_prepared || !observed.jobs.is_empty();
    retain != Retain::All && (makes || has_made)
}

#[cfg(test)]
mod tests {
    use darwinlm_api::PruningRun;
    use darwinlm_task::{ExitCode, RunIdentity, Task, TaskReport};

    use super::*;
    use crate::run_controller::observed::JobState;
    use crate::run_controller::validate::{Placement, validate};

    const RUN: &str = include_str!("../../tests/fixtures/cluster-run.yaml");

    fn run(retain: Retain) -> ValidatedRun {
        let run: PruningRun = serde_saphyr::from_str(RUN).unwrap();
        let valid = validate(&run, &Placement::Pods).unwrap();
        ValidatedRun { retain, ..valid }
    }

    fn job(task: TaskKind, attempt: u32, state: JobState) -> ObservedJob {
        ObservedJob {
            key: JobKey {
                task,
                first_generation: 0,
                attempt,
            },
            state,
            parallelism: 1,
            queue: None,
            made_from: MadeFrom::default(),
            deleting: false,
            report: None,
            exits: Vec::new(),
            waiting: None,
            held: Vec::new(),
        }
    }

    fn said(mut job: ObservedJob, change: impl FnOnce(&mut TaskReport)) -> ObservedJob {
        let run = RunIdentity {
            namespace: "research".to_owned(),
            name: "smollm2".to_owned(),
            uid: "u".to_owned(),
        };
        let mut report = TaskReport::running(&run, "w", job.key.task);
        change(&mut report);
        job.report = Some(report);
        job
    }

    /// The next step `age` seconds after the run was deleted.
    fn after(age: i64, retain: Retain, jobs: Vec<ObservedJob>, pods: usize) -> Step {
        let observed = Observed {
            jobs,
            ..Observed::default()
        };
        let run = run(retain);
        let leaving = Leaving {
            run: Ok(&run),
            retain,
            exports: &["pvc://exports/smollm2".to_owned()],
            observed: &observed,
            pods,
            deleted: Timestamp::from_second(1000).unwrap(),
            time_box: Duration::from_secs(600),
        };
        next(leaving, Timestamp::from_second(1000 + age).unwrap())
    }

    fn running() -> JobState {
        JobState::Running {
            active: 1,
            ready: 1,
        }
    }

    fn failed() -> JobState {
        JobState::Failed {
            reason: "BackoffLimitExceeded".to_owned(),
            message: String::new(),
        }
    }

    fn made(step: &Step) -> &NewJob {
        match step {
            Step::Wait(actions) => match actions.as_slice() {
                [Action::Create(new)] => new,
                other => panic!("{other:?}"),
            },
            Step::Release(outcome) => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn its_workers_leave_before_its_prefix_does() {
        let jobs = || {
            vec![
                job(TaskKind::Search, 1, running()),
                job(TaskKind::Prepare, 1, JobState::Complete),
            ]
        };
        let keys: Vec<_> = jobs().iter().map(|job| Action::Withdraw(job.key)).collect();
        assert_eq!(after(0, Retain::Export, jobs(), 2), Step::Wait(keys));
        let mut leaving = jobs();
        leaving.iter_mut().for_each(|job| job.deleting = true);
        assert_eq!(after(5, Retain::Export, leaving, 1), Step::Wait(vec![]));
        // Its Job is gone, a pod of it is not.
        assert_eq!(after(10, Retain::Export, vec![], 1), Step::Wait(vec![]));
        let step = after(15, Retain::Export, vec![], 0);
        let new = made(&step);
        assert_eq!(new.key.job_name("smollm2"), "smollm2-clean-up-a1");
        let Task::CleanUp {
            search_digest,
            keep_exports,
            exports,
        } = &new.task.task
        else {
            panic!("{:?}", new.task)
        };
        assert!(search_digest.starts_with("sha256:") && *keep_exports);
        assert_eq!(
            exports,
            &["file:///var/lib/darwinlm/volumes/exports/smollm2"]
        );
        let none = after(15, Retain::None, vec![], 0);
        assert!(matches!(
            made(&none).task.task,
            Task::CleanUp {
                keep_exports: false,
                ..
            }
        ));
    }

    #[test]
    fn it_is_let_go_when_the_clean_up_says_that_it_is_done() {
        let at_work = job(TaskKind::CleanUp, 1, running());
        assert_eq!(
            after(20, Retain::Export, vec![at_work.clone()], 0),
            Step::Wait(vec![])
        );
        let done = said(at_work, |report| {
            report.outcome = darwinlm_task::Outcome::Done;
            report.progress = Some(darwinlm_task::Progress {
                done: 41,
                total: 41,
                unit: "files".to_owned(),
            });
        });
        let words = "41 files were removed".to_owned();
        assert_eq!(
            after(20, Retain::Export, vec![done], 0),
            Step::Release(Outcome::Removed(words))
        );
        assert_eq!(
            after(0, Retain::All, vec![], 3),
            Step::Release(Outcome::Kept)
        );
    }

    #[test]
    fn a_clean_up_that_fails_is_tried_again_unless_that_cannot_help() {
        let down = |attempt| {
            let job = job(TaskKind::CleanUp, attempt, failed());
            said(job, |report| {
                report.fail(ExitCode::StoreUnavailable, "StoreUnavailable", "it is down")
            })
        };
        assert_eq!(
            made(&after(60, Retain::Export, vec![down(1)], 0))
                .key
                .attempt,
            2
        );
        let left = Step::Release(Outcome::Left("it is down".to_owned()));
        let all = vec![down(1), down(2), down(3)];
        assert_eq!(after(60, Retain::Export, all, 0), left);
        let refused = said(job(TaskKind::CleanUp, 1, failed()), |report| {
            report.fail(
                ExitCode::PermissionDenied,
                "PermissionDenied",
                "it is refused",
            );
        });
        let left = Step::Release(Outcome::Left("it is refused".to_owned()));
        assert_eq!(after(60, Retain::Export, vec![refused], 0), left);
    }

    #[test]
    fn what_was_exported_is_known_by_the_status_too_and_needs_no_valid_evaluation() {
        let mut run: PruningRun = serde_saphyr::from_str(RUN).unwrap();
        let status = PruningRunStatus {
            artifacts: Some(darwinlm_api::ArtifactsStatus {
                exports: vec!["pvc://store/runs/research.smollm2/out/transformers".to_owned()],
                ..darwinlm_api::ArtifactsStatus::default()
            }),
            ..PruningRunStatus::default()
        };
        let told = [
            "pvc://store/runs/research.smollm2/out/transformers",
            "pvc://exports/smollm2",
        ];
        assert_eq!(exports(&run, &status), told);
        // Taken out of the spec afterwards, it is what it is.
        run.spec.export = None;
        assert_eq!(exports(&run, &status), told[..1]);
        let evaluation = serde_json::json!({"tasks": ["sciq"]});
        run.spec.evaluation = serde_json::from_value(evaluation).unwrap();
        assert!(validate(&run, &Placement::Pods).is_err());
        let valid = validate(&essence(&run), &Placement::Pods).unwrap();
        let Task::CleanUp { search_digest, .. } = valid.clean_up(&[]).task else {
            panic!("it cleans up")
        };
        let whole = run_of_fixture_digest();
        assert_eq!(search_digest, whole);
    }

    /// The digest that the run's prefix was made with.
    fn run_of_fixture_digest() -> String {
        let valid = run(Retain::Export);
        let digest = valid.chain.iter().find_map(|task| match task {
            Task::Prepare { search_digest, .. } => Some(search_digest.clone()),
            _ => None,
        });
        digest.unwrap()
    }

    #[test]
    fn whatever_holds_it_back_it_is_let_go_in_time() {
        let stuck = || {
            [
                (vec![job(TaskKind::Search, 1, running())], 1),
                (vec![job(TaskKind::CleanUp, 1, JobState::Pending)], 0),
                (vec![], 0),
            ]
        };
        for (jobs, pods) in stuck() {
            assert!(matches!(
                after(599, Retain::Export, jobs, pods),
                Step::Wait(_)
            ));
        }
        for (jobs, pods) in stuck() {
            let step = after(600, Retain::Export, jobs, pods);
            assert!(matches!(step, Step::Release(Outcome::Left(_))), "{step:?}");
        }
    }

    #[test]
    fn only_a_run_that_may_have_written_something_is_held_back() {
        let nothing = Observed::default();
        let new = made(&after(0, Retain::Export, vec![], 0)).clone();
        let makes = [Action::Create(new)];
        assert!(!holds_back(Retain::Export, &nothing, &[]));
        assert!(holds_back(Retain::Export, &nothing, &makes));
        assert!(!holds_back(Retain::All, &nothing, &makes));
        let written = Observed {
            jobs: vec![job(TaskKind::Prepare, 1, JobState::Complete)],
            ..Observed::default()
        };
        assert!(holds_back(Retain::None, &written, &[]));
    }
}
