//! How worker pods look: what is passed on, and the little that is read.

use darwinlm_api::{Device, Placement as PodPlacement, Resources, TaskOverride, Worker};
use darwinlm_task::{DeviceRequest, TaskKind};

use super::{Placement, PodTemplate, Rejection};
use crate::run_controller::devices::is_device;

/// The device to compute on.
///
/// In pods `Auto` is settled here: `prepare`, which plans the numerics, runs without the device, so
/// it could not tell. A worker that is given an extended resource (a name with a slash) or a resource
/// claim is meant to use it.
pub(super) fn device(worker: &Worker, placement: &Placement) -> DeviceRequest {
    match (worker.device, placement) {
        (Device::Cpu, _) => DeviceRequest::Cpu,
        (Device::Cuda, _) => DeviceRequest::Cuda,
        (Device::Auto, Placement::Local { .. }) => DeviceRequest::Auto,
        (Device::Auto, Placement::Pods) => {
            let has_device = worker
                .resources
                .limits
                .keys()
                .any(|name| name.contains('/'));
            if has_device || !worker.resource_claims.is_empty() {
                DeviceRequest::Cuda
            } else {
                DeviceRequest::Cpu
            }
        }
    }
}

/// Passes on what a pod understands.
pub(super) fn template(worker: &Worker) -> Result<PodTemplate, Rejection> {
    let Worker {
        image,
        device: _,
        resources,
        resource_claims,
        labels,
        annotations,
        placement,
        service_account_name,
        image_pull_secrets,
        env,
        termination_grace_period_seconds,
        shared_memory,
        cache,
        overrides,
    } = worker;
    one_gpu("spec.worker", resources)?;
    let of_tasks = [
        ("prepare", &overrides.prepare),
        ("postTraining", &overrides.post_training),
        ("evaluation", &overrides.evaluation),
    ];
    for (task, differs) in of_tasks {
        if let Some(resources) = differs
            .as_ref()
            .and_then(|differs| differs.resources.as_ref())
        {
            one_gpu(&format!("spec.worker.overrides.{task}"), resources)?;
        }
    }
    if let Some(variable) = env
        .iter()
        .find(|variable| variable.name.starts_with("DARWINLM_"))
    {
        let problem = format!("names {}; DARWINLM_ belongs to the operator", variable.name);
        return Err(Rejection::invalid("spec.worker.env", problem));
    }
    Ok(PodTemplate {
        image: image.clone(),
        resources: resources.clone(),
        labels: labels.clone(),
        annotations: annotations.clone(),
        placement: placement.clone(),
        service_account_name: service_account_name.clone(),
        image_pull_secrets: image_pull_secrets
            .iter()
            .map(|secret| secret.name.clone())
            .collect(),
        env: env.clone(),
        termination_grace_period_seconds: *termination_grace_period_seconds,
        shared_memory: shared_memory.clone(),
        resource_claims: resource_claims.clone(),
        cache: cache.clone(),
        overrides: overrides.clone(),
    })
}

impl PodTemplate {
    /// How the pods of one task look: with what differs for it, and without devices if it computes
    /// on none, that is, without claims and without extended resources such as `nvidia.com/gpu`.
    pub fn of(&self, task: TaskKind) -> Self {
        let mut own = self.clone();
        if let Some(differs) = self.override_of(task) {
            let TaskOverride {
                image,
                resources,
                placement,
            } = differs.clone();
            own.image = image.or(own.image);
            own.resources = resources.unwrap_or(own.resources);
            replace(&mut own.placement, placement);
        }
        if !task.needs_device() {
            // Kubernetes' own resources have no domain; extended ones always have (a `/`).
            own.resources.limits.retain(|name, _| !name.contains('/'));
            own.resources.requests.retain(|name, _| !name.contains('/'));
            own.resource_claims.clear();
        }
        own
    }

    fn override_of(&self, task: TaskKind) -> Option<&TaskOverride> {
        match task {
            TaskKind::Prepare => self.overrides.prepare.as_ref(),
            TaskKind::PostTrain => self.overrides.post_training.as_ref(),
            TaskKind::Evaluate => self.overrides.evaluation.as_ref(),
            TaskKind::Measure
            | TaskKind::BuildDatabase
            | TaskKind::Search
            | TaskKind::Export
            | TaskKind::CleanUp => None,
        }
    }
}

/// A field that is given replaces the worker's as a whole.
fn replace(own: &mut PodPlacement, given: PodPlacement) {
    let PodPlacement {
        node_selector,
        tolerations,
        affinity,
        topology_spread_constraints,
        priority_class_name,
        runtime_class_name,
    } = given;
    if !node_selector.is_empty() {
        own.node_selector = node_selector;
    }
    if !tolerations.is_empty() {
        own.tolerations = tolerations;
    }
    if !topology_spread_constraints.is_empty() {
        own.topology_spread_constraints = topology_spread_constraints;
    }
    own.affinity = affinity.or_else(|| own.affinity.take());
    own.priority_class_name = priority_class_name.or_else(|| own.priority_class_name.take());
    own.runtime_class_name = runtime_class_name.or_else(|| own.runtime_class_name.take());
}

/// A worker computes on one device: what more it is given would stand idle.
fn one_gpu(field: &str, resources: &Resources) -> Result<(), Rejection> {
    let gpus = resources.limits.iter().filter(|(name, _)| is_device(name));
    let asked: Vec<_> = gpus
        .map(|(name, amount)| (name, amount.0.as_str()))
        .filter(|(_, amount)| *amount != "0")
        .collect();
    match asked.as_slice() {
        [] | [(_, "1")] => Ok(()),
        [(name, amount)] => Err(Rejection::invalid(
            &format!("{field}.resources.limits[{name}]"),
            format_args!(
                "is {amount}, and a worker computes on one GPU; 1 is accepted: for more GPUs ask for more \
                 workers, as in spec.search.workers"
            ),
        )),
        several => {
            let names: Vec<_> = several.iter().map(|(name, _)| name.as_str()).collect();
            Err(Rejection::invalid(
                &format!("{field}.resources.limits"),
                format_args!(
                    "asks for {}, and a worker computes on one GPU; one of them is accepted",
                    names.join(" and ")
                ),
            ))
        }
    }
}

/// Threads of a worker: its CPU limit, rounded up. Part of the numerics plan, so it comes from the
/// spec and never from the machine.
pub(super) fn threads(resources: &Resources) -> Result<Option<u32>, Rejection> {
    let Some(limit) = resources.limits.get("cpu") else {
        return Ok(None);
    };
    let text = limit.0.as_str();
    let (number, thousandths) = match text.strip_suffix('m') {
        Some(number) => (number, true),
        None => (text, false),
    };
    let cpus = number
        .parse::<f64>()
        .ok()
        .map(|cpus| if thousandths { cpus / 1000.0 } else { cpus });
    match cpus.map(f64::ceil) {
        Some(cpus) if (1.0..=1024.0).contains(&cpus) => Ok(Some(cpus as u32)),
        _ => Err(Rejection::invalid(
            "spec.worker.resources.limits.cpu",
            format_args!("is {text:?}; CPUs as \"2\", \"1.5\" or \"500m\" are accepted"),
        )),
    }
}
