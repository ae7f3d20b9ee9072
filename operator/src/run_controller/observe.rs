//! Client: a run's Jobs, pods, reports and claims, as the state machine sees them.

mod claims;
mod events;
mod job;
mod list;
mod pod;
mod report;
mod stillness;
mod workloads;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use darwinlm_api::{
    PruningRun, PruningRunStatus,
    conditions::{self, ConditionType},
};
use darwinlm_task::{RunIdentity, TaskKind, TaskReport};
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, LogParams},
};

use super::{
    build::{CONTAINER, PORT},
    cache::Caches,
    observed::{JobState, Observed},
    queue,
    seen::{Seen, version},
};
use crate::names::{JobKey, LABEL_RUN, LABEL_TASK};
pub use claims::observe_claims;
use events::{Events, said_of};
use stillness::Asked;

/// A worker that does not answer in this time is asked through its log.
const ANSWER: Duration = Duration::from_secs(2);
/// The kubelet that does not answer in this time is not asked further.
const LOG_ANSWER: Duration = Duration::from_secs(4);
/// Lines of a log that are searched for progress.
const LOG_LINES: i64 = 200;
/// Bytes of a log that are read at most: it is a worker's to fill.
const LOG_BYTES: i64 = 4 * 1024 * 1024;
/// Workers that are asked at most when the first one stands still.
const ASKED: usize = 32;

