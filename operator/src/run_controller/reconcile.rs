//! One look at one run: observe, validate, decide, build, apply, update the status.

mod leaving;

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use darwinlm_api::{
    PruningRun, PruningRunStatus, Retain,
    conditions::{self, ConditionStatus, ConditionType, Finding},
};
use darwinlm_task::TaskKind;
use futures::FutureExt;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::ResourceExt;
use tracing::Instrument;

use super::{
    Context, Error,
    apply::{self, Applied, Jobs},
    backoff,
    decide::{Decision, asks_for_claims, decide, reject},
    expiry::{Expiry, expiry},
    farewell::{self, holds_back},
    finalizer,
    next_look::NextLook,
    observe::{Look, identity, observe, observe_claims},
    observed::{Observed, Waiting},
    seen::Seen,
    update_status::{self, Due, changes::changes},
    validate::{Placement, ValidatedRun, validate},
};

use crate::names::JobKey;

/// All six steps together take at most this long, so that one run never holds up the others.
const DEADLINE: Duration = Duration::from_secs(20);

/// Takes a run one step further and says when to look again.
pub(super) async fn reconcile(
    run: Arc<PruningRun>,
    context: Arc<Context>,
) -> Result<NextLook, Error> {
    if run.metadata.deletion_timestamp.is_some() && !finalizer::is_held(&run) {
        // What the run owns goes with it.
        return Ok(NextLook::OnChange);
    }
    let uid = run.uid().unwrap_or_default();
    let span = tracing::info_span!(
        "reconcile",
        namespace = run.namespace(),
        run = run.name_any(),
        uid
    );
    let _active = context.metrics.reconcile();
    let started = Instant::now();
    // What one run's pods or spec make panic must not end the process, and with it every other run's.
    let steps = AssertUnwindSafe(steps(&run, &uid, &context)).catch_unwind();
    let result = tokio::time::timeout(DEADLINE, steps)
        .instrument(span)
        .await
        .map_or(Err(Error::Deadline(DEADLINE)), |ended| {
            ended.unwrap_or_else(|panic| Err(Error::Panicked(said_in(&*panic))))
        });
    context
        .metrics
        .reconciled(result.as_ref().err().map(Error::kind), started.elapsed());
    if result.is_ok() {
        context.memory.succeeded(&uid);
    }
    result
}

/// The words of a panic.
fn said_in(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it did not say why".to_owned())
}

/// After a failure: again, later and later.
pub(super) fn after_failure(run: &PruningRun, context: &Context) -> NextLook {
    let uid = run.uid().unwrap_or_default();
    NextLook::In(backoff(context.memory.failed(&uid), &uid))
}

async fn steps(run: &PruningRun, uid: &str, context: &Context) -> Result<NextLook, Error> {
    let now = Timestamp::now();
    let written = context.memory.written(uid);
    let known = match &written {
        Some(written) => written.status.clone(),
        None => run.status.clone().unwrap_or_default(),
    };
    // What is removed goes by what is there now.
    let since = match run.metadata.deletion_timestamp {
        Some(_) => Seen::default(),
        None => context.memory.seen(uid),
    };
    let look = Look {
        client: &context.client,
        http: &context.http,
        stall: context.limits.stall,
        unheard: context.memory.unheard(uid, Instant::now()),
        since: &since,
        caches: &context.caches,
        now,
    };
    let mut observed = observe(look, run, known.clone()).await?;
    context.memory.saw(uid, std::mem::take(&mut observed.seen));
    if observed.was_heard {
        context.memory.heard(uid, Instant::now());
    }
    if let Some(deleted) = &run.metadata.deletion_timestamp {
        let valid = validate(&farewell::essence(run), &Placement::Pods);
        let seen = leaving::Seen {
            run,
            valid: valid.as_ref(),
            observed: &observed,
            deleted: deleted.0,
            now,
        };
        return leaving::leave(seen, context).await;
    }
    let valid = validate(run, &Placement::Pods);
    if let Ok(valid) = &valid
        && asks_for_claims(valid, &observed)
    {
        observed.claims = observe_claims(&context.client, valid).await?;
    }
    let decision = match &valid {
        Ok(valid) => decide(valid, &observed, now),
        Err(rejection) => {
            let (suspend, revision) = (run.spec.suspend, run.metadata.generation);
            reject(rejection, suspend, revision, &observed, now)
        }
    };
    let holds_back = holds_back(run.spec.retain, &observed, &decision.actions);
    let lets_go = run.spec.retain == Retain::All;
    if finalizer::is_held(run) != holds_back && (holds_back || lets_go) {
        // Before anything is written that it would remove.
        match holds_back {
            true => finalizer::hold(&context.client, run).await?,
            false => finalizer::let_go(&context.client, run).await?,
        }
    }
    let expiry = match decision.ended {
        Some(_) => expiry(run.spec.ttl_seconds_after_finished, &decision.status, now),
        None => Expiry::Never,
    };
    let outcome = match &valid {
        // Objects are built where they are made: only what does not exist yet is.
        Ok(valid) => carry_out(context, valid, &decision).await,
        Err(_) => {
            let jobs = Jobs::that_exist(&context.client, identity(run));
            jobs.apply(&decision.actions).await
        }
    };
    let voice = Voice {
        run,
        context,
        known,
        last: written.map(|written| written.at),
        own_job: job_of_the_last_generation(run, &observed),
    };
    match outcome {
        Ok(applied) => {
            context.memory.wrote_job(uid, applied.newest);
            let due = voice.say(decision.status, &applied).await?;
            let again = match expiry {
                Expiry::Now => return leaving::expire(run, context).await,
                Expiry::In(rest) => Some(rest),
                Expiry::Never => decision.requeue_after.map(|_| context.limits.poll),
            };
            Ok(next_look(again, due))
        }
        Err(error) => {
            if let Some(waiting) = error.for_the_user() {
                let revision = run.metadata.generation;
                let status = blocked(decision.status, &voice.known, &waiting, revision, now);
                voice.say(status, &Applied::default()).await?;
            }
            Err(error.into())
        }
    }
}

