//! What the API server's words say of why it refuses a Job or a pod. Pure.

use darwinlm_api::conditions::Stall;
use kube::core::Status;

/// The cause that these words tell, else `otherwise`.
///
/// Nothing but words comes with a refusal, neither a code nor a cause of its own: these are those
/// of the admission plugins of Kubernetes 1.34 to 1.37. Webhooks come first: they say anything.
pub(crate) fn refusal(words: &str, otherwise: Stall) -> Stall {
    let has = |part: &str| words.contains(part);
    let refused_by_rule = has("admission webhook") && has("denied the request");
    if refused_by_rule || has("ValidatingAdmissionPolicy ") {
        Stall::AdmissionRefused
    } else if has("failed calling webhook") {
        Stall::AdmissionUnavailable
    } else if has("violates PodSecurity") {
        Stall::PodSecurity
    } else if has("exceeded quota: ") || has("failed quota: ") || has("insufficient quota to ") {
        Stall::QuotaExceeded
    } else if has(" usage per ") || has(" limit to request ratio per ") {
        Stall::LimitExceeded
    } else if has("error looking up service account ") {
        Stall::ServiceAccountNotFound
    } else if has("no PriorityClass with name ") {
        Stall::PriorityClassNotFound
    } else if has("RuntimeClass ") && has(" not found") {
        Stall::RuntimeClassNotFound
    } else if has(" cannot create resource ") || has(" cannot patch resource ") {
        Stall::OperatorForbidden
    } else {
        otherwise
    }
}

/// Whether the object that was to be changed is gone, or has been replaced by another of its name. Any
/// other conflict is one between two writers at one moment, and passes.
pub(crate) fn is_gone(answer: &Status) -> bool {
    let words = &answer.message;
    let is_another = words.contains("uid mismatch")
        || words.contains("UID in precondition")
        || words.contains("metadata.uid");
    answer.is_not_found() || ((answer.is_conflict() || answer.is_invalid()) && is_another)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_conflict_about_the_uid_means_that_an_object_was_replaced() {
        let answer = |code, reason: &str, words: &str| Status {
            code,
            reason: reason.to_owned(),
            message: words.to_owned(),
            ..Status::default()
        };
        let uid =
            "uid mismatch: the provided object specified uid a, and no existing object was found";
        assert!(is_gone(&answer(404, "NotFound", "")));
        assert!(is_gone(&answer(409, "Conflict", uid)));
        let immutable = "metadata.uid: Invalid value: \"a\": field is immutable";
        assert!(is_gone(&answer(422, "Invalid", immutable)));
        let at_once =
            "the object has been modified; please apply your changes to the latest version";
        assert!(!is_gone(&answer(409, "Conflict", at_once)));
        assert!(!is_gone(&answer(422, "Invalid", "status.stage: Too long")));
    }

    #[test]
    fn each_admission_plugin_is_known_by_its_words() {
        let table = [
            (
                "pods \"p\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=0, \
                 limited: pods=0",
                Stall::QuotaExceeded,
            ),
            (
                "pods \"p\" is forbidden: failed quota: small: must specify limits.cpu for: worker",
                Stall::QuotaExceeded,
            ),
            (
                "insufficient quota to match these scopes: [{PriorityClass In [high]}]",
                Stall::QuotaExceeded,
            ),
            (
                "pods \"p\" is forbidden: maximum memory usage per Container is 1Gi, but limit is 6Gi",
                Stall::LimitExceeded,
            ),
            (
                "cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000",
                Stall::LimitExceeded,
            ),
            (
                "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": host namespaces",
                Stall::PodSecurity,
            ),
            (
                "admission webhook \"images.example\" denied the request: violates PodSecurity of ours",
                Stall::AdmissionRefused,
            ),
            (
                "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'team' with binding 'team' denied \
                 request: no team label",
                Stall::AdmissionRefused,
            ),
            (
                "Internal error occurred: failed calling webhook \"images.example\": failed to call \
                 webhook: connection refused",
                Stall::AdmissionUnavailable,
            ),
            (
                "pods \"p\" is forbidden: error looking up service account team/gone: serviceaccount \
                 \"gone\" not found",
                Stall::ServiceAccountNotFound,
            ),
            (
                "pods \"p\" is forbidden: no PriorityClass with name gone was found",
                Stall::PriorityClassNotFound,
            ),
            (
                "pods \"p\" is forbidden: pod rejected: RuntimeClass \"gone\" not found",
                Stall::RuntimeClassNotFound,
            ),
            (
                "jobs.batch is forbidden: User \"system:serviceaccount:a:b\" cannot create resource \
                 \"jobs\" in API group \"batch\"",
                Stall::OperatorForbidden,
            ),
            ("Pod \"p\" is invalid: spec.nodeSelector", Stall::PodRefused),
        ];
        for (words, expected) in table {
            assert_eq!(refusal(words, Stall::PodRefused), expected, "{words}");
        }
    }
}
