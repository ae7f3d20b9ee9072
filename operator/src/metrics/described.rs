//! What a family of series is called and means, as the reference tells it.

use prometheus::{core::Collector, proto::MetricType};

/// A family of series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// Names of its labels.
    pub labels: Vec<String>,
    /// What it means.
    pub help: String,
}

impl Described {
    /// The families of a collector, whether they have series yet or not.
    pub(super) fn of(collector: &dyn Collector) -> Vec<Self> {
        let families = collector.collect().into_iter();
        let described = families.zip(collector.desc()).map(|(family, desc)| Self {
            name: family.name().to_owned(),
            kind: match family.get_field_type() {
                MetricType::COUNTER => "counter",
                MetricType::GAUGE => "gauge",
                MetricType::HISTOGRAM => "histogram",
                MetricType::SUMMARY => "summary",
                MetricType::UNTYPED => "untyped",
            }
            .to_owned(),
            labels: desc.variable_labels.clone(),
            help: family.help().to_owned(),
        });
        described.collect()
    }

    /// Those that a text says which Prometheus scrapes: there each family has a series.
    pub fn in_text(text: &str) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
                found.push(Self {
                    name: name.to_owned(),
                    kind: String::new(),
                    labels: Vec::new(),
                    help: help.to_owned(),
                });
            } else if let Some(last) = found.last_mut() {
                match line
                    .strip_prefix("# TYPE ")
                    .and_then(|rest| rest.split_once(' '))
                {
                    Some((_, kind)) => kind.clone_into(&mut last.kind),
                    None => last.labels.extend(new_labels(line, &last.labels)),
                }
            }
        }
        found
    }
}

/// The names of a series' labels that are not known yet; `le` is every histogram's.
fn new_labels(series: &str, known: &[String]) -> Vec<String> {
    let labels = series
        .split_once('{')
        .and_then(|(_, rest)| rest.rsplit_once('}'));
    let names = labels
        .into_iter()
        .flat_map(|(labels, _)| labels.split("\","));
    let names = names.filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
    names
        .filter(|name| name != "le" && !known.contains(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn a_family_without_series_is_described_too() {
        let described = Metrics::described();
        let found = |name: &str| described.iter().find(|family| family.name == name);
        let errors = found("darwinlm_reconcile_errors_total").unwrap();
        assert_eq!(
            (errors.kind.as_str(), errors.labels.as_slice()),
            ("counter", &["kind".to_owned()][..])
        );
        let trials = found("darwinlm_run_trials").unwrap();
        assert_eq!(trials.labels, ["namespace", "name", "outcome"]);
        assert_eq!(trials.kind, "gauge");
        let duration = found("darwinlm_reconcile_duration_seconds").unwrap();
        assert_eq!(duration.kind, "histogram");
    }

    #[test]
    fn what_is_served_is_described_alike_by_its_text() {
        let metrics = Metrics::new();
        metrics.reconciled(Some("observe"), std::time::Duration::from_millis(3));
        let served = Described::in_text(&metrics.text(&[]));
        assert!(served.len() > 5, "{served:?}");
        let described = Metrics::described();
        for family in served {
            assert!(described.contains(&family), "{family:?}");
        }
    }
}
