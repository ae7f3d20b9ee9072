//! Figures of a stretch of time: the operator's own histogram, its memory, its requests.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kube::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Failure;

const RECONCILE: &str = "darwinlm_reconcile_duration_seconds_bucket";
/// Resource, subresource and verb. Without a resource it is the operator's own count, where a list is
/// a `get`; the others are the API server's, of requests that in this cluster only the operator makes.
const REQUESTS: [(&str, &str, &str); 15] = [
    ("", "", "get"),
    ("", "", "create"),
    ("", "", "patch"),
    ("", "", "delete"),
    ("", "", "watch"),
    ("pruningruns", "status", "APPLY"),
    ("jobs", "", "POST"),
    ("jobs", "", "LIST"),
    ("jobs", "", "GET"),
    ("jobs", "", "PATCH"),
    ("jobs", "", "DELETE"),
    ("pods", "", "LIST"),
    ("pods", "log", "GET"),
    ("events", "", "POST"),
    ("events", "", "PATCH"),
];

/// Where figures come from.
pub(crate) struct Figures {
    client: Client,
    operator: SocketAddr,
    pid: u32,
}

/// Counters at one moment.
struct Counters {
    /// Looks that took at most so many seconds, by the bound as text.
    looks: BTreeMap<String, f64>,
    errors: f64,
    requests: BTreeMap<(String, String, String), f64>,
}

/// A stretch of time.
pub(crate) struct Window {
    name: &'static str,
    began: Instant,
    before: Counters,
    memory: Vec<u64>,
}

/// What happened in it.
pub(crate) struct Summary {
    name: &'static str,
    runs: usize,
    seconds: f64,
    looks: Vec<(f64, f64)>,
    errors: f64,
    requests: Vec<(String, f64)>,
    memory: Vec<u64>,
}

impl Figures {
    /// Of one operator.
    pub(crate) fn new(client: Client, operator: SocketAddr, pid: u32) -> Self {
        Self {
            client,
            operator,
            pid,
        }
    }

    async fn counters(&self) -> Result<Counters, Failure> {
        let own = fetch(self.operator).await?;
        let server = http_get("/metrics");
        let server = self.client.request_text(server).await?;
        let looks = series(&own, RECONCILE).map(|(labels, value)| (label(labels, "le"), value));
        let told = series(&own, "darwinlm_api_requests_total")
            .chain(series(&server, "apiserver_request_total"));
        let requests = told.fold(
            BTreeMap::new(),
            |mut sums: BTreeMap<_, f64>, (labels, value)| {
                let key = ["resource", "subresource", "verb"].map(|name| label(labels, name));
                *sums.entry(key.into()).or_default() += value;
                sums
            },
        );
        Ok(Counters {
            looks: looks.collect(),
            errors: series(&own, "darwinlm_reconcile_errors_total")
                .map(|(_, value)| value)
                .sum(),
            requests,
        })
    }

    /// Resident memory of the operator, in bytes.
    fn memory(&self) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
        Some(kibibytes * 1024)
    }
}

impl Window {
    /// Begins now.
    pub(crate) async fn open(name: &'static str, figures: &Figures) -> Result<Self, Failure> {
        Ok(Self {
            name,
            before: figures.counters().await?,
            memory: figures.memory().into_iter().collect(),
            began: Instant::now(),
        })
    }

    /// Looks at the memory.
    pub(crate) fn sample(&mut self, figures: &Figures) {
        self.memory.extend(figures.memory());
    }

    /// Since it began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Ends now.
    pub(crate) async fn close(
        mut self,
        figures: &Figures,
        runs: usize,
    ) -> Result<Summary, Failure> {
        let seconds = self.began.elapsed().as_secs_f64();
        self.sample(figures);
        let after = figures.counters().await?;
        let mut looks: Vec<(f64, f64)> = after
            .looks
            .iter()
            .map(|(bound, count)| {
                let before = self.before.looks.get(bound).copied().unwrap_or_default();
                (bound.parse().unwrap_or(f64::INFINITY), count - before)
            })
            .collect();
        looks.sort_by(|a, b| a.0.total_cmp(&b.0));
        let requests = REQUESTS.map(|(resource, subresource, verb)| {
            let key = (resource.to_owned(), subresource.to_owned(), verb.to_owned());
            let of = |counters: &Counters| counters.requests.get(&key).copied().unwrap_or_default();
            let shown = match (resource, subresource) {
                ("", _) => format!("all: {verb}"),
                (_, "") => format!("{verb} {resource}"),
                _ => format!("{verb} {resource}/{subresource}"),
            };
            (shown, of(&after) - of(&self.before))
        });
        Ok(Summary {
            name: self.name,
            runs,
            seconds,
            looks,
            errors: after.errors - self.before.errors,
            requests: requests.into(),
            memory: self.memory,
        })
    }
}

impl Summary {
    /// The bound that such a share of looks keeps to, between the bounds of the histogram.
    fn quantile(&self, share: f64) -> f64 {
        let total = self.looks.last().map_or(0.0, |(_, count)| *count);
        let rank = share * total;
        let (mut low, mut below) = (0.0, 0.0);
        for &(bound, count) in &self.looks {
            if count >= rank && count > below {
                let within = (rank - below) / (count - below);
                return if bound.is_finite() {
                    low + (bound - low) * within
                } else {
                    low
                };
            }
            (low, below) = (bound, count);
        }
        low
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            runs,
            seconds,
            looks,
            errors,
            requests,
            memory,
        } = self;
        let total = looks.last().map_or(0.0, |(_, count)| *count);
        writeln!(f, "\n{name}: {runs} runs, {seconds:.0} s")?;
        writeln!(
            f,
            "  looks at a run          {total:>10.0}  {:>8.1} a second, {errors:.0} failed",
            total / seconds
        )?;
        let (half, most) = (1000.0 * self.quantile(0.5), 1000.0 * self.quantile(0.99));
        writeln!(
            f,
            "  a look takes            {half:>7.1} ms  median, p99 {most:.1} ms (goal: at most 100)"
        )?;
        let mebibytes = |bytes: Option<&u64>| bytes.copied().unwrap_or_default() / (1 << 20);
        writeln!(
            f,
            "  resident memory         {:>6} MiB  at the end; at the start {}, at most {} (goal: at most 150)",
            mebibytes(memory.last()),
            mebibytes(memory.first()),
            mebibytes(memory.iter().max())
        )?;
        for (request, count) in requests {
            let each = count / *runs as f64 * 60.0 / seconds;
            writeln!(
                f,
                "  {request:<24}{count:>10.0}  {each:>8.2} a run and minute"
            )?;
        }
        Ok(())
    }
}

fn http_get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path)
        .body(Vec::new())
        .expect("a path is a request")
}

async fn fetch(address: SocketAddr) -> Result<String, Failure> {
    let mut stream = TcpStream::connect(address).await?;
    let request = "GET /metrics HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The series of one name: labels and value.
fn series<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?.strip_prefix('{')?;
        let (labels, value) = rest.rsplit_once("} ")?;
        Some((labels, value.trim().parse().ok()?))
    })
}

fn label(labels: &str, name: &str) -> String {
    let start = format!("{name}=\"");
    let mut parts = labels.split(',');
    let part = parts.find_map(|part| part.strip_prefix(start.as_str()));
    part.map_or_else(String::new, |value| value.trim_end_matches('"').to_owned())
}
