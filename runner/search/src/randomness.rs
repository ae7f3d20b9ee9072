//! Random numbers that depend on seed, generation, step and purpose alone.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use sha2::{Digest as _, Sha256};

/// What random numbers are drawn for; every purpose has its own stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The mutants of one generation; drawn with step 0.
    Offspring,
    /// The training minibatch of one selection step.
    Training,
    /// The fitness minibatch of one selection step.
    Fitness,
    /// Which sequences of a text belong to which slice; drawn before any search, with all else 0.
    Slices,
    /// The order in which the survivor is trained on its sequences, with all but the seed 0.
    PostTraining,
}

impl Purpose {
    fn label(self) -> &'static str {
        match self {
            Purpose::Offspring => "offspring",
            Purpose::Training => "training",
            Purpose::Fitness => "fitness",
            Purpose::Slices => "slices",
            Purpose::PostTraining => "post-training",
        }
    }
}

/// A ChaCha8 stream of one purpose.
///
/// The key is the sha256 of a labelled text, and integers are drawn by our own rejection from
/// 64 bits: no distribution of another crate stands between the seed and the search, so a newer
/// version of one cannot change what a seed means.
#[derive(Debug, Clone)]
pub struct Stream {
    generator: ChaCha8Rng,
}

impl Stream {
    /// The stream of (seed, generation, step, purpose).
    pub fn new(seed: u64, generation: u32, step: u32, purpose: Purpose) -> Stream {
        let key = format!(
            "darwinlm search 1\nseed {seed}\ngeneration {generation}\nstep {step}\npurpose {}\n",
            purpose.label()
        );
        Stream {
            generator: ChaCha8Rng::from_seed(Sha256::digest(key.as_bytes()).into()),
        }
    }

    /// A number below `bound`, each equally likely.
    ///
    /// # Panics
    ///
    /// If `bound` is 0: there is no such number.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        // The highest multiple of `bound` that fits; what lies above would favour low remainders.
        let fair = u64::MAX - u64::MAX % bound;
        loop {
            let drawn = self.generator.next_u64();
            if drawn < fair {
                return drawn % bound;
            }
        }
    }

    /// One of the choices, each equally likely, or `None` where there is none.
    pub fn choose<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        if choices.is_empty() {
            return None;
        }
        let at = usize::try_from(self.below(choices.len() as u64)).expect("below a usize");
        Some(choices[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u64, generation: u32, step: u32, purpose: Purpose) -> u64 {
        Stream::new(seed, generation, step, purpose).below(u64::MAX)
    }

    #[test]
    fn the_stream_of_a_seed_never_changes() {
        let mut stream = Stream::new(0, 1, 0, Purpose::Offspring);
        let drawn: Vec<u64> = (0..8).map(|_| stream.below(1000)).collect();
        // From a separate ChaCha8 with the key written out by hand.
        assert_eq!(drawn, [256, 640, 874, 356, 30, 22, 397, 428]);
    }

    #[test]
    fn every_part_of_the_key_makes_another_stream() {
        let one = first(0, 1, 0, Purpose::Training);
        assert_ne!(one, first(1, 1, 0, Purpose::Training));
        assert_ne!(one, first(0, 2, 0, Purpose::Training));
        assert_ne!(one, first(0, 1, 1, Purpose::Training));
        assert_ne!(one, first(0, 1, 0, Purpose::Fitness));
        assert_ne!(one, first(0, 1, 0, Purpose::Offspring));
    }

    #[test]
    fn small_bounds_are_drawn_evenly() {
        let mut stream = Stream::new(7, 0, 0, Purpose::Offspring);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[stream.below(7) as usize] += 1;
        }
        // Six standard deviations of a count are 555.
        assert!(
            counts.iter().all(|count| count.abs_diff(10_000) < 555),
            "{counts:?}"
        );
    }
}
