//! Where tensors live: finds CUDA at run time in a binary that links CPU libtorch alone.

mod memory;
mod name;
mod peak;

pub use memory::{Held, Watch, held};
pub use name::{UNKNOWN, name};
pub use peak::peak_flops;

use std::ffi::{CStr, CString};
use std::sync::OnceLock;

use darwinlm_task::{DeviceClass, DeviceRequest, Dtype};
use tch::{Cuda, Device, Kind};

/// Why the device that was asked for cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// CUDA was asked for by name.
    #[error("device Cuda was asked for, but {reason}; accepted without it: Auto, Cpu")]
    NoCuda {
        /// What is missing.
        reason: String,
    },
}

/// Loads the CUDA half of libtorch where there is a driver; says why not otherwise.
///
/// This must run before anything asks libtorch about CUDA: the first such question caches stubs
/// for the life of the process. The driver comes first because `libtorch_cuda.so` loads without
/// one and then fails on every call. Where that half is in the process already, there is nothing
/// to load: linked, or the stand-in device of tests.
pub fn load_cuda() -> Result<(), &'static str> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED
        .get_or_init(|| {
            if darwinlm_has_cuda() {
                return Ok(());
            }
            open_library("libcuda.so.1")?;
            open_library("libtorch_cuda.so")
        })
        .as_ref()
        .map(|&()| ())
        .map_err(String::as_str)
}

/// Asks cuBLAS for a workspace of fixed size, without which deterministic products are refused.
///
/// # Safety
///
/// It changes the process' environment: no other thread may exist yet.
pub unsafe fn fix_environment() {
    const WORKSPACE: &str = "CUBLAS_WORKSPACE_CONFIG";
    if std::env::var_os(WORKSPACE).is_none() {
        // SAFETY: passed on to the caller.
        unsafe { std::env::set_var(WORKSPACE, ":4096:8") };
    }
}

/// A device that works.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// Where tensors go.
    pub device: Device,
    /// Its class, recorded with everything it computes.
    pub class: DeviceClass,
    /// Where CUDA would have been taken: why it was not.
    pub why_not_cuda: Option<String>,
}

/// Opens what the spec asks for. `Cuda` without a working device is an error, never the CPU.
pub fn open(request: DeviceRequest) -> Result<Opened, DeviceError> {
    let cpu = |why_not_cuda| Opened {
        device: Device::Cpu,
        class: DeviceClass::Cpu,
        why_not_cuda,
    };
    let on_cuda = |device| Opened {
        device,
        class: DeviceClass::Cuda,
        why_not_cuda: None,
    };
    match request {
        DeviceRequest::Cpu => Ok(cpu(None)),
        DeviceRequest::Cuda => cuda().map(on_cuda),
        DeviceRequest::Auto => {
            Ok(cuda().map_or_else(|DeviceError::NoCuda { reason }| cpu(Some(reason)), on_cuda))
        }
    }
}

/// The element type of a numerics plan.
pub const fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::Float32 => Kind::Float,
        Dtype::BFloat16 => Kind::BFloat16,
    }
}

/// Waits until a device has done everything that it was told: before and after, a clock is right.
pub fn finish(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(i64::try_from(index).unwrap_or_default());
    }
}

/// The first CUDA device, or why there is none.
pub fn cuda() -> Result<Device, DeviceError> {
    let no_cuda = |reason: String| DeviceError::NoCuda { reason };
    load_cuda().map_err(|reason| no_cuda(reason.to_owned()))?;
    if !Cuda::is_available() || Cuda::device_count() < 1 {
        return Err(no_cuda(
            "libtorch_cuda.so finds no usable device".to_owned(),
        ));
    }
    darwinlm_compute_deterministically();
    Ok(Device::Cuda(0))
}

// SAFETY: `device/calls.cpp` defines them: they write through the references they are given and
// let no C++ exception out.
unsafe extern "C" {
    /// Whether libtorch's CUDA half is in the process; unlike tch's question, this caches nothing.
    safe fn darwinlm_has_cuda() -> bool;
    /// Makes libtorch use kernels whose bits do not depend on the order of threads, or refuse. On
    /// the CPU all kernels that are used here are such.
    safe fn darwinlm_compute_deterministically();
    #[cfg(test)]
    safe fn darwinlm_computes_deterministically() -> bool;
    /// Three counts of bytes of the first CUDA device, if there is one.
    safe fn darwinlm_cuda_memory(free: &mut u64, held: &mut u64, kept: &mut u64) -> bool;
    /// Hands memory that no tensor holds back to the driver.
    safe fn darwinlm_cuda_give_back();
}

/// Bytes that tensors of this process can take in all on a device, those that they hold now
/// included. `None` on the CPU: there, others decide.
pub fn capacity(device: Device) -> Option<u64> {
    let Device::Cuda(_) = device else {
        return None;
    };
    let (mut free, mut held, mut kept) = (0, 0, 0);
    darwinlm_cuda_memory(&mut free, &mut held, &mut kept).then(|| free + held + kept)
}

/// Gives memory back that libtorch keeps for reuse, so that it can be cut anew.
pub fn give_back(device: Device) {
    if let Device::Cuda(_) = device {
        darwinlm_cuda_give_back();
    }
}

/// Fixes how many threads one operation uses, and that operations do not overlap.
///
/// The count comes from the numerics plan, never from the machine: sums are split by thread, so
/// another count gives other bits.
pub fn set_threads(threads: u32) {
    static INTEROP: OnceLock<()> = OnceLock::new();
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    // libtorch allows this once a process, and only before the first parallel region
    INTEROP.get_or_init(|| {
        if tch::get_num_interop_threads() != 1 {
            tch::set_num_interop_threads(1);
        }
    });
}

#[cfg(unix)]
fn open_library(name: &str) -> Result<(), String> {
    let c_name = CString::new(name).expect("library names hold no NUL");
    // SAFETY: dlopen of a library by its soname; its initialisers are those of libtorch itself,
    // and the handle is kept for the life of the process.
    let handle = unsafe { libc::dlopen(c_name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if !handle.is_null() {
        return Ok(());
    }
    // SAFETY: dlerror returns NULL or a NUL-terminated string that stays valid until the next call.
    let reason = unsafe {
        let message = libc::dlerror();
        if message.is_null() {
            "no reason given".to_owned()
        } else {
            CStr::from_ptr(message).to_string_lossy().into_owned()
        }
    };
    Err(format!("{name} could not be loaded: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A driver alone is not enough: the libtorch that is linked may hold its CPU half only.
    fn works() -> bool {
        cuda().is_ok()
    }

    #[test]
    fn cuda_that_does_not_work_is_refused_with_the_reason_named() {
        match open(DeviceRequest::Cuda) {
            Ok(opened) => assert_eq!(opened.class, DeviceClass::Cuda),
            Err(error) => {
                let message = error.to_string();
                let named = ["could not be loaded", "finds no usable device"];
                assert!(
                    named.iter().any(|reason| message.contains(reason)),
                    "{message}"
                );
            }
        }
    }

    #[test]
    fn deterministic_kernels_are_switched_on_without_exception() {
        darwinlm_compute_deterministically();
        assert!(darwinlm_computes_deterministically());
    }

    #[test]
    fn auto_falls_back_to_the_cpu_and_says_why() {
        let opened = open(DeviceRequest::Auto).unwrap();
        assert_eq!(opened.why_not_cuda.is_none(), works());
        assert_eq!(opened.class == DeviceClass::Cuda, works());
    }
}
