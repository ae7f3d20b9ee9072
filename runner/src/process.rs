//! What the kernel says of this process: when it started, for while its libraries were loaded, before
//! `main`, it held its device too, and the memory that it holds.

use std::time::{Duration, Instant};

/// Clock ticks in a second, as Linux tells times of processes on every architecture.
const TICKS: f64 = 100.0;

/// The moment the kernel started this process, to a hundredth of a second; now, where it does not say.
pub fn started() -> Instant {
    let now = Instant::now();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let age = age(&read("/proc/self/stat"), &read("/proc/uptime"));
    age.and_then(|age| now.checked_sub(age)).unwrap_or(now)
}

/// Since boot there is `uptime`, since its start the 22nd field of `stat` (proc(5)). Some containers
/// show an uptime of their own: then the difference says nothing.
fn age(stat: &str, uptime: &str) -> Option<Duration> {
    // The second field is the program's name, in which there may be anything.
    let (_, after_name) = stat.rsplit_once(')')?;
    let ticks: f64 = after_name.split_whitespace().nth(19)?.parse().ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let age = Duration::try_from_secs_f64(uptime - ticks / TICKS).ok()?;
    (age < Duration::from_secs(600)).then_some(age)
}

/// Bytes of memory that this process holds, mapped files included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Now.
    pub now: u64,
    /// The most so far.
    pub most: u64,
}

/// What this process holds; `None` where the kernel does not say.
pub fn resident() -> Option<Resident> {
    resident_in(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// `VmRSS` and `VmHWM`, which proc(5) gives in units of 1024 bytes.
fn resident_in(status: &str) -> Option<Resident> {
    let bytes = |field: &str| {
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        let kibibytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kibibytes * 1024)
    };
    Some(Resident {
        now: bytes("VmRSS")?,
        most: bytes("VmHWM")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_process_is_uptime_less_its_start() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 9 9";
        assert_eq!(
            age(stat, "124.95 200.1"),
            Some(Duration::from_secs_f64(1.5))
        );
        for (stat, uptime) in [
            (stat, "1.0 1.0"),
            (stat, ""),
            ("", "1.0 1.0"),
            (stat, "1e6 1"),
        ] {
            assert_eq!(age(stat, uptime), None);
        }
    }

    #[test]
    fn the_memory_of_a_process_is_what_the_kernel_says() {
        let status = "Name:\tx\nVmHWM:\t    9000 kB\nVmRSS:\t    8000 kB\n";
        let expected = Resident {
            now: 8000 * 1024,
            most: 9000 * 1024,
        };
        assert_eq!(resident_in(status), Some(expected));
        assert_eq!(resident_in("VmHWM:\t9000 kB\n"), None);
        let own = resident().expect("Linux says it");
        assert!(own.now > 0 && own.most >= own.now, "{own:?}");
    }

    #[test]
    fn this_process_started_before_now() {
        let age = started().elapsed();
        assert!(
            age > Duration::ZERO && age < Duration::from_secs(600),
            "{age:?}"
        );
    }
}
