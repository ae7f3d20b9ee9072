//! Client: carries out a decision's actions, in their order.

use darwinlm_api::conditions::Stall;
use darwinlm_task::RunIdentity;
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::Status,
};
use serde_json::{Value, json};

use super::{
    build::{self, WorkerImage},
    decide::{Action, NewJob},
    observe::is_owned,
    observed::Waiting,
    refusal::refusal,
    said::said,
    seen::version,
    validate::ValidatedRun,
};
use crate::names::{ANNOTATION_SUSPENDED, JobKey, MANAGER};

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The Jobs that were made, not those that were there already.
    pub created: Vec<JobKey>,
    /// Whether the namespace is being deleted: no Job can be made in it any more.
    pub namespace_leaves: bool,
    /// The newest version of a Job that was written; 0 if none was.
    pub newest: u64,
}

impl Applied {
    fn wrote(&mut self, job: &Job) {
        let written = version(job.metadata.resource_version.as_deref());
        self.newest = self.newest.max(written);
    }
}

/// What could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else's object has the name.
    #[error(
        "Job {namespace}/{name} exists and belongs to another owner; delete it, or give the run \
         another name"
    )]
    NameTaken {
        /// Namespace of the Job.
        namespace: String,
        /// Name of the Job.
        name: String,
    },
    /// The API server does not want this object: a quota, an admission rule, a field.
    #[error("the API server refuses Job {name}: {words}")]
    Refused {
        /// Name of the Job.
        name: String,
        /// The API server's words.
        words: String,
    },
    /// Anything else; it may work the next time.
    #[error("failed to {verb} Job {name}")]
    Call {
        /// What was to be done.
        verb: &'static str,
        /// Name of the Job.
        name: String,
        /// What happened.
        #[source]
        source: kube::Error,
    },
}

impl Error {
    /// For metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NameTaken { .. } => "name_taken",
            Self::Refused { .. } => "refused",
            Self::Call { .. } => "apply",
        }
    }

    /// What a user can change, for the run's status.
    pub fn for_the_user(&self) -> Option<Waiting> {
        match self {
            Self::NameTaken { namespace, name } => Some(Waiting {
                stall: Stall::NameTaken,
                words: format!("Job {namespace}/{name} exists and belongs to another owner"),
            }),
            Self::Refused { name, words } => Some(Waiting {
                stall: refusal(words, Stall::JobRefused),
                words: format!("the API server refuses Job {name}: {}", said(words)),
            }),
            Self::Call { .. } => None,
        }
    }
}

/// The Jobs of one run, to write to.
#[derive(Debug)]
pub struct Jobs<'a> {
    api: Api<Job>,
    identity: RunIdentity,
    /// What new ones are made of.
    makings: Option<(&'a ValidatedRun, &'a WorkerImage)>,
}

impl<'a> Jobs<'a> {
    /// The Jobs in the run's namespace.
    pub fn new(client: &Client, run: &'a ValidatedRun, image: &'a WorkerImage) -> Self {
        Self {
            makings: Some((run, image)),
            ..Self::that_exist(client, run.identity.clone())
        }
    }

    /// The Jobs of a run whose spec makes no more of them.
    pub fn that_exist(client: &Client, identity: RunIdentity) -> Self {
        Self {
            api: Api::namespaced(client.clone(), &identity.namespace),
            identity,
            makings: None,
        }
    }

    /// Carries out the actions in their order. Each may be repeated: what was done before a
    /// failure is found done the next time.
    ///
    /// # Errors
    /// At the first action that fails; the ones after it are not tried.
    pub async fn apply(&self, actions: &[Action]) -> Result<Applied, Error> {
        let mut applied = Applied::default();
        for action in actions {
            match action {
                Action::Create(new) => self.create(new, &mut applied).await?,
                Action::Suspend(key) => {
                    self.patch(*key, suspension(true), &mut applied).await?;
                }
                Action::Resume(key) => {
                    self.patch(*key, suspension(false), &mut applied).await?;
                }
                Action::Withdraw(key) => self.delete(*key, &DeleteParams::foreground()).await?,
                Action::SetParallelism { job, workers } => {
                    let size = json!({"spec": {"parallelism": workers}});
                    self.patch(*job, size, &mut applied).await?;
                }
                Action::Delete(key) => self.delete(*key, &DeleteParams::background()).await?,
            }
        }
        Ok(applied)
    }

    /// Makes a Job, unless this run has it already, as after an answer that was lost.
    async fn create(&self, new: &NewJob, applied: &mut Applied) -> Result<(), Error> {
        let Some((run, image)) = self.makings else {
            // Nothing is decided to be made of a spec that is not accepted.
            return Ok(());
        };
        let job = build::job(run, new, image);
        let name = job.name_any();
        let post = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        match self.api.create(&post, &job).await {
            Ok(job) => {
                applied.created.push(new.key);
                applied.wrote(&job);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                self.accept_existing(name).await
            }
            Err(kube::Error::Api(status)) if is_leaving(&status) => {
                // The namespace is going, and the run with it.
                tracing::debug!(name, "no Job is made in a terminating namespace");
                applied.namespace_leaves = true;
                Ok(())
            }
            Err(source) => Err(failed("create", name, source)),
        }
    }

    /// A Job of this name is fine if this very run owns it; it is never changed to fit.
    async fn accept_existing(&self, name: String) -> Result<(), Error> {
        match self.api.get(&name).await {
            Ok(job) if is_owned(&job, &self.identity.uid) => Ok(()),
            Ok(_) => {
                let namespace = self.identity.namespace.clone();
                Err(Error::NameTaken { namespace, name })
            }
            Err(source) => Err(Error::Call {
                verb: "get",
                name,
                source,
            }),
        }
    }

    async fn patch(&self, key: JobKey, patch: Value, applied: &mut Applied) -> Result<(), Error> {
        let name = key.job_name(&self.identity.name);
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch);
        match self.api.patch(&name, &parameters, &patch).await {
            Ok(job) => {
                applied.wrote(&job);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => Err(failed("patch", name, source)),
        }
    }

    /// In the background the pods of a finished Job go after it; in the foreground a live one stays
    /// until its pods are gone, so that it is seen how long they hold their devices.
    async fn delete(&self, key: JobKey, how: &DeleteParams) -> Result<(), Error> {
        let name = key.job_name(&self.identity.name);
        match self.api.delete(&name, how).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => Err(Error::Call {
                verb: "delete",
                name,
                source,
            }),
        }
    }
}

/// Suspends or resumes a Job, and says on it that this was us.
fn suspension(suspend: bool) -> Value {
    let by_us = suspend.then_some("true");
    json!({
        "metadata": {"annotations": {ANNOTATION_SUSPENDED: by_us}},
        "spec": {"suspend": suspend},
    })
}

/// A refusal that somebody has to do something about, or a call that may work the next time. What a
/// webhook that is away makes of a call is the server's own error, by its code.
fn failed(verb: &'static str, name: String, source: kube::Error) -> Error {
    match source {
        kube::Error::Api(status)
            if status.is_forbidden()
                || status.is_invalid()
                || refusal(&status.message, Stall::JobRefused) != Stall::JobRefused =>
        {
            let words = status.message.clone();
            Error::Refused { name, words }
        }
        source => Error::Call { verb, name, source },
    }
}

/// Whether a refusal says that the namespace is being deleted.
fn is_leaving(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .into_iter()
        .any(|cause| cause.reason == "NamespaceTerminating")
}
