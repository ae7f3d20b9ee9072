//! The pods of a run: narrow on purpose, what is not here is the operator's business.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Affinity, EnvVar, PodResourceClaim, Toleration, TopologySpreadConstraint},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    pod_fields,
    references::{OBJECT_NAME, OBJECT_NAME_OR_EMPTY, SecretRef, absent_when_empty},
};

/// How worker pods look.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    /// Image of the runner. Absent: the operator's own default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// The device to compute on: `Auto` takes a CUDA device where there is one, `Cpu`, or `Cuda`,
    /// which fails without a working device.
    #[serde(default)]
    pub device: Device,
    /// Amounts that each worker asks for; tasks without a device drop the GPUs.
    #[serde(default, skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// Dynamic resource allocation, as `resourceClaims` of a pod; every worker uses all of them, tasks
    /// without a device none.
    #[x_kube(validation = (
        "self.all(claim, has(claim.resourceClaimName) != has(claim.resourceClaimTemplateName))",
        "each resource claim needs exactly one of resourceClaimName, resourceClaimTemplateName"
    ))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pod_fields::bounded::<Vec<PodResourceClaim>>")]
    pub resource_claims: Vec<PodResourceClaim>,
    /// Labels added to worker pods.
    #[x_kube(validation = (
        "self.all(key, !key.startsWith('darwinlm.io/'))",
        "labels under darwinlm.io/ belong to the operator"
    ))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "pod_fields::labels")]
    pub labels: BTreeMap<String, String>,
    /// Annotations added to worker pods.
    #[x_kube(validation = (
        "self.all(key, !key.startsWith('darwinlm.io/'))",
        "annotations under darwinlm.io/ belong to the operator"
    ))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "pod_fields::annotations")]
    pub annotations: BTreeMap<String, String>,
    /// Where pods may run.
    #[serde(flatten)]
    pub placement: Placement,
    /// Service account of worker pods, for workload identity; no token of it is mounted.
    #[serde(
        default,
        deserialize_with = "absent_when_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 253), regex(pattern = OBJECT_NAME_OR_EMPTY))]
    pub service_account_name: Option<String>,
    /// Secrets that images are pulled with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<SecretRef>,
    /// Environment variables added to workers, as `env` of a container.
    #[x_kube(validation = (
        "self.all(variable, !variable.name.startsWith('DARWINLM_'))",
        "variables that start with DARWINLM_ belong to the operator"
    ))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pod_fields::bounded::<Vec<EnvVar>>")]
    pub env: Vec<EnvVar>,
    /// Seconds that a worker has to leave after SIGTERM.
    #[serde(default = "termination_grace_period_seconds")]
    #[schemars(range(min = 1, max = 86_400))]
    pub termination_grace_period_seconds: i64,
    /// Size of `/dev/shm`.
    #[serde(default = "shared_memory")]
    #[schemars(schema_with = "pod_fields::quantity")]
    pub shared_memory: Quantity,
    /// Where workers keep what they have fetched from the store; `prepare` fetches into a folder of
    /// its own. Absent: nothing outlives a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// What differs for single tasks.
    #[serde(default, skip_serializing_if = "Overrides::is_empty")]
    pub overrides: Overrides,
}

/// The device to compute on.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// CUDA where there is a device, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// CUDA; fails without a working device, never falls back.
    Cuda,
}

/// Amounts that a worker asks for, as `resources` of a container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// At most so much, by resource name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "pod_fields::amounts")]
    pub limits: BTreeMap<String, Quantity>,
    /// At least so much, by resource name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "pod_fields::amounts")]
    pub requests: BTreeMap<String, Quantity>,
}

impl Resources {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.requests.is_empty()
    }
}

/// Where pods may run; each field means what it means in a pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "pod_fields::labels")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that pods tolerate, as `tolerations` of a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pod_fields::bounded::<Vec<Toleration>>")]
    pub tolerations: Vec<Toleration>,
    /// Rules of attraction and repulsion, as `affinity` of a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pod_fields::bounded::<Affinity>")]
    pub affinity: Option<Affinity>,
    /// How pods spread, as `topologySpreadConstraints` of a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pod_fields::bounded::<Vec<TopologySpreadConstraint>>")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Priority class of pods.
    #[serde(
        default,
        deserialize_with = "absent_when_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 253), regex(pattern = OBJECT_NAME_OR_EMPTY))]
    pub priority_class_name: Option<String>,
    /// Runtime class of pods.
    #[serde(
        default,
        deserialize_with = "absent_when_empty",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 253), regex(pattern = OBJECT_NAME_OR_EMPTY))]
    pub runtime_class_name: Option<String>,
}

/// Where workers keep what they have fetched: exactly one of these.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(validation = (
    "has(self.persistentVolumeClaim) != has(self.emptyDir)",
    "cache needs exactly one of persistentVolumeClaim, emptyDir"
))]
#[serde(rename_all = "camelCase")]
pub struct Cache {
    /// A volume that outlives pods and runs, which may share it; ReadWriteMany for several workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<PersistentVolumeClaimCache>,
    /// A folder on the node that lives as long as the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDirCache>,
}

/// A claim in the run's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PersistentVolumeClaimCache {
    /// Name of the claim.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub claim_name: String,
}

/// A folder on the node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EmptyDirCache {
    /// At most this large. Absent: the node decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pod_fields::quantity")]
    pub size_limit: Option<Quantity>,
}

/// What differs for single tasks.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Overrides {
    /// For `prepare`, which computes on no device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<TaskOverride>,
    /// For `post-train`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_training: Option<TaskOverride>,
    /// For `evaluate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<TaskOverride>,
}

impl Overrides {
    /// Whether no task differs.
    pub fn is_empty(&self) -> bool {
        let Self {
            prepare,
            post_training,
            evaluation,
        } = self;
        prepare.is_none() && post_training.is_none() && evaluation.is_none()
    }
}

/// What differs for one task. A field that is given replaces the worker's as a whole.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TaskOverride {
    /// Image of the runner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Amounts that the task asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Where its pods may run.
    #[serde(flatten)]
    pub placement: Placement,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            image: None,
            device: Device::default(),
            resources: Resources::default(),
            resource_claims: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            placement: Placement::default(),
            service_account_name: None,
            image_pull_secrets: Vec::new(),
            env: Vec::new(),
            termination_grace_period_seconds: termination_grace_period_seconds(),
            shared_memory: shared_memory(),
            cache: None,
            overrides: Overrides::default(),
        }
    }
}

fn termination_grace_period_seconds() -> i64 {
    60
}

fn shared_memory() -> Quantity {
    Quantity("1Gi".to_owned())
}
