//! `darwinlm explain`: how a run in a cluster stands, why it does not move, and what to do.

use clap::Args;
use darwinlm_api::{
    GpuSeconds, PruningRun, PruningRunStatus,
    conditions::{self, ConditionStatus, ConditionType, stalled},
};
use darwinlm_report::grouped;
use darwinlm_task::TaskKind;
use k8s_openapi::{
    api::events::v1::Event, apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp,
};
use kube::{Api, ResourceExt, api::ListParams};

use super::{Cluster, Failure, Place, said};
use crate::run_controller::decide::done_condition;

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  darwinlm explain smollm2 -n research   how it stands, why it does not move, and what to do
  kubectl darwinlm explain smollm2       the same, where the program lies in the PATH as kubectl-darwinlm";

/// Events that are shown.
const EVENTS: usize = 8;
/// Cells of a bar.
const BAR: usize = 30;

#[derive(Debug, Args)]
pub(in crate::cli) struct Explain {
    /// Name of the run
    run: String,
    #[command(flatten)]
    place: Place,
}

/// Prints the page.
pub(in crate::cli) async fn explain(arguments: Explain) -> Result<(), Failure> {
    let cluster = arguments.place.open().await?;
    let run = cluster.run(&arguments.run).await?;
    print!("{}", read(&cluster, &run).await);
    Ok(())
}

/// The page of a run, with its events.
pub(super) async fn read(cluster: &Cluster, run: &PruningRun) -> String {
    let uid = run.uid().unwrap_or_default();
    let of_run = ListParams::default().fields(&format!("regarding.uid={uid}"));
    let events = Api::<Event>::namespaced(cluster.client.clone(), &cluster.namespace);
    // Who may read runs may not read events everywhere: then there are none to show.
    let events = events.list(&of_run).await.map(|list| list.items);
    page(run, &told(events.unwrap_or_default()), Timestamp::now())
}

/// One event of the run.
struct Told {
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
    page += &summary(run, status);
    page += &movement(status, now);
    page += &tasks(status, now);
    if !events.is_empty() {
        page += "\nLatest events\n";
    }
    for Told {
        at,
        is_warning,
        reason,
        note,
    } in events
    {
        let ago = format!("{} ago", said(now.duration_since(*at)));
        let mark = if *is_warning { "!" } else { " " };
        page += &format!("{mark} {ago:<18}{reason:<18}{note}\n");
    }
    page
}

/// How far it is, what is best, what it has taken.
fn summary(run: &PruningRun, status: &PruningRunStatus) -> String {
    let line = |name: &str, text: String| format!("  {name:<12}{text}\n");
    let stage = status.stage.as_deref().unwrap_or("Pending");
    let mut lines = line("stage", stage.to_owned());
    if let Some(search) = &status.search {
        let asked = run.spec.search.generations;
        let bar = bar(search.generation.into(), asked.into());
        let generation = search.generation;
        lines += &line("generations", format!("{bar} {generation} of {asked}"));
        let trials = &search.trials;
        lines += &line(
            "trials",
            format!(
                "{} done, {} failed, {} repeated",
                grouped(trials.done.unsigned_abs()),
                trials.failed,
                trials.repeated
            ),
        );
        if let Some(best) = &search.survivor {
            let kl = best.validation_kl.as_ref();
            let kl = kl.map(|kl| format!(", validation KL {kl}"));
            lines += &line(
                "survivor",
                format!(
                    "fitness {}{}, {} parameters, born in generation {}",
                    best.fitness,
                    kl.unwrap_or_default(),
                    grouped(best.parameters.unsigned_abs()),
                    best.born_in_generation
                ),
            );
        }
    } else if let Some(progress) = &status.progress {
        lines += &line("progress", progress.clone());
    }
    if let Some(seconds) = &status.gpu_seconds {
        let budget = run.spec.budget.as_ref().map(|budget| budget.gpu_hours);
        let of = budget.map_or_else(String::new, |hours| format!(" of {hours}"));
        let hours = status.gpu_hours.as_deref().unwrap_or("0.0");
        lines += &line("GPU hours", format!("{hours}{of}: {}", shares(seconds)));
    }
    lines
}

/// Each cause's share, the largest first, without what is nothing.
fn shares(seconds: &GpuSeconds) -> String {
    let (mut causes, all) = (seconds.causes(), seconds.total());
    causes.sort_by_key(|(_, part)| std::cmp::Reverse(*part));
    let told = causes.iter().filter(|(_, part)| *part > 0);
    let told: Vec<_> = told
        .map(|(name, part)| {
            format!(
                "{name} {} %",
                (part.saturating_mul(100) + all / 2) / all.max(1)
            )
        })
        .collect();
    told.join(", ")
}

/// Whether it moves, and if not why, and what to do.
fn movement(status: &PruningRunStatus, now: Timestamp) -> String {
    let Some(progressing) = conditions::get(&status.conditions, ConditionType::Progressing) else {
        return String::new();
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
    let mut text = format!("\n{title}: {}, for {since}\n", progressing.reason);
    if !words.is_empty() {
        text += &format!("  {words}\n");
    }
    if let Some(remedy) = remedy {
        text += &format!("What to do\n  {remedy}\n");
    }
    let spec = conditions::get(&status.conditions, ConditionType::Accepted);
    let refused = spec.filter(|spec| spec.status != ConditionStatus::True.as_str());
    if let Some(Condition { message, .. }) = refused
        && message != words
    {
        text += &format!("The spec is not accepted\n  {message}\n");
    }
    text
}

/// Each task with how it stands.
fn tasks(status: &PruningRunStatus, now: Timestamp) -> String {
    let mut lines = String::new();
    for task in TaskKind::ALL {
        let condition =
            done_condition(task).and_then(|type_| conditions::get(&status.conditions, type_));
        let Some(condition) = condition else {
            continue;
        };
        let is_done = condition.status == ConditionStatus::True.as_str();
        let ago = said(now.duration_since(condition.last_transition_time.0));
        let (mark, words) = match (is_done, condition.reason.as_str()) {
            (true, reason) => ("✓", format!("{reason}, {ago} ago")),
            (false, "InProgress") => ("▸", "at work".to_owned()),
            (false, "NotStarted") => ("·", "not started".to_owned()),
            (false, reason) => ("✗", format!("{reason}: {}", condition.message)),
        };
        lines += &format!("{mark} {:<16}{words}\n", task.name());
    }
    if lines.is_empty() {
        return lines;
    }
    format!("\nTasks\n{lines}")
}

fn bar(done: i64, all: i64) -> String {
    let cells = i64::try_from(BAR).expect("a bar is short");
    let full = done.clamp(0, all.max(0)).saturating_mul(cells) / all.max(1);
    let full = usize::try_from(full).unwrap_or_default();
    format!(
        "{}{}",
        "█".repeat(full),
        "░".repeat(BAR.saturating_sub(full))
    )
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

    #[test]
    fn shares_are_of_all_and_without_what_is_nothing() {
        let seconds = GpuSeconds {
            useful: 900,
            lost: 100,
            ..GpuSeconds::default()
        };
        assert_eq!(shares(&seconds), "useful 90 %, lost 10 %");
        assert_eq!(shares(&GpuSeconds::default()), "");
        assert_eq!(bar(3, 0).chars().filter(|cell| *cell == '█').count(), 0);
        assert_eq!(
            bar(50, 100).chars().filter(|cell| *cell == '█').count(),
            BAR / 2
        );
    }
}
