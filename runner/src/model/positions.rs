//! What every block needs to know of the positions of a sequence: their rotation, and what a
//! window hides.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::{Model, Rope, rope::Rotation};

/// Positions 0..T of a sequence.
#[derive(Debug)]
pub struct Positions {
    pub(super) rotation: Rotation,
    /// By width of the window, what a query sees: [T, T] of Bool, queries by keys.
    masks: BTreeMap<i64, Tensor>,
}

impl Positions {
    /// Positions `0..tokens`, with a mask for every width of `windows` that hides something.
    pub fn new(
        rope: &Rope,
        windows: impl IntoIterator<Item = i64>,
        tokens: i64,
        compute: Kind,
        device: Device,
    ) -> Self {
        let mut masks = BTreeMap::new();
        for width in windows.into_iter().filter(|&width| width < tokens) {
            masks
                .entry(width)
                .or_insert_with(|| visible(tokens, width, device));
        }
        Self {
            rotation: rope.rotation(tokens, compute, device),
            masks,
        }
    }

    /// Position `start` alone, out of `rotation`: nothing comes after it, so nothing is masked.
    pub(super) fn one(rotation: &Rotation, start: i64) -> Self {
        Self {
            rotation: rotation.narrow(start, 1),
            masks: BTreeMap::new(),
        }
    }

    /// What a query sees through a window [T, T]; `None`: everything up to itself.
    pub(super) fn mask(&self, window: Option<i64>) -> Option<&Tensor> {
        window.and_then(|width| self.masks.get(&width))
    }
}

/// Query i sees key j where i - width < j ≤ i: `width` positions, its own included.
fn visible(tokens: i64, width: i64, device: Device) -> Tensor {
    let all = Tensor::ones([tokens, tokens], (Kind::Bool, device));
    all.tril(0).triu(1 - width)
}

impl Model {
    /// Positions of sequences of `tokens` tokens, for this model's blocks.
    pub fn positions(&self, tokens: i64) -> Positions {
        let windows = self
            .blocks
            .iter()
            .filter_map(|block| block.attention.as_ref()?.1.window);
        Positions::new(&self.rope, windows, tokens, self.compute, self.device())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_sees_as_many_positions_as_its_window_is_wide() {
        let seen = visible(5, 2, Device::Cpu).to_kind(Kind::Int64);
        let seen = Vec::<i64>::try_from(seen.flatten(0, -1)).unwrap();
        #[rustfmt::skip]
        assert_eq!(seen, [
            1, 0, 0, 0, 0,
            1, 1, 0, 0, 0,
            0, 1, 1, 0, 0,
            0, 0, 1, 1, 0,
            0, 0, 0, 1, 1,
        ]);
    }

    #[test]
    fn a_window_as_long_as_the_sequence_hides_nothing() {
        let rope = Rope {
            theta: 100.0,
            head_dim: 4,
            scaling: super::super::RopeScaling::None,
        };
        let of = |tokens| Positions::new(&rope, [5, 5], tokens, Kind::Float, Device::Cpu);
        assert!(of(5).mask(Some(5)).is_none());
        assert!(of(6).mask(Some(5)).is_some());
        assert!(of(6).mask(None).is_none());
    }
}
