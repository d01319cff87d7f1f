//! Long answers in the user's pager.

use std::io;
use std::io::Write;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use crate::cli::terminal::Terminal;

/// A running pager; dropping it waits until the user has closed it.
#[derive(Debug)]
pub(crate) struct Pager {
    child: Child,
}

impl Pager {
    /// Starts the user's pager; nothing if he wants none or it does not start.
    pub(crate) fn start(terminal: &Terminal) -> Option<Self> {
        let command = terminal.pager.as_ref()?;
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).stdin(Stdio::piped());
        if terminal.less.is_none() {
            // A bare `PAGER=less` must still show colours and leave short answers on the screen.
            shell.env("LESS", "SFRX");
        }
        shell.spawn().ok().map(|child| Self { child })
    }
}

impl Write for Pager {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.child.stdin {
            Some(stdin) => stdin.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.child.stdin.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // There is nobody to tell: the answer has been shown or the user has closed the pager.
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pager_has_seen_all_when_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("seen");
        let terminal = Terminal { pager: Some(format!("cat > '{}'", file.display())), ..Terminal::default() };
        let mut pager = Pager::start(&terminal).unwrap();
        pager.write_all(b"a\nb\n").unwrap();
        drop(pager);
        assert_eq!(std::fs::read_to_string(file).unwrap(), "a\nb\n");
    }

    #[test]
    fn no_pager_is_started_when_none_is_wanted() {
        assert!(Pager::start(&Terminal::default()).is_none());
    }
}
