//! The volumes of a worker: claims, caches, shared memory.

use std::collections::BTreeSet;

use darwinlm_api::Cache;
use darwinlm_task::{Task, TaskKind, TaskSpec};
use k8s_openapi::{
    api::core::v1::{
        ConfigMapVolumeSource, EmptyDirVolumeSource, KeyToPath, PersistentVolumeClaimVolumeSource,
        Volume, VolumeMount,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use crate::run_controller::validate::{VOLUMES, ValidatedRun};

/// The certificates of the store's authority, in the folder that their ConfigMap is mounted at.
pub(super) const CA_BUNDLE: &str = "/etc/darwinlm/ca/ca.crt";
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
        cache(run, task.task.kind()),
        empty_dir("shared-memory", "/dev/shm", shared_memory),
    ];
    volumes.extend(run.ca_bundle.as_deref().map(ca_bundle));
    let writable = writable_claims(task);
    // Whoever removes the prefix needs no sources: their claims may be gone.
    let needs_all = task.task.kind() != TaskKind::CleanUp;
    let needed = |claim: &&String| needs_all || writable.contains(claim.as_str());
    for (position, claim) in run.claims.keys().filter(needed).enumerate() {
        // A claim's name may be longer than a volume's.
        let name = format!("claim-{position}");
        let volume = claimed(&name, claim);
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

/// What workers have fetched is named by what it holds, so that they may share a claim. `prepare` fetches
/// what has no such name yet: it keeps to itself. Whoever cleans up fetches nothing.
fn cache(run: &ValidatedRun, task: TaskKind) -> (Volume, VolumeMount) {
    const NAME: &str = "cache";
    let Cache {
        persistent_volume_claim,
        empty_dir: on_the_node,
    } = run.pods.cache.clone().unwrap_or_default();
    match persistent_volume_claim {
        Some(claim) if !matches!(task, TaskKind::Prepare | TaskKind::CleanUp) => {
            let mount = VolumeMount {
                name: NAME.to_owned(),
                mount_path: CACHE.to_owned(),
                ..VolumeMount::default()
            };
            (claimed(NAME, &claim.claim_name), mount)
        }
        Some(_) | None => {
            let source = EmptyDirVolumeSource {
                medium: None,
                size_limit: on_the_node.and_then(|folder| folder.size_limit),
            };
            empty_dir(NAME, CACHE, source)
        }
    }
}

fn ca_bundle(config_map: &str) -> (Volume, VolumeMount) {
    const NAME: &str = "ca-bundle";
    let (folder, file) = CA_BUNDLE.rsplit_once('/').expect("it lies in a folder");
    let item = KeyToPath {
        key: file.to_owned(),
        path: file.to_owned(),
        mode: None,
    };
    let source = ConfigMapVolumeSource {
        name: config_map.to_owned(),
        items: Some(vec![item]),
        ..ConfigMapVolumeSource::default()
    };
    let volume = Volume {
        name: NAME.to_owned(),
        config_map: Some(source),
        ..Volume::default()
    };
    let mount = VolumeMount {
        name: NAME.to_owned(),
        mount_path: folder.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    (volume, mount)
}

fn claimed(name: &str, claim: &str) -> Volume {
    let source = PersistentVolumeClaimVolumeSource {
        claim_name: claim.to_owned(),
        ..PersistentVolumeClaimVolumeSource::default()
    };
    Volume {
        name: name.to_owned(),
        persistent_volume_claim: Some(source),
        ..Volume::default()
    }
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
