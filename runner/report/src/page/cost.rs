//! Device time by cause.

use darwinlm_task::GpuSeconds;

use super::markup::{data, key, row, table};
use crate::numbers::{grouped, percent};

/// Names and colours of the causes, in the order of [`GpuSeconds`].
const CAUSES: [(&str, &str); 4] = [
    ("useful", "var(--one)"),
    ("starting", "var(--some)"),
    ("waiting", "var(--few)"),
    ("lost", "var(--two)"),
];

pub(super) fn told(seconds: &GpuSeconds) -> String {
    let GpuSeconds {
        useful,
        starting,
        waiting,
        lost,
    } = *seconds;
    let parts = [useful, starting, waiting, lost];
    let all = parts
        .iter()
        .fold(0_u64, |sum, part| sum.saturating_add(*part));
    if all == 0 {
        return "<p>No worker has kept an account yet.</p>".to_owned();
    }
    let (mut bar, mut rows) = (String::new(), String::new());
    for ((name, color), part) in CAUSES.into_iter().zip(parts) {
        let share = percent(part, all);
        let width = share.replace(' ', "");
        bar += &format!("<span style=\"width:{width};background:{color}\"></span>");
        let cells = [
            format!("{}{name}", key(color)),
            data(part, &grouped(part)),
            share,
        ];
        rows += &row(cells, "td", "");
    }
    let heads = ["by the workers' accounts", "seconds", "share"];
    format!("<div class=\"bar\">{bar}</div>\n{}", table(&heads, &rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_time_is_told_by_its_shares() {
        let shown = told(&GpuSeconds {
            useful: 900,
            lost: 100,
            ..GpuSeconds::default()
        });
        assert!(
            shown.contains("width:90.0%") && shown.contains("<td>10.0 %</td>"),
            "{shown}"
        );
        assert!(told(&GpuSeconds::default()).contains("No worker"));
    }
}
