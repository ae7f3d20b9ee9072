//! The rights that the chart gives the operator are those that it uses: held against the API
//! server's audit log, after the other stories.

use std::collections::BTreeSet;

use darwinlm_tests::audit;
use darwinlm_tests::cluster::kubectl;
use darwinlm_tests::operator::SYSTEM;
use serde_json::Value;

/// Rights that no story of the suite before needs, and who does. On a machine without a node
/// (`DARWINLM_WITHOUT_NODE`) no pod runs, so that no Job ends.
fn used_elsewhere() -> BTreeSet<(String, String)> {
    let mut rights = vec![
        // Where the admission plug-in OwnerReferencesPermissionEnforcement is on.
        ("update", "darwinlm.io/pruningruns/finalizers"),
        // `spec.ttlSecondsAfterFinished`: the stories of how runs end.
        ("delete", "darwinlm.io/pruningruns"),
        // Where the network keeps the operator from a worker's pod.
        ("get", "pods/log"),
        // A Job whose creation was not answered: the story that kills the operator at every write,
        // which uses another account.
        ("get", "batch/jobs"),
        // A run that is suspended or gets another number of workers: the stories of faults.
        ("patch", "batch/jobs"),
        // Where a Job or a pod stands still and does not say why: the stories of why runs do.
        ("list", "events.k8s.io/events"),
    ];
    if std::env::var_os("DARWINLM_WITHOUT_NODE").is_some() {
        rights.extend([
            // The finalizer of a run that does not retain all.
            ("patch", "darwinlm.io/pruningruns"),
            // An event that is told again.
            ("patch", "events.k8s.io/events"),
            // All but the last three search Jobs that ended.
            ("delete", "batch/jobs"),
        ]);
    }
    let owned = |(verb, resource): (&str, &str)| (verb.to_owned(), resource.to_owned());
    rights.into_iter().map(owned).collect()
}

#[test]
fn what_the_chart_gives_is_what_the_operator_used() {
    let requests = audit::requests();
    assert!(
        requests.len() > 100,
        "{} requests: nothing was tried",
        requests.len()
    );
    let refused: Vec<_> = requests
        .iter()
        .filter(|request| request.forbidden)
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
    let used = audit::used(&requests);
    let given = given();
    for (verb, resource) in &used {
        println!("used: {verb} {resource}");
    }
    let missing: Vec<_> = used.difference(&given).collect();
    assert!(missing.is_empty(), "used and not given: {missing:?}");
    let expected = used_elsewhere();
    let unused: BTreeSet<_> = given.difference(&used).cloned().collect();
    let surplus: Vec<_> = unused.difference(&expected).collect();
    assert!(surplus.is_empty(), "given and never used: {surplus:?}");
}

/// Every verb on every resource that a role of the release gives the operator.
fn given() -> BTreeSet<(String, String)> {
    let account = |role: &Value| {
        let subjects = role["subjects"].as_array().cloned().unwrap_or_default();
        subjects.iter().any(|subject| subject["name"] == "darwinlm")
    };
    let mut rights = BTreeSet::new();
    for (bindings, roles) in [
        ("clusterrolebindings", "clusterrole"),
        ("rolebindings", "role"),
    ] {
        let bindings = list(&["-n", SYSTEM, "get", bindings, "-o", "json"]);
        for binding in bindings.iter().filter(|binding| account(binding)) {
            let role = binding["roleRef"]["name"]
                .as_str()
                .expect("a role has a name");
            let text = kubectl(&["-n", SYSTEM, "get", roles, role, "-o", "json"]);
            let role: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
            rights.extend(rules(&role));
        }
    }
    assert!(!rights.is_empty(), "the chart gives nothing");
    rights
}

fn list(arguments: &[&str]) -> Vec<Value> {
    let list: Value = serde_json::from_str(&kubectl(arguments)).expect("kubectl prints JSON");
    list["items"].as_array().cloned().unwrap_or_default()
}

fn rules(role: &Value) -> Vec<(String, String)> {
    let words = |value: &Value| -> Vec<String> {
        let words = value.as_array().into_iter().flatten();
        words
            .filter_map(|word| word.as_str().map(ToOwned::to_owned))
            .collect()
    };
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                let resource = if group.is_empty() {
                    resource
                } else {
                    format!("{group}/{resource}")
                };
                let verbs = words(&rule["verbs"]).into_iter();
                rights.extend(verbs.map(|verb| (verb, resource.clone())));
            }
        }
    }
    rights
}
