//! The binary: read arguments, pick one command, turn an error into an exit code; nothing else. It brings the prompt and
//! the server together, which are neighbours and do not know each other.

use mimalloc::MiMalloc;
use std::process::ExitCode;

use milepost::cli;
use milepost::server;

/// Imports allocate from several threads at once, which the system's allocator is slower at.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match cli::Args::read(std::env::args_os()) {
        Ok(args) => cli::run(args, server::serve),
        Err(refusal) => cli::refuse(&refusal),
    }
}
