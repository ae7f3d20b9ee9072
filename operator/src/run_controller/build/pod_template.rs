//! The pods of a task: admitted where Pod Security is `restricted`, without a token of Kubernetes.

use std::collections::BTreeMap;

use darwinlm_api::{Placement, Resources};
use darwinlm_task::{
    ENV_CA_BUNDLE, ENV_CACHE, ENV_LISTEN, ENV_TASK, ENV_WORKER, SOURCE_PREFIX, TaskKind,
};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EnvFromSource, EnvVar, EnvVarSource, HTTPGetAction,
        LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec,
        Probe, ResourceClaim, ResourceRequirements, SeccompProfile, SecretEnvSource,
        SecurityContext,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{
    CONTAINER, PORT, WorkerImage,
    volumes::{CA_BUNDLE, CACHE, volumes},
};
use crate::run_controller::{
    decide::NewJob,
    validate::{PodTemplate, ValidatedRun},
};

/// The user and group that workers run as; the image has no other.
const NON_ROOT: i64 = 65532;

pub(super) fn pod_template(
    run: &ValidatedRun,
    new: &NewJob,
    image: &WorkerImage,
) -> PodTemplateSpec {
    let pods = run.pods.of(new.key.task);
    let mut labels = pods.labels.clone();
    labels.extend(new.key.labels(&run.identity.name));
    let mut annotations = pods.annotations.clone();
    annotations.insert(
        "kubectl.kubernetes.io/default-container".to_owned(),
        CONTAINER.to_owned(),
    );
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(run, &pods, new, image)),
    }
}

fn pod(run: &ValidatedRun, pods: &PodTemplate, new: &NewJob, image: &WorkerImage) -> PodSpec {
    let Placement {
        node_selector,
        tolerations,
        affinity,
        topology_spread_constraints,
        priority_class_name,
        runtime_class_name,
    } = pods.placement.clone();
    let (volumes, mounts): (Vec<_>, Vec<_>) = volumes(run, &new.task).into_iter().unzip();
    let container = Container {
        volume_mounts: Some(mounts),
        ..container(run, pods, new, image)
    };
    let pull_secrets: Vec<_> = pods
        .image_pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() })
        .collect();
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        service_account_name: pods.service_account_name.clone(),
        image_pull_secrets: some(pull_secrets),
        termination_grace_period_seconds: Some(pods.termination_grace_period_seconds),
        node_selector: (!node_selector.is_empty()).then_some(node_selector),
        tolerations: some(tolerations),
        affinity,
        topology_spread_constraints: some(topology_spread_constraints),
        priority_class_name,
        runtime_class_name,
        resource_claims: some(pods.resource_claims.clone()),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(NON_ROOT),
            run_as_group: Some(NON_ROOT),
            fs_group: Some(NON_ROOT),
            // Walking a volume of checkpoints at each start would take minutes.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container],
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

fn container(
    run: &ValidatedRun,
    pods: &PodTemplate,
    new: &NewJob,
    image: &WorkerImage,
) -> Container {
    let (image, pull_policy) = match &pods.image {
        Some(image) => (image.clone(), None),
        None => (image.image.clone(), Some(image.pull_policy.clone())),
    };
    Container {
        name: CONTAINER.to_owned(),
        image: Some(image),
        image_pull_policy: pull_policy,
        command: Some(vec!["darwinlm-runner".to_owned(), "work".to_owned()]),
        env: Some(environment(run, new)),
        env_from: some(secrets(run, new.key.task)),
        ports: Some(vec![ContainerPort {
            name: Some("metrics".to_owned()),
            container_port: PORT.into(),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: Some(resources(pods)),
        liveness_probe: Some(liveness()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: None,
            }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn environment(run: &ValidatedRun, new: &NewJob) -> Vec<EnvVar> {
    let value = |name: &str, value: String| EnvVar {
        name: name.to_owned(),
        value: Some(value),
        value_from: None,
    };
    let pod_uid = ObjectFieldSelector {
        api_version: Some("v1".to_owned()),
        field_path: "metadata.uid".to_owned(),
    };
    let worker = EnvVar {
        name: ENV_WORKER.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(pod_uid),
            ..EnvVarSource::default()
        }),
    };
    let mut environment = vec![
        value(ENV_TASK, new.task.to_json()),
        worker,
        value(ENV_CACHE, CACHE.to_owned()),
        value(ENV_LISTEN, format!("0.0.0.0:{PORT}")),
    ];
    if run.ca_bundle.is_some() {
        environment.push(value(ENV_CA_BUNDLE, CA_BUNDLE.to_owned()));
    }
    environment.extend(run.pods.env.iter().cloned());
    environment
}

/// Credentials come from Secrets that the kubelet alone reads. Those of the sources have a prefix: both
/// Secrets may hold the same names, and where one variable is set twice the last one wins.
fn secrets(run: &ValidatedRun, task: TaskKind) -> Vec<EnvFromSource> {
    let from = |name: &String, prefix: Option<&str>| EnvFromSource {
        prefix: prefix.map(str::to_owned),
        secret_ref: Some(SecretEnvSource {
            name: name.clone(),
            optional: None,
        }),
        ..EnvFromSource::default()
    };
    let store = run.secrets.store.iter().map(|name| from(name, None));
    let sources = run.secrets.sources.iter();
    let sources = sources.filter(|_| task == TaskKind::Prepare);
    let sources = sources.map(|name| from(name, Some(SOURCE_PREFIX)));
    store.chain(sources).collect()
}

fn resources(pods: &PodTemplate) -> ResourceRequirements {
    let Resources { limits, requests } = pods.resources.clone();
    let claims = pods.resource_claims.iter().map(|claim| ResourceClaim {
        name: claim.name.clone(),
        request: None,
    });
    let some = |amounts: BTreeMap<_, _>| (!amounts.is_empty()).then_some(amounts);
    ResourceRequirements {
        limits: some(limits),
        requests: some(requests),
        claims: self::some(claims.collect()),
    }
}

/// Kills a worker whose server has not answered for five minutes; nothing shorter, since a worker
/// may be deep in one long computation on all its threads.
fn liveness() -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/healthz".to_owned()),
            port: IntOrString::String("metrics".to_owned()),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: Some(60),
        period_seconds: Some(30),
        timeout_seconds: Some(15),
        failure_threshold: Some(10),
        ..Probe::default()
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
