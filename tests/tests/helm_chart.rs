//! The chart as Helm renders it: what values make of it, and what the API server says to that.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use darwinlm_tests::cluster::{eventually, try_kubectl};
use darwinlm_tests::panels::queries;
use darwinlm_tests::programs::repository;
use darwinlm_tests::prometheus::{self, Prometheus};
use serde_json::Value;

/// Values that differ in what they make, each with a name for messages.
const VARIANTS: [(&str, &[&str]); 7] = [
    ("the defaults", &[]),
    (
        "one without election",
        &["replicas=1", "leaderElection.enabled=false"],
    ),
    ("two namespaces", &["watchNamespaces={team-a,team-b}"]),
    (
        "nothing of rbac",
        &[
            "rbac.create=false",
            "serviceAccount.create=false",
            "serviceAccount.name=mine",
        ],
    ),
    (
        "network policies",
        &[
            "networkPolicy.operator.enabled=true",
            "networkPolicy.workers.enabled=true",
            "networkPolicy.workers.namespaces={team-a}",
            "networkPolicy.workers.store[0].ports[0].port=9000",
        ],
    ),
    (
        "everything of Prometheus",
        &[
            "metrics.serviceMonitor.enabled=true",
            "metrics.podMonitor.enabled=true",
            "metrics.prometheusRule.enabled=true",
            "metrics.prometheusRule.labels.release=prometheus",
            "metrics.dashboards.enabled=true",
            "metrics.dashboards.annotations.grafana_folder=DarwinLM",
        ],
    ),
    (
        "a name of 63 characters",
        &["fullnameOverride=darwinlm-of-a-team-whose-name-is-as-long-as-a-name-may-be-xy-63"],
    ),
];

fn chart() -> PathBuf {
    repository().join("charts/darwinlm")
}

fn helm(command: &[&str], values: &[&str]) -> Output {
    let mut helm = Command::new("helm");
    helm.args(command).arg(chart());
    for value in values {
        helm.args(["--set", value]);
    }
    helm.output()
        .expect("helm is on the PATH: `make test` puts it there")
}

/// What these values make, or what Helm says to them.
fn render(values: &[&str]) -> Result<String, String> {
    let output = helm(
        &["template", "darwinlm", "--namespace", "darwinlm-system"],
        values,
    );
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).expect("YAML is text"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn rendered(values: &[&str]) -> String {
    render(values).unwrap_or_else(|said| panic!("{values:?}: {said}"))
}

/// How many objects of a kind there are.
fn count(yaml: &str, kind: &str) -> usize {
    let kind = format!("kind: {kind}");
    yaml.lines().filter(|line| *line == kind).count()
}

#[test]
fn helm_lint_finds_nothing_with_any_of_the_values() {
    for (name, values) in VARIANTS {
        let output = helm(&["lint", "--strict"], values);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {said}");
    }
}

#[test]
fn the_api_server_accepts_what_every_value_makes_strictly() {
    for namespace in ["darwinlm-system", "team-a", "team-b"] {
        // It may be there from another story.
        try_kubectl(&["create", "namespace", namespace], None);
    }
    for (name, values) in VARIANTS {
        let yaml = rendered(values);
        // Prometheus' own kinds are not installed here; promtool looks at the rules.
        let ours: Vec<&str> = yaml
            .split("\n---\n")
            .filter(|object| !object.contains("apiVersion: monitoring.coreos.com"))
            .collect();
        let line = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            "-",
        ];
        let (accepted, said) = try_kubectl(&line, Some(&ours.join("\n---\n")));
        assert!(accepted, "{name}: {said}");
    }
    eventually(&["get", "namespace", "team-a"]);
}

#[test]
fn two_replicas_stand_apart_and_survive_a_drain() {
    let yaml = rendered(&[]);
    assert_eq!(count(&yaml, "PodDisruptionBudget"), 1);
    for words in [
        "replicas: 2",
        "type: RollingUpdate",
        "maxUnavailable: 0",
        "topologyKey: kubernetes.io/hostname",
        "topologyKey: topology.kubernetes.io/zone",
        "{name: DARWINLM_OPERATOR_LEASE_NAME, value: darwinlm}",
    ] {
        assert!(yaml.contains(words), "{words} is missing");
    }
    // One has nothing to protect.
    assert_eq!(count(&rendered(&["replicas=1"]), "PodDisruptionBudget"), 0);
}

