//! Computing without gradients, in a way that a panic does not outlive.

/// Computes without recording anything for a backward pass.
///
/// tch's own function of this name leaves recording off on its thread when the closure panics, as
/// tch does where memory runs out: nothing could be trained there any more.
pub fn no_grad<T>(compute: impl FnOnce() -> T) -> T {
    let _off = tch::no_grad_guard();
    compute()
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn after_a_panic_gradients_are_recorded_again() {
        let panicked = std::panic::catch_unwind(|| no_grad(|| panic!("memory ran out")));
        assert!(panicked.is_err());
        let weight = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        assert!((&weight * 2.0).requires_grad());
    }
}