/// The newest search Job with something to say, where each generation has a Job of its own.
fn job_of_the_last_generation(run: &PruningRun, observed: &Observed) -> Option<JobKey> {
    let told = observed
        .jobs_of(TaskKind::Search)
        .filter(|job| job.generation() > 0);
    let newest = told.map(|job| job.key).max();
    newest.filter(|_| run.spec.search.generations_per_job == 1)
}

async fn carry_out(
    context: &Context,
    valid: &ValidatedRun,
    decision: &Decision,
) -> Result<Applied, apply::Error> {
    Jobs::new(&context.client, valid, &context.worker_image)
        .apply(&decision.actions)
        .await
}

/// The status that says that an action is not possible until somebody changes something. It has not
/// been possible since it was first said, whatever was decided in between.
fn blocked(
    mut status: PruningRunStatus,
    known: &PruningRunStatus,
    waiting: &Waiting,
    spec_revision: Option<i64>,
    now: Timestamp,
) -> PruningRunStatus {
    let type_ = ConditionType::Progressing;
    let is_it = |condition: &Condition| condition.type_ == type_.as_str();
    if let Some(known) = conditions::get(&known.conditions, type_)
        && let Some(decided) = status.conditions.iter_mut().find(|decided| is_it(decided))
    {
        *decided = known.clone();
    }
    let finding = Finding {
        type_,
        status: ConditionStatus::False,
        reason: waiting.stall.reason(),
        message: waiting.message(),
    };
    conditions::set(&mut status.conditions, finding, spec_revision, now);
    status
}

/// What is needed to say something of a run.
struct Voice<'a> {
    run: &'a PruningRun,
    context: &'a Context,
    known: PruningRunStatus,
    last: Option<Instant>,
    own_job: Option<JobKey>,
}

impl Voice<'_> {
    /// Writes the status and its events if it is time to.
    async fn say(&self, status: PruningRunStatus, applied: &Applied) -> Result<Due, Error> {
        let Self {
            run,
            context,
            known,
            last,
            own_job,
        } = self;
        let status = update_status::capped(status);
        let now = Instant::now();
        let due = update_status::due(known, &status, *last, now, context.limits.status);
        // A Job that was made is told even if the status already says that it would be.
        if due != Due::Now && applied.created.is_empty() {
            return Ok(due);
        }
        if due != Due::Never {
            update_status::write(&context.client, run, &status).await?;
        }
        let changes = changes(known, &status, applied, *own_job);
        for change in &changes {
            tracing::info!(
                reason = change.reason().as_str(),
                note = change.note(),
                "the run has changed"
            );
        }
        context
            .memory
            .wrote(&run.uid().unwrap_or_default(), status, now);
        update_status::publish(&context.recorder, run, changes).await;
        Ok(Due::Now)
    }
}

/// The earlier of the next poll, or the run's expiry, and the next write of progress.
fn next_look(poll: Option<Duration>, due: Due) -> NextLook {
    let write = match due {
        Due::In(rest) => Some(rest),
        Due::Never | Due::Now => None,
    };
    match poll.into_iter().chain(write).min() {
        Some(wait) => NextLook::In(wait),
        None => NextLook::OnChange,
    }
}

#[cfg(test)]
mod tests;