/// What there is cannot be seen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Jobs.
    #[error("failed to list the Jobs of the run")]
    Jobs(#[source] kube::Error),
    /// The pods.
    #[error("failed to list the pods of the run")]
    Pods(#[source] kube::Error),
    /// The claims.
    #[error("failed to look at the claims of the run")]
    Claims(#[source] kube::Error),
}

/// What a look is made with.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The API server.
    pub client: &'a Client,
    /// For workers.
    pub http: &'a reqwest::Client,
    /// Workers that get no further for so long have stalled.
    pub stall: Duration,
    /// For how long no worker of the run could be asked, as far as this process knows.
    pub unheard: Duration,
    /// What this process has seen of the run; default before its first look, and for one that must
    /// see what is there now.
    pub since: &'a Seen,
    /// What the watches have brought.
    pub caches: &'a Caches,
    /// The time.
    pub now: Timestamp,
}

/// Looks at a run: at what the watches have brought of it or, where they may be behind, at two lists;
/// one question to one worker if any is at work, and one to Kueue for a Job that waits in its queue.
/// Where something stands still, other workers are asked, too, and events are read.
///
/// What is seen is never older than what this process has seen or written. Should a Job still be
/// missing, its name is taken, and it is found when it is made. Pods may be behind their Job: once it
/// has ended they are listed as they are now, so that their last words are heard.
///
/// # Errors
/// When Jobs or pods cannot be listed. A worker that cannot be asked is no error.
pub async fn observe(
    look: Look<'_>,
    run: &PruningRun,
    status: PruningRunStatus,
) -> Result<Observed, Error> {
    let Look { client, now, .. } = look;
    let identity = identity(run);
    let There {
        jobs,
        pods,
        stray,
        seen,
    } = there(look, &identity).await?;
    let mut events = Events::new();
    for uid in silent(&jobs, &pods, now) {
        let said = said_of(client, &identity.namespace, &uid).await;
        events.insert(uid, said);
    }
    let mut observed = see(&jobs, &pods, &identity, status, &events, now);
    observed.stray = stray;
    observed.seen = seen;
    for ((_, job), seen) in jobs.iter().zip(&mut observed.jobs) {
        if let (JobState::Queued, Some(queue)) = (&seen.state, &seen.queue) {
            let said = workloads::ask(client, job, now).await;
            seen.waiting = Some(queue::waiting(&job.name_any(), queue, &said));
        }
    }
    if let Some((key, workers)) = workers_at_work(&observed, &pods, &identity) {
        let asked = ask_some(look, &identity, key, &workers).await;
        let stillness = stillness::find(key.task, &asked, look.stall, look.unheard, now);
        let said = asked.into_iter().find_map(|asked| asked.report);
        observed.was_heard = said.is_some();
        hear(&mut observed, key, said);
        if let Some(job) = observed.jobs.iter_mut().find(|job| job.key == key) {
            job.waiting = stillness.or(job.waiting.take());
        }
    }
    Ok(observed)
}

/// Who a run is that an API server has handed out.
pub fn identity(run: &PruningRun) -> RunIdentity {
    RunIdentity {
        namespace: run.namespace().unwrap_or_default(),
        name: run.name_any(),
        uid: run.uid().unwrap_or_default(),
    }
}

/// What there is of a run.
struct There {
    jobs: Vec<(JobKey, Job)>,
    pods: Vec<Pod>,
    stray: Option<String>,
    seen: Seen,
}

async fn there(look: Look<'_>, identity: &RunIdentity) -> Result<There, Error> {
    let Look { client, since, .. } = look;
    let RunIdentity {
        namespace, name, ..
    } = identity;
    let of_this_run = ListParams::default().labels(&format!("{LABEL_RUN}={name}"));
    let cached = match since.may_be_cached() {
        true => look.caches.jobs.of_run(namespace, name),
        false => None,
    };
    let cached = cached.filter(|jobs| newest(jobs) >= since.written);
    let is_cached = cached.is_some();
    let mut seen = since.clone();
    let jobs = match cached {
        Some(jobs) => jobs,
        None => {
            let api = Api::<Job>::namespaced(client.clone(), namespace);
            let (jobs, version) = list::list(&api, &of_this_run, since.jobs)
                .await
                .map_err(Error::Jobs)?;
            seen.jobs = version;
            seen.listed = Some(Instant::now());
            jobs
        }
    };
    seen.written = newest(&jobs);
    let all_jobs: BTreeSet<String> = jobs.iter().filter_map(ResourceExt::uid).collect();
    let jobs = owned_jobs(jobs, identity);
    let ended = jobs.iter().filter(|(_, job)| job::has_ended(job));
    seen.heard = ended.filter_map(|(_, job)| job.uid()).collect();
    let all_heard = seen.heard.is_subset(&since.heard);
    let cached = match is_cached && all_heard {
        true => look.caches.pods.of_run(namespace, name),
        false => None,
    };
    let pods = match cached {
        Some(pods) => pods,
        None => {
            let api = Api::<Pod>::namespaced(client.clone(), namespace);
            let since = if all_heard { since.pods } else { 0 };
            let (pods, version) = list::list(&api, &of_this_run, since)
                .await
                .map_err(Error::Pods)?;
            seen.pods = version;
            pods
        }
    };
    Ok(There {
        stray: stray(&pods, &all_jobs),
        jobs,
        pods,
        seen,
    })
}

/// The newest version of these Jobs; 0 if there are none.
fn newest(jobs: &[Job]) -> u64 {
    let versions = jobs
        .iter()
        .map(|job| version(job.metadata.resource_version.as_deref()));
    versions.max().unwrap_or(0)
}

/// A pod that still works for a Job that is gone, of this run or of one of its name before it. Pure.
fn stray(pods: &[Pod], jobs: &BTreeSet<String>) -> Option<String> {
    let is_orphan = |pod: &&Pod| {
        let owners = pod.owner_references();
        let mut owners = owners.iter().filter(|owner| owner.controller == Some(true));
        owners.any(|owner| owner.kind == "Job" && !jobs.contains(&owner.uid))
    };
    let names = pods
        .iter()
        .filter(|pod| pod::is_active(pod) && JobKey::from_labels(pod.labels()).is_some())
        .filter(is_orphan)
        .map(ResourceExt::name_any);
    names.min()
}

/// The pods of a deleted run that have not ended, but for those that clean up after it.
///
/// # Errors
/// When pods cannot be listed.
pub async fn pods_left(client: &Client, run: &PruningRun) -> Result<usize, Error> {
    let of_this_run = ListParams::default().labels(&format!("{LABEL_RUN}={}", run.name_any()));
    let api = Api::<Pod>::namespaced(client.clone(), &run.namespace().unwrap_or_default());
    let pods = api.list(&of_this_run).await.map_err(Error::Pods)?.items;
    let cleans_up = |pod: &Pod| {
        let task = pod.labels().get(LABEL_TASK);
        task.is_some_and(|task| task == TaskKind::CleanUp.name())
    };
    let left = pods
        .iter()
        .filter(|pod| pod::is_active(pod) && !cleans_up(pod));
    Ok(left.count())
}

/// Everything but what running workers say. Pure.
fn see(
    jobs: &[(JobKey, Job)],
    pods: &[Pod],
    identity: &RunIdentity,
    status: PruningRunStatus,
    events: &Events,
    now: Timestamp,
) -> Observed {
    let suspended = conditions::get(&status.conditions, ConditionType::Suspended);
    let seen = job::Seen {
        identity,
        events,
        suspended_since: suspended
            .filter(|suspended| suspended.status == "True")
            .map(|suspended| suspended.last_transition_time.0),
        now,
    };
    let jobs = jobs
        .iter()
        .map(|(key, job)| job::observed(*key, job, &own(pods, job), &seen))
        .collect();
    Observed {
        jobs,
        status,
        ..Observed::default()
    }
}

/// The pods of a Job.
fn own<'a>(pods: &'a [Pod], job: &Job) -> Vec<&'a Pod> {
    let uid = job.uid().unwrap_or_default();
    pods.iter().filter(|pod| is_owned(*pod, &uid)).collect()
}

/// The UIDs of what stands still and does not say why itself: of each live Job that lacks pods, and
/// of its first pod that does not start. Pure.
fn silent(jobs: &[(JobKey, Job)], pods: &[Pod], now: Timestamp) -> Vec<String> {
    let mut uids = Vec::new();
    for (_, job) in jobs {
        let own = own(pods, job);
        let may_work = job.spec.as_ref().and_then(|spec| spec.suspend) != Some(true);
        if may_work && job::lacks_pods(job, &own, now) {
            uids.extend(job.uid());
        }
        let waits = own.iter().find(|pod| pod::is_silent(pod, now));
        uids.extend(waits.and_then(|pod| pod.uid()));
    }
    uids
}

