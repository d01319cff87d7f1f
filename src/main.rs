//! The binary: read arguments, pick one command, turn an error into an exit code; nothing else.

use mimalloc::MiMalloc;
use std::process::ExitCode;

use milepost::cli;

/// Imports allocate from several threads at once, which the system's allocator is slower at.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match cli::Args::read(std::env::args_os()) {
        Ok(args) => cli::run(args),
        Err(refusal) => cli::refuse(&refusal),
    }
}
