//! Client: carries out a decision's actions, in their order.

use darwinlm_api::conditions::Stall;
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
    observe::{Versions, is_owned, version},
    observed::Waiting,
    refusal::refusal,
    said::said,
    validate::ValidatedRun,
};
use crate::names::{JobKey, MANAGER};

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The Jobs that were made, not those that were there already.
    pub created: Vec<JobKey>,
    /// Whether the namespace is being deleted: no Job can be made in it any more.
    pub namespace_leaves: bool,
    /// The newest of what was written.
    pub versions: Versions,
}

impl Applied {
    fn wrote(&mut self, job: &Job) {
        self.versions.jobs = self.versions.jobs.max(version(job));
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
    run: &'a ValidatedRun,
    image: &'a WorkerImage,
}

impl<'a> Jobs<'a> {
    /// The Jobs in the run's namespace.
    pub fn new(client: &Client, run: &'a ValidatedRun, image: &'a WorkerImage) -> Self {
        let api = Api::namespaced(client.clone(), &run.identity.namespace);
        Self { api, run, image }
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
                    self.patch(*key, json!({"suspend": true}), &mut applied)
                        .await?
                }
                Action::Resume(key) => {
                    self.patch(*key, json!({"suspend": false}), &mut applied)
                        .await?
                }
                Action::Withdraw(key) => self.delete(*key, &DeleteParams::foreground()).await?,
                Action::SetParallelism { job, workers } => {
                    self.patch(*job, json!({"parallelism": workers}), &mut applied)
                        .await?;
                }
                Action::Delete(key) => self.delete(*key, &DeleteParams::background()).await?,
            }
        }
        Ok(applied)
    }

    /// Makes a Job, unless this run has it already, as after an answer that was lost.
    async fn create(&self, new: &NewJob, applied: &mut Applied) -> Result<(), Error> {
        let job = build::job(self.run, new, self.image);
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
            Ok(job) if is_owned(&job, &self.run.identity.uid) => Ok(()),
            Ok(_) => {
                let namespace = self.run.identity.namespace.clone();
                Err(Error::NameTaken { namespace, name })
            }
            Err(source) => Err(Error::Call {
                verb: "get",
                name,
                source,
            }),
        }
    }

    async fn patch(&self, key: JobKey, spec: Value, applied: &mut Applied) -> Result<(), Error> {
        let name = key.job_name(&self.run.identity.name);
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({ "spec": spec }));
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
        let name = key.job_name(&self.run.identity.name);
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
