//! A real Prometheus of its own, and what is asked of it through `promtool`.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use crate::programs::prometheus;

/// A server that ends when this is dropped.
#[derive(Debug)]
pub struct Prometheus {
    server: Child,
    address: String,
    since: f64,
    _folder: TempDir,
}

/// The series that an answer has: each its labels, and whether any of its values is finite.
pub type Series = Vec<(Value, bool)>;

impl Prometheus {
    /// Starts one that scrapes as these `scrape_configs` say, once a second.
    ///
    /// # Panics
    /// When it does not start: with what it said.
    pub fn start(scrape_configs: &str) -> Self {
        let folder = TempDir::with_prefix("darwinlm-prometheus-").expect("a folder can be made");
        let configuration = folder.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:{scrape_configs}"
        );
        fs::write(&configuration, text).expect("the configuration can be written");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let listen = listener.local_addr().expect("it is bound").to_string();
        drop(listener);
        let log = fs::File::create(folder.path().join("log")).expect("a log can be made");
        let server = Command::new(prometheus("prometheus"))
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={listen}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("`make promtool` brings prometheus");
        let started = Self {
            server,
            address: format!("http://{listen}"),
            since: seconds(),
            _folder: folder,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(said) = started.instant("vector(1)") {
            let log = || fs::read_to_string(started._folder.path().join("log"));
            assert!(Instant::now() < deadline, "{said}\n{:?}", log());
            std::thread::sleep(Duration::from_millis(200));
        }
        started
    }

    /// What an expression is now.
    ///
    /// # Errors
    /// With the words of Prometheus, which does not understand it.
    pub fn instant(&self, expression: &str) -> Result<Series, String> {
        self.ask(&["-o", "json", "instant", &self.address, expression])
    }

    /// What an expression was at any second since this was started.
    ///
    /// # Errors
    /// With the words of Prometheus, which does not understand it.
    pub fn ever(&self, expression: &str) -> Result<Series, String> {
        // Prometheus gives 11,000 values a series at most.
        let now = seconds();
        let step = ((now - self.since) / 10_000.0).ceil().max(1.0);
        let [start, end, step] = [
            format!("--start={}", self.since),
            format!("--end={now}"),
            format!("--step={step}s"),
        ];
        let range = ["-o", "json", "range", &start, &end, &step];
        self.ask(&[&range[..], &[&self.address, expression]].concat())
    }

    /// The values of a label.
    ///
    /// # Errors
    /// With the words of Prometheus.
    pub fn label_values(&self, label: &str, of: &str) -> Result<Vec<String>, String> {
        let matching = format!("--match={of}");
        let output = promtool(&["query", "labels", &matching, &self.address, label]);
        let values = succeeded(&output)?;
        Ok(values.lines().map(ToOwned::to_owned).collect())
    }

    fn ask(&self, arguments: &[&str]) -> Result<Series, String> {
        let output = promtool(&[&["query"], arguments].concat());
        let answer: Value = serde_json::from_str(&succeeded(&output)?)
            .map_err(|error| format!("promtool prints no JSON: {error}"))?;
        let series = answer.as_array().cloned().unwrap_or_default();
        Ok(series
            .into_iter()
            .map(|series| {
                let one = std::slice::from_ref(&series["value"]);
                let values = series["values"].as_array().map_or(one, Vec::as_slice);
                let finite = values
                    .iter()
                    .filter_map(|value| value[1].as_str()?.parse().ok())
                    .any(f64::is_finite);
                (series["metric"].clone(), finite)
            })
            .collect())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Whether `promtool` was fetched. Where it was not, that has to be said.
///
/// # Panics
/// When it was not, and `DARWINLM_WITHOUT_PROMTOOL` does not say so.
pub fn is_there() -> bool {
    let promtool = prometheus("promtool");
    if promtool.exists() {
        return true;
    }
    assert!(
        std::env::var_os("DARWINLM_WITHOUT_PROMTOOL").is_some_and(|set| !set.is_empty()),
        "there is no {}: `make promtool` fetches it; with DARWINLM_WITHOUT_PROMTOOL=1 alerts and \
         dashboards are not checked",
        promtool.display()
    );
    println!("NOT CHECKED: DARWINLM_WITHOUT_PROMTOOL is set, and there is no promtool");
    false
}

/// Runs `promtool` in a folder.
///
/// # Errors
/// With everything it said, when it finds something.
///
/// # Panics
/// When it cannot be started.
pub fn promtool_in(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(prometheus("promtool"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("promtool can be started");
    succeeded(&output)
}

/// What `promtool check metrics` has against a text that Prometheus scrapes.
///
/// # Panics
/// When it cannot be started.
pub fn check_metrics(text: &str) -> Result<String, String> {
    use std::io::Write;
    let mut child = Command::new(prometheus("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool can be started");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    stdin.write_all(text.as_bytes()).expect("promtool reads");
    drop(stdin);
    succeeded(&child.wait_with_output().expect("promtool ends"))
}

fn promtool(arguments: &[&str]) -> Output {
    Command::new(prometheus("promtool"))
        .args(arguments)
        .output()
        .expect("`make promtool` brings promtool")
}

fn succeeded(output: &Output) -> Result<String, String> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stdout) + &text(&output.stderr))
    }
}

fn seconds() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("it is after 1970").as_secs_f64()
}