/// The Jobs under our labels that this very run owns.
fn owned_jobs(jobs: Vec<Job>, identity: &RunIdentity) -> Vec<(JobKey, Job)> {
    jobs.into_iter()
        .filter(|job| is_owned(job, &identity.uid))
        .filter_map(|job| {
            let key = JobKey::from_labels(job.labels())?;
            // A name that does not fit its labels was not made here.
            (job.name_any() == key.job_name(&identity.name)).then_some((key, job))
        })
        .collect()
}

/// Whether this UID is the object's controller.
pub(super) fn is_owned(object: &impl ResourceExt, uid: &str) -> bool {
    let is_owner = |owner: &OwnerReference| owner.controller == Some(true) && owner.uid == uid;
    !uid.is_empty() && object.owner_references().iter().any(is_owner)
}

/// The workers to ask, the first by name first: all of a run say the same, so one will do.
fn workers_at_work<'a>(
    observed: &Observed,
    pods: &'a [Pod],
    identity: &RunIdentity,
) -> Option<(JobKey, Vec<&'a Pod>)> {
    let live = observed.live_jobs();
    let job = live.first()?;
    let labels = job.key.labels(&identity.name);
    let is_of_job = |pod: &&Pod| labels.iter().all(|(k, v)| pod.labels().get(k) == Some(v));
    let mut workers: Vec<_> = pods
        .iter()
        .filter(is_of_job)
        .filter(|pod| pod::is_at_work(pod))
        .collect();
    workers.sort_by_key(|pod| pod.name_any());
    let holds_workers = !job.state.is_suspended() && job.state != JobState::Queued;
    let is_asked = holds_workers && !workers.is_empty();
    is_asked.then_some((job.key, workers))
}

/// Asks the first worker; where it stands still, or does not answer, the others, too.
async fn ask_some(
    look: Look<'_>,
    identity: &RunIdentity,
    key: JobKey,
    workers: &[&Pod],
) -> Vec<Asked> {
    let api = Api::<Pod>::namespaced(look.client.clone(), &identity.namespace);
    let question = async |worker: &&Pod| {
        let said = ask(look.http, &api, worker).await;
        let said = said.filter(|(report, _)| report::is_of(report, identity, key.task));
        Asked::new(worker, said, look.now)
    };
    let Some((first, others)) = workers.split_first() else {
        return Vec::new();
    };
    let mut asked = vec![question(first).await];
    if asked[0].stands_still() {
        let others = others.iter().take(ASKED).map(question);
        asked.extend(futures::future::join_all(others).await);
    }
    asked
}

/// Asks a worker over the pod network, or reads its log where that refuses: then its words have an
/// age.
async fn ask(
    http: &reqwest::Client,
    api: &Api<Pod>,
    worker: &Pod,
) -> Option<(TaskReport, Option<Timestamp>)> {
    if let Some(address) = pod::address(worker, PORT)
        && let Some(report) = progress(http, &format!("http://{address}/progress")).await
    {
        return Some((report, None));
    }
    let parameters = LogParams {
        container: Some(CONTAINER.to_owned()),
        tail_lines: Some(LOG_LINES),
        limit_bytes: Some(LOG_BYTES),
        timestamps: true,
        ..LogParams::default()
    };
    let name = worker.name_any();
    match tokio::time::timeout(LOG_ANSWER, api.logs(&name, &parameters)).await {
        Ok(Ok(log)) => report::last_progress(&log),
        Ok(Err(error)) => {
            tracing::debug!(pod = name, %error, "a worker's log cannot be read");
            None
        }
        Err(_) => None,
    }
}

async fn progress(http: &reqwest::Client, url: &str) -> Option<TaskReport> {
    let answer = async {
        let mut answer = http.get(url).send().await?.error_for_status()?;
        let mut text = Vec::new();
        // A worker may answer without end; what is cut off is no report.
        while text.len() <= report::REPORT_BYTES
            && let Some(chunk) = answer.chunk().await?
        {
            text.extend_from_slice(&chunk);
        }
        Ok::<_, reqwest::Error>(text)
    };
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(Ok(text)) => report::read(&String::from_utf8_lossy(&text)),
        Ok(Err(error)) => {
            tracing::debug!(url, %error, "a worker does not answer");
            None
        }
        Err(_) => None,
    }
}

/// Takes what a running worker says, unless what has ended weighs more.
fn hear(observed: &mut Observed, key: JobKey, said: Option<TaskReport>) {
    let Some(said) = said else { return };
    if let Some(job) = observed.jobs.iter_mut().find(|job| job.key == key) {
        let ended: Option<TaskReport> = job.report.take();
        job.report = Some(match ended {
            Some(ended) if report::outweighs(&ended, &said) => ended,
            Some(_) | None => said,
        });
    }
}

#[cfg(test)]
mod tests;
