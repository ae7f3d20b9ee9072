//! The volumes of a worker: claims, caches, shared memory.

use std::collections::BTreeSet;

use darwinlm_task::{Task, TaskKind, TaskSpec};
use k8s_openapi::{
    api::core::v1::{EmptyDirVolumeSource, PersistentVolumeClaimVolumeSource, Volume, VolumeMount},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::run_controller::validate::{VOLUMES, ValidatedRun};

/// Where a worker keeps what it has fetched.
pub(super) const CACHE: &str = "/var/cache/darwinlm";

/// Every volume with its mount. The root file system is read-only, so that each folder a worker
/// writes to has a name here.
pub(super) fn volumes(run: &ValidatedRun, task: &TaskSpec) -> Vec<(Volume, VolumeMount)> {
    let shared_memory = EmptyDirVolumeSource {
        medium: Some("Memory".to_owned()),
        size_limit: Some(run.pods.shared_memory.clone()),
    };
    let mut volumes = vec![
        empty_dir("tmp", "/tmp", empty(Some("1Gi"))),
        empty_dir("cache", CACHE, empty(None)),
        empty_dir("shared-memory", "/dev/shm", shared_memory),
    ];
    let writable = writable_claims(task);
    // Whoever removes the prefix needs no sources: their claims may be gone.
    let needs_all = task.task.kind() != TaskKind::CleanUp;
    let needed = |claim: &&String| needs_all || writable.contains(claim.as_str());
    for (position, claim) in run.claims.keys().filter(needed).enumerate() {
        // A claim's name may be longer than a volume's.
        let name = format!("claim-{position}");
        let source = PersistentVolumeClaimVolumeSource {
            claim_name: claim.clone(),
            ..PersistentVolumeClaimVolumeSource::default()
        };
        let volume = Volume {
            name: name.clone(),
            persistent_volume_claim: Some(source),
            ..Volume::default()
        };
        let mount = VolumeMount {
            name,
            mount_path: format!("{VOLUMES}/{claim}"),
            read_only: (!writable.contains(claim.as_str())).then_some(true),
            ..VolumeMount::default()
        };
        volumes.push((volume, mount));
    }
    volumes
}

fn empty(size_limit: Option<&str>) -> EmptyDirVolumeSource {
    EmptyDirVolumeSource {
        medium: None,
        size_limit: size_limit.map(|size| Quantity(size.to_owned())),
    }
}

fn empty_dir(name: &str, path: &str, source: EmptyDirVolumeSource) -> (Volume, VolumeMount) {
    let volume = Volume {
        name: name.to_owned(),
        empty_dir: Some(source),
        ..Volume::default()
    };
    let mount = VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    };
    (volume, mount)
}

/// The claims that this task writes to: the store's, and the one that it exports to. Sources are
/// only read.
fn writable_claims(task: &TaskSpec) -> BTreeSet<&str> {
    let destination = match &task.task {
        Task::Export { export, .. } => claim_of(&export.destination),
        Task::Prepare { .. }
        | Task::Measure { .. }
        | Task::BuildDatabase { .. }
        | Task::Search { .. }
        | Task::PostTrain { .. }
        | Task::Evaluate { .. }
        | Task::CleanUp { .. } => None,
    };
    claim_of(&task.store)
        .into_iter()
        .chain(destination)
        .collect()
}

/// The claim that a worker's URL lies in; claims' names need no escaping in URLs.
fn claim_of(url: &str) -> Option<&str> {
    url.strip_prefix("file://")?
        .strip_prefix(VOLUMES)?
        .strip_prefix('/')?
        .split('/')
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_url_names_its_claim() {
        assert_eq!(
            claim_of("file:///var/lib/darwinlm/volumes/data/runs"),
            Some("data")
        );
        assert_eq!(
            claim_of("file:///var/lib/darwinlm/volumes/data"),
            Some("data")
        );
        assert_eq!(claim_of("file:///var/lib/darwinlm/elsewhere/data"), None);
        assert_eq!(claim_of("s3://bucket/data"), None);
    }
}
