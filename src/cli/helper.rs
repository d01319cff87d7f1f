//! What the prompt knows while you type: completion, colours, hints, and whether the statement is finished.

use std::borrow::Cow;

use rustyline::Context;
use rustyline::Helper;
use rustyline::completion::Completer;
use rustyline::completion::FilenameCompleter;
use rustyline::completion::Pair;
use rustyline::highlight::CmdKind;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hint;
use rustyline::hint::Hinter;
use rustyline::hint::HistoryHinter;
use rustyline::validate::ValidationContext;
use rustyline::validate::ValidationResult;
use rustyline::validate::Validator;

use crate::cli::command;
use crate::cli::command::Argument;
use crate::cli::complete;
use crate::cli::highlight::Palette;
use crate::cli::print::Format;
use crate::engine::Names;
use crate::sql;

/// Knows the names of the store as they were when it was last told them.
pub(crate) struct Typing {
    names: Names,
    palette: Palette,
    files: FilenameCompleter,
    history: HistoryHinter,
}

impl Typing {
    pub(crate) fn new(names: Names) -> Self {
        Self {
            palette: palette(&names),
            names,
            files: FilenameCompleter::new(),
            history: HistoryHinter::new(),
        }
    }

    /// Definitions have changed.
    pub(crate) fn learn(&mut self, names: Names) {
        self.palette = palette(&names);
        self.names = names;
    }

    /// What could stand at the cursor in a line that begins with a backslash; none where files are to be looked up.
    fn command(&self, line: &str, cursor: usize) -> Option<(usize, Vec<Pair>)> {
        let typed = &line[..cursor];
        let Some((name, argument)) = typed.split_once(char::is_whitespace) else {
            let names = command::TABLE.iter().map(|one| one.name);
            return Some((0, matching(typed, names, " ")));
        };
        let start = cursor - argument.trim_start().len();
        let argument = argument.trim_start();
        let what = command::TABLE.iter().find(|one| one.name == name).map(|one| one.argument);
        let pairs = match what {
            Some(Argument::File) => return None,
            Some(Argument::Table) => {
                matching(argument, self.names.tables.iter().map(|(name, _)| name.as_str()), "")
            }
            Some(Argument::Function) => {
                matching(argument, self.names.functions.iter().map(|(name, _)| name.as_str()), "")
            }
            Some(Argument::Format) => matching(argument, Format::NAMES.iter().map(|(name, _)| *name), ""),
            Some(Argument::Nothing) | None => Vec::new(),
        };
        Some((start, pairs))
    }
}

fn palette(names: &Names) -> Palette {
    Palette::new(
        sql::KEYWORDS,
        names.functions.iter().map(|(name, _)| name.as_str()),
        names.tables.iter().map(|(name, _)| name.as_str()),
    )
}

fn matching<'a>(typed: &str, names: impl Iterator<Item = &'a str>, after: &str) -> Vec<Pair> {
    names
        .filter(|name| name.to_lowercase().starts_with(&typed.to_lowercase()))
        .map(|name| Pair { display: name.to_owned(), replacement: format!("{name}{after}") })
        .collect()
}

fn is_command(line: &str) -> bool {
    line.trim_start().starts_with('\\')
}

/// Whether Enter runs what was typed; otherwise it begins another line.
fn is_finished(text: &str) -> bool {
    is_command(text) || sql::is_complete(text)
}

impl Completer for Typing {
    type Candidate = Pair;

    fn complete(&self, line: &str, cursor: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        if is_command(line) {
            return match self.command(line, cursor) {
                Some(found) => Ok(found),
                None => self.files.complete_path(line, cursor),
            };
        }
        let offer = complete::offer(line, cursor, &self.names);
        let pairs = offer.candidates.into_iter();
        Ok((offer.start, pairs.map(|one| Pair { display: one.shown, replacement: one.typed }).collect()))
    }
}

/// Grey text behind the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Suggestion {
    shown: String,
    /// What the right arrow types; none for words that only explain.
    typed: Option<String>,
}

impl Hint for Suggestion {
    fn display(&self) -> &str {
        &self.shown
    }

