//! `darwinlm watch` of a run in a cluster: what its status tells, as a picture.

use std::pin::pin;
use std::time::Duration;

use darwinlm_api::{
    PruningRun, PruningRunStatus, SearchStatus,
    conditions::{self, ConditionStatus, ConditionType},
};
use darwinlm_task::{ExitCode, TaskKind};
use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::{
    ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tokio::time::{MissedTickBehavior, interval};

use super::super::duration::said_seconds;
use super::super::frames::{Frames, ended_by};
use super::super::picture::{Curve, Levels, Link, Mark, Pace, Picture};
use super::explain::{Told, chain, events, facts, movement};
use super::{Failure, Place};

/// How often ages are brought up to date on a terminal.
const REDRAW: Duration = Duration::from_secs(5);
/// The code of a run that has failed: the command itself has not.
pub(in crate::cli) const FAILED: u8 = 1;

/// Draws until the run ends.
pub(in crate::cli) async fn watch(name: &str, place: Place) -> Result<(), Failure> {
    let cluster = place.open().await?;
    cluster.run(name).await?;
    let changes = watcher::watch_object(cluster.runs(), name).default_backoff();
    let mut changes = pin!(changes);
    let mut frames = Frames::open()?;
    let mut ticks = interval(REDRAW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known: Option<PruningRun> = None;
    let mut first = None;
    loop {
        let is_terminal = frames.is_terminal();
        let is_new = tokio::select! {
            signal = frames.stopped() => return Err(ended_by(signal)),
            change = changes.next() => match change {
                Some(Ok(Some(run))) => {
                    let is_new = known.as_ref().is_none_or(|known| known.status != run.status);
                    known = Some(run);
                    is_new
                }
                Some(Ok(None)) => {
                    let words = format!("{name} was deleted");
                    return Err(Failure::new(ExitCode::InputMissing, words));
                }
                // It is tried again.
                Some(Err(_)) | None => false,
            },
            _ = ticks.tick(), if is_terminal => true,
        };
        let Some(run) = known.as_ref().filter(|_| is_new) else {
            continue;
        };
        let now = Timestamp::now();
        let generation = run
            .status
            .as_ref()
            .and_then(|status| status.search.as_ref());
        let generation = generation.map(|search| search.generation);
        first = first.or(generation.map(|generation| (now, generation)));
        let picture = picture(run, &events(&cluster, run).await, first, now);
        // Who reads no further has seen enough.
        if !frames.show(picture, is_new) {
            return Ok(());
        }
        if let Some(has_succeeded) = ended(run) {
            return match has_succeeded {
                true => Ok(()),
                false => Err(Failure {
                    code: FAILED,
                    message: format!("{name} has failed"),
                }),
            };
        }
    }
}

/// What is drawn. `first` is when this command first saw the search, and in which generation. Pure.
fn picture(
    run: &PruningRun,
    events: &[Told],
    first: Option<(Timestamp, i32)>,
    now: Timestamp,
) -> Picture {
    let namespace = run.namespace().unwrap_or_default();
    let mut picture = Picture {
        title: format!("PruningRun {namespace}/{}", run.name_any()),
        ..Picture::default()
    };
    let Some(status) = &run.status else {
        let words =
            "No operator has looked at it yet: see that one runs, and watches this namespace.";
        picture.words.push(words.to_owned());
        return picture;
    };
    picture.chain = links(status);
    picture.facts = facts(run, status);
    picture.words = movement(status, now);
    picture
        .words
        .extend(events.iter().take(2).map(|event| event.line(now)));
    let Some(search) = &status.search else {
        return picture;
    };
    if let Some(digest) = &search.digest {
        picture.title = format!("{}  {digest}", picture.title);
    }
    let asked = run.spec.search.generations;
    let rest = u32::try_from(asked.saturating_sub(search.generation)).unwrap_or_default();
    let left = pace(status, search, first, now).and_then(|pace| pace.left(rest));
    if let (Some(left), true) = (left, is_searching(status)) {
        picture
            .facts
            .push(("left", format!("about {}", said_seconds(left))));
    }
    picture.curve = curve(search);
    picture.levels = search.survivor.as_ref().map(|survivor| Levels {
        attention: survivor.genome.attention.clone(),
        mlp: survivor.genome.mlp.clone(),
        deepest: [run.spec.pruning.levels.unsigned_abs(); 2],
    });
    picture
}

fn links(status: &PruningRunStatus) -> Vec<Link> {
    let link = |(task, _, mark)| {
        let mut link = Link::new(task, mark);
        let progress = status.progress.as_ref();
        if let Some(progress) = progress.filter(|_| mark == Mark::AtWork) {
            link.note.clone_from(progress);
        }
        link
    };
    chain(status).map(link).collect()
}

/// Whether the search is at work, and moves.
fn is_searching(status: &PruningRunStatus) -> bool {
    let at_work =
        chain(status).any(|(task, _, mark)| task == TaskKind::Search && mark == Mark::AtWork);
    let moves = conditions::get(&status.conditions, ConditionType::Progressing);
    at_work && moves.is_some_and(|moves| moves.status == ConditionStatus::True.as_str())
}

/// The pace since this command looks, or until then that since the search could begin.
fn pace(
    status: &PruningRunStatus,
    search: &SearchStatus,
    first: Option<(Timestamp, i32)>,
    now: Timestamp,
) -> Option<Pace> {
    let since = |(at, generation): (Timestamp, i32)| Pace {
        seconds: now.duration_since(at).as_secs_f64(),
        generations: u32::try_from(search.generation - generation).unwrap_or_default(),
    };
    let begun = conditions::get(&status.conditions, ConditionType::DatabaseReady);
    let begun = begun.map(|ready| since((ready.last_transition_time.0, 0)));
    let seen = first.map(since).filter(|pace| pace.generations > 0);
    seen.or(begun)
}

/// The last survivors' validation, generation by generation; their fitness where that is not known.
fn curve(search: &SearchStatus) -> Option<Curve> {
    let first = search.survivors.last()?.born_in_generation;
    let by_generation = |known: &dyn Fn(&darwinlm_api::Survivor) -> Option<f64>| {
        let points = (first..=search.generation).map(|generation| {
            let mut survivors = search.survivors.iter();
            known(survivors.find(|one| one.born_in_generation <= generation)?)
        });
        points.collect::<Vec<_>>()
    };
    let kl = by_generation(&|one| one.validation_kl.as_ref()?.parse().ok());
    Curve::of("validation", &kl)
        .or_else(|| Curve::of("fitness", &by_generation(&|one| one.fitness.parse().ok())))
}

/// Whether it has succeeded, once it has ended.
fn ended(run: &PruningRun) -> Option<bool> {
    let status = run.status.as_ref()?;
    let succeeded = conditions::get(&status.conditions, ConditionType::Succeeded)?;
    match succeeded.status.as_str() {
        is if is == ConditionStatus::True.as_str() => Some(true),
        is if is == ConditionStatus::False.as_str() => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::picture::Room;
    use super::*;

    fn run(progressing: &str) -> PruningRun {
        let yaml = include_str!("../../../tests/fixtures/cluster-run.yaml");
        let mut run: PruningRun = serde_saphyr::from_str(yaml).unwrap();
        let condition = |type_: &str, holds: &str, reason: &str| {
            serde_json::json!({"type": type_, "status": holds, "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T10:00:00Z"})
        };
        let survivor = |born: i32, kl: &str| {
            serde_json::json!({"genome": {"attention": "0123", "mlp": "3210"}, "fitness": "0.0312",
                "validationKl": kl, "parameters": 98304000, "bornInGeneration": born})
        };
        let survivors = [
            survivor(11, "0.0408"),
            survivor(4, "0.0611"),
            survivor(0, "0.1"),
        ];
        run.spec.search.generations = 24;
        run.status = serde_json::from_value(serde_json::json!({
            "stage": "Searching", "gpuHours": "12.4", "progress": "12/24",
            "gpuSeconds": {"useful": 40000, "starting": 2000, "waiting": 1500, "lost": 1140,
                "unattributed": 0},
            "search": {"generation": 12, "trials": {"done": 1920, "failed": 3, "repeated": 7},
                "spentGpuSeconds": 1, "survivor": survivors[0], "survivors": survivors,
                "digest": format!("sha256:{}", "6b".repeat(32))},
            "conditions": [
                condition("Prepared", "True", "Complete"),
                condition("DatabaseReady", "True", "Complete"),
                condition("SearchComplete", "False", "InProgress"),
                condition("Exported", "False", "NotStarted"),
                condition("Progressing", progressing, "Searching"),
            ],
        }))
        .unwrap();
        run
    }

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_search_in_a_cluster_is_drawn_on_eighty_columns() {
        let picture = picture(&run("True"), &[], None, now());
        let room = Room {
            width: 80,
            height: Some(24),
            colours: false,
        };
        insta::assert_snapshot!(picture.lines(room).join("\n"));
    }

    #[test]
    fn what_is_left_follows_from_the_pace_that_was_seen_and_is_not_told_while_nothing_moves() {
        let left = |run: &PruningRun, first| {
            let picture = picture(run, &[], first, now());
            let left = picture.facts.into_iter().find(|(name, _)| *name == "left");
            left.map(|(_, words)| words)
        };
        // Two hours for twelve generations since the database was ready; then one in ten minutes.
        assert_eq!(left(&run("True"), None).unwrap(), "about 2 h 0 min");
        let first = Some(("2026-01-01T11:40:00Z".parse().unwrap(), 10));
        assert_eq!(left(&run("True"), first).unwrap(), "about 2 h 0 min");
        let slow = Some(("2026-01-01T11:00:00Z".parse().unwrap(), 11));
        assert_eq!(left(&run("True"), slow).unwrap(), "about 12 h 0 min");
        assert_eq!(left(&run("False"), None), None);
    }
}
