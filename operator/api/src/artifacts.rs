//! The store that a run keeps everything in.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{
    references::{ConfigMapRef, SecretRef},
    sources,
};

/// The store of the run.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Artifacts {
    /// Object store or volume: `s3://bucket/prefix`, `gs://bucket/prefix`,
    /// `az://container/prefix`, `pvc://claim/path` (ReadWriteMany for more than one worker),
    /// `file:///path` (one machine only) or `memory://` (tests).
    #[x_kube(validation = sources::store_rule())]
    #[schemars(length(min = 1, max = 1024))]
    pub store: String,
    /// Secret with the store's credentials, given to every worker. Its keys are names of
    /// environment variables: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`,
    /// `AWS_ENDPOINT_URL`, `GOOGLE_…`, `AZURE_…`. Absent: workload identity. With `darwinlm run` they
    /// come from the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<SecretRef>,
    /// ConfigMap with the certificates of the store's authority, in `ca.crt` (PEM): trusted, beside
    /// those in the image, for the store and for sources in buckets. With `darwinlm run` the variable
    /// `DARWINLM_CA_BUNDLE` names such a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_config_map_ref: Option<ConfigMapRef>,
}
