//! What the operator's account has asked of the API server, as the server itself wrote it down.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::programs::repository;

/// One request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it came, by the API server's clock; times compare as text.
    pub at: String,
    /// Which token of the account.
    pub credential: String,
    /// The verb that RBAC judges.
    pub verb: String,
    /// `group/resource[/subresource]`, empty where no object was asked for.
    pub resource: String,
    /// Where.
    pub namespace: String,
    /// Of which object.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u64,
    /// Whether the account lacks the right to it.
    pub forbidden: bool,
}

impl Request {
    /// Whether it changed something.
    pub fn wrote(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch") && self.code < 400
    }

    /// Whether it concerns the lease.
    pub fn is_of_the_lease(&self) -> bool {
        self.resource == "coordination.k8s.io/leases"
    }
}

/// Every request of the operator's account so far, in the order of its arrival.
///
/// # Panics
/// When the API server keeps no audit log.
pub fn requests() -> Vec<Request> {
    let path = log();
    let text = fs::read_to_string(&path);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut requests: Vec<_> = text.lines().filter_map(request).collect();
    requests.sort_by(|a, b| a.at.cmp(&b.at));
    requests
}

/// The distinct `(verb, resource)` that were asked for.
pub fn used(requests: &[Request]) -> BTreeSet<(String, String)> {
    let objects = requests
        .iter()
        .filter(|request| !request.resource.is_empty());
    objects
        .map(|request| (request.verb.clone(), request.resource.clone()))
        .collect()
}

fn log() -> PathBuf {
    let script = repository().join("tests/cluster/cluster.sh");
    let output = Command::new(script).arg("directory").output();
    let output = output.expect("the script can be started");
    let folder = String::from_utf8(output.stdout).expect("a path is text");
    PathBuf::from(folder.trim()).join("log/audit.log")
}

/// A line that is still being written is no request yet, and what a story asks by `kubectl` with
/// the operator's token is none of the operator's.
fn request(line: &str) -> Option<Request> {
    let event: Value = serde_json::from_str(line).ok()?;
    let client = event["userAgent"].as_str().unwrap_or_default();
    if client.starts_with("kubectl") {
        return None;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let resource = match (&object["resource"], &object["subresource"]) {
        (Value::String(resource), Value::String(part)) => format!("{resource}/{part}"),
        (Value::String(resource), _) => resource.clone(),
        _ => String::new(),
    };
    let group = text(&object["apiGroup"]);
    Some(Request {
        at: text(&event["requestReceivedTimestamp"]),
        credential: text(&event["user"]["extra"]["authentication.kubernetes.io/credential-id"][0]),
        verb: text(&event["verb"]),
        resource: if group.is_empty() || resource.is_empty() {
            resource
        } else {
            format!("{group}/{resource}")
        },
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        code: event["responseStatus"]["code"].as_u64()?,
        forbidden: event["annotations"]["authorization.k8s.io/decision"] == "forbid",
    })
}
