//! What workers on this machine say: the last words of those that ended, and how far the others are.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use darwinlm_task::TaskReport;

/// A worker that computes may take a moment to answer; the page does not wait longer.
const PATIENCE: Duration = Duration::from_millis(500);
/// A worker that has not answered nor written to its log for so long is not there any more.
const PRESENCE: Duration = Duration::from_secs(15);

/// The work folder of a run on this machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Here {
    /// The newest last words.
    pub(super) last_words: Option<TaskReport>,
    /// What those that are at work say.
    pub(super) live: Vec<TaskReport>,
    /// Workers that have not said anything yet.
    pub(super) starting: usize,
    /// Workers that have said where they answer, did not this time, and wrote to their log lately.
    pub(super) busy: usize,
}

/// Looks at the folder; none where there is no such folder, as for a run that is carried out elsewhere.
pub(super) async fn look(client: &reqwest::Client, folder: &Path) -> Option<Here> {
    let mut here = Here::default();
    let mut newest = None;
    for worker in workers(folder)? {
        let report = worker.join("report.json");
        if let Some(report) = read(&report) {
            let written = modified(&worker.join("report.json"));
            if written > newest {
                newest = written;
                here.last_words = Some(report);
            }
            continue;
        }
        match ask(client, &worker).await {
            Some(report) => here.live.push(report),
            None if !is_young(&worker.join("log")) => {}
            None if worker.join("address").is_file() => here.busy += 1,
            None => here.starting += 1,
        }
    }
    Some(here)
}

/// The folder of every worker of every Job.
fn workers(folder: &Path) -> Option<Vec<PathBuf>> {
    let below = |folder: &Path| {
        let entries = fs::read_dir(folder).ok()?.flatten();
        let mut found: Vec<_> = entries.map(|entry| entry.path()).collect();
        found.sort();
        Some(found)
    };
    let jobs = below(folder)?;
    let workers = jobs.iter().filter_map(|job| below(job)).flatten();
    Some(
        workers
            .filter(|worker| worker.join("log").is_file())
            .collect(),
    )
}

fn read(report: &Path) -> Option<TaskReport> {
    serde_json::from_slice(&fs::read(report).ok()?).ok()
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|file| file.modified()).ok()
}

fn is_young(path: &Path) -> bool {
    let age = modified(path).and_then(|written| written.elapsed().ok());
    age.is_some_and(|age| age < PRESENCE)
}

/// What a worker answers; of another one at the same address nothing.
async fn ask(client: &reqwest::Client, worker: &Path) -> Option<TaskReport> {
    let address = fs::read_to_string(worker.join("address")).ok()?;
    let url = format!("http://{}/progress", address.trim());
    let answer = client.get(url).timeout(PATIENCE).send().await.ok()?;
    let report: TaskReport = serde_json::from_str(&answer.text().await.ok()?).ok()?;
    let name = worker.file_name()?.to_string_lossy();
    (report.worker == name).then_some(report)
}

#[cfg(test)]
mod tests {
    use darwinlm_task::{RunIdentity, TaskKind};

    use super::*;

    fn report(worker: &str) -> TaskReport {
        let run = RunIdentity {
            namespace: "local".to_owned(),
            name: "tiny".to_owned(),
            uid: "u".to_owned(),
        };
        TaskReport::running(&run, worker, TaskKind::Search)
    }

    #[tokio::test]
    async fn the_newest_last_words_are_told_and_a_worker_without_any_is_starting() {
        let folder = tempfile::tempdir().unwrap();
        let client = crate::progress_client::progress_client();
        assert!(look(&client, &folder.path().join("none")).await.is_none());
        for (job, worker) in [
            ("prepare-a1", "a"),
            ("search-g0-a1", "b"),
            ("search-g0-a1", "c"),
        ] {
            let own = folder.path().join(job).join(worker);
            fs::create_dir_all(&own).unwrap();
            fs::write(own.join("log"), "").unwrap();
            if worker != "c" {
                fs::write(own.join("report.json"), report(worker).to_json()).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let here = look(&client, folder.path()).await.unwrap();
        assert_eq!(here.last_words.unwrap().worker, "b");
        assert_eq!((here.live.len(), here.starting, here.busy), (0, 1, 0));
        // Nobody listens at port 9: what does not answer has answered before, and computes.
        let own = folder.path().join("search-g0-a1/c");
        fs::write(own.join("address"), "127.0.0.1:9").unwrap();
        let here = look(&client, folder.path()).await.unwrap();
        assert_eq!((here.live.len(), here.starting, here.busy), (0, 0, 1));
    }
}
