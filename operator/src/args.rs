//! The operator's command line: every flag is an environment variable, too.

use std::{net::SocketAddr, num::NonZero, time::Duration};

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use crate::{
    lease::{Settings, SettingsError},
    run_controller::{Limits, WorkerImage},
};

/// Carries out every PruningRun of a cluster as Jobs.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "darwinlm-operator",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Args {
    /// What to do instead.
    #[command(subcommand)]
    pub question: Option<Question>,
    /// Address that /metrics, /healthz and /readyz are served on.
    #[arg(long, env = "DARWINLM_OPERATOR_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Namespaces to watch, separated by commas; without any, all of them.
    #[arg(long, env = "DARWINLM_OPERATOR_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Image of worker pods whose run names none.
    #[arg(long, env = "DARWINLM_OPERATOR_WORKER_IMAGE", required = true)]
    worker_image: Option<String>,
    /// When the kubelet pulls worker images.
    #[arg(
        long,
        env = "DARWINLM_OPERATOR_WORKER_PULL_POLICY",
        default_value = "IfNotPresent"
    )]
    pub worker_pull_policy: PullPolicy,
    /// Runs reconciled at the same time.
    #[arg(long, env = "DARWINLM_OPERATOR_CONCURRENCY", default_value = "8")]
    pub concurrency: NonZero<u16>,
    /// Seconds between two looks at a run whose workers are at work.
    #[arg(long, env = "DARWINLM_OPERATOR_POLL_SECONDS", default_value = "10")]
    pub poll_seconds: NonZero<u32>,
    /// Seconds between two status writes of one run that only report progress.
    #[arg(long, env = "DARWINLM_OPERATOR_STATUS_SECONDS", default_value = "15")]
    pub status_seconds: u32,
    /// Seconds after which workers that get no further have stalled; four times as many in prepare,
    /// post-train and export.
    #[arg(long, env = "DARWINLM_OPERATOR_STALL_SECONDS", default_value = "900")]
    pub stall_seconds: NonZero<u32>,
    /// Seconds that a deleted run is held back at most until its prefix is removed from the store.
    #[arg(
        long,
        env = "DARWINLM_OPERATOR_CLEAN_UP_SECONDS",
        default_value = "600"
    )]
    pub clean_up_seconds: u32,
    /// How log lines look.
    #[arg(long, env = "DARWINLM_OPERATOR_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// Name of the operator's pod, for events; the host's name if absent.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,
    /// Which of several operators writes.
    #[command(flatten)]
    pub lease: LeaseArgs,
}

/// What may be asked of an operator at work.
#[derive(Clone, Debug, Subcommand)]
pub enum Question {
    /// Asks an operator whether it is ready: ends with 0 if it is.
    Ready {
        /// Its address, or its name.
        host: String,
        /// The port that it serves metrics and probes on.
        #[arg(default_value_t = 8080)]
        port: u16,
        /// Seconds that it may take until it is.
        #[arg(long, default_value_t = 30)]
        within: u64,
    },
}

/// Which of several operators writes: the one that holds a lease.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Leader election")]
pub struct LeaseArgs {
    /// Write only while holding a lease. Without, never let a second operator watch the same runs.
    #[arg(
        long,
        env = "DARWINLM_OPERATOR_LEADER_ELECT",
        default_value_t = true,
        num_args = 0..=1,
        default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub leader_elect: bool,
    /// Name of the lease: the same for all operators that watch the same runs.
    #[arg(
        long,
        env = "DARWINLM_OPERATOR_LEASE_NAME",
        default_value = "darwinlm-operator"
    )]
    pub lease_name: String,
    /// Namespace of the lease; the operator's own if absent.
    #[arg(long, env = "POD_NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// Seconds that a lease is valid without a renewal: so long is nothing done after a crash.
    #[arg(long, env = "DARWINLM_OPERATOR_LEASE_SECONDS", default_value = "15")]
    pub lease_seconds: u64,
    /// Seconds without a renewal after which the leader writes no more, and ends.
    #[arg(
        long,
        env = "DARWINLM_OPERATOR_LEASE_RENEW_SECONDS",
        default_value = "10"
    )]
    pub lease_renew_seconds: u64,
    /// Seconds between two looks at the lease.
    #[arg(
        long,
        env = "DARWINLM_OPERATOR_LEASE_RETRY_SECONDS",
        default_value = "2"
    )]
    pub lease_retry_seconds: u64,
}

