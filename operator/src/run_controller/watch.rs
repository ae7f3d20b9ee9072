//! What wakes a run: its spec, its Jobs, its pods.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use darwinlm_api::PruningRun;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::NamespaceResourceScope,
    runtime::{
        Config, Controller, Predicate, WatchStreamExt,
        controller::{Action, Error as ControllerError},
        predicates,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};

use super::{
    Context, Error,
    cache::{trim_job, trim_pod},
    next_look::NextLook,
    reconcile::{after_failure, reconcile},
    words::words,
};
use crate::{
    lease::Leadership,
    metrics::{Key, Metrics},
    names::LABEL_RUN,
    readiness::{Readiness, WatchId},
};

/// Events that come together are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// Carries out every run of these namespaces, or of all if there is none, until `stop` resolves
/// and the looks at work have ended. An operator that does not lead watches all the same, so that
/// it can begin at once when it does.
pub async fn run(
    context: Arc<Context>,
    namespaces: &[String],
    readiness: Readiness,
    leadership: Leadership,
    stop: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) {
    let scopes: Vec<Option<&str>> = match namespaces {
        [] => vec![None],
        names => names.iter().map(|name| Some(name.as_str())).collect(),
    };
    let controllers = scopes.into_iter().map(|scope| {
        controller(
            context.clone(),
            scope,
            readiness.clone(),
            leadership.clone(),
            stop.clone(),
        )
    });
    futures::future::join_all(controllers).await;
}

async fn controller(
    context: Arc<Context>,
    namespace: Option<&str>,
    readiness: Readiness,
    leadership: Leadership,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let client = &context.client;
    let (reader, writer) = reflector::store();
    let watch = readiness.add(reader.clone());
    let seen = seen(context.clone(), readiness, watch, reader.clone());
    // The operator's own status writes change no generation, so that they wake nobody.
    let runs = reflector::reflector(
        writer,
        watcher(api(client, namespace), watcher::Config::default()),
    )
    .default_backoff()
    .inspect(seen)
    .applied_objects()
    .predicate_filter(
        // Annotations: one of them says what the run is expected to take.
        predicates::generation
            .combine(predicates::annotations)
            .combine(predicates::finalizers),
        Default::default(),
    )
    .inspect(asks(context.metrics.clone(), |run| Some(key(run))));
    let of_runs = watcher::Config::default().labels(LABEL_RUN);
    let (scope, caches) = (namespace.map(ToOwned::to_owned), context.caches.clone());
    let jobs = watcher(api::<Job>(client, namespace), of_runs.clone())
        .default_backoff()
        .modify(trim_job)
        .inspect(move |event| caches.jobs.take(scope.as_deref(), event))
        .touched_objects()
        .inspect(asks(context.metrics.clone(), key_of_run));
    let (scope, caches) = (namespace.map(ToOwned::to_owned), context.caches.clone());
    let pods = watcher(api::<Pod>(client, namespace), of_runs)
        .default_backoff()
        .modify(trim_pod)
        .inspect(move |event| caches.pods.take(scope.as_deref(), event))
        .touched_objects()
        .inspect(asks(context.metrics.clone(), key_of_run));
    let all = every_run_asks(context.metrics.clone(), reader.clone());
    Controller::for_stream(runs, reader)
        .owns_stream(jobs)
        .watches_stream(pods, |pod| run_of(&pod))
        .with_config(
            Config::default()
                .debounce(DEBOUNCE)
                .concurrency(context.limits.concurrency),
        )
        .reconcile_all_on(leadership.gained().inspect(all))
        .graceful_shutdown_on(stop)
        .run(
            move |run, context| while_leading(run, context, leadership.clone()),
            |run, _, context: Arc<Context>| again(&run, after_failure(&run, &context), &context),
            context.clone(),
        )
        .for_each(|outcome| {
            if let Err(error) = outcome {
                log(&context, &error);
            }
            futures::future::ready(())
        })
        .boxed()
        .await;
}

