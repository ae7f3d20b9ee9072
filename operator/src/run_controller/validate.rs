//! From the spec as written to a run that can be carried out; the one bridge from API types to
//! domain types.

mod addresses;
mod data;
mod evaluation;
mod identity;
mod pods;
mod post_training;
mod search;
mod unsupported;

use std::collections::BTreeMap;
use std::path::PathBuf;

use darwinlm_api::conditions::Reason;
use darwinlm_api::{
    Cache, Overrides, Placement as PodPlacement, PruningRun, PruningRunSpec, Resources, Retain,
    SecretRef,
};
use darwinlm_task::{DeviceRequest, RunIdentity, Task, TaskKind, TaskSpec};
use k8s_openapi::api::core::v1::{EnvVar, PodResourceClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{devices::devices, made_from::MadeFrom, queue::Queue};
use crate::names::JobKey;

/// Where claims are mounted in a worker's pod: `<this>/<claim>`.
pub const VOLUMES: &str = "/var/lib/darwinlm/volumes";

/// How workers see the volumes that `pvc://claim/path` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In pods: a claim is mounted at [`VOLUMES`]`/<claim>`; `file://` names nothing.
    Pods,
    /// On this machine.
    Local {
        /// The folder that stands for each claim; absolute paths.
        volumes: BTreeMap<String, PathBuf>,
        /// URL of the store, instead of the one in the spec.
        store: Option<String>,
    },
}

/// A run that this version can carry out: nothing in it needs checking again.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedRun {
    /// Namespace, name and UID.
    pub identity: RunIdentity,
    /// The spec revision (`metadata.generation`) that this was made from.
    pub spec_revision: Option<i64>,
    /// URL of the store as a worker sees it.
    pub store: String,
    /// The device to compute on.
    pub device: DeviceRequest,
    /// The tasks in order: `prepare`, `measure` where something counts in latency,
    /// `build-database`, `search`, then `post-train`, `evaluate` and `export` where asked for. The
    /// search's runs to the last generation.
    pub chain: Vec<Task>,
    /// Workers of `build-database`, at least 1.
    pub pruning_workers: u32,
    /// Workers of `search`, at least 1.
    pub search_workers: u32,
    /// Generations in all.
    pub generations: u32,
    /// Generations that one search Job runs, at least 1.
    pub generations_per_job: u32,
    /// Device seconds after which the search ends at the next boundary of a generation.
    pub budget_gpu_seconds: Option<u64>,
    /// Device seconds that the run is expected to take, where somebody has said so.
    pub forecast_gpu_seconds: Option<u64>,
    /// Whether the run holds no workers for now.
    pub suspend: bool,
    /// What of its own prefix stays when it is deleted.
    pub retain: Retain,
    /// Where the run's Jobs wait to be admitted; `None` on one machine, which has no queue.
    pub queue: Option<Queue>,
    /// The persistent volume claims to mount into every worker at [`VOLUMES`]`/<claim>`: sources,
    /// store and export. Empty on one machine.
    pub claims: BTreeMap<String, ClaimUse>,
    /// The fields that may change until the first Job of their task, as they stand.
    pub made_from: MadeFrom,
    /// The Secrets that workers get their credentials from; unused on one machine, where they come
    /// from the environment.
    pub secrets: Secrets,
    /// The ConfigMap with the certificates of the store's authority; unused on one machine.
    pub ca_bundle: Option<String>,
    /// How worker pods look; unused on one machine.
    pub pods: PodTemplate,
}

/// Names of Secrets whose keys are names of environment variables. Nobody here reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// For the sources of model and data: `prepare` alone gets it.
    pub sources: Option<String>,
    /// For the store: every worker gets it.
    pub store: Option<String>,
}

/// What a run needs a claim for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimUse {
    /// The field that names it; of several the first that is written to.
    pub field: String,
    /// Whether workers write to it; sources are only read.
    pub is_written: bool,
}

