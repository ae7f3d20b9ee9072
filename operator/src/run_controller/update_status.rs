//! Client: writes a run's status, and the events of what has changed in it.

pub mod changes;

use std::time::{Duration, Instant};

use darwinlm_api::{PruningRun, PruningRunStatus, conditions::ConditionType};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, TypeMeta},
    runtime::events::{Event, EventType, Recorder},
};
use serde::Serialize;

use super::{refusal::is_gone, words::words};
use crate::names::MANAGER;
use changes::Change;

/// A status is never larger than this, as JSON.
const STATUS_BYTES: usize = 64 * 1024;

/// The status cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the status")]
pub struct Error(#[source] kube::Error);

/// When a status is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It says nothing new.
    Never,
    /// At once.
    Now,
    /// After this time: what it says new is progress alone.
    In(Duration),
}

/// Decides when to write. Pure.
///
/// News is told at once, for there is little of it: revisions of the spec, and conditions that turn
/// once. All else is progress, told at most once in each `interval`: it may change with every pod
/// that comes or goes.
pub fn due(
    known: &PruningRunStatus,
    new: &PruningRunStatus,
    last: Option<Instant>,
    now: Instant,
    interval: Duration,
) -> Due {
    if known == new {
        return Due::Never;
    }
    let since_last = last.map_or(interval, |last| now.saturating_duration_since(last));
    if is_news(known, new) || since_last >= interval {
        Due::Now
    } else {
        Due::In(interval - since_last)
    }
}

/// A spec revision, or a condition that turns. `Progressing` is none: it turns back and forth while
/// workers fail. Neither are reasons and words: a scheduler's change with every node.
fn is_news(known: &PruningRunStatus, new: &PruningRunStatus) -> bool {
    let told = |status: &PruningRunStatus| {
        let lasting = |c: &&Condition| c.type_ != ConditionType::Progressing.as_str();
        let conditions = status.conditions.iter().filter(lasting);
        conditions
            .map(|c| (c.type_.clone(), c.status.clone()))
            .collect::<Vec<_>>()
    };
    known.observed_generation != new.observed_generation || told(known) != told(new)
}

/// The same status within [`STATUS_BYTES`]: the oldest survivors go first, for the store holds
/// them all, then scores of evaluation tasks.
pub fn capped(mut status: PruningRunStatus) -> PruningRunStatus {
    while bytes(&status) > STATUS_BYTES {
        let survivors = status.search.as_mut().map(|search| &mut search.survivors);
        if survivors.and_then(Vec::pop).is_some() {
            continue;
        }
        let scores = status
            .evaluation
            .as_mut()
            .map(|evaluation| &mut evaluation.tasks);
        if scores.and_then(Vec::pop).is_none() {
            break;
        }
    }
    status
}

fn bytes(status: &PruningRunStatus) -> usize {
    serde_json::to_vec(status).map_or(0, |text| text.len())
}

/// The whole of what this manager owns, applied by force: nobody else writes a run's status.
#[derive(Serialize, Debug)]
struct StatusPatch<'a> {
    #[serde(flatten)]
    types: TypeMeta,
    metadata: Identity<'a>,
    status: &'a PruningRunStatus,
}

/// The UID makes the write fail for a run of the same name that was made since.
#[derive(Serialize, Debug)]
struct Identity<'a> {
    name: &'a str,
    uid: &'a str,
}

/// Writes a status. A run that is gone, or was replaced by another of its name, needs none.
///
/// # Errors
/// When the API server does not take it.
pub async fn write(
    client: &Client,
    run: &PruningRun,
    status: &PruningRunStatus,
) -> Result<(), Error> {
    let name = run.name_any();
    let uid = run.uid().unwrap_or_default();
    let api = Api::<PruningRun>::namespaced(client.clone(), &run.namespace().unwrap_or_default());
    let patch = StatusPatch {
        types: TypeMeta::resource::<PruningRun>(),
        metadata: Identity {
            name: &name,
            uid: &uid,
        },
        status,
    };
    let parameters = PatchParams::apply(MANAGER).force();
    match api
        .patch_status(&name, &parameters, &Patch::Apply(patch))
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(answer)) if is_gone(&answer) => {
            tracing::info!(
                words = answer.message,
                "the run is gone; its status is not written"
            );
            Ok(())
        }
        Err(error) => Err(Error(error)),
    }
}

/// Publishes one event per change. An event that is lost is no failure: the status says the same.
pub async fn publish(recorder: &Recorder, run: &PruningRun, changes: Vec<Change>) {
    let regarding = run.object_ref(&());
    for change in changes {
        let reason = change.reason().as_str();
        let event = Event {
            type_: if change.is_warning() {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: reason.to_owned(),
            note: change.note(),
            action: change.action(),
            secondary: change.job.map(|key| ObjectReference {
                api_version: Some("batch/v1".to_owned()),
                kind: Some("Job".to_owned()),
                namespace: run.namespace(),
                name: Some(key.job_name(&run.name_any())),
                ..ObjectReference::default()
            }),
        };
        if let Err(error) = recorder.publish(&event, &regarding).await {
            tracing::warn!(reason, error = words(&error), "an event is lost");
        }
    }
}

#[cfg(test)]
mod tests;
