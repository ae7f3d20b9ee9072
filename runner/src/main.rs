//! The runner: GPU work on libtorch, for a Job's worker and for a person's shell.

use std::process::ExitCode;

use clap::Parser;
use darwinlm_runner::{args::Arguments, command, device, telemetry};

fn main() -> ExitCode {
    // SAFETY: the first line of the process: no other thread exists.
    unsafe { device::fix_environment() };
    // Before anything asks libtorch about CUDA: the first question caches its answer for good.
    let cuda = device::load_cuda();
    let arguments = Arguments::parse();
    telemetry::init();
    if let Err(reason) = cuda {
        tracing::debug!(reason, "CUDA is not used");
    }
    command::run(arguments).into()
}
