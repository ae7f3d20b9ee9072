//! The runs: made, counted, and replaced when they have ended.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::Failure;

/// A run from a hub to a bucket, so that no claims need to be there.
const RUN: &str = r#"
apiVersion: darwinlm.io/v1alpha1
kind: PruningRun
metadata: {name: run}
spec:
  model: {source: hf://organisation/model@main}
  data:
    calibration: {source: "hf-dataset://organisation/text/*.parquet", tokens: 8388608, sequenceLength: 4096}
    training: {tokens: 500000}
    fitness: {tokens: 100000}
    validation: {tokens: 100000}
  target: {level: 5}
  search: {generations: 10, generationsPerJob: 5, workers: 1}
  evaluation: {}
  artifacts: {store: s3://bucket/runs, credentialsSecretRef: {name: s3}}
  worker:
    device: Cuda
    resources: {limits: {nvidia.com/gpu: 1, memory: 16Gi}, requests: {cpu: 2, memory: 16Gi}}
"#;
/// Requests of this program at the same time.
const AT_ONCE: usize = 8;

/// Makes the namespaces, and waits for what pods need there.
pub(crate) async fn namespaces(client: &Client, count: usize) -> Result<Vec<String>, Failure> {
    let api = Api::<Namespace>::all(client.clone());
    let names: Vec<String> = (0..count).map(|number| format!("bench-{number}")).collect();
    for name in &names {
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        api.create(&PostParams::default(), &namespace).await?;
    }
    for name in &names {
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), name);
        while accounts.get_opt("default").await?.is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(names)
}

/// All runs of the bench.
pub(crate) struct Fleet {
    client: Client,
    resource: ApiResource,
    namespaces: Vec<String>,
    made: AtomicUsize,
}

impl Fleet {
    /// No runs yet.
    pub(crate) fn new(client: Client, namespaces: Vec<String>) -> Self {
        let kind = GroupVersionKind::gvk("darwinlm.io", "v1alpha1", "PruningRun");
        Self {
            client,
            resource: ApiResource::from_gvk_with_plural(&kind, "pruningruns"),
            namespaces,
            made: AtomicUsize::new(0),
        }
    }

    /// Makes so many runs.
    pub(crate) async fn fill(&self, count: usize) -> Result<(), Failure> {
        let runs = (0..count).map(|_| self.make());
        stream::iter(runs)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    }

    async fn make(&self) -> Result<(), Failure> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let mut run: DynamicObject = serde_saphyr::from_str(RUN)?;
        run.metadata.name = Some(format!("run-{number}"));
        let namespace = &self.namespaces[number % self.namespaces.len()];
        let api = Api::namespaced_with(self.client.clone(), namespace, &self.resource);
        api.create(&PostParams::default(), &run).await?;
        Ok(())
    }

    /// Runs that the operator has not spoken of yet.
    pub(crate) async fn waiting(&self) -> Result<usize, Failure> {
        Ok(self.at("").await?.len())
    }

    /// Runs that failed.
    pub(crate) async fn failed(&self) -> Result<usize, Failure> {
        Ok(self.at("Failed").await?.len())
    }

    /// Deletes the runs that succeeded and makes as many new ones; says how many.
    pub(crate) async fn replace_finished(&self) -> Result<usize, Failure> {
        let finished = self.at("Succeeded").await?;
        let count = finished.len();
        let replacements = finished.into_iter().map(|run| async move {
            let namespace = run.namespace().unwrap_or_default();
            let api = Api::<DynamicObject>::namespaced_with(
                self.client.clone(),
                &namespace,
                &self.resource,
            );
            api.delete(&run.name_any(), &DeleteParams::background())
                .await?;
            self.make().await
        });
        stream::iter(replacements)
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(count)
    }

    async fn at(&self, stage: &str) -> Result<Vec<DynamicObject>, Failure> {
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &self.resource);
        let of_stage = ListParams::default().fields(&format!("status.stage={stage}"));
        Ok(api.list(&of_stage).await?.items)
    }
}
