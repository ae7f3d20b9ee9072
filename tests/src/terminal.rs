//! A real terminal, played by tmux: what is typed, and what stands on the screen then.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::programs::{release_folder, tmux};

/// Columns and lines.
pub const SIZE: (usize, usize) = (80, 24);
/// What the shell says when it waits.
const PROMPT: &str = "ready> ";

/// A terminal with a shell; gone when dropped, and everything in it.
#[derive(Debug)]
pub struct Terminal {
    tmux: std::path::PathBuf,
    socket: String,
    _settings: TempDir,
}

/// Whether there is a tmux. Where there is none, that has to be said.
///
/// # Panics
/// When there is none, and `DARWINLM_WITHOUT_TMUX` does not say so.
pub fn is_there() -> bool {
    if tmux().is_some() {
        return true;
    }
    assert!(
        std::env::var_os("DARWINLM_WITHOUT_TMUX").is_some_and(|set| !set.is_empty()),
        "there is no tmux: `make tmux` fetches it, and so does `apt-get install tmux`; with \
         DARWINLM_WITHOUT_TMUX=1 nothing is looked at on a terminal"
    );
    println!("NOT CHECKED: DARWINLM_WITHOUT_TMUX is set, and there is no tmux");
    false
}

impl Terminal {
    /// Starts a shell in a folder, with the release build's programs in its PATH.
    ///
    /// # Panics
    /// When tmux or the shell does not start.
    pub fn start(folder: &Path) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let settings = TempDir::with_prefix("darwinlm-tmux-").expect("a folder can be made");
        let file = settings.path().join("tmux.conf");
        // Without tmux's own line: the page has all of the terminal.
        std::fs::write(&file, "set -g status off\nset -g history-limit 5000\n")
            .expect("the settings can be written");
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let terminal = Self {
            tmux: tmux().expect("whoever starts one has asked whether there is a tmux"),
            socket: format!("darwinlm-{}-{number}", std::process::id()),
            _settings: settings,
        };
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("PATH={}:{path}", release_folder().display());
        let (width, height) = (SIZE.0.to_string(), SIZE.1.to_string());
        let shell = ["bash", "--norc", "--noprofile"];
        let prompt = format!("PS1={PROMPT}");
        let started = Command::new(&terminal.tmux)
            .args(["-u", "-L", &terminal.socket, "-f"])
            .arg(&file)
            .args(["new-session", "-d", "-x", &width, "-y", &height, "-c"])
            .arg(folder)
            .args(["env", "-u", "NO_COLOR", &path, &prompt, "LC_ALL=C.UTF-8"])
            .args(shell)
            .env("LC_ALL", "C.UTF-8")
            .output();
        let started = started.expect("tmux can be started");
        assert!(started.status.success(), "{started:?}");
        terminal.await_text(PROMPT.trim());
        terminal
    }

    /// Types a line.
    pub fn enter(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.tmux(&["send-keys", "Enter"]);
    }

    /// Types without ending the line.
    pub fn write(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Presses a key, as tmux names it: `C-c`, `Tab`.
    pub fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Empties the screen, and forgets what was on it.
    pub fn clear(&self) {
        self.enter("clear");
        self.await_screen("empty", |screen| screen == [PROMPT.trim()]);
        self.tmux(&["clear-history"]);
    }

    /// Gives the terminal another size.
    pub fn resize(&self, width: usize, height: usize) {
        let (width, height) = (width.to_string(), height.to_string());
        self.tmux(&["resize-window", "-x", &width, "-y", &height]);
    }

    /// The lines on the screen.
    pub fn screen(&self) -> Vec<String> {
        lines(&self.tmux(&["capture-pane", "-p"]))
    }

    /// Everything since the shell began, with lines that the terminal broke joined again.
    pub fn history(&self) -> Vec<String> {
        lines(&self.tmux(&["capture-pane", "-p", "-J", "-S", "-"]))
    }

    /// Waits until the screen holds a text, and returns it.
    ///
    /// # Panics
    /// When that takes five minutes: with what is there.
    pub fn await_text(&self, text: &str) -> Vec<String> {
        self.await_screen(text, |screen| screen.iter().any(|line| line.contains(text)))
    }

    /// Waits until the screen is as wanted, and returns it.
    ///
    /// # Panics
    /// When that takes five minutes, which are for cores that others use as well: with what is there.
    pub fn await_screen(&self, wanted: &str, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(300);
        loop {
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            assert!(
                Instant::now() < deadline,
                "the screen never became: {wanted}\n{}",
                screen.join("\n")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether the cursor is seen.
    pub fn has_cursor(&self) -> bool {
        self.told("#{cursor_flag}") == "1"
    }

    /// Whether a program has the terminal's other screen, and with it the whole terminal.
    pub fn is_taken(&self) -> bool {
        self.told("#{alternate_on}") == "1"
    }

    fn told(&self, format: &str) -> String {
        let output = self.tmux(&["display-message", "-p", format]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let output = Command::new(&self.tmux)
            .args(["-u", "-L", &self.socket])
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("tmux can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tmux {arguments:?}: {said}");
        output
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself. What runs in it gets SIGHUP.
        let _ = Command::new(&self.tmux)
            .args(["-L", &self.socket, "kill-server"])
            .output();
    }
}

fn lines(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.trim_end().lines();
    lines.map(|line| line.trim_end().to_owned()).collect()
}
