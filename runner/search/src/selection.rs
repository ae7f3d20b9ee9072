//! Who ranks before whom at the end of a selection step.

use crate::fitness::Outcome;

/// Slots from best to worst: by fitness, then by slot; failed trials last, by slot.
pub fn ranked(outcomes: impl IntoIterator<Item = (u32, Outcome)>) -> Vec<u32> {
    let mut order: Vec<_> = outcomes
        .into_iter()
        .map(|(slot, outcome)| {
            let fitness = outcome.fitness();
            (fitness.is_none(), fitness, slot)
        })
        .collect();
    order.sort();
    order.into_iter().map(|(_, _, slot)| slot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lower_slot_and_failures_rank_last() {
        let values = [
            (4, f64::NAN),
            (3, 0.5),
            (2, 0.25),
            (1, 0.5),
            (0, f64::INFINITY),
        ];
        let outcomes = values.map(|(slot, value)| (slot, Outcome::of(value)));
        assert_eq!(ranked(outcomes), [2, 1, 3, 0, 4]);
    }
}