impl LeaseArgs {
    /// How long things around the lease take.
    ///
    /// # Errors
    /// When they do not go together.
    pub fn settings(&self) -> Result<Settings, SettingsError> {
        Settings::new(
            self.lease_seconds,
            self.lease_renew_seconds,
            self.lease_retry_seconds,
        )
    }

    /// The namespace of the lease, if one was named. An empty variable names none.
    pub fn namespace(&self) -> Option<&str> {
        self.lease_namespace
            .as_deref()
            .filter(|name| !name.is_empty())
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// When the kubelet pulls an image, in Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum PullPolicy {
    /// Before every start.
    Always,
    /// When the node has it not.
    IfNotPresent,
    /// Not at all.
    Never,
}

impl PullPolicy {
    /// The word as it stands in a pod.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

impl Args {
    /// The namespaces to watch; none means all. An empty variable names no namespace.
    pub fn namespaces(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .namespaces
            .iter()
            .filter(|name| !name.is_empty())
            .cloned()
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// What worker pods run by default.
    pub fn worker_image(&self) -> WorkerImage {
        WorkerImage {
            // Never absent here: only a question needs none.
            image: self.worker_image.clone().unwrap_or_default(),
            pull_policy: self.worker_pull_policy.as_str().to_owned(),
        }
    }

    /// How often and how many at once.
    pub fn limits(&self) -> Limits {
        Limits {
            concurrency: self.concurrency.get(),
            poll: Duration::from_secs(self.poll_seconds.get().into()),
            status: Duration::from_secs(self.status_seconds.into()),
            stall: Duration::from_secs(self.stall_seconds.get().into()),
            clean_up: Duration::from_secs(self.clean_up_seconds.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Args {
        let program = ["darwinlm-operator", "--worker-image", "runner:1"];
        Args::try_parse_from(program.iter().chain(args)).unwrap()
    }

    #[test]
    fn an_empty_list_of_namespaces_means_all() {
        assert!(parse(&[]).namespaces().is_empty());
        assert!(parse(&["--namespaces", ""]).namespaces().is_empty());
    }

    #[test]
    fn only_a_question_needs_no_image() {
        let bare = |args: &[&str]| Args::try_parse_from(["darwinlm-operator"].iter().chain(args));
        let question = bare(&["ready", "10.0.0.1"]).unwrap().question;
        assert!(matches!(question, Some(Question::Ready { port: 8080, .. })));
        assert!(
            bare(&["--worker-image", "runner:1"])
                .unwrap()
                .question
                .is_none()
        );
        assert!(
            bare(&[])
                .unwrap_err()
                .to_string()
                .contains("--worker-image")
        );
        assert!(bare(&["--worker-image", "runner:1", "ready", "10.0.0.1"]).is_err());
    }

    #[test]
    fn a_namespace_named_twice_is_watched_once() {
        assert_eq!(parse(&["--namespaces", "b,a,b"]).namespaces(), ["a", "b"]);
    }

    #[test]
    fn an_operator_asks_for_the_lease_unless_told_otherwise() {
        assert!(parse(&[]).lease.leader_elect);
        assert!(parse(&["--leader-elect"]).lease.leader_elect);
        assert!(!parse(&["--leader-elect=false"]).lease.leader_elect);
        assert!(parse(&[]).lease.settings().is_ok());
        assert_eq!(parse(&["--lease-namespace", ""]).lease.namespace(), None);
        let hasty = parse(&["--lease-seconds", "10"]).lease.settings();
        let words = hasty.unwrap_err().to_string();
        assert!(
            words.contains("--lease-seconds is 10") && words.contains("12"),
            "{words}"
        );
    }

    #[test]
    fn an_operator_without_a_worker_image_does_not_start() {
        let error = Args::try_parse_from(["darwinlm-operator"]).unwrap_err();
        assert!(error.to_string().contains("--worker-image"), "{error}");
    }
}
