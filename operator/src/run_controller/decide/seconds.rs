//! Where the run's device seconds went: what workers say of them, and what they were seen to hold.
//!
//! Workers know what they did, from their processes' start to their last beat; any report has the sum
//! over all of them, which only grows. What they held before and after that is seen on their pods. The
//! two meet in `unattributed`, so that all causes together are what was held.

use std::collections::BTreeSet;

use darwinlm_api::{GpuSeconds, HeldBy, HeldStatus, PruningRunStatus};

use crate::run_controller::observed::{Held, Observed};

/// Ended workers that are remembered one by one as long as they can be seen.
const ENDED: usize = 1000;
/// Workers at work whose seconds are remembered, should they vanish between two looks.
const WORKING: usize = 200;

/// Brings the seconds up to what is seen now. The same observation twice changes nothing.
pub(super) fn fold(observed: &Observed, status: &mut PruningRunStatus) {
    let known = status.held.clone().unwrap_or_default();
    let said = said(observed, status, &known);
    let (held, now) = hold(observed, known, said.starting);
    let starting = said.starting.saturating_add(now.starting_seconds);
    let attributed = GpuSeconds { starting, ..said }.total();
    let new = GpuSeconds {
        starting,
        unattributed: now.seconds.saturating_sub(attributed).max(0),
        ..said
    };
    if held != HeldStatus::default() {
        status.held = Some(held);
    }
    let total = new.total();
    if total > 0 {
        status.gpu_seconds = Some(new);
        // In tenths, without a detour over floats.
        let tenths = total / 360;
        status.gpu_hours = Some(format!("{}.{}", tenths / 10, tenths % 10));
    }
}

/// The largest sum that workers ever reported: it is the newest.
fn said(observed: &Observed, status: &PruningRunStatus, known: &HeldStatus) -> GpuSeconds {
    let before = status.gpu_seconds.map(|seconds| GpuSeconds {
        starting: known.reported_starting_seconds,
        unattributed: 0,
        ..seconds
    });
    let reports = observed.jobs.iter().filter_map(|job| job.report.as_ref());
    let now = reports.filter_map(|report| report.gpu_seconds.as_ref());
    let all = before.into_iter().chain(now.map(reported));
    all.max_by_key(GpuSeconds::total).unwrap_or_default()
}

fn reported(seconds: &darwinlm_task::GpuSeconds) -> GpuSeconds {
    let darwinlm_task::GpuSeconds {
        useful,
        starting,
        waiting,
        lost,
    } = *seconds;
    let long = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    GpuSeconds {
        useful: long(useful),
        starting: long(starting),
        waiting: long(waiting),
        lost: long(lost),
        unattributed: 0,
    }
}

/// What all workers together hold or held.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    seconds: i64,
    /// Of these, before the worker's process had started.
    starting_seconds: i64,
}

impl Sum {
    fn add(&mut self, seconds: i64, starting_seconds: i64) {
        self.seconds = self.seconds.saturating_add(seconds);
        self.starting_seconds = self.starting_seconds.saturating_add(starting_seconds);
    }
}

/// A worker is counted for good once: when it is first seen to have ended, or when it was at work and is
/// not there any more. Until then its seconds are those that are seen now.
fn hold(
    observed: &Observed,
    known: HeldStatus,
    reported_starting_seconds: i64,
) -> (HeldStatus, Sum) {
    let mut workers: Vec<&Held> = observed.jobs.iter().flat_map(|job| &job.held).collect();
    workers.sort_by(|one, other| one.worker.cmp(&other.worker));
    let there: BTreeSet<&str> = workers.iter().map(|held| held.worker.as_str()).collect();
    let mut for_good = Sum {
        seconds: known.ended_seconds,
        starting_seconds: known.ended_starting_seconds,
    };
    for gone in &known.working {
        if !there.contains(gone.worker.as_str()) {
            for_good.add(gone.seconds, gone.starting_seconds);
        }
    }
    let mut ended = known.ended;
    ended.retain(|worker| there.contains(worker.as_str()));
    let counted: BTreeSet<String> = ended.iter().cloned().collect();
    let mut working = Vec::new();
    for held in workers {
        match held.is_over {
            false => working.push(HeldBy {
                worker: held.worker.clone(),
                seconds: held.seconds,
                starting_seconds: held.starting_seconds,
            }),
            true if counted.contains(&held.worker) => {}
            // One that could not be remembered would be counted at every look.
            true if ended.len() < ENDED => {
                for_good.add(held.seconds, held.starting_seconds);
                ended.push(held.worker.clone());
            }
            true => {}
        }
    }
    ended.sort();
    let mut now = for_good;
    for held in &working {
        now.add(held.seconds, held.starting_seconds);
    }
    working.truncate(WORKING);
    let held = HeldStatus {
        ended_seconds: for_good.seconds,
        ended_starting_seconds: for_good.starting_seconds,
        ended,
        working,
        reported_starting_seconds,
    };
    (held, now)
}

#[cfg(test)]
mod tests {
    use darwinlm_task::{RunIdentity, TaskKind, TaskReport};

