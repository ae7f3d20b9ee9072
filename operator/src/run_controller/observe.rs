//! Client: a run's Jobs, pods, reports and claims, as the state machine sees them.

mod claims;
mod job;
mod pod;
mod report;
mod workloads;

use std::time::Duration;

use darwinlm_api::{PruningRun, PruningRunStatus};
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
    observed::{JobState, Observed},
    queue,
};
use crate::names::{JobKey, LABEL_RUN, LABEL_TASK};
pub use claims::observe_claims;

/// A worker that does not answer in this time is asked through its log.
const ANSWER: Duration = Duration::from_secs(2);
/// The kubelet that does not answer in this time is not asked further.
const LOG_ANSWER: Duration = Duration::from_secs(4);
/// Lines of a log that are searched for progress.
const LOG_LINES: i64 = 200;

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

/// Looks at a run: two lists, one question to one worker if any is at work, and one to Kueue for a
/// Job that waits in its queue.
///
/// Jobs are listed, not read from a cache: a cache that is behind would let a Job be made twice.
///
/// # Errors
/// When Jobs or pods cannot be listed. A worker that cannot be asked is no error.
pub async fn observe(
    client: &Client,
    http: &reqwest::Client,
    run: &PruningRun,
    status: PruningRunStatus,
    now: Timestamp,
) -> Result<Observed, Error> {
    let identity = RunIdentity {
        namespace: run.namespace().unwrap_or_default(),
        name: run.name_any(),
        uid: run.uid().unwrap_or_default(),
    };
    let of_this_run = ListParams::default().labels(&format!("{LABEL_RUN}={}", identity.name));
    let jobs = Api::<Job>::namespaced(client.clone(), &identity.namespace)
        .list(&of_this_run)
        .await
        .map_err(Error::Jobs)?
        .items;
    let jobs = owned_jobs(jobs, &identity);
    let pods = if jobs.is_empty() {
        Vec::new()
    } else {
        let api = Api::<Pod>::namespaced(client.clone(), &identity.namespace);
        api.list(&of_this_run).await.map_err(Error::Pods)?.items
    };
    let mut observed = see(&jobs, &pods, &identity, status, now);
    for ((_, job), seen) in jobs.iter().zip(&mut observed.jobs) {
        if let (JobState::Queued, Some(queue)) = (&seen.state, &seen.queue) {
            let said = workloads::ask(client, job, now).await;
            seen.waiting = Some(queue::waiting(&job.name_any(), queue, &said));
        }
    }
    if let Some((key, worker)) = one_worker_at_work(&observed, &pods, &identity) {
        let api = Api::<Pod>::namespaced(client.clone(), &identity.namespace);
        let said = ask(http, &api, worker).await;
        hear(
            &mut observed,
            key,
            said.filter(|said| report::is_of(said, &identity, key.task)),
        );
    }
    Ok(observed)
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
    now: Timestamp,
) -> Observed {
    let jobs = jobs
        .iter()
        .map(|(key, job)| {
            let uid = job.uid().unwrap_or_default();
            let own: Vec<&Pod> = pods.iter().filter(|pod| is_owned(*pod, &uid)).collect();
            job::observed(*key, job, &own, identity, now)
        })
        .collect();
    Observed {
        jobs,
        status,
        ..Observed::default()
    }
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

/// The worker to ask: all of a run say the same, so the first by name will do.
fn one_worker_at_work<'a>(
    observed: &Observed,
    pods: &'a [Pod],
    identity: &RunIdentity,
) -> Option<(JobKey, &'a Pod)> {
    let key = observed.live_jobs().first()?.key;
    let labels = key.labels(&identity.name);
    let is_of_job = |pod: &&Pod| labels.iter().all(|(k, v)| pod.labels().get(k) == Some(v));
    let worker = pods
        .iter()
        .filter(is_of_job)
        .filter(|pod| pod::is_at_work(pod))
        .min_by_key(|pod| pod.name_any())?;
    Some((key, worker))
}

/// Asks a worker over the pod network, or reads its log where that refuses.
async fn ask(http: &reqwest::Client, api: &Api<Pod>, worker: &Pod) -> Option<TaskReport> {
    if let Some(address) = pod::address(worker, PORT)
        && let Some(report) = progress(http, &format!("http://{address}/progress")).await
    {
        return Some(report);
    }
    let parameters = LogParams {
        container: Some(CONTAINER.to_owned()),
        tail_lines: Some(LOG_LINES),
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
        let text = http
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?;
        Ok::<_, reqwest::Error>(text)
    };
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(Ok(text)) => report::read(&text),
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
