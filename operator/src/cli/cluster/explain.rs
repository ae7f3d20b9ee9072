//! `darwinlm explain`: how a run in a cluster stands, why it does not move, and what to do.

use darwinlm_api::{
    PruningRun, PruningRunStatus,
    conditions::{self, ConditionStatus, ConditionType, stalled},
};
use darwinlm_report::grouped;
use darwinlm_task::TaskKind;
use k8s_openapi::{
    api::events::v1::Event, apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp,
};
use kube::{Api, ResourceExt, api::ListParams};

use super::super::duration::said;
use super::super::picture::{Mark, bar, shares};
use super::{Cluster, Failure, Place};
use crate::run_controller::decide::done_condition;

/// Events that are shown.
const EVENTS: usize = 8;

/// Prints the page.
pub(in crate::cli) async fn explain(run: &str, place: Place) -> Result<(), Failure> {
    let cluster = place.open().await?;
    let run = cluster.run(run).await?;
    let events = events(&cluster, &run).await;
    print!("{}", page(&run, &events, Timestamp::now()));
    Ok(())
}

/// The latest events of a run.
pub(super) async fn events(cluster: &Cluster, run: &PruningRun) -> Vec<Told> {
    let uid = run.uid().unwrap_or_default();
    let of_run = ListParams::default().fields(&format!("regarding.uid={uid}"));
    let events = Api::<Event>::namespaced(cluster.client.clone(), &cluster.namespace);
    // Who may read runs may not read events everywhere: then there are none to show.
    let events = events.list(&of_run).await.map(|list| list.items);
    told(events.unwrap_or_default())
}

/// One event of the run.
#[derive(Clone, Debug)]
pub(super) struct Told {
    at: Timestamp,
    is_warning: bool,
    reason: String,
    note: String,
}

/// The last few, the newest first.
fn told(events: Vec<Event>) -> Vec<Told> {
    let mut told: Vec<Told> = events
        .into_iter()
        .filter_map(|event| {
            let last = event.series.map(|series| series.last_observed_time.0);
            Some(Told {
                at: last.or(event.event_time.map(|time| time.0))?,
                is_warning: event.type_.as_deref() == Some("Warning"),
                reason: event.reason.unwrap_or_default(),
                note: event.note.unwrap_or_default(),
            })
        })
        .collect();
    told.sort_by_key(|told| std::cmp::Reverse(told.at));
    told.truncate(EVENTS);
    told
}

/// The page. Pure.
fn page(run: &PruningRun, events: &[Told], now: Timestamp) -> String {
    let namespace = run.namespace().unwrap_or_default();
    let mut page = format!("PruningRun {namespace}/{}\n", run.name_any());
    let Some(status) = &run.status else {
        page +=
            "  No operator has looked at it yet: see that one runs, and watches this namespace.\n";
        return page;
    };
    for (name, words) in facts(run, status) {
        page += &format!("  {name:<12}{words}\n");
    }
    let movement = movement(status, now);
    if !movement.is_empty() {
        page += &format!("\n{}\n", movement.join("\n"));
    }
    page += &tasks(status, now);
    if !events.is_empty() {
        page += "\nLatest events\n";
    }
    for event in events {
        page += &format!("{}\n", event.line(now));
    }
    page
}

impl Told {
    /// The event in a line.
    pub(super) fn line(&self, now: Timestamp) -> String {
        let Self {
            at,
            is_warning,
            reason,
            note,
        } = self;
        let ago = format!("{} ago", said(now.duration_since(*at)));
        let mark = if *is_warning { "!" } else { " " };
        format!("{mark} {ago:<18}{reason:<18}{note}")
    }
}

/// How far it is, what is best, what it has taken: names and what is said under them.
pub(super) fn facts(run: &PruningRun, status: &PruningRunStatus) -> Vec<(&'static str, String)> {
    let stage = status.stage.as_deref().unwrap_or("Pending");
    let mut facts = vec![("stage", stage.to_owned())];
    if let Some(search) = &status.search {
        let asked = run.spec.search.generations;
        let bar = bar(search.generation.into(), asked.into());
        let generation = search.generation;
        facts.push(("generations", format!("{bar} {generation} of {asked}")));
        let trials = &search.trials;
        facts.push((
            "trials",
            format!(
                "{} done, {} failed, {} repeated",
                grouped(trials.done.unsigned_abs()),
                trials.failed,
                trials.repeated
            ),
        ));
        if let Some(best) = &search.survivor {
            let kl = best.validation_kl.as_ref();
            let kl = kl.map(|kl| format!(", validation KL {kl}"));
            facts.push((
                "survivor",
                format!(
                    "fitness {}{}, {} parameters, born in generation {}",
                    best.fitness,
                    kl.unwrap_or_default(),
                    grouped(best.parameters.unsigned_abs()),
                    best.born_in_generation
                ),
            ));
        }
    } else if let Some(progress) = &status.progress {
        facts.push(("progress", progress.clone()));
    }
    if let Some(seconds) = &status.gpu_seconds {
        let budget = run.spec.budget.as_ref().map(|budget| budget.gpu_hours);
        let of = budget.map_or_else(String::new, |hours| format!(" of {hours}"));
        let hours = status.gpu_hours.as_deref().unwrap_or("0.0");
        let shares = shares(&seconds.causes());
        facts.push(("GPU hours", format!("{hours}{of}: {shares}")));
    }
    facts
}

