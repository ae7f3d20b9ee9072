//! The user's command; also installed as `kubectl-darwinlm`.

use std::process::ExitCode;

use clap::Parser as _;
use darwinlm_operator::cli::{Arguments, carry_out};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // One thread: the kernel ends a worker with the thread that started it.
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => ExitCode::from(runtime.block_on(carry_out(arguments))),
        Err(error) => {
            eprintln!("error: failed to start: {error}");
            ExitCode::FAILURE
        }
    }
}