#[test]
fn without_election_there_is_one_operator_at_a_time_and_no_right_to_leases() {
    let refused = render(&["leaderElection.enabled=false"]);
    let said = refused.expect_err("two operators without election were accepted");
    assert!(said.contains("leaderElection.enabled is false"), "{said}");
    let yaml = rendered(VARIANTS[1].1);
    assert!(yaml.contains("strategy: {type: Recreate}"));
    assert!(!yaml.contains("leases"));
}

#[test]
fn an_operator_of_some_namespaces_gets_rights_in_those_alone() {
    let yaml = rendered(VARIANTS[2].1);
    assert_eq!(count(&yaml, "ClusterRoleBinding"), 0);
    // In each namespace, and the lease's.
    assert_eq!(count(&yaml, "Role"), 3);
    assert_eq!(count(&yaml, "RoleBinding"), 3);
}

#[test]
fn what_needs_something_else_is_off_until_asked_for() {
    let yaml = rendered(&[]);
    for kind in [
        "NetworkPolicy",
        "ServiceMonitor",
        "PodMonitor",
        "PrometheusRule",
    ] {
        assert_eq!(count(&yaml, kind), 0, "{kind}");
    }
    let policies = rendered(VARIANTS[4].1);
    // The operator's, the workers' and that of `prepare`.
    assert_eq!(count(&policies, "NetworkPolicy"), 3);
    let said = render(&["networkPolicy.workers.enabled=true"]).expect_err("of no namespace");
    assert!(said.contains("networkPolicy.workers.namespaces"), "{said}");
    let monitors = rendered(VARIANTS[5].1);
    for kind in ["ServiceMonitor", "PodMonitor", "PrometheusRule"] {
        assert_eq!(count(&monitors, kind), 1, "{kind}");
    }
}

#[test]
fn each_dashboard_is_a_config_map_that_grafanas_sidecar_finds() {
    assert!(!rendered(&[]).contains("grafana_dashboard"));
    let yaml = rendered(VARIANTS[5].1);
    for name in ["fleet", "run"] {
        let object = format!("\n  name: darwinlm-dashboard-{name}\n");
        let object = yaml.split("\n---\n").find(|yaml| yaml.contains(&object));
        let object = object.unwrap_or_else(|| panic!("there is no {name}"));
        let object: Value = serde_saphyr::from_str(object).expect("it is YAML");
        assert_eq!(object["kind"], "ConfigMap");
        assert_eq!(object["metadata"]["labels"]["grafana_dashboard"], "1");
        let folder = &object["metadata"]["annotations"]["grafana_folder"];
        assert_eq!(folder, "DarwinLM");
        // Text, though its queries have braces as templates do.
        let kept = chart().join(format!("dashboards/{name}.json"));
        let kept = fs::read_to_string(kept).expect("it is there");
        let there = object["data"][format!("darwinlm-{name}.json")].as_str();
        assert_eq!(there.map(str::trim_end), Some(kept.trim_end()));
    }
}

#[test]
fn the_service_of_a_long_name_has_63_characters_at_most_and_helm_test_asks_it() {
    let yaml = rendered(VARIANTS[6].1);
    let mut names = yaml
        .lines()
        .filter_map(|line| line.strip_prefix("  name: "));
    let service = names.find(|name| name.ends_with("-metrics"));
    let service = service.expect("there is a Service");
    assert!(service.len() <= 63, "{service}");
    // A pod knows a Service by variables with its name.
    let variable = service.to_uppercase().replace('-', "_");
    let asked = format!("[ready, $({variable}_SERVICE_HOST), $({variable}_SERVICE_PORT)]");
    assert!(yaml.contains(&asked), "{asked} is missing");
}

