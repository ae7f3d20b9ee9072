//! Every family of series, of the operator and of a worker.

use super::{row, table};
use crate::metrics::{Described, Metrics};

/// Those of workers: the runner, which knows libtorch, keeps them in a file.
const WORKERS: &str = include_str!("../../../runner/metrics.txt");

pub(super) fn metrics(text: &mut String) {
    let columns = ["name", "type", "labels", "meaning"];
    let (runs, own) = Metrics::described()
        .into_iter()
        .partition::<Vec<_>, _>(|family| family.name.starts_with("darwinlm_run_"));
    let tables = [
        (
            "Metrics of the operator",
            "Of itself, at `/metrics` on port 8080.",
            own,
        ),
        (
            "Metrics of runs",
            "There, too, from the leader alone; a run's series vanish with it.",
            runs,
        ),
        (
            "Metrics of a worker",
            "At `/metrics` on port 9090 of its pod, while it lives; the chart's PodMonitor adds run and task as labels.",
            Described::in_text(WORKERS),
        ),
    ];
    for (title, about, families) in tables {
        *text += &table(title, about, &columns);
        for family in families {
            *text += &of(&family);
        }
    }
}

fn of(family: &Described) -> String {
    let Described {
        name,
        kind,
        labels,
        help,
    } = family;
    let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
    row(&[&format!("`{name}`"), kind, &labels.join(", "), help])
}
