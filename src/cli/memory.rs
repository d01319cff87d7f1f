//! How the allocator is told what a command needs: it reads that from the environment before the program begins, so the
//! program begins once more, in the same process.

use std::env;
use std::fs;
use std::fs::Metadata;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Names and values in the environment.
type Settings = &'static [(&'static str, &'static str)];

/// 0 marks freed pages as free to take (`MADV_FREE`), 1 gives them back (`MADV_DONTNEED`). The kernel zeroes what it gives
/// out again, and a command that takes and frees gigabytes spends a seventh of its time on that.
pub(crate) const KEEP_FREED_PAGES: Settings = &[("MIMALLOC_PURGE_DECOMMITS", "0")];

/// Gives freed pages back that nobody has taken again for a tenth of a second. What is only marked as free counts as
/// memory of the process until somebody else needs it: of an import that takes minutes, half a gigabyte. Pages of 2 MiB can
/// be given back only whole.
pub(crate) const RETURN_FREED_PAGES: Settings =
    &[("MIMALLOC_PURGE_DELAY", "100"), ("MIMALLOC_ALLOW_THP", "0")];

/// Inputs beyond these bytes, packed or not, take minutes.
const LONG_INPUTS: u64 = 400 << 20;

/// Pages of 4 KiB alone, given back after a millisecond. With those of 2 MiB a command that keeps little takes twice the
/// memory, and is not faster.
pub(crate) const SMALL_PAGES: Settings = &[("MIMALLOC_ALLOW_THP", "0"), ("MIMALLOC_PURGE_DELAY", "1")];

/// What suits an import of these inputs: one that is soon over keeps its pages. Folders, patterns and what is not on
/// this disk may be of any size.
pub(crate) fn of_import(inputs: &[String]) -> Settings {
    let bytes = |input: &String| fs::metadata(input).ok().filter(Metadata::is_file).map(|file| file.len());
    let all = inputs.iter().map(bytes).try_fold(0_u64, |sum, bytes| Some(sum.saturating_add(bytes?)));
    match all {
        Some(all) if all <= LONG_INPUTS => KEEP_FREED_PAGES,
        _ => RETURN_FREED_PAGES,
    }
}

/// Begins the program once more, unless the environment says already what it wants. Nothing may have been read from
/// standard input, and no thread been started.
pub(crate) fn begin_with(settings: Settings) {
    if settings.iter().any(|(setting, _)| env::var_os(setting).is_some()) {
        return;
    }
    if let Ok(program) = env::current_exe() {
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_default();
        // It comes back only when it fails, and then all goes on as it was, a little slower.
        let _ = Command::new(program).arg0(name).args(arguments).envs(settings.iter().copied()).exec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_that_is_soon_over_keeps_its_pages() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        fs::write(path("small"), "{}").unwrap();
        fs::File::create(path("large")).unwrap().set_len(LONG_INPUTS).unwrap();
        assert_eq!(of_import(&[path("small")]), KEEP_FREED_PAGES);
        assert_eq!(of_import(&[path("large")]), KEEP_FREED_PAGES);
        for long in
            [vec![path("small"), path("large")], vec![path("none")], vec![path("")], vec!["-".to_owned()]]
        {
            assert_eq!(of_import(&long), RETURN_FREED_PAGES, "{long:?}");
        }
    }
}
