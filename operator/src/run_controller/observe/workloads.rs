//! Client: what Kueue says of the Jobs that wait in a queue.

use k8s_openapi::{
    api::batch::v1::Job,
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, ListParams},
    core::{DynamicObject, GroupVersionKind},
};

use crate::run_controller::queue::{LABEL_JOB, Said};

/// Kueue gets so long to see a Job before that is worth a word.
const NEW: SignedDuration = SignedDuration::from_secs(30);

/// Asks for the Workload of a Job: one list. That nothing is heard is no error: the run goes on.
pub(super) async fn ask(client: &Client, job: &Job, now: Timestamp) -> Said {
    let workload = GroupVersionKind::gvk("kueue.x-k8s.io", "v1beta2", "Workload");
    let resource = ApiResource::from_gvk_with_plural(&workload, "workloads");
    let namespace = job.namespace().unwrap_or_default();
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &resource);
    let uid = job.uid().unwrap_or_default();
    let of_this_job = ListParams::default().labels(&format!("{LABEL_JOB}={uid}"));
    match api.list(&of_this_job).await {
        Ok(found) => match found.items.first().map(serde_json::to_value) {
            Some(Ok(workload)) => Said::Workload(workload),
            Some(Err(_)) => Said::NoAnswer,
            None => Said::Nothing {
                is_new: job
                    .creation_timestamp()
                    .is_none_or(|made| now.duration_since(made.0) < NEW),
            },
        },
        Err(kube::Error::Api(status)) if status.is_forbidden() => Said::Forbidden,
        Err(kube::Error::Api(status)) if status.is_not_found() => Said::NotInstalled,
        Err(error) => {
            tracing::debug!(%error, "Kueue's Workloads cannot be listed");
            Said::NoAnswer
        }
    }
}
