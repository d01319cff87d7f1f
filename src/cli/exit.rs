//! From an error to words on standard error and the number that a script sees.

use std::io;
use std::io::Write;
use std::process::ExitCode;

use unicode_width::UnicodeWidthChar;

use crate::cli::print::is_broken_pipe;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Place;
use crate::error::Result;

/// How a run ended, as its exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All was done: 0.
    Done,
    /// All was done but for some rows, which were refused: 1.
    Refused,
    /// Mend the request: 2.
    Mend,
    /// Try again later: 3.
    Later,
    /// Our fault: 4.
    Ours,
    /// Somebody pressed Ctrl-C: 130, as shells have it.
    Stopped,
}

impl Outcome {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Mend => 2,
            Self::Later => 3,
            Self::Ours => 4,
            Self::Stopped => 130,
        }
    }

    /// What an error means for the exit code. A reader that went away is no error.
    pub(crate) fn of(error: &Error) -> Self {
        if is_broken_pipe(error) {
            return Self::Done;
        }
        match error.kind() {
            Kind::Invalid | Kind::NotFound | Kind::Conflict => Self::Mend,
            Kind::Unavailable | Kind::Exhausted | Kind::TooMany => Self::Later,
            Kind::Cancelled => Self::Stopped,
            Kind::Internal => Self::Ours,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome.code())
    }
}

/// Says why a command line was refused, in our voice, or the help that it asked for.
pub(crate) fn refuse(refusal: &clap::Error) -> Outcome {
    if !refusal.use_stderr() {
        // Nobody is there to read the help any more.
        let _ = refusal.print();
        return Outcome::Done;
    }
    say(&in_our_voice(&refusal.render().to_string()));
    Outcome::Mend
}

fn in_our_voice(refusal: &str) -> String {
    match refusal.strip_prefix("error: ") {
        Some(rest) => format!("milepost: {rest}"),
        None => refusal.to_owned(),
    }
}

/// A text that was given, and what to call it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'a> {
    /// A file's name; none for a text from the command line or the prompt.
    pub(crate) name: Option<&'a str>,
    /// How many lines were taken before this text from where it came.
    pub(crate) before: u64,
    pub(crate) text: &'a str,
}

impl<'a> Given<'a> {
    /// The whole of what was given.
    pub(crate) fn whole(name: Option<&'a str>, text: &'a str) -> Self {
        Self { name, before: 0, text }
    }
}

/// The words for an error: the message, and the line and a caret when the text it is about is at hand.
pub(crate) fn explain(error: &Error, given: Option<Given<'_>>) -> String {
    let mut words = String::from("milepost: ");
    if let Some(place) = error.place() {
        let line = place.line + given.map_or(0, |given| given.before);
        match given.and_then(|given| given.name) {
            Some(name) => words.push_str(&format!("{name}:{line}:{}: ", place.column)),
            None => words.push_str(&format!("line {line}, column {}: ", place.column)),
        }
    }
    words.push_str(&error.to_string());
    words.push('\n');
    if let (Some(place), Some(given)) = (error.place(), given)
        && let Some(shown) = caret(given.text, place)
    {
        words.push_str(&shown);
    }
    if error.kind() == Kind::Internal {
        words.push_str("milepost: this is a fault of ours; please report it with what led to it\n");
    }
    words
}

/// Says an error on standard error.
pub(crate) fn report(error: &Error, given: Option<Given<'_>>) {
    if !is_broken_pipe(error) {
        say(&explain(error, given));
    }
}

/// Text to standard error. When even that is gone, there is nobody left to tell.
pub(crate) fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// A line to standard output that is not an answer in rows.
pub(crate) fn answer(line: &str) -> Result<()> {
    let mut out = io::stdout();
    let result = writeln!(out, "{line}").and_then(|()| out.flush());
    result.map_err(|source| Error::unavailable("could not write the answer").with_source(source))
}

/// No more of a long line than this is shown on each side of the place.
const AROUND: usize = 60;

fn caret(text: &str, place: Place) -> Option<String> {
    let line = usize::try_from(place.line).ok()?.checked_sub(1)?;
    let column = usize::try_from(place.column).ok()?.checked_sub(1)?;
    let line = text.lines().nth(line)?;
    let from = column.saturating_sub(AROUND);
    let before = if from > 0 { "…" } else { "" };
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let head: String = line.chars().skip(from).take(column - from).map(plain).collect();
    let tail: String = line.chars().skip(column).take(AROUND).map(plain).collect();
    let after = if line.chars().count() > column + AROUND { "…" } else { "" };
    let width: usize = head.chars().map(|c| c.width().unwrap_or(0)).sum::<usize>() + before.chars().count();
    Some(format!("  {before}{head}{tail}{after}\n  {}^\n", " ".repeat(width)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_has_its_exit_code() {
        let code = |kind| Outcome::of(&Error::new(kind, "x")).code();
        assert_eq!(code(Kind::Invalid), 2);
        assert_eq!(code(Kind::NotFound), 2);
        assert_eq!(code(Kind::Conflict), 2);
        assert_eq!(code(Kind::Unavailable), 3);
        assert_eq!(code(Kind::Exhausted), 3);
        assert_eq!(code(Kind::TooMany), 3);
        assert_eq!(code(Kind::Internal), 4);
        assert_eq!(code(Kind::Cancelled), 130);
        assert_eq!(Outcome::Done.code(), 0);
        assert_eq!(Outcome::Refused.code(), 1);
    }

    #[test]
    fn a_refused_command_line_is_told_in_our_voice() {
        assert_eq!(in_our_voice("error: unexpected argument"), "milepost: unexpected argument");
        let unknown = crate::cli::Args::read(["milepost", "imprt"]).unwrap_err();
        assert_eq!(refuse(&unknown), Outcome::Mend);
    }

    #[test]
    fn a_broken_pipe_is_quiet_success() {
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        let error = Error::unavailable("could not write the answer").with_source(pipe);
        assert_eq!(Outcome::of(&error), Outcome::Done);
    }

    #[test]
    fn an_error_in_sql_shows_its_line_with_a_caret_under_the_place() {
        let text = "SELECT 1;\nSELECT '東京',\t* FROM purchse";
        let error = Error::not_found("no table is called \"purchse\"").at(Place { line: 2, column: 21 });
        let words = explain(&error, Some(Given::whole(Some("a.sql"), text)));
        assert_eq!(
            words,
            "milepost: a.sql:2:21: no table is called \"purchse\"\n  SELECT '東京', * FROM purchse\n                        ^\n"
        );
        let later = Given { before: 100, ..Given::whole(None, text) };
        let words = explain(&error, Some(later));
        assert!(words.starts_with("milepost: line 102, column 21: no table"), "{words}");
    }

    #[test]
    fn only_the_neighbourhood_of_a_very_long_line_is_shown() {
        let text = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let error = Error::invalid("wrong").at(Place { line: 1, column: 501 });
        let words = explain(&error, Some(Given::whole(None, &text)));
        let lines: Vec<_> = words.lines().collect();
        assert!(lines[1].chars().count() < 130, "{}", lines[1]);
        assert_eq!(lines[1].chars().position(|c| c == 'X'), lines[2].chars().position(|c| c == '^'));
    }

    #[test]
    fn a_place_beyond_the_text_shows_no_line() {
        let error = Error::invalid("expected more").at(Place { line: 9, column: 1 });
        assert_eq!(
            explain(&error, Some(Given::whole(None, "SELECT"))),
            "milepost: line 9, column 1: expected more\n"
        );
    }
}