/// Whether it moves, and if not why, and what to do, in lines.
pub(super) fn movement(status: &PruningRunStatus, now: Timestamp) -> Vec<String> {
    let Some(progressing) = conditions::get(&status.conditions, ConditionType::Progressing) else {
        return Vec::new();
    };
    let since = said(now.duration_since(progressing.last_transition_time.0));
    let (words, remedy) = match progressing.message.split_once(". Remedy: ") {
        Some((words, remedy)) => (words, Some(remedy)),
        None => (progressing.message.as_str(), None),
    };
    let holds = progressing.status == ConditionStatus::True.as_str();
    let title = match (holds, stalled(&status.conditions), remedy) {
        (true, ..) => "It moves",
        (false, Some(_), _) | (false, None, Some(_)) => "It does not move",
        (false, None, None) => "It rests",
    };
    let mut lines = vec![format!("{title}: {}, for {since}", progressing.reason)];
    if !words.is_empty() {
        lines.push(format!("  {words}"));
    }
    if let Some(remedy) = remedy {
        lines.extend(["What to do".to_owned(), format!("  {remedy}")]);
    }
    let spec = conditions::get(&status.conditions, ConditionType::Accepted);
    let refused = spec.filter(|spec| spec.status != ConditionStatus::True.as_str());
    if let Some(Condition { message, .. }) = refused
        && message != words
    {
        lines.extend([
            "The spec is not accepted".to_owned(),
            format!("  {message}"),
        ]);
    }
    lines
}

/// Each task of the run with its condition, and how it stands.
pub(super) fn chain(
    status: &PruningRunStatus,
) -> impl Iterator<Item = (TaskKind, &Condition, Mark)> {
    TaskKind::ALL.into_iter().filter_map(|task| {
        let condition = conditions::get(&status.conditions, done_condition(task)?)?;
        let is_done = condition.status == ConditionStatus::True.as_str();
        let mark = match (is_done, condition.reason.as_str()) {
            (true, _) => Mark::Done,
            (false, "InProgress") => Mark::AtWork,
            (false, "NotStarted") => Mark::Later,
            (false, _) => Mark::Failed,
        };
        Some((task, condition, mark))
    })
}

fn tasks(status: &PruningRunStatus, now: Timestamp) -> String {
    let mut lines = String::new();
    for (task, condition, mark) in chain(status) {
        let reason = &condition.reason;
        let ago = said(now.duration_since(condition.last_transition_time.0));
        let words = match mark {
            Mark::Done => format!("{reason}, {ago} ago"),
            Mark::AtWork => "at work".to_owned(),
            Mark::Later => "not started".to_owned(),
            Mark::Failed => format!("{reason}: {}", condition.message),
        };
        lines += &format!("{} {:<16}{words}\n", mark.sign(), task.name());
    }
    if lines.is_empty() {
        return lines;
    }
    format!("\nTasks\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(status: &serde_json::Value) -> PruningRun {
        let yaml = include_str!("../../../tests/fixtures/cluster-run.yaml");
        let mut run: PruningRun = serde_saphyr::from_str(yaml).unwrap();
        run.status = serde_json::from_value(status.clone()).unwrap();
        run
    }

    fn condition(type_: &str, holds: &str, reason: &str, message: &str) -> serde_json::Value {
        serde_json::json!({"type": type_, "status": holds, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T10:00:00Z"})
    }

    fn now() -> Timestamp {
        "2026-01-01T12:20:00Z".parse().unwrap()
    }

    #[test]
    fn a_run_that_does_not_move_says_why_and_what_to_do() {
        let words =
            "0/5 nodes are available: 5 Insufficient nvidia.com/gpu. Remedy: add or free a node";
        let status = serde_json::json!({
            "stage": "Searching", "gpuHours": "12.4",
            "gpuSeconds": {"useful": 40000, "starting": 2000, "waiting": 1500, "lost": 1140,
                "unattributed": 0},
            "search": {"generation": 12, "survivors": [], "trials": {"done": 1920, "failed": 3,
                    "repeated": 7}, "spentGpuSeconds": 1,
                "survivor": {"genome": {"attention": "0", "mlp": "0"}, "fitness": "0.0312",
                    "validationKl": "0.0408", "parameters": 98304000, "bornInGeneration": 11}},
            "conditions": [
                condition("Accepted", "True", "Valid", ""),
                condition("Prepared", "True", "Complete", ""),
                condition("DatabaseReady", "True", "Complete", ""),
                condition("SearchComplete", "False", "InProgress", ""),
                condition("Exported", "False", "NotStarted", ""),
                condition("Progressing", "False", "Unschedulable", words),
            ],
        });
        let events = [Told {
            at: "2026-01-01T12:08:00Z".parse().unwrap(),
            is_warning: true,
            reason: "Stalled".to_owned(),
            note: "no node fits".to_owned(),
        }];
        insta::assert_snapshot!(page(&run(&status), &events, now()));
    }

    #[test]
    fn a_run_that_nobody_has_looked_at_says_so() {
        let page = page(&run(&serde_json::Value::Null), &[], now());
        assert!(page.contains("No operator has looked at it yet"), "{page}");
    }

    #[test]
    fn a_spec_that_is_not_accepted_is_told_with_its_field() {
        let status = serde_json::json!({"stage": "Rejected", "conditions": [
            condition("Accepted", "False", "NotYetSupported", "spec.evaluation.tasks: not yet"),
            condition("Progressing", "False", "NotYetSupported", "the spec is not accepted")]});
        let page = page(&run(&status), &[], now());
        assert!(
            page.contains("It rests: NotYetSupported, for 2 h 20 min"),
            "{page}"
        );
        assert!(
            page.contains("  spec.evaluation.tasks: not yet\n"),
            "{page}"
        );
    }
}
