//! Client: the claims of a run, as they stand in its namespace.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, Client};

use super::{
    Error,
    events::{Said, said_of},
};
use crate::run_controller::{observed::ObservedClaim, said::said, validate::ValidatedRun};

/// Looks at each claim that the run names. One that this operator may not see is left out: a check
/// that cannot be made holds nobody up.
///
/// # Errors
/// When the API server does not answer.
pub async fn observe_claims(
    client: &Client,
    run: &ValidatedRun,
) -> Result<BTreeMap<String, ObservedClaim>, Error> {
    let api = Api::<PersistentVolumeClaim>::namespaced(client.clone(), &run.identity.namespace);
    let mut claims = BTreeMap::new();
    for claim in run.claims.keys() {
        match api.get_opt(claim).await {
            Ok(Some(found)) => {
                let events = match (phase(&found), &found.metadata.uid) {
                    (Some("Pending"), Some(uid)) => {
                        said_of(client, &run.identity.namespace, uid).await
                    }
                    _ => Vec::new(),
                };
                claims.insert(claim.clone(), seen(&found, events.first()));
            }
            Ok(None) => {
                claims.insert(claim.clone(), ObservedClaim::Missing);
            }
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                tracing::warn!(claim, words = status.message, "a claim cannot be looked at");
            }
            Err(source) => return Err(Error::Claims(source)),
        }
    }
    Ok(claims)
}

fn phase(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.status.as_ref()?.phase.as_deref()
}

/// A volume may give more than its claim asks for; what pods may do is up to the volume. Pure.
fn seen(claim: &PersistentVolumeClaim, newest: Option<&Said>) -> ObservedClaim {
    let asked = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.access_modes.clone());
    let given = claim
        .status
        .as_ref()
        .and_then(|status| status.access_modes.clone());
    ObservedClaim::Found {
        access_modes: asked.into_iter().chain(given).flatten().collect(),
        unbound: match (phase(claim), newest) {
            (Some("Pending"), Some(newest)) => Some(format!(
                "Pending ({}: {})",
                newest.reason,
                said(&newest.note)
            )),
            (Some("Pending"), None) => Some("Pending".to_owned()),
            (Some("Lost"), _) => Some("Lost: its volume is gone".to_owned()),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_what_it_asks_for_and_what_its_volume_gives() {
        let modes = |claim| match seen(&serde_json::from_value(claim).unwrap(), None) {
            ObservedClaim::Found { access_modes, .. } => {
                access_modes.into_iter().collect::<Vec<_>>()
            }
            ObservedClaim::Missing => panic!("it is there"),
        };
        let once = json!({"spec": {"accessModes": ["ReadWriteOnce"]}});
        assert_eq!(modes(once), ["ReadWriteOnce"]);
        let bound = json!({"spec": {"accessModes": ["ReadWriteOnce"]},
            "status": {"accessModes": ["ReadWriteMany", "ReadWriteOnce"]}});
        assert_eq!(modes(bound), ["ReadWriteMany", "ReadWriteOnce"]);
        assert!(modes(json!({})).is_empty());
    }

    #[test]
    fn a_claim_without_a_volume_says_why() {
        let unbound = |phase: &str, newest| {
            let claim = serde_json::from_value(json!({"status": {"phase": phase}})).unwrap();
            match seen(&claim, newest) {
                ObservedClaim::Found { unbound, .. } => unbound,
                ObservedClaim::Missing => panic!("it is there"),
            }
        };
        let said = Said {
            at: k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
            by: "persistentvolume-controller".to_owned(),
            reason: "ProvisioningFailed".to_owned(),
            note: "storageclass.storage.k8s.io \"fast\" not found".to_owned(),
        };
        assert_eq!(
            unbound("Pending", Some(&said)).unwrap(),
            "Pending (ProvisioningFailed: storageclass.storage.k8s.io \"fast\" not found)"
        );
        assert_eq!(unbound("Pending", None).unwrap(), "Pending");
        assert!(unbound("Lost", None).unwrap().contains("volume is gone"));
        assert_eq!(unbound("Bound", None), None);
    }
}
