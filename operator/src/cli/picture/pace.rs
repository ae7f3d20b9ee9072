//! How long the rest of a search takes at the pace so far.

/// A pace: so many seconds took so many generations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::cli) struct Pace {
    pub(in crate::cli) seconds: f64,
    pub(in crate::cli) generations: u32,
}

/// Generations that the pace is taken from.
const LATEST: usize = 20;
/// What took so many times as long as usual was a pause: nobody worked.
const PAUSE: i64 = 4;

impl Pace {
    /// Seconds for the rest, rounded up; none before the first generation and after the last.
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    pub(in crate::cli) fn left(self, rest: u32) -> Option<i64> {
        let is_known = self.generations > 0 && rest > 0;
        let each = self.seconds / f64::from(self.generations);
        is_known.then(|| (each * f64::from(rest)).ceil() as i64)
    }
}

/// The pace of the latest generations by when each was closed, without pauses.
pub(in crate::cli) fn of_generations(closed_unix_seconds: &[i64]) -> Pace {
    let first = closed_unix_seconds.len().saturating_sub(LATEST + 1);
    let times = &closed_unix_seconds[first..];
    let mut took: Vec<i64> = times
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).max(0))
        .collect();
    took.sort_unstable();
    let usual = took.get(took.len() / 2).copied().unwrap_or_default().max(1);
    took.retain(|seconds| *seconds <= usual * PAUSE);
    let sum: i64 = took.iter().sum();
    Pace {
        seconds: sum as f64,
        generations: u32::try_from(took.len()).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_in_which_nobody_worked_does_not_slow_the_pace() {
        let pace = of_generations(&[0, 10, 20, 30_000, 30_010, 30_020]);
        assert_eq!((pace.seconds, pace.generations), (40.0, 4));
        assert_eq!(pace.left(6), Some(60));
    }

    #[test]
    fn nothing_is_foretold_before_the_first_generation_and_after_the_last() {
        assert_eq!(of_generations(&[]).left(5), None);
        assert_eq!(of_generations(&[7]).left(5), None);
        assert_eq!(of_generations(&[7, 8]).left(0), None);
        // Generations of less than a second, as the store's clock has it.
        assert_eq!(of_generations(&[7, 7, 8]).left(10), Some(5));
    }
}
