//! The learning rate of every optimizer step: up in a line, down along a cosine.

/// A learning rate that rises linearly and falls along a cosine (Loshchilov & Hutter, arXiv
/// 1608.03983, without restarts).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRate {
    /// The highest.
    pub peak: f64,
    /// What it falls to, as a part of the highest.
    pub last: f64,
    /// Steps that it rises over.
    pub warmup: u64,
    /// Steps in all.
    pub steps: u64,
}

impl LearningRate {
    /// The learning rate of a step, counted from 0: the first is not 0, for a step that changes
    /// nothing is wasted.
    pub fn at(&self, step: u64) -> f64 {
        let Self {
            peak,
            last,
            warmup,
            steps,
        } = *self;
        if step < warmup {
            return peak * (step + 1) as f64 / warmup as f64;
        }
        let falling = steps.saturating_sub(warmup + 1).max(1);
        let way = (step - warmup).min(falling) as f64 / falling as f64;
        let height = 0.5 * (1.0 + (std::f64::consts::PI * way).cos());
        peak * (last + (1.0 - last) * height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: LearningRate = LearningRate {
        peak: 1e-4,
        last: 0.1,
        warmup: 10,
        steps: 111,
    };

    #[test]
    fn it_rises_in_a_line_to_the_peak_and_ends_at_the_last() {
        let close = |found: f64, expected: f64| (found - expected).abs() < 1e-12 * RATE.peak;
        assert!(close(RATE.at(0), 1e-5));
        assert!(close(RATE.at(4), 5e-5));
        assert!(close(RATE.at(9), 1e-4) && close(RATE.at(10), 1e-4));
        // halfway down: the mean of both ends
        assert!(close(RATE.at(60), 5.5e-5), "{}", RATE.at(60));
        assert!(close(RATE.at(110), 1e-5));
    }

    #[test]
    fn it_never_rises_again() {
        let rates: Vec<f64> = (10..111).map(|step| RATE.at(step)).collect();
        assert!(rates.windows(2).all(|pair| pair[1] <= pair[0]));
    }

    #[test]
    fn a_single_step_is_taken_at_the_peak() {
        let single = LearningRate {
            warmup: 0,
            steps: 1,
            ..RATE
        };
        assert_eq!(single.at(0), RATE.peak);
    }
}
