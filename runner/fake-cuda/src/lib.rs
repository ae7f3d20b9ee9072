#![doc = include_str!("../README.md")]

use std::ffi::{CStr, c_char};
use std::sync::{Mutex, MutexGuard, PoisonError};

// Keeps tch's libtorch on the link line.
use tch as _;

// SAFETY: `csrc/fake_cuda.cpp` defines them. They keep their state behind locks and atomics, catch
// every C++ exception, and only `fake_cuda_last_read` is handed a pointer.
unsafe extern "C" {
    safe fn fake_cuda_install() -> *const c_char;
    safe fn fake_cuda_set_limit(bytes: usize);
    safe fn fake_cuda_refuse(allocation: u64);
    safe fn fake_cuda_current() -> usize;
    safe fn fake_cuda_peak() -> usize;
    safe fn fake_cuda_allocations() -> u64;
    safe fn fake_cuda_host_reads() -> u64;
    safe fn fake_cuda_uploads() -> u64;
    safe fn fake_cuda_syncs() -> u64;
    fn fake_cuda_last_read(text: *mut c_char, room: usize);
    safe fn fake_cuda_reset();
}

/// Makes `Device::Cuda(0)` available; later calls repeat the first answer.
///
/// # Errors
///
/// Where a real CUDA library is loaded, or CUDA was queried before.
pub fn install() -> Result<(), String> {
    let error = fake_cuda_install();
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: what is not null is a NUL-terminated text that lives as long as the process.
    Err(unsafe { CStr::from_ptr(error) }
        .to_string_lossy()
        .into_owned())
}

/// Caps device memory; an allocation beyond it fails with libtorch's out-of-memory error. `None`:
/// no cap.
pub fn set_limit(bytes: Option<usize>) {
    // 0 means "no cap" on the other side, and a cap of one byte holds nothing either.
    fake_cuda_set_limit(bytes.map_or(0, |bytes| bytes.max(1)));
}

/// Lets one allocation fail as if memory had run out: the `n`th from now, the next being 1. 0: none.
pub fn refuse_allocation(n: u64) {
    fake_cuda_refuse(n);
}

/// Bytes held by device tensors now, each block rounded up to 512 as the real allocator does.
pub fn current() -> usize {
    fake_cuda_current()
}

/// The most bytes held at once since the last [`reset`].
pub fn peak() -> usize {
    fake_cuda_peak()
}

/// Allocations since the last [`reset`].
pub fn allocations() -> u64 {
    fake_cuda_allocations()
}

/// How often the host waited for a device value since the last [`reset`]: `item`, copies to the
/// CPU, and operations whose result size depends on values (`nonzero`, `masked_select`, …).
pub fn host_reads() -> u64 {
    fake_cuda_host_reads()
}

/// The operation behind the latest host read, for failure messages.
pub fn last_host_read() -> String {
    let mut text = [0u8; 128];
    // SAFETY: it writes at most as many bytes as it is told of, NUL included.
    unsafe { fake_cuda_last_read(text.as_mut_ptr().cast(), text.len()) };
    let text = CStr::from_bytes_until_nul(&text);
    text.map_or_else(
        |_| String::new(),
        |text| text.to_string_lossy().into_owned(),
    )
}

/// Copies from the CPU to the device since the last [`reset`].
pub fn uploads() -> u64 {
    fake_cuda_uploads()
}

/// Explicit synchronizations (`Cuda::synchronize`, streams, events) since the last [`reset`].
pub fn syncs() -> u64 {
    fake_cuda_syncs()
}

/// Zeroes the counters and starts the peak again from what is held now; the cap stays.
pub fn reset() {
    fake_cuda_reset();
}

/// Installs the device if needed and gives this test the figures to itself: no cap, counters at
/// zero. The cap is lifted again when the guard goes.
///
/// # Panics
///
/// If the device cannot be installed.
pub fn exclusive() -> Exclusive {
    static ONE: Mutex<()> = Mutex::new(());
    let lock = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    install().expect("the stand-in device comes first in its process");
    free();
    reset();
    Exclusive { _lock: lock }
}

/// Held by the one test that may read the figures; see [`exclusive`].
#[derive(Debug)]
pub struct Exclusive {
    _lock: MutexGuard<'static, ()>,
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        free();
    }
}

fn free() {
    set_limit(None);
    refuse_allocation(0);
}
