//! The Job of a task.

use std::collections::BTreeMap;

use darwinlm_api::PruningRun;
use darwinlm_task::TaskKind;
use k8s_openapi::{
    api::batch::v1::{Job, JobSpec},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::Resource;

use super::{WorkerImage, failure_policy::failure_policy, pod_template::pod_template};
use crate::run_controller::{decide::NewJob, made_from, queue, validate::ValidatedRun};

/// Failures that count, before the Job is given up.
const BACKOFF_LIMIT: i32 = 6;

/// Builds the Job of a task, owned by its run.
///
/// A work-queue Job leaves `completions` unset: its first success means that all the work is done,
/// so any number of workers will do.
pub fn job(run: &ValidatedRun, new: &NewJob, image: &WorkerImage) -> Job {
    let name = &run.identity.name;
    let is_work_queue = new.key.task.is_work_queue();
    let workers = i32::try_from(new.workers).unwrap_or(i32::MAX);
    let mut labels = new.key.labels(name);
    let made_from = new.made_from.to_annotation();
    let mut annotations = BTreeMap::from([(made_from::ANNOTATION.to_owned(), made_from)]);
    // Whoever is deleted waits in no queue.
    let queue = run.queue.as_ref();
    let queue = queue.filter(|_| new.key.task != TaskKind::CleanUp);
    if let Some(queue) = queue {
        labels.extend(queue.labels());
        // Any number of workers will do; Kueue refuses the word where there is no smaller one.
        if is_work_queue && workers > 1 {
            annotations.insert(queue::ANNOTATION_LEAST.to_owned(), "1".to_owned());
        }
    }
    Job {
        metadata: ObjectMeta {
            name: Some(new.key.job_name(name)),
            namespace: Some(run.identity.namespace.clone()),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![owner(run, new.key.task)]),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            // It starts when Kueue lets it: a pod that came first would hold its device for nothing.
            suspend: queue.is_some().then_some(true),
            completions: (!is_work_queue).then_some(1),
            parallelism: Some(if is_work_queue { workers } else { 1 }),
            backoff_limit: Some(BACKOFF_LIMIT),
            pod_failure_policy: Some(failure_policy()),
            // A pod that is still leaving holds its device: its replacement waits until it is gone.
            pod_replacement_policy: Some("Failed".to_owned()),
            template: pod_template(run, new, image),
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// The run, as the one controller of what it owns: Jobs and pods go with it. One that is deleted in the
/// foreground waits for them, but not for the Job that it is held back for.
fn owner(run: &ValidatedRun, task: TaskKind) -> OwnerReference {
    OwnerReference {
        api_version: PruningRun::api_version(&()).into_owned(),
        kind: PruningRun::kind(&()).into_owned(),
        name: run.identity.name.clone(),
        uid: run.identity.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(task != TaskKind::CleanUp),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;

    use super::*;
    use crate::{
        names::JobKey,
        run_controller::validate::{Placement, validate},
    };

    const RUN: &str = include_str!("../../../tests/fixtures/cluster-run.yaml");

    fn built(task: TaskKind) -> Job {
        built_from(RUN, task)
    }

    fn built_from(yaml: &str, task: TaskKind) -> Job {
        let run: PruningRun = serde_saphyr::from_str(yaml).unwrap();
        let valid = validate(&run, &Placement::Pods).unwrap();
        let first_generation = if task == TaskKind::Search { 25 } else { 0 };
        let key = JobKey {
            task,
            first_generation,
            attempt: 2,
        };
        let new = NewJob {
            key,
            workers: valid.workers(task),
            task: match task {
                TaskKind::CleanUp => valid.clean_up(&["pvc://exports/smollm2".to_owned()]),
                _ => valid.task_spec(key).unwrap(),
            },
            made_from: valid.made_from.of_task(task),
        };
        let image = WorkerImage {
            image: "darwinlm/runner:0.1.0".to_owned(),
            pull_policy: "IfNotPresent".to_owned(),
        };
        job(&valid, &new, &image)
    }

    /// The parts of a Job that another task's Job has, too, are told once.
    fn without_task_text(mut job: Job) -> Job {
        let spec = job.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
        for variable in spec.containers[0].env.iter_mut().flatten() {
            if variable.name == darwinlm_task::ENV_TASK {
                let text = variable.value.take().unwrap();
                darwinlm_task::TaskSpec::from_json(&text).unwrap();
                variable.value = Some("(a TaskSpec)".to_owned());
            }
        }
        job
    }

    #[test]
    fn the_job_of_each_task_is_the_one_on_file() {
        for task in TaskKind::ALL {
            insta::assert_yaml_snapshot!(task.name(), without_task_text(built(task)));
        }
    }

    #[test]
    fn only_tasks_that_compute_ask_for_a_gpu() {
        for task in TaskKind::ALL {
            let pod = built(task).spec.unwrap().template.spec.unwrap();
            let limits = pod.containers[0].resources.clone().unwrap().limits.unwrap();
            assert_eq!(
                limits.contains_key("nvidia.com/gpu"),
                task.needs_device(),
                "{task}"
            );
            assert!(limits.contains_key("memory"), "{task}");
        }
    }

    #[test]
    fn only_prepare_gets_the_credentials_of_the_sources() {
        for task in TaskKind::ALL {
            let pod = built(task).spec.unwrap().template.spec.unwrap();
            let from = pod.containers[0].env_from.clone().unwrap();
            let names: Vec<_> = from
                .into_iter()
                .map(|from| (from.secret_ref.unwrap().name, from.prefix))
                .collect();
            let mut expected = vec![("store-keys".to_owned(), None)];
            if task == TaskKind::Prepare {
                let prefix = Some(darwinlm_task::SOURCE_PREFIX.to_owned());
                expected.push(("hf-token".to_owned(), prefix));
            }
            assert_eq!(names, expected, "{task}");
        }
    }

    #[test]
    fn a_work_queue_job_has_no_completions() {
        for task in TaskKind::ALL {
            let spec = built(task).spec.unwrap();
            assert_eq!(spec.completions.is_none(), task.is_work_queue(), "{task}");
        }
        assert_eq!(built(TaskKind::Search).spec.unwrap().parallelism, Some(4));
    }

    #[test]
    fn every_job_of_a_run_with_a_queue_is_made_suspended_in_it() {
        let yaml = RUN.replacen(
            "  evaluation: {}\n",
            "  evaluation: {}\n  queueName: gpus\n  queuePriorityClass: research\n",
            1,
        );
        // Whoever is deleted waits for nobody.
        let (with, without) = (
            built_from(&yaml, TaskKind::CleanUp),
            built(TaskKind::CleanUp),
        );
        assert_eq!(with.spec, without.spec);
        assert_eq!(with.metadata.labels, without.metadata.labels);
        let chain = TaskKind::ALL.into_iter();
        for task in chain.filter(|task| *task != TaskKind::CleanUp) {
            let (with, without) = (built_from(&yaml, task), built(task));
            let spec = with.spec.unwrap();
            assert_eq!(spec.suspend, Some(true), "{task}");
            assert_eq!(without.spec.unwrap().suspend, None, "{task}");
            let labels = with.metadata.labels.unwrap();
            assert_eq!(labels["kueue.x-k8s.io/queue-name"], "gpus", "{task}");
            assert_eq!(
                labels["kueue.x-k8s.io/priority-class"], "research",
                "{task}"
            );
            let annotations = with.metadata.annotations.unwrap();
            let least = annotations.get("kueue.x-k8s.io/job-min-parallelism");
            assert_eq!(least.is_some(), task.is_work_queue(), "{task}");
        }
        // Kueue refuses a least number that is not below the whole.
        let alone = built_from(
            &yaml.replacen("    workers: 4\n", "    workers: 1\n", 1),
            TaskKind::Search,
        );
        let annotations = alone.metadata.annotations.unwrap();
        assert!(!annotations.contains_key("kueue.x-k8s.io/job-min-parallelism"));
    }

    /// The pod of a task whose worker is given more fields.
    fn pod_with(fields: &str, task: TaskKind) -> PodSpec {
        let yaml = RUN.replacen("  worker:\n", &format!("  worker:\n{fields}"), 1);
        let spec = built_from(&yaml, task).spec.unwrap();
        spec.template.spec.unwrap()
    }

    #[test]
    fn what_differs_for_a_task_replaces_field_by_field() {
        let fields = "    overrides:
      prepare: {resources: {requests: {cpu: 2}}, nodeSelector: {pool: cpu}}
      postTraining: {resources: {limits: {nvidia.com/gpu: 1, memory: 64Gi}}, priorityClassName: training}
      evaluation: {image: other:1}
";
        let prepare = pod_with(fields, TaskKind::Prepare);
        assert_eq!(prepare.node_selector.unwrap()["pool"], "cpu");
        assert_eq!(prepare.priority_class_name.as_deref(), Some("batch"));
        let resources = prepare.containers[0].resources.clone().unwrap();
        assert_eq!(
            (
                resources.limits,
                resources.requests.unwrap()["cpu"].0.as_str()
            ),
            (None, "2")
        );
        let training = pod_with(fields, TaskKind::PostTrain);
        assert_eq!(training.priority_class_name.as_deref(), Some("training"));
        let limits = training.containers[0]
            .resources
            .clone()
            .unwrap()
            .limits
            .unwrap();
        assert_eq!(limits["memory"].0, "64Gi");
        let evaluation = pod_with(fields, TaskKind::Evaluate);
        assert_eq!(evaluation.containers[0].image.as_deref(), Some("other:1"));
        for task in [TaskKind::BuildDatabase, TaskKind::Search, TaskKind::Export] {
            assert_eq!(pod_with(fields, task), pod_with("", task), "{task}");
        }
    }

    #[test]
    fn resource_claims_go_to_every_worker_that_computes() {
        let fields = "    resourceClaims: [{name: gpu, resourceClaimTemplateName: one-slice}]\n";
        for task in TaskKind::ALL {
            let pod = pod_with(fields, task);
            let claims = pod.resource_claims.unwrap_or_default();
            let used = pod.containers[0]
                .resources
                .clone()
                .unwrap()
                .claims
                .unwrap_or_default();
            let names: Vec<_> = used.iter().map(|claim| claim.name.as_str()).collect();
            assert_eq!(claims.len(), names.len(), "{task}");
            assert_eq!(names == ["gpu"], task.needs_device(), "{task}");
        }
    }

    #[test]
    fn a_cache_that_outlives_pods_is_for_files_named_by_what_they_hold() {
        let of = |fields: &str, task| {
            let volumes = pod_with(fields, task).volumes.unwrap();
            volumes
                .into_iter()
                .find(|volume| volume.name == "cache")
                .unwrap()
        };
        let claim = "    cache: {persistentVolumeClaim: {claimName: fetched}}\n";
        for task in TaskKind::ALL {
            let own = of(claim, task).persistent_volume_claim;
            let name = own.map(|own| own.claim_name);
            // The one fetches what has no such name yet, the other nothing.
            let is_shared = !matches!(task, TaskKind::Prepare | TaskKind::CleanUp);
            let expected = is_shared.then(|| "fetched".to_owned());
            assert_eq!(name, expected, "{task}");
        }
        let limited = of(
            "    cache: {emptyDir: {sizeLimit: 20Gi}}\n",
            TaskKind::Search,
        );
        assert_eq!(limited.empty_dir.unwrap().size_limit.unwrap().0, "20Gi");
    }

    #[test]
    fn the_stores_certificates_reach_every_worker() {
        let yaml = RUN.replacen(
            "artifacts: {",
            "artifacts: {caBundleConfigMapRef: {name: ca}, ",
            1,
        );
        for task in TaskKind::ALL {
            let pod = built_from(&yaml, task).spec.unwrap().template.spec.unwrap();
            let container = &pod.containers[0];
            let env = container.env.clone().unwrap();
            let file = env
                .iter()
                .find(|v| v.name == darwinlm_task::ENV_CA_BUNDLE)
                .unwrap();
            let mounts = container.volume_mounts.clone().unwrap();
            let mount = mounts
                .iter()
                .find(|mount| mount.name == "ca-bundle")
                .unwrap();
            assert_eq!(
                file.value.clone().unwrap(),
                format!("{}/ca.crt", mount.mount_path)
            );
            let volumes = pod.volumes.unwrap();
            let volume = volumes
                .iter()
                .find(|volume| volume.name == "ca-bundle")
                .unwrap();
            assert_eq!(volume.config_map.clone().unwrap().name, "ca");
        }
    }

    #[test]
    fn the_task_reads_back_from_the_environment() {
        let pod = built(TaskKind::Search).spec.unwrap().template.spec.unwrap();
        let env = pod.containers[0].env.clone().unwrap();
        let text = env
            .iter()
            .find(|v| v.name == darwinlm_task::ENV_TASK)
            .unwrap();
        let task = darwinlm_task::TaskSpec::from_json(text.value.as_deref().unwrap()).unwrap();
        assert_eq!(task.task.kind(), TaskKind::Search);
        assert_eq!(task.run.name, "smollm2");
    }
}