/// How worker pods look. Every field is passed on as it stands, but for what [`PodTemplate::of`]
/// makes of it for a task.
#[derive(Clone, Debug, PartialEq)]
pub struct PodTemplate {
    /// Image of the runner; `None` is the operator's own default.
    pub image: Option<String>,
    /// Amounts that each worker asks for, GPUs included.
    pub resources: Resources,
    /// Labels beside ours.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// `nodeSelector`, `tolerations`, `affinity`, `topologySpreadConstraints`,
    /// `priorityClassName`, `runtimeClassName`.
    pub placement: PodPlacement,
    /// Service account; no token of it is mounted.
    pub service_account_name: Option<String>,
    /// Names of the Secrets that images are pulled with.
    pub image_pull_secrets: Vec<String>,
    /// Environment beside ours; none starts with `DARWINLM_`.
    pub env: Vec<EnvVar>,
    /// Seconds that a worker has to leave after SIGTERM.
    pub termination_grace_period_seconds: i64,
    /// Size of `/dev/shm`.
    pub shared_memory: Quantity,
    /// Dynamic resource allocation; every worker uses all of it.
    pub resource_claims: Vec<PodResourceClaim>,
    /// Where workers keep what they have fetched; `None` is a folder that goes with the pod.
    pub cache: Option<Cache>,
    /// What differs for single tasks; see [`PodTemplate::of`].
    pub overrides: Overrides,
}

/// A spec that this version does not carry out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// The reason of `Accepted=False`: `InvalidSpec` or `NotYetSupported`.
    pub reason: Reason,
    /// The field, what was found, and what would be accepted.
    pub message: String,
}

/// Checks a run and turns it into what can be carried out.
///
/// What the resource's own schema and rules check is relied on only where a number would not fit:
/// on one machine no API server has seen the run.
///
/// # Errors
/// The first field that is wrong, or that this version does not support: such a field is refused,
/// never ignored.
pub fn validate(run: &PruningRun, placement: &Placement) -> Result<ValidatedRun, Rejection> {
    let spec = &run.spec;
    let identity = identity::identity(run)?;
    unsupported::refuse(spec)?;
    let mut addresses = addresses::Addresses::new(placement);
    let model = addresses.model("spec.model.source", &spec.model.source)?;
    let data = data::data(&spec.data, &mut addresses)?;
    let store = addresses.store("spec.artifacts.store", &spec.artifacts.store)?;
    let pruning = search::pruning(&spec.pruning)?;
    let target = search::target(&spec.target, &pruning)?;
    let settings = search::settings(&spec.search, &spec.data)?;
    let search_digest = search::digest(spec, &pruning, &target, &settings);
    let generations = settings.generations;
    let threads = pods::threads(&spec.worker.resources)?;
    let pruning_workers = at_least_one("spec.pruning.workers", spec.pruning.workers)?;
    let budget_gpu_seconds = search::budget(spec.budget.as_ref())?;
    let evaluation = spec.evaluation.as_ref();
    let evaluation = evaluation.map(evaluation::evaluation).transpose()?;
    let mut chain = vec![
        Task::Prepare {
            model,
            data,
            threads,
            search_digest,
            pruning: pruning.clone(),
            target,
            latency: evaluation.as_ref().and_then(|asked| asked.latency),
        },
        Task::BuildDatabase {
            pruning: pruning.clone(),
            workers: pruning_workers,
        },
        Task::Search {
            pruning: pruning.clone(),
            target,
            settings: settings.clone(),
            until_generation: generations,
            budget_gpu_seconds,
        },
    ];
    if pruning.spacing.is_measured() || target.is_measured() {
        let pruning = pruning.clone();
        chain.insert(1, Task::Measure { pruning, target });
    }
    let training = post_training::post_training(spec)?;
    if let Some(training) = training.clone() {
        let (pruning, settings) = (pruning.clone(), settings.clone());
        chain.push(Task::PostTrain {
            pruning,
            target,
            settings,
            training,
        });
    }
    if let Some(evaluation) = evaluation {
        let (pruning, settings) = (pruning.clone(), settings.clone());
        chain.push(Task::Evaluate {
            pruning,
            target,
            settings,
            training: training.clone(),
            evaluation,
        });
    }
    if let Some(export) = &spec.export {
        let export = search::export(export, &mut addresses)?;
        chain.push(Task::Export {
            pruning,
            target,
            settings,
            training,
            export,
        });
    }
    Ok(ValidatedRun {
        identity,
        spec_revision: run.metadata.generation,
        store,
        device: pods::device(&spec.worker, placement),
        chain,
        pruning_workers,
        search_workers: at_least_one("spec.search.workers", spec.search.workers)?,
        generations,
        generations_per_job: at_least_one(
            "spec.search.generationsPerJob",
            spec.search.generations_per_job,
        )?,
        budget_gpu_seconds,
        forecast_gpu_seconds: identity::forecast(run)?,
        suspend: spec.suspend,
        retain: spec.retain,
        queue: queue(spec, placement),
        claims: addresses.into_claims(),
        made_from: MadeFrom::spec(spec),
        secrets: secrets(spec),
        ca_bundle: spec
            .artifacts
            .ca_bundle_config_map_ref
            .as_ref()
            .map(|map| map.name.clone()),
        pods: pods::template(&spec.worker)?,
    })
}

