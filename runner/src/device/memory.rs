//! How many bytes a device's allocator holds, and held at most.

use std::sync::atomic::{AtomicU64, Ordering};

use tch::Device;

// SAFETY: `memory.cpp` defines them: they take numbers, read counters and throw nothing.
unsafe extern "C" {
    safe fn darwinlm_cuda_bytes(device: i8, peak: bool) -> i64;
    safe fn darwinlm_cuda_forget_peak(device: i8);
}

/// Bytes that tensors take on the first CUDA device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Now.
    pub now: u64,
    /// The most so far in this process.
    pub most: u64,
}

/// What tensors hold; `None` where nobody counts, as on the CPU.
pub fn held() -> Option<Held> {
    // the allocator's own peak begins anew with each watch
    static MOST: AtomicU64 = AtomicU64::new(0);
    let bytes = |peak| u64::try_from(darwinlm_cuda_bytes(0, peak)).ok();
    let (now, peak) = (bytes(false)?, bytes(true)?);
    let most = MOST.fetch_max(peak, Ordering::Relaxed).max(peak);
    Some(Held { now, most })
}

/// Bytes allocated on a device beyond those that were allocated when watching began.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    index: i8,
    before: u64,
}

impl Watch {
    /// Starts counting; `None` where nobody counts, as on the CPU.
    pub fn begin(device: Device) -> Option<Self> {
        let Device::Cuda(index) = device else {
            return None;
        };
        let index = i8::try_from(index).ok()?;
        held();
        darwinlm_cuda_forget_peak(index);
        let before = u64::try_from(darwinlm_cuda_bytes(index, false)).ok()?;
        Some(Self { index, before })
    }

    /// The most bytes since.
    pub fn peak(self) -> Option<u64> {
        let peak = u64::try_from(darwinlm_cuda_bytes(self.index, true)).ok()?;
        Some(peak.saturating_sub(self.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_counts_bytes_on_the_cpu_or_without_an_allocator() {
        assert!(Watch::begin(Device::Cpu).is_none());
        if crate::device::cuda().is_err() {
            assert_eq!(darwinlm_cuda_bytes(0, true), -1);
            assert_eq!(held(), None);
        }
    }
}
