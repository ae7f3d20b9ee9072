//! Hollow nodes: objects that say that they are ready, and leases that are renewed.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::Failure;

/// A node counts as gone after 40 seconds.
const RENEWAL: Duration = Duration::from_secs(10);

/// Makes nodes and renews their leases from now on.
pub(crate) async fn make(client: &Client, count: usize) -> Result<(), Failure> {
    let nodes = Api::<Node>::all(client.clone());
    let names: Vec<String> = (0..count)
        .map(|number| format!("hollow-{number}"))
        .collect();
    for name in &names {
        let node = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        }))?;
        nodes.create(&PostParams::default(), &node).await?;
        let amounts =
            json!({"cpu": "1000", "memory": "4Ti", "pods": "100", "nvidia.com/gpu": "100"});
        let status = json!({"status": {
            "capacity": amounts, "allocatable": amounts,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Hollow", "message": "",
                "lastHeartbeatTime": Timestamp::now(), "lastTransitionTime": Timestamp::now()}],
        }});
        let parameters = PatchParams::default();
        nodes
            .patch_status(name, &parameters, &Patch::Strategic(status))
            .await?;
        renew(client, name).await?;
    }
    let client = client.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(RENEWAL).await;
            for name in &names {
                if let Err(error) = renew(&client, name).await {
                    eprintln!("the lease of {name} was not renewed: {error}");
                }
            }
        }
    });
    Ok(())
}

async fn renew(client: &Client, node: &str) -> Result<(), kube::Error> {
    let leases = Api::<Lease>::namespaced(client.clone(), "kube-node-lease");
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(node.to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(node.to_owned()),
            lease_duration_seconds: Some(40),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }),
    };
    let parameters = PatchParams::apply("hollow-node").force();
    leases
        .patch(node, &parameters, &Patch::Apply(&lease))
        .await?;
    Ok(())
}