    fn completion(&self) -> Option<&str> {
        self.typed.as_deref()
    }
}

impl Suggestion {
    fn of(typed: String) -> Self {
        let shown = match typed.split_once('\n') {
            Some((first, _)) => format!("{first} …"),
            None => typed.clone(),
        };
        Self { shown, typed: Some(typed) }
    }
}

impl Hinter for Typing {
    type Hint = Suggestion;

    fn hint(&self, line: &str, cursor: usize, context: &Context<'_>) -> Option<Suggestion> {
        if cursor < line.len() || line.is_empty() {
            return None;
        }
        if line.ends_with('\n') && !is_finished(line) {
            return Some(Suggestion { shown: "-> goes on until ;".to_owned(), typed: None });
        }
        let past = self.history.hint(line, cursor, context);
        let typed =
            past.or_else(|| if is_command(line) { None } else { complete::rest(line, cursor, &self.names) });
        typed.map(Suggestion::of)
    }
}

impl Highlighter for Typing {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        Cow::Owned(self.palette.paint(line))
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        kind != CmdKind::MoveCursor
    }
}

impl Validator for Typing {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_finished(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Helper for Typing {}

#[cfg(test)]
mod tests {
    use rustyline::history::DefaultHistory;
    use rustyline::history::History;

    use super::*;

    fn typing() -> Typing {
        Typing::new(Names {
            tables: vec![("pageView".to_owned(), vec![("path".to_owned(), "String".to_owned())])],
            functions: vec![("count".to_owned(), String::new())],
            definitions: vec!["pageView".to_owned()],
        })
    }

    fn completed(line: &str) -> (usize, Vec<String>) {
        let history = DefaultHistory::new();
        let (start, pairs) = typing().complete(line, line.len(), &Context::new(&history)).unwrap();
        (start, pairs.into_iter().map(|pair| pair.replacement).collect())
    }

    fn hinted(line: &str, past: &[&str]) -> Option<Suggestion> {
        let mut history = DefaultHistory::new();
        for entry in past {
            history.add(entry).unwrap();
        }
        typing().hint(line, line.len(), &Context::new(&history))
    }

    #[test]
    fn backslash_commands_and_their_arguments_are_completed() {
        assert_eq!(completed("\\ti"), (0, vec!["\\timing ".to_owned()]));
        assert_eq!(completed("\\d pa"), (3, vec!["pageView".to_owned()]));
        assert_eq!(completed("\\h co"), (3, vec!["count".to_owned()]));
        assert_eq!(completed("\\format n"), (8, vec!["ndjson".to_owned()]));
        assert_eq!(completed("\\timing o"), (8, Vec::new()));
    }

    #[test]
    fn sql_is_completed_from_the_names_of_the_store() {
        assert_eq!(completed("SELECT * FROM pa"), (14, vec!["pageView".to_owned()]));
    }

    #[test]
    fn a_hint_comes_from_history_before_names() {
        let hint = hinted("SELECT * FROM pa", &["SELECT * FROM pageView\nLIMIT 5;"]).unwrap();
        assert_eq!(hint.display(), "geView …");
        assert_eq!(hint.completion(), Some("geView\nLIMIT 5;"));
        assert_eq!(hinted("SELECT * FROM pa", &[]).unwrap().completion(), Some("geView"));
    }

    #[test]
    fn enter_runs_a_whole_statement_and_a_command() {
        for whole in ["", "\\d pageView", "SELECT 1;", "SELECT ';';", "SELECT 1; -- done", "SELECT $$;$$;"] {
            assert!(is_finished(whole), "{whole}");
        }
        for open in
            ["SELECT 1", "SELECT ';", "SELECT \"a;", "SELECT 1 -- ;", "SELECT $$;", "/* ;", "SELECT 1; S"]
        {
            assert!(!is_finished(open), "{open}");
        }
    }

    #[test]
    fn an_open_statement_says_that_it_goes_on() {
        let hint = hinted("SELECT 1\n", &[]).unwrap();
        assert_eq!((hint.display(), hint.completion()), ("-> goes on until ;", None));
        assert_eq!(hinted("SELECT 1;\n", &[]), None);
    }
}
