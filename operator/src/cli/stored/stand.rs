//! How a run stands by what its store holds. Pure.

use std::collections::BTreeMap;

use darwinlm_search::{GenerationEntry, Outcome, Problem};
use darwinlm_store::WorkerFile;
use darwinlm_task::{ExitCode, Outcome as Ended, RunIdentity, TaskKind, TaskReport};

use super::here::Here;

/// What is there of a run, at one time.
pub(super) struct Stand<'a> {
    pub(super) run: &'a RunIdentity,
    /// The store as it was named, for commands that are told.
    pub(super) store: &'a str,
    /// Seconds since 1970.
    pub(super) now: i64,
    pub(super) is_prepared: bool,
    pub(super) is_measured: bool,
    pub(super) is_database_ready: bool,
    /// Once the ledger has its entry 0.
    pub(super) search: Option<Searched<'a>>,
    pub(super) training: Option<Training>,
    /// Whether what the search found was evaluated.
    pub(super) is_evaluated: bool,
    pub(super) workers: Vec<Seen>,
    pub(super) here: Option<Here>,
    /// When anything of the run was written last.
    pub(super) last_write: Option<i64>,
}

/// A search by its ledger, and the open generation by its trials.
pub(super) struct Searched<'a> {
    pub(super) problem: &'a Problem,
    pub(super) digest: String,
    pub(super) generations: &'a [GenerationEntry],
    /// When each generation was closed, entry 0 first.
    pub(super) closed: Vec<i64>,
    /// Steps of the open generation that have begun.
    pub(super) open: Vec<OpenStep>,
    /// Trials that were begun again.
    pub(super) repeated: u64,
    /// Validation KL by the generation that a survivor was born in.
    pub(super) validation: &'a BTreeMap<u32, f64>,
}

/// A step of the open generation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OpenStep {
    /// Its candidates.
    pub(super) all: usize,
    /// What is known of them.
    pub(super) outcomes: Vec<Outcome>,
}

/// How far post-training is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Training {
    pub(super) is_done: bool,
}

/// A worker that keeps an account, and how long ago it wrote it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) file: WorkerFile,
    pub(super) age_seconds: i64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As asked, as far as the store can tell.
    Succeeded,
    /// Its last worker said that trying again cannot help.
    Failed(String),
}

/// Others retake the trials of a worker that has not written for so long, on one machine and elsewhere.
const STALE_SECONDS: [i64; 2] = [6, 60];
/// Where only the store is seen: pods of the next task may take so long to start.
const QUIET_SECONDS: [i64; 2] = [10, 120];

impl Stand<'_> {
    /// Whether it is carried out on one machine.
    pub(super) fn is_local(&self) -> bool {
        self.run.namespace == "local"
    }

    /// Workers that wrote their account so lately that nobody takes their work away.
    pub(super) fn alive(&self) -> impl Iterator<Item = &Seen> {
        let stale = STALE_SECONDS[usize::from(!self.is_local())];
        self.workers
            .iter()
            .filter(move |seen| seen.age_seconds <= stale)
    }

    /// Whether somebody works on it: by an account, or by what a process here answers.
    pub(super) fn is_at_work(&self) -> bool {
        let here = self.here.as_ref();
        match here {
            // Who answers here is alive, and who does not is not, whatever its account looks like.
            Some(here) => !here.live.is_empty() || here.starting > 0 || here.busy > 0,
            None => self.alive().next().is_some(),
        }
    }

    /// What somebody works on.
    pub(super) fn task(&self) -> Option<TaskKind> {
        let here = self.here.as_ref();
        let live = here
            .and_then(|here| here.live.first())
            .map(|live| live.task);
        let newest = self.alive().min_by_key(|seen| seen.age_seconds);
        live.or(newest.and_then(|seen| seen.file.task))
    }

    /// The newest last words of a worker on this machine.
    pub(super) fn last_words(&self) -> Option<&TaskReport> {
        self.here.as_ref()?.last_words.as_ref()
    }

    /// The task that failed for good, with reason and message. What is tried again is so soon.
    pub(super) fn failed(&self) -> Option<(TaskKind, &str, &str)> {
        let words = self.last_words().filter(|_| !self.is_at_work())?;
        let Ended::Failed {
            code,
            reason,
            message,
        } = &words.outcome
        else {
            return None;
        };
        let known = ExitCode::from_code(i32::from(*code));
        let is_final = known.is_some_and(ExitCode::is_final);
        let has_failed = is_final || (known != Some(ExitCode::TryAgain) && self.is_quiet());
        has_failed.then_some((words.task, reason, message))
    }

    /// Whether the search ended before its last generation, because the budget was spent.
    pub(super) fn is_budget_spent(&self) -> bool {
        let words = self.last_words();
        words.is_some_and(|words| words.outcome == Ended::BudgetSpent)
    }

    /// Whether the search has ended.
    pub(super) fn is_searched(&self) -> bool {
        let search = self.search.as_ref();
        search.is_some_and(Searched::is_complete) || self.is_evaluated || self.is_budget_spent()
    }

    /// Seconds since anything was written.
    pub(super) fn quiet_seconds(&self) -> Option<i64> {
        self.last_write.map(|last| (self.now - last).max(0))
    }

    /// How it ended. A store does not say what was asked for: a run whose search is complete has ended
    /// once it was evaluated, or once nobody has written for a while.
    pub(super) fn ended(&self) -> Option<End> {
        if let Some((_, _, message)) = self.failed() {
            return Some(End::Failed(message.to_owned()));
        }
        if self.is_at_work() && !self.is_over_but_for_beats() {
            return None;
        }
        let is_over = self.is_evaluated || (self.is_searched() && self.is_quiet());
        is_over.then_some(End::Succeeded)
    }

    /// Whether nobody has written for so long that nobody is about to.
    fn is_quiet(&self) -> bool {
        let quiet = QUIET_SECONDS[usize::from(self.here.is_none())];
        self.quiet_seconds().is_none_or(|seconds| seconds > quiet)
    }

    /// An evaluation is its worker's last deed; the account that it closed stays young for a while. A
    /// worker of a later task has yet to close its own.
    fn is_over_but_for_beats(&self) -> bool {
        let is_later = |seen: &Seen| seen.file.task.is_some_and(|task| task > TaskKind::Evaluate);
        self.is_evaluated && self.here.is_none() && !self.alive().any(is_later)
    }
}