    use super::*;
    use crate::names::JobKey;
    use crate::run_controller::made_from::MadeFrom;
    use crate::run_controller::observed::{JobState, ObservedJob};

    fn worker(name: &str, is_over: bool, starting_seconds: i64, seconds: i64) -> Held {
        Held {
            worker: name.to_owned(),
            is_over,
            starting_seconds,
            seconds,
        }
    }

    /// One Job whose workers hold this, and whose report says that.
    fn observed(held: &[Held], said: Option<[u64; 4]>, status: &PruningRunStatus) -> Observed {
        let run = RunIdentity {
            namespace: "a".to_owned(),
            name: "b".to_owned(),
            uid: "c".to_owned(),
        };
        let report = said.map(|[useful, starting, waiting, lost]| {
            let mut report = TaskReport::running(&run, "w", TaskKind::Search);
            report.gpu_seconds = Some(darwinlm_task::GpuSeconds {
                useful,
                starting,
                waiting,
                lost,
            });
            report
        });
        let key = JobKey {
            task: TaskKind::Search,
            first_generation: 0,
            attempt: 1,
        };
        let job = ObservedJob {
            key,
            state: JobState::Pending,
            parallelism: 1,
            queue: None,
            made_from: MadeFrom::default(),
            deleting: false,
            report,
            exits: Vec::new(),
            waiting: None,
            held: held.to_vec(),
        };
        Observed {
            jobs: vec![job],
            status: status.clone(),
            ..Observed::default()
        }
    }

    fn look(status: &mut PruningRunStatus, held: &[Held], said: Option<[u64; 4]>) -> [i64; 5] {
        let observed = observed(held, said, status);
        fold(&observed, status);
        let once = status.clone();
        fold(&observed, status);
        assert_eq!(*status, once, "the same look twice changes something");
        let GpuSeconds {
            useful,
            starting,
            waiting,
            lost,
            unattributed,
        } = status.gpu_seconds.unwrap_or_default();
        [useful, starting, waiting, lost, unattributed]
    }

    #[test]
    fn all_causes_together_are_what_was_held() {
        let mut status = PruningRunStatus::default();
        // Two workers pull their image: all that they hold is starting.
        let pulling = [worker("a", false, 20, 20), worker("b", false, 30, 30)];
        assert_eq!(look(&mut status, &pulling, None), [0, 50, 0, 0, 0]);
        // One is killed 4 s after its last beat; what it said of itself stays in the sum.
        let killed = [worker("a", true, 25, 104), worker("b", false, 30, 200)];
        let said = Some([200, 20, 20, 5]);
        assert_eq!(look(&mut status, &killed, said), [200, 75, 20, 5, 4]);
        assert_eq!(status.gpu_hours.as_deref(), Some("0.0"));
    }

    #[test]
    fn a_worker_that_never_wrote_is_unattributed_from_its_start_on() {
        let mut status = PruningRunStatus::default();
        let silent = [worker("a", true, 7, 60)];
        assert_eq!(look(&mut status, &silent, None), [0, 7, 0, 0, 53]);
    }

    #[test]
    fn workers_that_vanish_are_counted_once_whether_they_were_seen_to_end_or_not() {
        let mut status = PruningRunStatus::default();
        let both = [worker("a", false, 1, 50), worker("b", true, 1, 30)];
        assert_eq!(look(&mut status, &both, None), [0, 2, 0, 0, 78]);
        // Their Job is deleted, and later looks find nothing, any number of times.
        for _ in 0..3 {
            assert_eq!(look(&mut status, &[], None), [0, 2, 0, 0, 78]);
        }
        let held = status.held.clone().unwrap();
        assert!(held.ended.is_empty() && held.working.is_empty(), "{held:?}");
        assert_eq!(look(&mut status, &[worker("c", true, 0, 2)], None)[4], 80);
    }

    #[test]
    fn an_ended_worker_is_counted_once_as_long_as_its_pod_stays() {
        let mut status = PruningRunStatus::default();
        let many: Vec<_> = (0..1500)
            .map(|n| worker(&format!("{n:04}"), true, 0, 1))
            .collect();
        for _ in 0..3 {
            // What cannot be remembered waits until others are gone.
            assert_eq!(look(&mut status, &many, None)[4], 1000);
        }
        assert_eq!(look(&mut status, &many[1000..], None)[4], 1500);
    }

    #[test]
    fn an_older_report_turns_nothing_back() {
        let mut status = PruningRunStatus::default();
        let at_work = [worker("a", false, 2, 40)];
        assert_eq!(
            look(&mut status, &at_work, Some([20, 5, 5, 0])),
            [20, 7, 5, 0, 8]
        );
        assert_eq!(
            look(&mut status, &at_work, Some([10, 5, 5, 0])),
            [20, 7, 5, 0, 8]
        );
        assert_eq!(look(&mut status, &at_work, None), [20, 7, 5, 0, 8]);
        // Clocks of nodes differ: more said than seen is believed.
        assert_eq!(
            look(&mut status, &at_work, Some([38, 5, 5, 0])),
            [38, 7, 5, 0, 0]
        );
    }
}
