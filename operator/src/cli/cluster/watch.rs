//! `darwinlm watch`: the page of `darwinlm explain`, drawn anew whenever the run changes, until it ends.

use std::io::{IsTerminal, Write, stdout};
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use darwinlm_api::{
    PruningRun,
    conditions::{self, ConditionStatus, ConditionType},
};
use darwinlm_task::ExitCode;
use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::time::{MissedTickBehavior, interval};

use super::{Failure, Place, explain::read};

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  darwinlm watch smollm2 -n research         until it ends; ends with 0 if it has succeeded, else with 1
  darwinlm watch smollm2 | tee smollm2.log   where no terminal is, a page whenever something has changed";

/// How often ages are brought up to date on a terminal.
const REDRAW: Duration = Duration::from_secs(5);
/// Clears a terminal from its first line on.
const CLEAR: &str = "\x1b[H\x1b[2J";
/// The code of a run that has failed: the command itself has not.
const FAILED: u8 = 1;

#[derive(Debug, Args)]
pub(in crate::cli) struct Watch {
    /// Name of the run
    run: String,
    #[command(flatten)]
    place: Place,
}

/// Draws until the run ends.
pub(in crate::cli) async fn watch(arguments: Watch) -> Result<(), Failure> {
    let Watch { run: name, place } = arguments;
    let cluster = place.open().await?;
    cluster.run(&name).await?;
    let changes = watcher::watch_object(cluster.runs(), &name).default_backoff();
    let mut changes = pin!(changes);
    let is_terminal = stdout().is_terminal();
    let mut ticks = interval(REDRAW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known: Option<PruningRun> = None;
    loop {
        let is_new = tokio::select! {
            change = changes.next() => match change {
                Some(Ok(Some(run))) => {
                    let is_new = known.as_ref().is_none_or(|known| known.status != run.status);
                    known = Some(run);
                    is_new
                }
                Some(Ok(None)) => {
                    let words = format!("{name} was deleted");
                    return Err(Failure::new(ExitCode::InputMissing, words));
                }
                // It is tried again.
                Some(Err(_)) | None => false,
            },
            _ = ticks.tick(), if is_terminal => true,
        };
        let Some(run) = known.as_ref().filter(|_| is_new) else {
            continue;
        };
        let page = read(&cluster, run).await;
        let start = if is_terminal { CLEAR } else { "" };
        // Who reads no further has seen enough.
        if writeln!(stdout(), "{start}{page}").is_err() {
            return Ok(());
        }
        if let Some(has_succeeded) = ended(run) {
            return match has_succeeded {
                true => Ok(()),
                false => Err(Failure {
                    code: FAILED,
                    message: format!("{name} has failed"),
                }),
            };
        }
    }
}

/// Whether it has succeeded, once it has ended.
fn ended(run: &PruningRun) -> Option<bool> {
    let status = run.status.as_ref()?;
    let succeeded = conditions::get(&status.conditions, ConditionType::Succeeded)?;
    match succeeded.status.as_str() {
        is if is == ConditionStatus::True.as_str() => Some(true),
        is if is == ConditionStatus::False.as_str() => Some(false),
        _ => None,
    }
}
