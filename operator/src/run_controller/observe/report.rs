//! Reports: which text is one, and which of several counts.

use darwinlm_task::{ExitCode, Outcome, RunIdentity, TaskKind, TaskReport, VERSION};
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;

/// Longest text that may be a report.
pub(super) const REPORT_BYTES: usize = 64 * 1024;
/// Device seconds of one kind that a run can have taken: ten thousand devices for thirty years.
const SECONDS: u64 = 10_000 * 30 * 366 * 86_400;

/// Reads a report; what cannot be read, is of another version, or counts what cannot be is none: it
/// comes out of a container that may hold anything.
pub(super) fn read(text: &str) -> Option<TaskReport> {
    if text.len() > REPORT_BYTES {
        return None;
    }
    let report: TaskReport = serde_json::from_str(text).ok()?;
    let seconds = report.gpu_seconds.unwrap_or_default();
    let parts = [
        seconds.useful,
        seconds.starting,
        seconds.waiting,
        seconds.lost,
    ];
    let is_possible = parts.iter().all(|&part| part <= SECONDS);
    (report.version == VERSION && is_possible).then_some(report)
}

/// Whether a report is of this run and task: a pod's own words are not to be believed blindly.
pub(super) fn is_of(report: &TaskReport, identity: &RunIdentity, task: TaskKind) -> bool {
    report.run_uid == identity.uid && report.task == task
}

/// The larger, the more it says: done before failed for good before failed, then the generation.
pub(super) fn weight(report: &TaskReport) -> (u8, u32) {
    let outcome = match &report.outcome {
        Outcome::Done | Outcome::BudgetSpent => 2,
        Outcome::Failed { code, .. } if is_final(*code) => 1,
        Outcome::Failed { .. } | Outcome::Running => 0,
    };
    (outcome, generation(report))
}

/// The one that says most, with the newest sum of all workers' seconds, whoever told it: the last
/// worker to end knows how long the others took.
pub(super) fn of_all(reports: Vec<TaskReport>) -> Option<TaskReport> {
    let sums = reports.iter().filter_map(|report| report.gpu_seconds);
    let newest = sums.max_by_key(|sum| {
        let parts = [sum.useful, sum.starting, sum.waiting, sum.lost];
        parts.into_iter().fold(0, u64::saturating_add)
    });
    let mut most = reports.into_iter().max_by_key(weight)?;
    most.gpu_seconds = newest;
    Some(most)
}

/// Whether what one worker said at its end counts more than what another says at work.
///
/// The end of the task does, and a failure for good does; a worker that was only stopped does not:
/// the others go on.
pub(super) fn outweighs(ended: &TaskReport, at_work: &TaskReport) -> bool {
    let (outcome, generation_then) = weight(ended);
    outcome > 0 || generation_then > generation(at_work)
}

fn is_final(code: u8) -> bool {
    ExitCode::from_code(code.into()).is_some_and(ExitCode::is_final)
}

fn generation(report: &TaskReport) -> u32 {
    report.search.as_ref().map_or(0, |search| search.generation)
}

/// The newest progress in a worker's log: one JSON object a line, some with the whole report in
/// `progress_report`, as an object or as its text. The kubelet puts the time before each line.
pub(super) fn last_progress(log: &str) -> Option<(TaskReport, Option<Timestamp>)> {
    #[derive(Deserialize)]
    struct Line {
        progress_report: Told,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Told {
        Text(String),
        Object(serde_json::Value),
    }
    log.lines()
        .rev()
        .filter(|line| line.contains("progress_report"))
        .find_map(|line| {
            let (time, line) = match line.split_once(' ') {
                Some((time, rest)) if !line.starts_with('{') => (time.parse().ok(), rest),
                _ => (None, line),
            };
            let report = match serde_json::from_str::<Line>(line).ok()?.progress_report {
                Told::Text(text) => read(&text),
                Told::Object(value) => read(&value.to_string()),
            };
            Some((report?, time))
        })
}

#[cfg(test)]
mod tests {
    use darwinlm_task::GpuSeconds;

    use super::*;

    fn report(outcome: Outcome) -> TaskReport {
        let run = RunIdentity {
            namespace: "a".to_owned(),
            name: "b".to_owned(),
            uid: "c".to_owned(),
        };
        TaskReport {
            outcome,
            ..TaskReport::running(&run, "w", TaskKind::Search)
        }
    }

    fn failed(code: u8) -> TaskReport {
        report(Outcome::Failed {
            code,
            reason: String::new(),
            message: String::new(),
        })
    }

    #[test]
    fn the_last_progress_of_a_log_counts() {
        let first = report(Outcome::Running).to_json();
        let last = report(Outcome::Done).to_json();
        let log = format!(
            "{{\"message\":\"starts\"}}\n{{\"progress_report\":{}}}\n2026-01-01T12:00:00.5Z \
             {{\"progress_report\":{last}}}\n\
             {{\"message\":\"no progress_report here\"}}\nnot json progress_report\n",
            serde_json::to_string(&first).unwrap(),
        );
        let time = "2026-01-01T12:00:00.5Z".parse().ok();
        assert_eq!(last_progress(&log), Some((report(Outcome::Done), time)));
        let log = format!(
            "{{\"progress_report\":{}}}",
            serde_json::to_string(&first).unwrap()
        );
        assert_eq!(last_progress(&log), Some((report(Outcome::Running), None)));
        assert_eq!(last_progress("nothing"), None);
    }

    #[test]
    fn done_counts_more_than_failed_for_good_and_that_more_than_stopped() {
        let (done, spec, stopped) = (report(Outcome::Done), failed(78), failed(75));
        assert!(weight(&done) > weight(&spec));
        assert!(weight(&spec) > weight(&stopped));
    }

    #[test]
    fn a_worker_that_was_stopped_does_not_silence_those_at_work() {
        let at_work = report(Outcome::Running);
        assert!(!outweighs(&failed(75), &at_work));
        assert!(outweighs(&failed(12), &at_work));
        assert!(outweighs(&report(Outcome::Done), &at_work));
    }

    #[test]
    fn what_counts_what_cannot_be_is_no_report() {
        let told = |useful| {
            let mut said = report(Outcome::Done);
            said.gpu_seconds = Some(GpuSeconds {
                useful,
                starting: 1,
                ..GpuSeconds::default()
            });
            said.to_json()
        };
        assert!(read(&told(SECONDS)).is_some());
        assert_eq!(read(&told(u64::MAX)), None);
        assert_eq!(
            read(&format!("{}{}", told(1), " ".repeat(REPORT_BYTES))),
            None
        );
    }

    #[test]
    fn a_report_of_another_version_is_none() {
        let text = report(Outcome::Done)
            .to_json()
            .replace("\"version\":1", "\"version\":999");
        assert_eq!(read(&text), None);
    }
}
