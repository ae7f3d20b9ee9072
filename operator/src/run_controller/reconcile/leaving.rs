//! One look at a run that is being deleted, and the deletion of one whose time is over.

use std::time::Duration;

use darwinlm_api::{
    PruningRun, PruningRunStatus, Stage,
    conditions::{self, ConditionStatus, ConditionType, Finding, Reason},
};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions},
};

use super::blocked;
use crate::run_controller::{
    Context, Error,
    apply::Jobs,
    farewell::{self, Leaving, Outcome, Step},
    finalizer,
    next_look::NextLook,
    observe::pods_left,
    observed::Observed,
    update_status::{self, changes::Change},
    validate::{Rejection, ValidatedRun},
};

/// Between two looks at a run that is leaving.
const LOOK: Duration = Duration::from_secs(5);

/// What was seen of a run that is leaving.
pub(super) struct Seen<'a> {
    pub(super) run: &'a PruningRun,
    pub(super) valid: Result<&'a ValidatedRun, &'a Rejection>,
    pub(super) observed: &'a Observed,
    pub(super) deleted: Timestamp,
    pub(super) now: Timestamp,
}

/// Takes a deleted run one step closer to its end.
pub(super) async fn leave(seen: Seen<'_>, context: &Context) -> Result<NextLook, Error> {
    let exports = farewell::exports(seen.run, &seen.observed.status);
    let leaving = Leaving {
        run: seen.valid,
        retain: seen.run.spec.retain,
        exports: &exports,
        observed: seen.observed,
        pods: pods_left(&context.client, seen.run).await?,
        deleted: seen.deleted,
        time_box: context.limits.clean_up,
    };
    let actions = match farewell::next(leaving, seen.now) {
        Step::Release(outcome) => return release(&seen, context, outcome).await,
        Step::Wait(actions) => actions,
    };
    let Ok(valid) = seen.valid else {
        return Ok(NextLook::In(LOOK));
    };
    let jobs = Jobs::new(&context.client, valid, &context.worker_image);
    match jobs.apply(&actions).await {
        Ok(applied) if applied.namespace_leaves => {
            let words = "the namespace is being deleted, and no Job can be made in it";
            release(&seen, context, Outcome::Left(words.to_owned())).await
        }
        Ok(applied) => {
            let uid = seen.run.uid().unwrap_or_default();
            context.memory.wrote_job(&uid, applied.newest);
            say(&seen, context, cleaning_up(&seen)).await?;
            Ok(NextLook::In(LOOK.min(context.limits.poll)))
        }
        Err(error) => {
            if let Some(waiting) = error.for_the_user() {
                let status = blocked(
                    cleaning_up(&seen),
                    &seen.observed.status,
                    &waiting,
                    seen.run.metadata.generation,
                    seen.now,
                );
                say(&seen, context, status).await?;
            }
            Err(error.into())
        }
    }
}

/// Says what was done, then lets the run go.
async fn release(seen: &Seen<'_>, context: &Context, outcome: Outcome) -> Result<NextLook, Error> {
    let run = seen.run;
    let prefix = format!(
        "runs/{}.{}",
        run.namespace().unwrap_or_default(),
        run.name_any()
    );
    let change = match outcome {
        Outcome::Kept => None,
        Outcome::Removed(words) => Some(Change::cleaned_up(&format!("{prefix}: {words}"))),
        Outcome::Left(words) => {
            let store = &run.spec.artifacts.store;
            let words = format!("{prefix} stays in {store}, whole or in part: {words}");
            tracing::warn!(words, "a run leaves something behind");
            Some(Change::left_behind(&words))
        }
    };
    update_status::publish(&context.recorder, run, change.into_iter().collect()).await;
    finalizer::let_go(&context.client, run).await?;
    Ok(NextLook::OnChange)
}

fn cleaning_up(seen: &Seen<'_>) -> PruningRunStatus {
    let mut status = seen.observed.status.clone();
    status.stage = Some(Stage::CleaningUp.to_string());
    status.progress = None;
    let finding = Finding {
        type_: ConditionType::Progressing,
        status: ConditionStatus::True,
        reason: Reason::CleaningUp,
        message: "the run's own prefix is being removed from the store".to_owned(),
    };
    let revision = seen.run.metadata.generation;
    conditions::set(&mut status.conditions, finding, revision, seen.now);
    status
}

async fn say(seen: &Seen<'_>, context: &Context, status: PruningRunStatus) -> Result<(), Error> {
    if status == seen.observed.status {
        return Ok(());
    }
    update_status::write(&context.client, seen.run, &status).await?;
    let uid = seen.run.uid().unwrap_or_default();
    context
        .memory
        .wrote(&uid, status, std::time::Instant::now());
    Ok(())
}

/// Deletes a run whose time is over, as it was seen: one that has changed since is looked at again.
pub(super) async fn expire(run: &PruningRun, context: &Context) -> Result<NextLook, Error> {
    let api =
        Api::<PruningRun>::namespaced(context.client.clone(), &run.namespace().unwrap_or_default());
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: run.uid(),
            resource_version: run.resource_version(),
        }),
        ..DeleteParams::background()
    };
    match api.delete(&run.name_any(), &parameters).await {
        Ok(_) => {
            tracing::info!("the run is deleted: its time after its end is over");
            Ok(NextLook::OnChange)
        }
        Err(kube::Error::Api(answer)) if answer.is_not_found() => Ok(NextLook::OnChange),
        Err(kube::Error::Api(answer)) if answer.is_conflict() => {
            Ok(NextLook::In(Duration::from_secs(1)))
        }
        Err(error) => Err(Error::Expire(error)),
    }
}
