//! Why a run does not move: one row a cause, with its reason, and what to do about it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{ConditionStatus, ConditionType, Reason, get};

/// Declares the causes once: the enum, their order, what is seen, the reason and the remedy.
macro_rules! stalls {
    ($($(#[doc = $seen:literal])+ $name:ident => $reason:ident, $remedy:literal;)+) => {
        /// Why a run does not move.
        ///
        /// They are ordered by weight: where several hold, the first is told. What keeps a pod from
        /// being made comes before what keeps it from starting, that before how workers end, and
        /// that before what is only seen from outside.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Stall {
            $($(#[doc = $seen])+ $name,)+
        }

        impl Stall {
            /// Every cause, the weightiest first.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The reason of `Progressing=False`.
            pub const fn reason(self) -> Reason {
                match self {
                    $(Self::$name => Reason::$reason,)+
                }
            }

            /// What to do about it; stands in the condition's message.
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$name => $remedy,)+
                }
            }

            /// What is seen.
            pub const fn seen(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($seen),+),)+
                }
            }
        }
    };
}

stalls! {
    /// a Job of the name that the run needs belongs to another owner
    NameTaken => NameTaken,
        "delete that Job, or give the run another name";
    /// the API server does not let the operator do what it must
    OperatorForbidden => OperatorForbidden,
        "give the operator the rights of its chart (rbac.create) in this namespace, too";
    /// a ResourceQuota has no room for the Job or a pod, or wants amounts that are not given
    QuotaExceeded => QuotaExceeded,
        "free or raise the quota that is named, or ask for less: fewer workers, or in a new run smaller \
         spec.worker.resources";
    /// a LimitRange of the namespace forbids a worker's amounts
    LimitExceeded => LimitExceeded,
        "change the LimitRange of the namespace, or apply the run anew with spec.worker.resources \
         within it";
    /// Pod Security refuses a pod; the operator's own pods pass `restricted`, so something adds to them
    PodSecurity => PodSecurity,
        "find the webhook or policy that adds to pods what is named, or change the namespace's label \
         pod-security.kubernetes.io/enforce";
    /// a webhook or an admission policy refuses the Job or a pod
    AdmissionRefused => AdmissionRefused,
        "satisfy the rule that is named (labels and annotations of pods are spec.worker's), or except \
         the namespace from it";
    /// a webhook that has to be asked does not answer
    AdmissionUnavailable => AdmissionUnavailable,
        "bring the service of the webhook that is named back, or except the namespace from it";
    /// the service account in spec.worker.serviceAccountName does not exist
    ServiceAccountNotFound => ReferenceNotFound,
        "create the service account: the run then goes on by itself";
    /// the class in spec.worker.priorityClassName does not exist
    PriorityClassNotFound => ReferenceNotFound,
        "create the PriorityClass: the run then goes on by itself";
    /// the class in spec.worker.runtimeClassName does not exist
    RuntimeClassNotFound => ReferenceNotFound,
        "create the RuntimeClass: the run then goes on by itself";
    /// the API server refuses the Job for another reason
    JobRefused => JobRefused,
        "change what the API server names";
    /// the API server refuses a pod for another reason
    PodRefused => PodRefused,
        "change what the API server names";
    /// a claim that the spec names does not exist
    ClaimNotFound => ReferenceNotFound,
        "create the claim: the run then goes on by itself";
    /// a claim that several workers share is not ReadWriteMany
    VolumeNotShared => VolumeNotShared,
        "replace it by a claim that several nodes may write to, or ask for 1 worker";
    /// a field was changed after the first Job of its task had been made
    ChangedTooLate => ChangedTooLate,
        "put the field back, or create another run";
    /// a pod should have left its node more than 5 minutes ago: the node does not answer, and its
    /// replacement has to wait, since the pod may still run
    NodeLost => NodeLost,
        "bring the node back; if it is gone for good, delete it (kubectl delete node) or taint it with \
         node.kubernetes.io/out-of-service=nodeshutdown:NoExecute, and the worker is replaced";
    /// a worker has started, and its node does not answer
    NodeUnreachable => NodeLost,
        "look at the node; if it stays away, Kubernetes moves the pod after the time that the pod \
         tolerates, 5 minutes unless spec.worker.tolerations says otherwise";
    /// the image's name cannot be one
    InvalidImageName => ImagePull,
        "apply the run anew with a correct spec.worker.image, or correct the operator's --worker-image";
    /// the image is not on the node, and may not be pulled
    ImageNotOnNode => ImagePull,
        "load the image onto the node, or let it be pulled (the operator's --worker-pull-policy)";
    /// the image cannot be pulled
    ImagePull => ImagePull,
        "push the image that is named, or give spec.worker.imagePullSecrets the credentials of its \
         registry";
    /// a Secret or ConfigMap of a worker does not exist, or lacks a key
    SecretNotFound => ReferenceNotFound,
        "create what is named in the run's namespace: the kubelet looks again by itself";
    /// the kubelet refuses to start the container
    ContainerRefused => ContainerNotStarted,
        "use an image that can run as user 65532 without privileges";
    /// the node's runtime cannot start the container
    ContainerNotRun => ContainerNotStarted,
        "use an image with darwinlm-runner in its PATH that its nodes can run";
    /// the node's runtime or network does not get as far as a container
    SandboxNotMade => ContainerNotStarted,
        "look at the node's container runtime and network plugin, and at spec.worker.runtimeClassName";
    /// a claim has no volume yet, or has lost it
    ClaimNotBound => VolumeNotBound,
        "give the claim a volume: a StorageClass that provisions it where the pods run, or a \
         PersistentVolume that fits";
    /// a volume cannot be attached to the node, or not mounted there
    VolumeNotMounted => VolumeNotMounted,
        "free the volume from its other node, or look at the storage driver on the node";
    /// a pod has a node, and its container has not started for 5 minutes
    PodNotStarted => ContainerNotStarted,
        "see what its node does: kubectl describe pod";
    /// the queue has not admitted the Job
    Queued => Queued,
        "free or raise the quota of the queue in spec.queueName, or wait for the runs before this one";
    /// a Job waits in a queue of which nobody can say why
    QueueSilent => Queued,
        "see that Kueue runs and manages the namespace, and that the operator may list its workloads \
         (kueue.enabled in the chart), or leave spec.queueName out of another run";
    /// a pod may not be scheduled while somebody's gate is on it
    SchedulingGated => Unschedulable,
        "whoever set the scheduling gates has to take them away";
    /// no node fits a pod
    Unschedulable => Unschedulable,
        "add or free a node that fits: spec.worker's resources, nodeSelector, tolerations and affinity \
         say what does";
    /// no scheduler has looked at a pod for 30 seconds
    SchedulerSilent => Unschedulable,
        "see whether the cluster's scheduler runs";
    /// somebody is deleting a Job of the run
    JobDeleted => JobDeleted,
        "nothing, if it was meant: another Job is made once it is gone; finalizers that others have \
         set hold it";
    /// a Job is suspended, not by the operator and not in a queue that the spec names
    JobSuspended => JobSuspended,
        "whoever suspended the Job resumes it; where Kueue manages Jobs without a queue's name, name \
         the queue in spec.queueName of a new run; to suspend a run, set spec.suspend";
    /// pods of a suspended run are not told to leave
    WorkersStay => WorkersStay,
        "see whether kube-controller-manager runs";
    /// a Job lacks a pod, and nobody says why
    PodsNotCreated => PodsNotCreated,
        "see the Job's events (kubectl describe job), and whether kube-controller-manager runs";
    /// a worker needs more memory than its container may have
    ContainerOutOfMemory => OutOfMemory,
        "set spec.retain to All, or deletion takes the search with it; then delete the run and apply it \
         anew with a higher spec.worker.resources.limits.memory: it goes on with what is stored";
    /// a worker cannot use the store (exit code 69)
    StoreUnavailable => StoreUnavailable,
        "bring back the store in spec.artifacts.store, or the source that is named: workers are tried \
         again";
    /// a worker was stopped from outside: a drain, a preemption, an eviction (exit code 75)
    Interrupted => Interrupted,
        "nothing, if it was once; if it goes on, see what takes its node, and whether a higher \
         spec.worker.priorityClassName or other nodes would keep it";
    /// workers end with an error and are tried again
    WorkerFailing => WorkerFailing,
        "see what the worker says: kubectl logs";
    /// workers are at work, and none has got any further for longer than the operator's
    /// `--stall-seconds`, or four times as long where a task moves whole files or takes large steps:
    /// `prepare`, `post-train`, `export`
    NoProgress => NoProgress,
        "see what the worker does (kubectl logs); deleted, it is replaced and nothing that is stored \
         is lost";
    /// workers are at work, and for as long none could be asked, neither over the pod network nor
    /// through its log
    WorkerSilent => NoProgress,
        "let the operator reach port 9090 of workers, or give it pods/log; a node that is stuck shows in \
         kubectl describe node";
    /// the run has failed: what a device must hold does not fit (exit code 12)
    DeviceOutOfMemory => OutOfMemory,
        "set spec.retain to All, or deletion takes the search with it; then delete the run and apply it \
         anew with what the message says would fit";
    /// the run has failed: model or data are not what it can use (exit code 65)
    BadData => BadData,
        "correct what is named, and set spec.retain to All, or deletion takes the search with it; then \
         delete the run and apply it anew: it goes on with what is stored";
    /// the run has failed: model, data or an earlier task's files are missing (exit code 66)
    InputMissing => InputMissing,
        "put what is named in its place, and set spec.retain to All, or deletion takes the search with \
         it; then delete the run and apply it anew: it goes on with what is stored";
    /// the run has failed: a source or the store refuses access (exit code 77)
    PermissionDenied => PermissionDenied,
        "correct the Secret (spec.model.credentialsSecretRef for sources, \
         spec.artifacts.credentialsSecretRef for the store), set spec.retain to All, or deletion takes the \
         search with it; then delete the run and apply it anew";
    /// the run has failed: the device asked for does not work (exit code 78)
    DeviceUnusable => DeviceUnusable,
        "set spec.retain to All, or deletion takes the search with it; then delete the run and apply it \
         anew with a device in spec.worker.resources.limits, or with spec.worker.device Cpu";
    /// the run has failed: the spec asks for what cannot be done (exit code 78)
    InvalidSpec => InvalidSpec,
        "if the search has begun, set spec.retain to All, or deletion takes it along; then delete the run \
         and apply it anew with what the message accepts";
}

