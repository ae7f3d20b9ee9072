//! What the end of a worker means for its Job.

use darwinlm_task::ExitCode;
use k8s_openapi::api::batch::v1::{
    PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};

use super::CONTAINER;

/// The rules, in the order in which the Job controller asks them; what none of them names counts
/// towards `backoffLimit`.
///
/// A final exit code comes before the disruption: a worker that says that its spec is wrong is
/// right about it on a node that is being drained, too.
pub(super) fn failure_policy() -> PodFailurePolicy {
    let finals = ExitCode::ALL.into_iter().filter(|code| code.is_final());
    PodFailurePolicy {
        rules: vec![
            on_exit_codes("FailJob", finals.map(|code| code.code().into()).collect()),
            PodFailurePolicyRule {
                action: "Ignore".to_owned(),
                on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
                    type_: "DisruptionTarget".to_owned(),
                    status: "True".to_owned(),
                }]),
                ..PodFailurePolicyRule::default()
            },
            on_exit_codes("Ignore", vec![ExitCode::TryAgain.code().into()]),
        ],
    }
}

fn on_exit_codes(action: &str, values: Vec<i32>) -> PodFailurePolicyRule {
    PodFailurePolicyRule {
        action: action.to_owned(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: Some(CONTAINER.to_owned()),
            operator: "In".to_owned(),
            values,
        }),
        ..PodFailurePolicyRule::default()
    }
}
