//! Every alert of the chart.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

/// The chart's own file.
const FILE: &str = include_str!("../../../charts/darwinlm/alerts/operator.yaml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    #[serde(rename = "name")]
    _name: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    alert: String,
    expr: String,
    #[serde(default, rename = "for")]
    after: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: Annotations,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Annotations {
    summary: String,
    description: String,
}

pub(super) fn alerts(text: &mut String) {
    let file: File = serde_saphyr::from_str(FILE).expect("the chart's alerts are rules");
    *text += "\n## Alerts\n\nWith the chart's `metrics.prometheusRule.enabled=true`. `{{ … }}` stands for what Prometheus puts there.\n";
    for rule in file.groups.iter().flat_map(|group| &group.rules) {
        let Rule {
            alert,
            expr,
            after,
            labels,
            annotations:
                Annotations {
                    summary,
                    description,
                },
        } = rule;
        let severity = labels.get("severity").map_or("none", String::as_str);
        let after = match after {
            Some(after) => format!("once this has held for {after}"),
            None => "as soon as this holds".to_owned(),
        };
        let anchor = alert.to_lowercase();
        let _ = write!(
            text,
            "\n### {alert}\n\nSeverity `{severity}`, {after}:\n\n```promql\n{}\n```\n\n> {summary}. {description}\n\n\
             [What to do](../../charts/darwinlm/README.md#{anchor})\n",
            expr.trim()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_has_a_severity_and_a_section_that_says_what_to_do() {
        let readme = include_str!("../../../charts/darwinlm/README.md");
        let file: File = serde_saphyr::from_str(FILE).unwrap();
        let rules: Vec<_> = file
            .groups
            .into_iter()
            .flat_map(|group| group.rules)
            .collect();
        assert!(rules.len() >= 10);
        for rule in rules {
            assert!(rule.labels.contains_key("severity"), "{}", rule.alert);
            let title = format!("\n### {}\n\n", rule.alert);
            let (_, section) = readme
                .split_once(&title)
                .unwrap_or_else(|| panic!("{title}"));
            assert!(
                section.find("\n#").unwrap_or(section.len()) > 80,
                "{}",
                rule.alert
            );
        }
    }
}