#[test]
fn the_definition_stays_when_the_chart_goes_unless_told_otherwise() {
    let kept = "helm.sh/resource-policy: keep";
    assert!(rendered(&[]).contains(kept));
    assert!(!rendered(&["crds.keep=false"]).contains(kept));
    assert_eq!(
        count(
            &rendered(&["crds.install=false"]),
            "CustomResourceDefinition"
        ),
        0
    );
}

#[test]
fn a_value_that_does_not_exist_or_cannot_be_is_refused_by_its_name() {
    for (value, word) in [
        ("replica=2", "replica"),
        ("replicas=11", "replicas"),
        ("leaderElection.enable=true", "enable"),
        ("leaderElection.leaseSeconds=2", "leaseSeconds"),
        (
            "leaderElection.leaseSeconds=11",
            "leaderElection.leaseSeconds is 11",
        ),
        (
            "leaderElection.retrySeconds=6",
            "leaderElection.renewSeconds is 10",
        ),
        ("podDisruptionBudget.minAvailable=1", "minAvailable"),
        ("metrics.serviceMonitor.interval=often", "interval"),
        ("networkPolicy.operator.apiServer.ports[0]=0", "ports"),
        ("networkPolicy.workers.stores[0].a=b", "stores"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("watchNamespaces={Team}", "watchNamespaces"),
        ("crds.skip=true", "skip"),
        // Not by a nil pointer in a template.
        ("leaderElection=null", "missing property 'leaderElection'"),
        ("metrics.service=null", "missing property 'service'"),
        (
            "networkPolicy.operator.apiServer=null",
            "missing property 'apiServer'",
        ),
    ] {
        let said = render(&[value]).expect_err(value);
        assert!(said.contains(word), "{value}: {said}");
    }
}

#[test]
fn the_static_manifest_is_the_charts_output() {
    let made = Command::new(repository().join("charts/manifest.sh")).output();
    let made = made.expect("the script can be started");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let made = String::from_utf8(made.stdout).expect("YAML is text");
    let kept = fs::read_to_string(repository().join("charts/darwinlm.yaml")).expect("it is there");
    assert!(
        made == kept,
        "charts/darwinlm.yaml is stale: run `make manifest`"
    );
}

/// The names of the alerts, and where each is explained.
#[test]
fn every_alert_has_a_runbook_in_the_charts_readme() {
    let alerts = fs::read_to_string(chart().join("alerts/operator.yaml")).expect("it is there");
    let readme = fs::read_to_string(chart().join("README.md")).expect("it is there");
    let yaml = rendered(VARIANTS[5].1);
    let mut found = 0;
    for line in alerts.lines() {
        let Some(name) = line.trim().strip_prefix("- alert: ") else {
            continue;
        };
        found += 1;
        assert!(
            readme.contains(&format!("### {name}\n")),
            "{name} is not explained"
        );
        let link = format!(
            "runbook_url: charts/darwinlm/README.md#{}",
            name.to_lowercase()
        );
        assert!(yaml.contains(&link), "{link} is missing");
    }
    assert!(found >= 5, "{found} alerts");
}

#[test]
fn promtool_accepts_the_alerts_and_they_fire_when_they_should() {
    if !prometheus::is_there() {
        return;
    }
    for arguments in [
        ["check", "rules", "operator.yaml"],
        ["test", "rules", "operator_test.yaml"],
    ] {
        let said = prometheus::promtool_in(&chart().join("alerts"), &arguments);
        said.unwrap_or_else(|said| panic!("{arguments:?}: {said}"));
    }
}

/// What they say stands in `dashboards.rs`, which needs something to be said.
#[test]
fn a_real_prometheus_understands_every_query_of_the_dashboards() {
    if !prometheus::is_there() {
        return;
    }
    let prometheus = Prometheus::start(" []");
    let queries = queries();
    assert!(queries.len() > 50, "{} queries", queries.len());
    for query in queries {
        let answer = prometheus.instant(&query.of("team-a", "tiny"));
        answer.unwrap_or_else(|said| panic!("{query:?}: {said}"));
    }
}