/// A look by the leader; by another, nothing: it looks at every run when it begins to lead.
async fn while_leading(
    run: Arc<PruningRun>,
    context: Arc<Context>,
    leadership: Leadership,
) -> Result<Action, Error> {
    context.metrics.look_begins(&key(&run));
    let next = if leadership.may_write() {
        reconcile(run.clone(), context.clone()).await?
    } else {
        NextLook::OnChange
    };
    Ok(again(&run, next, &context))
}

/// Says to the controller when to look again, and notes it.
fn again(run: &PruningRun, next: NextLook, context: &Context) -> Action {
    if let NextLook::In(wait) = next {
        let at = Instant::now() + wait;
        context.metrics.look_is_asked_for(key(run), at, DEBOUNCE);
    }
    next.into()
}

/// Notes whose look a watched object asks for.
fn asks<K>(metrics: Metrics, of: impl Fn(&K) -> Option<Key>) -> impl Fn(&watcher::Result<K>) {
    move |event| {
        if let Some(run) = event.as_ref().ok().and_then(&of) {
            metrics.look_is_asked_for(run, Instant::now(), DEBOUNCE);
        }
    }
}

/// Notes that every run asks for a look.
fn every_run_asks(metrics: Metrics, runs: Store<PruningRun>) -> impl Fn(&()) {
    move |()| {
        for run in runs.state() {
            metrics.look_is_asked_for(key(&run), Instant::now(), DEBOUNCE);
        }
    }
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The run that a pod works for.
fn run_of(pod: &Pod) -> Option<ObjectRef<PruningRun>> {
    let (namespace, name) = key_of_run(pod)?;
    Some(ObjectRef::new(&name).within(&namespace))
}

/// The run that a Job or a pod is labelled with.
fn key_of_run<K: ResourceExt>(object: &K) -> Option<Key> {
    let name = object.labels().get(LABEL_RUN)?;
    Some((object.namespace()?, name.clone()))
}

fn key(run: &PruningRun) -> Key {
    (run.namespace().unwrap_or_default(), run.name_any())
}

/// Notes how the watch of runs is doing, and forgets the runs that are gone.
fn seen(
    context: Arc<Context>,
    readiness: Readiness,
    watch: WatchId,
    reader: Store<PruningRun>,
) -> impl Fn(&watcher::Result<watcher::Event<PruningRun>>) {
    move |event| match event {
        Ok(event) => {
            readiness.watch_works(watch);
            if matches!(event, watcher::Event::Delete(_) | watcher::Event::InitDone) {
                // Other namespaces' runs are theirs to keep.
                let runs = readiness.runs();
                let uids: HashSet<String> = runs.iter().filter_map(|run| run.uid()).collect();
                context.memory.keep_only(&uids);
                let keys: HashSet<Key> = runs.iter().map(|run| key(run)).collect();
                context.metrics.only_these_runs_ask(&keys);
                tracing::debug!(runs = reader.len(), "runs are watched");
            }
        }
        Err(error) => {
            readiness.watch_failed(watch, error);
        }
    }
}

fn log(context: &Context, error: &ControllerError<Error, watcher::Error>) {
    match error {
        // Its Jobs are deleted after it, and each tells so.
        ControllerError::ObjectNotFound(run) => {
            let namespace = run.namespace.clone().unwrap_or_default();
            context.metrics.no_look(&(namespace, run.name.clone()));
            tracing::debug!(%run, "the run is gone");
        }
        ControllerError::ReconcilerFailed(error, run) => {
            tracing::warn!(%run, kind = error.kind(), error = words(error), "a run is tried again");
        }
        ControllerError::QueueError(error) => {
            context.metrics.watch_broke();
            tracing::warn!(error = words(error), "a watch broke and is tried again");
        }
        ControllerError::RunnerError(error) => {
            tracing::error!(error = words(error), "the controller stops");
        }
    }
}
