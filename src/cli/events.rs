//! `milepost events`: the definitions, through the statements that do the same in SQL.

use std::path::Path;

use crate::cli::args::EventsCommand;
use crate::cli::exit::answer;
use crate::cli::print::Format;
use crate::cli::print::Output;
use crate::cli::sql;
use crate::cli::sql::Told;
use crate::cli::sql::interruptible;
use crate::cli::terminal::Terminal;
use crate::engine::Engine;
use crate::error::Error;
use crate::error::Place;
use crate::error::Result;
use crate::sql::Statement;
use crate::sql::StatementKind;

impl EventsCommand {
    /// Whether it only looks.
    pub(crate) fn only_reads(&self) -> bool {
        matches!(self, Self::List { .. } | Self::Show { .. } | Self::Apply { dry_run: true, .. })
    }
}

pub(crate) async fn run(engine: &Engine, command: EventsCommand, terminal: &Terminal) -> Result<()> {
    match command {
        EventsCommand::List { format } => {
            told(engine, StatementKind::ShowEvents { like: None }, format, terminal).await
        }
        EventsCommand::Show { id, format } => {
            told(engine, StatementKind::Describe { name: id }, format, terminal).await
        }
        EventsCommand::Enable { ids } => switch(engine, ids, true, terminal).await,
        EventsCommand::Disable { ids } => switch(engine, ids, false, terminal).await,
        EventsCommand::Apply { file, any_names, dry_run } => apply(engine, &file, any_names, dry_run),
    }
}

async fn switch(engine: &Engine, patterns: Vec<String>, enabled: bool, terminal: &Terminal) -> Result<()> {
    told(engine, StatementKind::SwitchEvents { patterns, enabled }, Format::Table, terminal).await
}

fn apply(engine: &Engine, file: &Path, any_names: bool, dry_run: bool) -> Result<()> {
    let text = sql::read(file)?;
    let applied = engine.apply_definitions(&text, any_names, dry_run);
    for line in applied.map_err(|error| said_of(file, &error))? {
        answer(&line)?;
    }
    Ok(())
}

/// The same error, with the file that it is about.
fn said_of(file: &Path, error: &Error) -> Error {
    Error::new(error.kind(), format!("{}: {error}", file.display()))
}

/// Runs a statement that nobody has typed, and shows what it answers.
async fn told(engine: &Engine, kind: StatementKind, format: Format, terminal: &Terminal) -> Result<()> {
    let statement = Statement { text: String::new(), place: Place { line: 1, column: 1 }, kind };
    let output = Output { terminal: terminal.clone(), format, ..Output::default() };
    match interruptible(sql::ask(engine, &statement, &output, false)).await? {
        Told::Rows(_) => Ok(()),
        Told::Line(line) => answer(&line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_fault_of_a_file_names_the_file() {
        let error = said_of(Path::new("shop.json"), &Error::invalid("at $: unknown key \"foo\""));
        assert_eq!(error.to_string(), "shop.json: at $: unknown key \"foo\"");
        assert_eq!(error.kind(), Kind::Invalid);
    }
}
