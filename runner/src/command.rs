//! The commands: each opens what it needs, computes, and closes.

mod build_database;
mod clean_up;
mod compute;
mod context;
mod evaluate;
mod export;
mod forecast;
mod measure;
mod page;
mod post_train;
mod prepare;
mod search;
mod target;
mod work;
mod would_fit;

pub use work::do_task;

use darwinlm_task::ExitCode;

use crate::args::{Arguments, Command};
use crate::failure::{Failure, caught};
use crate::scratch;

/// Runs a command to its end; a failure is told on standard error.
pub fn run(arguments: Arguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the runtime cannot start");
            return ExitCode::Bug;
        }
    };
    runtime.block_on(async {
        match arguments.command {
            Command::Work => work::exit_now(work::work().await),
            Command::BuildDatabase(arguments) => by_hand(build_database::by_hand(arguments)).await,
            Command::Evaluate(arguments) => by_hand(evaluate::by_hand(arguments)).await,
            Command::Rates(arguments) => by_hand(forecast::rates(arguments)).await,
            Command::Forecast => by_hand(forecast::forecast()).await,
            Command::Export(arguments) => by_hand(export::by_hand(arguments)).await,
        }
    })
}

/// Does a command of a person's shell. Told to stop, it ends at once, in the middle of whatever libtorch
/// computes, but takes along what it keeps on this machine.
async fn by_hand(command: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let mut signals = work::Signals::handle();
    tokio::spawn(async move {
        signals.told().await;
        let _held = scratch::sweep();
        eprintln!("error: stopped from outside");
        work::exit_now(ExitCode::TryAgain);
    });
    told(caught(command).await)
}

fn told(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::Done,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.code
        }
    }
}
