//! Pure: from a decision to the objects that carry it out, one kind of object per file.

mod failure_policy;
mod job;
mod pod_template;
mod volumes;

pub use job::job;

/// Name of the container that works; what fails a pod is told by this container alone.
pub const CONTAINER: &str = "worker";
/// Port of a worker's `/progress`, `/metrics` and `/healthz`.
pub const PORT: u16 = 9090;

/// What worker pods run if their run names no image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerImage {
    /// Reference of the image.
    pub image: String,
    /// When the kubelet pulls it, in Kubernetes' words.
    pub pull_policy: String,
}
