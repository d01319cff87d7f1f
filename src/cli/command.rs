//! Backslash commands: one enum, one table of names and help.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::print::Format;
use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;

/// What a line that begins with a backslash asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Tables,
    Describe(String),
    /// The documentation of a function; without a name, the list of all.
    Function(Option<String>),
    /// Without a value the other way round than now.
    Timing(Option<bool>),
    /// Without a name, says the format.
    Format(Option<Format>),
    /// Runs the last query again and again.
    Watch(Duration),
    Include(PathBuf),
    /// Runs the last query again into a file.
    Export(PathBuf),
    /// Runs the last query again and draws its answer.
    Chart,
    /// Where answers go; without a file, back to the screen.
    Output(Option<PathBuf>),
    Help,
    Quit,
}

/// What the completion of an argument offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    Nothing,
    Table,
    Function,
    Format,
    File,
}

/// A command for people: its name, its arguments, what it does.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static str,
    pub(crate) argument: Argument,
    help: &'static str,
}

pub(crate) const TABLE: [Entry; 11] = [
    entry("\\d", "[TABLE]", Argument::Table, "tables; the columns of a table and how SQL spells them"),
    entry("\\h", "[FUNCTION]", Argument::Function, "functions; what a function does"),
    entry("\\timing", "[on|off]", Argument::Nothing, "say how long each statement took"),
    entry("\\format", "[NAME]", Argument::Format, "how answers are shown: table, csv, json, ndjson"),
    entry("\\watch", "[SECONDS]", Argument::Nothing, "run the last query again and again, until Ctrl-C"),
    entry("\\chart", "", Argument::Nothing, "run the last query again and draw its answer"),
    entry("\\i", "FILE", Argument::File, "run the statements of a file"),
    entry(
        "\\export",
        "FILE",
        Argument::File,
        "run the last query into a .csv, .json, .ndjson, .parquet or .arrow file",
    ),
    entry("\\o", "[FILE]", Argument::File, "add answers to a file; without one, back to the screen"),
    entry("\\?", "", Argument::Nothing, "this help"),
    entry("\\q", "", Argument::Nothing, "leave, as Ctrl-D does"),
];

const fn entry(name: &'static str, arguments: &'static str, argument: Argument, help: &'static str) -> Entry {
    Entry { name, arguments, argument, help }
}

/// What `\?` prints.
pub(crate) fn help() -> String {
    let mut text =
        String::from("Statements end with ; and may take several lines. Tab completes, Ctrl-C stops.\n\n");
    for one in &TABLE {
        let call = format!("{} {}", one.name, one.arguments);
        text.push_str(&format!("  {call:<20} {}\n", one.help));
    }
    text.push_str("\nSHOW EVENTS; lists the definitions, DESCRIBE one; its properties.\n");
    text
}

impl Command {
    /// Reads a line that begins with a backslash.
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let line = line.trim().trim_end_matches(';').trim_end();
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let some = (!rest.is_empty()).then_some(rest);
        let file = || some.map(|path| PathBuf::from(unquoted(path)));
        match name {
            "\\d" => Ok(some.map_or(Self::Tables, |table| Self::Describe(table.to_owned()))),
            "\\h" => Ok(Self::Function(some.map(|name| name.trim_end_matches("()").to_owned()))),
            "\\timing" => match some.map(str::to_ascii_lowercase).as_deref() {
                None => Ok(Self::Timing(None)),
                Some("on") => Ok(Self::Timing(Some(true))),
                Some("off") => Ok(Self::Timing(Some(false))),
                Some(other) => Err(Error::invalid(format!("\\timing is on or off, found \"{other}\""))),
            },
            "\\format" => Ok(Self::Format(some.map(Format::named).transpose()?)),
            "\\watch" => Ok(Self::Watch(seconds(some.unwrap_or("2"))?)),
            "\\i" => file().map(Self::Include).ok_or_else(|| lacks(name)),
            "\\export" => file().map(Self::Export).ok_or_else(|| lacks(name)),
            "\\chart" => Ok(Self::Chart),
            "\\o" => Ok(Self::Output(file())),
            "\\?" | "\\help" => Ok(Self::Help),
            "\\q" | "\\quit" | "\\exit" => Ok(Self::Quit),
            _ => {
                let near = did_you_mean(name, TABLE.iter().map(|one| one.name));
                Err(Error::not_found(format!("no command is called \"{name}\"; \\? lists them{near}")))
            }
        }
    }
}

fn lacks(name: &str) -> Error {
    Error::invalid(format!("{name} needs the name of a file"))
}

/// A path may be quoted, as people do who are used to shells.
fn unquoted(path: &str) -> &str {
    ['\'', '"']
        .into_iter()
        .find_map(|quote| path.strip_prefix(quote).and_then(|path| path.strip_suffix(quote)))
        .unwrap_or(path)
}

fn seconds(text: &str) -> Result<Duration> {
    let wrong = || Error::invalid(format!("\\watch takes seconds from 0.1 on, found \"{text}\""));
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if !(0.1..=86_400.0).contains(&seconds) {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Command {
        Command::parse(line).unwrap()
    }

    #[test]
    fn commands_are_read_with_their_arguments() {
        assert_eq!(parse("\\d"), Command::Tables);
        assert_eq!(parse("\\d pageView;"), Command::Describe("pageView".to_owned()));
        assert_eq!(parse("\\timing"), Command::Timing(None));
        assert_eq!(parse("\\timing ON"), Command::Timing(Some(true)));
        assert_eq!(parse("\\format csv"), Command::Format(Some(Format::Csv)));
        assert_eq!(parse("\\watch 0.5"), Command::Watch(Duration::from_millis(500)));
        assert_eq!(parse("\\watch"), Command::Watch(Duration::from_secs(2)));
        assert_eq!(parse("\\i 'my file.sql'"), Command::Include(PathBuf::from("my file.sql")));
        assert_eq!(parse("\\export out.parquet"), Command::Export(PathBuf::from("out.parquet")));
        assert_eq!(parse("\\o"), Command::Output(None));
        assert_eq!(parse("\\chart"), Command::Chart);
        assert_eq!(parse("\\h count()"), Command::Function(Some("count".to_owned())));
        assert_eq!(parse(" \\q "), Command::Quit);
    }

    #[test]
    fn a_wrong_command_says_what_there_is() {
        let fault = |line: &str| Command::parse(line).unwrap_err().to_string();
        assert!(fault("\\tming").contains("did you mean \"\\timing\"?"));
        assert!(fault("\\timing perhaps").contains("on or off"));
        assert!(fault("\\export").contains("name of a file"));
        for wrong in ["-1", "0", "NaN", "inf", "soon"] {
            assert!(fault(&format!("\\watch {wrong}")).contains("seconds"), "{wrong}");
        }
    }

    #[test]
    fn every_command_of_the_table_is_understood_and_helped_with() {
        for one in &TABLE {
            assert!(help().contains(one.help));
            let line = format!("{} {}", one.name, if one.arguments.contains("FILE") { "x" } else { "" });
            assert!(Command::parse(&line).is_ok(), "{line}");
        }
    }
}
