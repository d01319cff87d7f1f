//! The binary: read arguments, pick one command, turn an error into an exit code; nothing else.

fn main() {}
