//! The dense model that a run starts from.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{references::SecretRef, sources};

/// The dense model.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    /// Where the model lies: a folder in Hugging Face's layout with safetensors. One of
    /// `hf://organisation/name[@revision]`, `s3://bucket/path`, `gs://bucket/path`,
    /// `az://container/path`, `http(s)://host/path`, `pvc://claim/path` or `file:///path`
    /// (one machine only).
    #[x_kube(validation = sources::model_rule())]
    #[schemars(length(min = 1, max = 1024))]
    pub source: String,
    /// Secret with the credentials of the sources of model and data, given to the `prepare` task
    /// alone. Its keys are names of environment variables: `HF_TOKEN`, `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `GOOGLE_…`, `AZURE_…`. With
    /// `darwinlm run` they come from the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
}
