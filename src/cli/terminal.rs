//! What we stand in front of: which streams are terminals, how wide they are, and what the user's environment asks for.

use std::io::IsTerminal;
use std::io::stderr;
use std::io::stdin;
use std::io::stdout;
use std::path::PathBuf;

/// The streams and wishes of the person in front of us; looked at once, at the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terminal {
    /// Whether each stream is a terminal.
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    /// Colours on standard output: it is a terminal that has them, and `NO_COLOR` is not set.
    pub(crate) colours: bool,
    /// The command that shows long answers; none when the user asked for none.
    pub(crate) pager: Option<String>,
    /// `less` gets our options unless the user has set his own.
    pub(crate) less: Option<String>,
    /// Where things of this user that outlive a run belong, such as the history of a prompt that may not write to
    /// the data directory.
    pub(crate) state: Option<PathBuf>,
}

const PAGER: &str = "less -SFRX";

impl Terminal {
    pub(crate) fn detect() -> Self {
        let dumb = environment("TERM").is_some_and(|term| term == "dumb");
        let stdout = stdout().is_terminal();
        let pager = match environment("MILEPOST_PAGER").or_else(|| environment("PAGER")) {
            Some(command) if command.is_empty() || command == "cat" => None,
            Some(command) => Some(command),
            None => Some(PAGER.to_owned()),
        };
        let home = || environment("HOME").map(|home| PathBuf::from(home).join(".local").join("state"));
        let state = environment("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        Self {
            stdin: stdin().is_terminal(),
            stdout,
            stderr: stderr().is_terminal(),
            colours: stdout && !dumb && environment("NO_COLOR").is_none_or(|value| value.is_empty()),
            pager: pager.filter(|_| stdout && !dumb),
            less: environment("LESS"),
            state: state.or_else(home).map(|path| path.join("milepost")),
        }
    }

    /// Columns and rows of the terminal on standard output now; windows change their size.
    pub(crate) fn size(&self) -> Option<(usize, usize)> {
        let size = if self.stdout { terminal_size::terminal_size() } else { None };
        size.map(|(width, height)| (usize::from(width.0), usize::from(height.0)))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the terminal's own variables; settings stay in engine::config"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
