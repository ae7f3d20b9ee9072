//! Commands about a run in a cluster, as `kubectl` reaches it.

pub(super) mod explain;
pub(super) mod logs;
pub(super) mod rest;
pub(super) mod watch;

use clap::Args;
use darwinlm_api::PruningRun;
use darwinlm_task::ExitCode;
use kube::{Api, Client, Config, config::KubeConfigOptions};

use super::{Failure, chain};

/// The field manager of what this command changes.
pub(super) const MANAGER: &str = "darwinlm-cli";

/// Which cluster and namespace.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct Place {
    /// Namespace of the run; that of the context if absent
    #[arg(short, long)]
    namespace: Option<String>,
    /// Context of the kubeconfig; the current one if absent
    #[arg(long)]
    context: Option<String>,
}

/// A cluster, and a namespace of it.
pub(super) struct Cluster {
    client: Client,
    namespace: String,
}

impl Place {
    /// Finds the cluster, as `kubectl` would.
    async fn open(self) -> Result<Cluster, Failure> {
        self.open_for(None).await
    }

    /// Finds the cluster for something that may name its own namespace.
    pub(super) async fn open_for(self, named: Option<&str>) -> Result<Cluster, Failure> {
        let unknown = |error: &dyn std::error::Error| {
            Failure::new(
                ExitCode::InputMissing,
                format!("no cluster is configured: {}", chain(error)),
            )
        };
        let config = match self.context {
            Some(context) => {
                let options = KubeConfigOptions {
                    context: Some(context),
                    ..KubeConfigOptions::default()
                };
                let config = Config::from_kubeconfig(&options).await;
                config.map_err(|error| unknown(&error))?
            }
            None => Config::infer().await.map_err(|error| unknown(&error))?,
        };
        let named = self.namespace.or(named.map(str::to_owned));
        let namespace = named.unwrap_or(config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| unknown(&error))?;
        Ok(Cluster { client, namespace })
    }
}

impl Cluster {
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn runs(&self) -> Api<PruningRun> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn run(&self, name: &str) -> Result<PruningRun, Failure> {
        let found = self.runs().get_opt(name).await;
        found.map_err(|error| self.failed(&error))?.ok_or_else(|| {
            let namespace = &self.namespace;
            Failure::new(
                ExitCode::InputMissing,
                format!("namespace {namespace} has no PruningRun {name:?}: see `kubectl get pruningruns -A`"),
            )
        })
    }

    /// What the API server says, as a failure of the command.
    pub(super) fn failed(&self, error: &kube::Error) -> Failure {
        let code = match error {
            kube::Error::Api(answer) if answer.is_forbidden() => ExitCode::PermissionDenied,
            kube::Error::Api(answer) if answer.is_not_found() => ExitCode::InputMissing,
            kube::Error::Api(answer) if answer.is_invalid() => ExitCode::BadSpec,
            _ => ExitCode::StoreUnavailable,
        };
        let namespace = &self.namespace;
        Failure::new(
            code,
            format!(
                "the API server refuses, or does not answer (namespace {namespace}): {}",
                chain(error)
            ),
        )
    }
}
