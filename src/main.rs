//! The binary: read arguments, pick one command, turn an error into an exit code; nothing else.

use std::process::ExitCode;

use milepost::cli;

fn main() -> ExitCode {
    match cli::Args::read(std::env::args_os()) {
        Ok(args) => cli::run(args),
        Err(refusal) => cli::refuse(&refusal),
    }
}