impl Searched<'_> {
    pub(super) fn is_complete(&self) -> bool {
        self.generations.len() >= self.problem.generations as usize
    }
}

#[cfg(test)]
pub(super) mod tests {
    use darwinlm_task::Outcome as Said;

    use super::*;

    pub(in super::super) fn run() -> RunIdentity {
        RunIdentity {
            namespace: "local".to_owned(),
            name: "tiny".to_owned(),
            uid: String::new(),
        }
    }

    /// A run that was prepared, and of which nothing else is known.
    pub(in super::super) fn stand(run: &RunIdentity) -> Stand<'_> {
        Stand {
            run,
            store: "./store",
            now: 1000,
            is_prepared: true,
            is_measured: false,
            is_database_ready: false,
            search: None,
            training: None,
            is_evaluated: false,
            workers: Vec::new(),
            here: None,
            last_write: Some(400),
        }
    }

    pub(in super::super) fn seen(worker: &str, age_seconds: i64) -> Seen {
        let file = WorkerFile {
            worker: worker.to_owned(),
            task: Some(TaskKind::Search),
            useful_seconds: 90.0,
            starting_seconds: 10.0,
            ..WorkerFile::default()
        };
        Seen { file, age_seconds }
    }

    /// Last words on this machine.
    pub(in super::super) fn words(task: TaskKind, outcome: Said) -> Here {
        let mut report = TaskReport::running(&run(), "w", task);
        report.outcome = outcome;
        Here {
            last_words: Some(report),
            ..Here::default()
        }
    }

    fn failed(code: ExitCode) -> Here {
        let outcome = Said::Failed {
            code: code.code(),
            reason: "WorkerFailed".to_owned(),
            message: "it broke".to_owned(),
        };
        words(TaskKind::Search, outcome)
    }

    #[test]
    fn a_worker_is_alive_as_long_as_others_leave_its_work_alone() {
        let (local, mut other) = (run(), run());
        other.namespace = "research".to_owned();
        for (run, alive, stale) in [(&local, 6, 7), (&other, 60, 61)] {
            let mut stand = stand(run);
            stand.workers = vec![seen("a", alive), seen("b", stale)];
            let names: Vec<_> = stand
                .alive()
                .map(|seen| seen.file.worker.as_str())
                .collect();
            assert_eq!(names, ["a"]);
        }
    }

    #[test]
    fn on_one_machine_who_does_not_answer_does_not_work() {
        let run = run();
        let mut stand = stand(&run);
        stand.workers = vec![seen("a", 1)];
        assert!(stand.is_at_work());
        stand.here = Some(Here::default());
        assert!(!stand.is_at_work());
    }

    #[test]
    fn what_cannot_be_tried_again_has_failed_at_once_and_the_rest_once_nobody_does() {
        let run = run();
        let of = |code, last_write| {
            let mut stand = stand(&run);
            stand.here = Some(failed(code));
            stand.last_write = Some(last_write);
            stand.ended()
        };
        let broke = Some(End::Failed("it broke".to_owned()));
        assert_eq!(of(ExitCode::BadData, 999), broke);
        assert_eq!(of(ExitCode::Bug, 999), None, "it is tried again");
        assert_eq!(of(ExitCode::Bug, 900), broke);
        assert_eq!(of(ExitCode::TryAgain, 900), None, "it was stopped");
    }

    #[test]
    fn an_evaluated_run_goes_on_while_a_worker_exports() {
        let run = run();
        let mut stand = stand(&run);
        stand.is_evaluated = true;
        let mut exporter = seen("export", 6);
        exporter.file.task = Some(TaskKind::Export);
        stand.workers = vec![seen("a", 1), exporter];
        assert_eq!(stand.ended(), None);
        stand.workers[1].age_seconds = 7;
        assert_eq!(stand.ended(), Some(End::Succeeded), "it has left");
    }

    #[test]
    fn a_worker_that_computes_and_does_not_answer_at_once_is_at_work() {
        let run = run();
        let mut stand = stand(&run);
        stand.here = Some(Here {
            busy: 1,
            ..Here::default()
        });
        assert!(stand.is_at_work());
    }

    #[test]
    fn a_run_has_ended_with_its_evaluation_or_when_nobody_writes_after_its_search() {
        let run = run();
        let mut stand = stand(&run);
        assert_eq!(stand.ended(), None);
        stand.is_evaluated = true;
        stand.workers = vec![seen("a", 1)];
        assert_eq!(stand.ended(), Some(End::Succeeded), "its account is closed");
        stand.is_evaluated = false;
        stand.workers.clear();
        stand.here = Some(words(TaskKind::Search, Said::BudgetSpent));
        stand.last_write = Some(995);
        assert_eq!(stand.ended(), None, "the next task may begin");
        stand.last_write = Some(900);
        assert_eq!(stand.ended(), Some(End::Succeeded));
    }
}