impl Stall {
    /// Whether the run has ended with it; else it passes by itself once the cause is gone.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::DeviceOutOfMemory
                | Self::BadData
                | Self::InputMissing
                | Self::PermissionDenied
                | Self::DeviceUnusable
                | Self::InvalidSpec
        )
    }

    /// Whether it is said even of a run some of whose workers work.
    pub const fn is_of_workers_at_work(self) -> bool {
        matches!(self, Self::NoProgress | Self::WorkerSilent)
    }

    /// The cause that ends a run with this reason.
    pub fn of_failure(reason: Reason) -> Option<Self> {
        let finals = Self::ALL.iter().copied().filter(|stall| stall.is_final());
        finals.into_iter().find(|stall| stall.reason() == reason)
    }
}

/// The reason why a run does not move; none where it does, rests or has ended.
pub fn stalled(conditions: &[Condition]) -> Option<Reason> {
    let has_ended = get(conditions, ConditionType::Succeeded)
        .is_some_and(|c| c.status != ConditionStatus::Unknown.as_str());
    let progressing = get(conditions, ConditionType::Progressing)?;
    if has_ended || progressing.status != ConditionStatus::False.as_str() {
        return None;
    }
    let reason: Reason = progressing.reason.parse().ok()?;
    let causes = Stall::ALL.iter().filter(|stall| !stall.is_final());
    causes
        .into_iter()
        .any(|stall| stall.reason() == reason)
        .then_some(reason)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_cause_has_a_sentence_of_its_own_and_a_remedy_that_fits_into_a_message() {
        let mut seen = BTreeSet::new();
        for stall in Stall::ALL {
            assert!(
                seen.insert(stall.seen()),
                "{stall:?} says what another says"
            );
            assert!(stall.seen().len() > 10, "{stall:?}");
            assert!((10..=260).contains(&stall.remedy().len()), "{stall:?}");
            assert!(!stall.remedy().ends_with('.'), "{stall:?}");
        }
        assert!(Stall::ALL.len() >= 20);
    }

    #[test]
    fn the_causes_are_listed_in_the_order_of_their_weight() {
        assert!(Stall::ALL.is_sorted());
    }

    #[test]
    fn an_end_is_found_by_its_reason() {
        assert_eq!(
            Stall::of_failure(Reason::OutOfMemory),
            Some(Stall::DeviceOutOfMemory)
        );
        assert_eq!(Stall::of_failure(Reason::BadData), Some(Stall::BadData));
        // A store that never answered ends a run, too, but waiting for it would have done.
        assert_eq!(Stall::of_failure(Reason::StoreUnavailable), None);
    }
}
