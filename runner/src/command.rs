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
            Command::BuildDatabase(arguments) => {
                told(caught(build_database::by_hand(arguments)).await)
            }
            Command::Evaluate(arguments) => told(caught(evaluate::by_hand(arguments)).await),
            Command::Rates(arguments) => told(caught(forecast::rates(arguments)).await),
            Command::Forecast => told(caught(forecast::forecast()).await),
            Command::Export(arguments) => told(caught(export::by_hand(arguments)).await),
        }
    })
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
