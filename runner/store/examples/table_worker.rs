//! A search worker with a table for a model: `table_worker <store URL> <name> <generations>`.
//!
//! Start any number of them on one folder, kill some, start others; all end with the same report.

#[path = "../tests/races/table.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod table;

use std::time::Duration;

use darwinlm_store::{ClaimTimes, Sheet, Store, Timesheet, WorkOptions, guard_run, probe, work};
use darwinlm_task::paths::RunPaths;
use darwinlm_task::{RunIdentity, TaskKind};
use tokio::sync::watch;
use tokio::time::Instant;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, worker, generations] = arguments.as_slice() else {
        return Err("usage: table_worker <store URL> <name> <generations>".into());
    };
    let text = |text: &str| text.to_owned();
    let run = RunIdentity {
        namespace: text("n"),
        name: text("r"),
        uid: text("u"),
    };
    let (store, paths) = (Store::open(url)?, RunPaths::new(&run));
    let problem = table::problem(generations.parse()?);
    probe(&store, paths.prefix()).await?;
    guard_run(&store, &paths, "sha256:of-the-spec").await?;
    let (_stop, stopped) = watch::channel(false);
    let options = WorkOptions {
        worker: worker.clone(),
        until_generation: u32::MAX,
        budget_gpu_seconds: None,
        times: ClaimTimes {
            beat: Duration::from_millis(50),
            stale: Duration::from_millis(500),
            look: Duration::from_millis(20),
        },
        poll: Duration::from_millis(10),
        progress: watch::Sender::new(None),
        stop: stopped,
    };
    let runner = table::Table::new(Duration::from_millis(25));
    let sheet = Sheet {
        worker,
        task: TaskKind::Search,
        devices: 1,
        started: Instant::now(),
        beat: options.times.beat,
    };
    let timesheet = Timesheet::open(&store, &paths, sheet).await?;
    let worked = work(&store, &paths, &problem, runner, &timesheet, options).await;
    timesheet.close(worked.is_ok()).await?;
    let worked = worked?;
    println!("{}", serde_json::to_string(&worked.report)?);
    Ok(())
}