fn queue(spec: &PruningRunSpec, placement: &Placement) -> Option<Queue> {
    match placement {
        Placement::Pods => Some(Queue {
            name: spec.queue_name.clone()?,
            priority_class: spec.queue_priority_class.clone(),
        }),
        Placement::Local { .. } => None,
    }
}

fn secrets(spec: &PruningRunSpec) -> Secrets {
    let name = |secret: &Option<SecretRef>| secret.as_ref().map(|secret| secret.name.clone());
    Secrets {
        sources: name(&spec.model.credentials_secret_ref),
        store: name(&spec.artifacts.credentials_secret_ref),
    }
}

impl Rejection {
    /// A field holds what is never accepted.
    fn invalid(field: &str, problem: impl std::fmt::Display) -> Self {
        Self {
            reason: Reason::InvalidSpec,
            message: format!("{field} {problem}"),
        }
    }

    /// A field asks for what this version does not do.
    fn not_yet_supported(field: &str, instead: &str) -> Self {
        Self {
            reason: Reason::NotYetSupported,
            message: format!("{field} is not yet supported; {instead}"),
        }
    }
}

/// A count that is at least 1.
fn at_least_one(field: &str, found: i32) -> Result<u32, Rejection> {
    match u32::try_from(found) {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Rejection::invalid(
            field,
            format_args!("is {found}; at least 1 is accepted"),
        )),
    }
}

/// A count from 1 to `most`.
fn up_to(most: u32, field: &str, found: i32) -> Result<u32, Rejection> {
    let number = at_least_one(field, found)?;
    if number > most {
        let problem = format_args!("is {number}; at most {most} is accepted");
        return Err(Rejection::invalid(field, problem));
    }
    Ok(number)
}

/// A number of tokens that is at least `least`.
fn tokens(field: &str, found: i64, least: u64) -> Result<u64, Rejection> {
    match u64::try_from(found) {
        Ok(number) if number >= least => Ok(number),
        _ => Err(Rejection::invalid(
            field,
            format_args!("is {found}; at least {least} is accepted"),
        )),
    }
}

impl ValidatedRun {
    /// Workers that a task has at present.
    pub fn workers(&self, task: TaskKind) -> u32 {
        match task {
            TaskKind::BuildDatabase => self.pruning_workers,
            TaskKind::Search => self.search_workers,
            TaskKind::Prepare
            | TaskKind::Measure
            | TaskKind::PostTrain
            | TaskKind::Evaluate
            | TaskKind::Export
            | TaskKind::CleanUp => 1,
        }
    }

    /// What the worker is told that removes the run's own prefix; `exports` are URLs of what was
    /// exported, or would have been, in the spec's words.
    pub fn clean_up(&self, exports: &[String]) -> TaskSpec {
        let digest = self.chain.iter().find_map(|task| match task {
            Task::Prepare { search_digest, .. } => Some(search_digest.clone()),
            _ => None,
        });
        let mut addresses = addresses::Addresses::new(&Placement::Pods);
        let as_seen = exports.iter().filter_map(|url| {
            // Anything else lies outside of every store that a pod sees.
            addresses.folder("spec.export.destination", url).ok()
        });
        self.told(Task::CleanUp {
            search_digest: digest.unwrap_or_default(),
            keep_exports: self.retain != Retain::None,
            exports: as_seen.collect(),
        })
    }

    /// What the workers of a Job are told; `None` when the chain has no such task.
    pub fn task_spec(&self, key: JobKey) -> Option<TaskSpec> {
        let mut task = self
            .chain
            .iter()
            .find(|task| task.kind() == key.task)?
            .clone();
        if let Task::Search {
            until_generation, ..
        } = &mut task
        {
            let until = key
                .first_generation
                .saturating_add(self.generations_per_job);
            *until_generation = until.min(self.generations);
        }
        Some(self.told(task))
    }

    fn told(&self, task: Task) -> TaskSpec {
        let pods = self.pods.of(task.kind());
        TaskSpec {
            version: darwinlm_task::VERSION,
            run: self.identity.clone(),
            store: self.store.clone(),
            device: self.device,
            devices: devices(&pods.resources.limits, pods.resource_claims.len()),
            task,
        }
    }
}
