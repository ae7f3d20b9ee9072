//! Processes of this machine, as `/proc` shows them.

use std::process::Command;

/// One process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// Its parent's.
    pub parent: u32,
    /// Its program's name, at most 15 characters.
    pub name: String,
    /// Its environment, with zero bytes between variables.
    pub environment: String,
    /// When it started, in seconds since the machine did.
    pub started: f64,
    /// Whether it has ended and nobody has asked how.
    pub is_over: bool,
}

/// Every process.
pub fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let ids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(process).collect()
}

/// The process with this number, if there is one.
pub fn process(id: u32) -> Option<Process> {
    let read = |name: &str| {
        let bytes = std::fs::read(format!("/proc/{id}/{name}")).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let stat = read("stat")?;
    let (before, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    Some(Process {
        id,
        parent: fields.get(1)?.parse().ok()?,
        name: before.split_once('(')?.1.to_owned(),
        environment: read("environ").unwrap_or_default(),
        started: fields.get(19)?.parse::<f64>().ok()? / 100.0,
        is_over: *fields.first()? == "Z",
    })
}

/// Seconds since the machine started.
///
/// # Panics
/// When the system does not say.
pub fn uptime() -> f64 {
    let text = std::fs::read_to_string("/proc/uptime").expect("Linux says how long it runs");
    let first = text.split_whitespace().next().unwrap_or_default();
    first.parse().expect("it is a number")
}

/// The worker processes that a run started.
pub fn workers_below(run: u32) -> Vec<Process> {
    processes()
        .into_iter()
        .filter(|process| process.parent == run && process.name.starts_with("darwinlm-runner"))
        .collect()
}

/// Ends a process at once.
pub fn kill(process: u32) {
    let _ = Command::new("kill")
        .arg("-KILL")
        .arg(process.to_string())
        .status();
}
