//! Whether workers at work get any further, by their own clocks. Pure.

use std::time::Duration;

use darwinlm_api::conditions::Stall;
use darwinlm_task::{TaskKind, TaskReport};
use k8s_openapi::{
    api::core::v1::Pod,
    jiff::{SignedDuration, Timestamp},
};
use kube::ResourceExt;

use super::pod;
use crate::run_controller::observed::Waiting;

/// A worker that got further this recently needs nobody to vouch for it.
const MOVES: SignedDuration = SignedDuration::from_secs(30);

/// A worker at work, and what it answered.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    worker: String,
    started: Option<Timestamp>,
    pub(super) report: Option<TaskReport>,
    /// Since when it has got no further; `None` where it did not answer.
    since: Option<Timestamp>,
    now: Timestamp,
}

impl Asked {
    /// Words from a log have an age; how long their worker had stood still then comes before it.
    pub(super) fn new(
        worker: &Pod,
        said: Option<(TaskReport, Option<Timestamp>)>,
        now: Timestamp,
    ) -> Self {
        let since = said.as_ref().map(|(report, at)| {
            let still = SignedDuration::from_secs(i64::from(report.still_seconds));
            at.unwrap_or(now).saturating_sub(still).unwrap_or(now)
        });
        Self {
            worker: worker.name_any(),
            started: pod::started_at(worker),
            report: said.map(|(report, _)| report),
            since,
            now,
        }
    }

    /// Whether others should be asked, too.
    pub(super) fn stands_still(&self) -> bool {
        self.since
            .is_none_or(|since| self.now.duration_since(since) > MOVES)
    }
}

/// How long a task may stand still: `prepare` and `export` move whole files of a model, `post-train`
/// takes whole steps of a large batch, and they say so only when one is through.
fn patience(task: TaskKind, stall: Duration) -> Duration {
    match task {
        TaskKind::Prepare | TaskKind::PostTrain | TaskKind::Export | TaskKind::CleanUp => stall * 4,
        TaskKind::Measure | TaskKind::BuildDatabase | TaskKind::Search | TaskKind::Evaluate => {
            stall
        }
    }
}

/// Why no worker gets any further, if none does: one that does vouches for all, for the others may
/// be waiting for it.
pub(super) fn find(
    task: TaskKind,
    asked: &[Asked],
    stall: Duration,
    unheard: Duration,
    now: Timestamp,
) -> Option<Waiting> {
    let patience = patience(task, stall);
    let is_over = |since: Timestamp| {
        Duration::try_from(now.duration_since(since)).is_ok_and(|still| still > patience)
    };
    let newest = asked
        .iter()
        .filter_map(|asked| Some((asked.since?, asked)))
        .max_by_key(|(since, _)| *since);
    match newest {
        Some((since, asked)) => is_over(since).then(|| Waiting {
            stall: Stall::NoProgress,
            words: format!(
                "no worker has got any further since {since}; the last to was {}: {}",
                asked.worker,
                asked.report.as_ref().map_or_else(String::new, last_words)
            ),
        }),
        None => {
            let started = asked.iter().filter_map(|asked| asked.started).max()?;
            (is_over(started) && unheard > patience).then(|| Waiting {
                stall: Stall::WorkerSilent,
                words: format!(
                    "for {} s no worker could be asked, neither {} nor another of {} at work",
                    unheard.as_secs(),
                    asked[0].worker,
                    asked.len()
                ),
            })
        }
    }
}

/// Where a report says that its worker was.
fn last_words(report: &TaskReport) -> String {
    let mut words = vec![report.task.to_string()];
    if let Some(search) = &report.search {
        words.push(format!(
            "generation {} of {}, {} trials done",
            search.generation, search.generations, search.trials.done
        ));
    }
    if let Some(training) = &report.training {
        words.push(format!(
            "{} of {} tokens",
            training.tokens, training.total_tokens
        ));
    }
    if let Some(progress) = &report.progress {
        words.push(format!(
            "{}/{} {}",
            progress.done, progress.total, progress.unit
        ));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use darwinlm_task::{Progress, RunIdentity};
    use serde_json::json;

    use super::*;

    const STALL: Duration = Duration::from_secs(900);

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn worker(name: &str, still: Option<u32>, logged: Option<&str>) -> Asked {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": name}, "status":
            {"containerStatuses": [{"name": "worker", "ready": true, "restartCount": 0, "image": "i",
                "imageID": "", "state": {"running": {"startedAt": "2026-01-01T10:00:00Z"}}}]}}))
        .unwrap();
        let run = RunIdentity {
            namespace: "n".to_owned(),
            name: "r".to_owned(),
            uid: "u".to_owned(),
        };
        let said = still.map(|still_seconds| {
            let mut report = TaskReport::running(&run, name, TaskKind::BuildDatabase);
            report.still_seconds = still_seconds;
            report.progress = Some(Progress {
                done: 3,
                total: 60,
                unit: "modules".to_owned(),
            });
            (report, logged.map(|at| at.parse().unwrap()))
        });
        Asked::new(&pod, said, now())
    }

    fn found(task: TaskKind, asked: &[Asked], unheard: u64) -> Option<Waiting> {
        find(task, asked, STALL, Duration::from_secs(unheard), now())
    }

    #[test]
    fn one_worker_that_gets_further_vouches_for_those_that_wait_for_it() {
        let task = TaskKind::Search;
        let (stuck, moves) = (worker("a", Some(5000), None), worker("b", Some(5), None));
        assert!(stuck.stands_still() && !moves.stands_still());
        assert_eq!(found(task, &[stuck.clone(), moves], 0), None);
        assert_eq!(found(task, &[worker("a", Some(899), None)], 0), None);
        let still = found(task, &[stuck, worker("b", Some(1000), None)], 0).unwrap();
        assert_eq!(still.stall, Stall::NoProgress);
        assert_eq!(
            still.words,
            "no worker has got any further since 2026-01-01T11:43:20Z; the last to was b: \
             build-database, 3/60 modules"
        );
    }

    #[test]
    fn words_from_a_log_are_as_old_as_their_line() {
        let task = TaskKind::Search;
        let fresh = worker("a", Some(0), Some("2026-01-01T11:59:00Z"));
        assert_eq!(found(task, &[fresh], 0), None);
        let old = worker("a", Some(60), Some("2026-01-01T11:45:30Z"));
        assert!(found(task, &[old], 0).unwrap().words.contains("11:44:30Z"));
    }

    #[test]
    fn whole_files_take_longer() {
        let asked = [worker("a", Some(3000), None)];
        assert_eq!(found(TaskKind::Export, &asked, 0), None);
        assert!(found(TaskKind::Evaluate, &asked, 0).is_some());
        assert!(found(TaskKind::Export, &[worker("a", Some(3601), None)], 0).is_some());
    }

    #[test]
    fn workers_that_cannot_be_asked_are_silent_once_nobody_was_heard_for_as_long() {
        let asked = [worker("a", None, None), worker("b", None, None)];
        assert_eq!(found(TaskKind::Search, &asked, 100), None);
        let silent = found(TaskKind::Search, &asked, 901).unwrap();
        assert_eq!(silent.stall, Stall::WorkerSilent);
        // One that was heard decides, also if it is not the first.
        let heard = [worker("a", None, None), worker("b", Some(1), None)];
        assert_eq!(found(TaskKind::Search, &heard, 901), None);
    }
}
