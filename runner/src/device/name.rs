//! What a device calls itself: times on one say little of another.

use std::ffi::{CStr, c_char, c_int, c_void};

use tch::Device;

/// The name of a device that neither driver nor kernel gives one.
pub const UNKNOWN: &str = "unknown";

/// The name of a device as its driver or the kernel gives it, [`UNKNOWN`] where neither does.
pub fn name(device: Device) -> String {
    let found = match device {
        Device::Cuda(index) => c_int::try_from(index).ok().and_then(cuda_name),
        _ => std::fs::read_to_string("/proc/cpuinfo")
            .ok()
            .and_then(|text| processor(&text)),
    };
    found.unwrap_or_else(|| UNKNOWN.to_owned())
}

/// The first `model name` of /proc/cpuinfo.
fn processor(text: &str) -> Option<String> {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    let mut names = fields.filter(|(key, _)| key.trim() == "model name");
    let (_, name) = names.next()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Asks the driver, which [`load_cuda`](super::load_cuda) has loaded for all to see.
fn cuda_name(index: c_int) -> Option<String> {
    type Get = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
    type Name = unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int;
    const ROOM: usize = 256;
    let symbol = |name: &CStr| {
        // SAFETY: dlsym takes a handle that stands for all loaded libraries, and a text.
        let found: *mut c_void = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
        (!found.is_null()).then_some(found)
    };
    let get = symbol(c"cuDeviceGet")?;
    let tell = symbol(c"cuDeviceGetName")?;
    let mut device: c_int = 0;
    let mut text = [0 as c_char; ROOM];
    // SAFETY: the driver's interface gives both functions these types; the driver writes one
    // number, then at most ROOM bytes with a NUL among them. libtorch has initialised it.
    unsafe {
        let get = std::mem::transmute::<*mut c_void, Get>(get);
        let tell = std::mem::transmute::<*mut c_void, Name>(tell);
        if get(&raw mut device, index) != 0 || tell(text.as_mut_ptr(), ROOM as c_int, device) != 0 {
            return None;
        }
        let name = CStr::from_ptr(text.as_ptr()).to_string_lossy();
        Some(name.trim().to_owned()).filter(|name| !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_called_what_the_kernel_calls_it() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nmodel name\t: Another\n";
        assert_eq!(processor(text).as_deref(), Some("Some CPU @ 2.00GHz"));
        assert_eq!(processor("processor: 0\n"), None);
        assert!(!name(Device::Cpu).is_empty());
    }
}
