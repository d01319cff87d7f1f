//! How the allocator is told what a command needs: it reads that from the environment before the program begins, so the
//! program begins once more, in the same process.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// 0 marks freed pages as free to take (`MADV_FREE`), 1 gives them back (`MADV_DONTNEED`). The kernel zeroes what it gives
/// out again, and a command that takes and frees gigabytes spends a seventh of its time on that.
pub(crate) const KEEP_FREED_PAGES: (&str, &str) = ("MIMALLOC_PURGE_DECOMMITS", "0");

/// Pages of 4 KiB alone. With those of 2 MiB a command that keeps little takes twice the memory, and is not faster.
pub(crate) const SMALL_PAGES: (&str, &str) = ("MIMALLOC_ALLOW_THP", "0");

/// Begins the program once more, unless the environment says already what it wants. Nothing may have been read from
/// standard input, and no thread been started.
pub(crate) fn begin_with((setting, value): (&str, &str)) {
    if env::var_os(setting).is_some() {
        return;
    }
    if let Ok(program) = env::current_exe() {
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_default();
        // It comes back only when it fails, and then all goes on as it was, a little slower.
        let _ = Command::new(program).arg0(name).args(arguments).env(setting, value).exec();
    }
}
