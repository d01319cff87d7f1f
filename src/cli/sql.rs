//! `milepost sql`: statements from the command line, files or standard input, one after the other, until one fails.

use std::fs;
use std::io;
use std::io::BufRead;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::Stream;
use futures::StreamExt;

use crate::cli::args::Sql;
use crate::cli::args::Text;
use crate::cli::bars;
use crate::cli::exit::Given;
use crate::cli::exit::Outcome;
use crate::cli::exit::answer;
use crate::cli::exit::report;
use crate::cli::exit::say;
use crate::cli::print::Format;
use crate::cli::print::Output;
use crate::cli::print::Shown;
use crate::cli::progress::Spinner;
use crate::cli::progress::Watched;
use crate::cli::remote::Asks;
use crate::cli::terminal::Terminal;
use crate::engine::Answer;
use crate::engine::Engine;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::sql::Statement;
use crate::sql::is_complete;
use crate::sql::is_funnel;
use crate::sql::parse;

/// A text to run, and the file it is from.
#[derive(Debug)]
pub(crate) struct Script {
    name: Option<String>,
    text: String,
}

/// Reads what there is to run, before anything is opened. Nothing at all means standard input; see [`run_input`].
pub(crate) fn scripts(sql: &Sql) -> Result<Vec<Script>> {
    let script = |text: &Text| match text {
        Text::Given(text) => Ok(Script { name: None, text: text.clone() }),
        Text::File(path) => Ok(Script { name: Some(path.display().to_string()), text: read(path)? }),
    };
    sql.texts.iter().map(script).collect()
}

/// A whole file as text; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<String> {
    let read = if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(path)
    };
    read.map_err(|source| {
        let message = format!("could not read \"{}\"", path.display());
        match source.kind() {
            io::ErrorKind::NotFound => Error::not_found(message),
            io::ErrorKind::InvalidData => Error::invalid(format!("{message} as text")),
            _ => Error::unavailable(message),
        }
        .with_source(source)
    })
}

/// How `milepost sql` shows its answers.
pub(crate) fn output(sql: &Sql, terminal: &Terminal) -> Output {
    let by_name = sql.output.as_deref().and_then(Format::of_file);
    Output {
        terminal: terminal.clone(),
        format: sql.format.or(by_name).unwrap_or_default(),
        file: sql.output.clone(),
        timing: sql.timing,
        ..Output::default()
    }
}

/// Runs everything; the first error ends it, and has been said when this returns.
pub(crate) async fn run(asks: &impl Asks, scripts: &[Script], output: &Output) -> Outcome {
    let mut answers = 0;
    for script in scripts {
        let given = Given::whole(script.name.as_deref(), &script.text);
        if let Err(error) = run_script(asks, given, output, &mut answers).await {
            report(&error, Some(given));
            return Outcome::of(&error);
        }
    }
    Outcome::Done
}

/// Runs what comes from standard input, each statement as soon as its line is there.
pub(crate) async fn run_input(asks: &impl Asks, output: &Output) -> Outcome {
    let mut lines = Lines::default();
    let mut answers = 0;
    loop {
        let text = match tokio::task::block_in_place(|| lines.next(&mut io::stdin().lock())) {
            Ok(Some(text)) => text,
            Ok(None) => return Outcome::Done,
            Err(error) => {
                report(&error, None);
                return Outcome::of(&error);
            }
        };
        let given = Given { name: None, before: text.before, text: &text.lines };
        if let Err(error) = run_script(asks, given, output, &mut answers).await {
            report(&error, Some(given));
            return Outcome::of(&error);
        }
    }
}

/// Takes lines together until a statement is whole.
#[derive(Debug, Default)]
struct Lines {
    taken: u64,
}

/// Lines that end with a whole statement, or with the input.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    /// How many lines came before.
    before: u64,
    lines: String,
}

impl Lines {
    /// The next lines; nothing at the end.
    fn next(&mut self, input: &mut impl BufRead) -> Result<Option<Taken>> {
        let mut text = Taken { before: self.taken, lines: String::new() };
        loop {
            let read = input.read_line(&mut text.lines).map_err(|source| {
                Error::invalid("could not read standard input as text").with_source(source)
            })?;
            self.taken += u64::from(read > 0);
            let blank = text.lines.trim().is_empty();
            if read == 0 {
                return Ok((!blank).then_some(text));
            } else if blank {
                text = Taken { before: self.taken, lines: String::new() };
            } else if is_complete(&text.lines) {
                return Ok(Some(text));
            }
        }
    }
}

async fn run_script(asks: &impl Asks, given: Given<'_>, output: &Output, answers: &mut u32) -> Result<()> {
    // The time is said on standard error, so that the answer is the same with it and without.
    let untimed = Output { timing: false, ..output.clone() };
    for statement in parse(given.text)? {
        let single = output.file.is_some() || output.format.is_binary();
        let started = Instant::now();
        match interruptible(ask(asks, &statement, &untimed, single && *answers > 0)).await? {
            // The reader of the pipe has gone. One who closes his pager may still want the next answer.
            Told::Rows(shown) if !shown.all && !output.terminal.stdout => return Ok(()),
            Told::Rows(shown) => {
                *answers += 1;
                if let Some(file) = &output.file {
                    say(&format!("{}\n", shown.said(file)));
                }
            }
            Told::Line(line) if output.format == Format::Table && output.file.is_none() => answer(&line)?,
            Told::Line(line) => say(&format!("{line}\n")),
        }
        if output.timing {
            say(&format!("Time: {:.1} ms\n", started.elapsed().as_secs_f64() * 1000.0));
        }
    }
    Ok(())
}

/// What a statement answered; rows have been shown already.
#[derive(Debug)]
pub(crate) enum Told {
    Rows(Shown),
    /// One line for people, still to be shown.
    Line(String),
}

/// Runs one statement and shows its rows. With `full`, rows are refused: their place is taken by another answer.
pub(crate) async fn ask(
    asks: &impl Asks,
    statement: &Statement,
    output: &Output,
    full: bool,
) -> Result<Told> {
    let started = Instant::now();
    let spinner = Spinner::start(&output.terminal, "running,");
    match asks.execute(statement).await? {
        Answer::Rows(_) if full => {
            let message = "a second answer does not fit into the same file; give one query for each";
            Err(Error::invalid(message).at(statement.place))
        }
        Answer::Rows(rows) => {
            let stays = output.file.is_some() || !output.terminal.stdout;
            let schema = rows.schema();
            let rows = Watched::new(rows, spinner, stays);
            let bars = is_funnel(&statement.text) && draws_bars(output);
            Ok(Told::Rows(show(rows, &schema, bars, output, started).await?))
        }
        Answer::Done(line) => Ok(Told::Line(line)),
    }
}

/// Whether a funnel is shown to a person, who likes bars beside it.
pub(crate) fn draws_bars(output: &Output) -> bool {
    output.format == Format::Table && output.file.is_none() && output.terminal.stdout
}

/// Shows rows, with bars beside them if they are wanted and there are shares.
pub(crate) async fn show<S>(
    rows: S,
    schema: &SchemaRef,
    bars: bool,
    output: &Output,
    started: Instant,
) -> Result<Shown>
where
    S: Stream<Item = Result<RecordBatch>> + Unpin,
{
    match bars::schema(schema).filter(|_| bars) {
        Some(wide) => {
            let drawn = rows.map(|batch| bars::rows(&wide, &batch?));
            output.show(&wide, drawn, started).await
        }
        None => output.show(schema, rows, started).await,
    }
}

/// `milepost info`: what is stored.
pub(crate) async fn info(engine: &Engine, format: Format, terminal: &Terminal) -> Result<()> {
    let output = Output { terminal: terminal.clone(), format, ..Output::default() };
    let started = Instant::now();
    let rows = interruptible(engine.info()).await?;
    let schema = rows.schema();
    output.show(&schema, rows, started).await.map(|_| ())
}

/// Lets Ctrl-C stop what runs; dropping it is what stops it.
pub(crate) async fn interruptible<T>(running: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        result = running => result,
        pressed = tokio::signal::ctrl_c() => {
            pressed.internal(|| "could not wait for Ctrl-C".to_owned())?;
            Err(Error::cancelled("stopped"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::error::Kind;

    #[test]
    fn the_name_of_the_output_decides_the_format_unless_it_is_given() {
        let with = |file: &str, format| {
            let sql = Sql { output: Some(PathBuf::from(file)), format, ..Sql::default() };
            output(&sql, &Terminal::default()).format
        };
        assert_eq!(with("a.parquet", None), Format::Parquet);
        assert_eq!(with("a.parquet", Some(Format::Csv)), Format::Csv);
        assert_eq!(with("a.out", None), Format::Table);
    }

    #[test]
    fn statements_of_standard_input_come_one_by_one_and_know_their_lines() {
        let mut input = "SELECT 1;\n\nSELECT\n 2; -- two\n  \nSELECT ';\n".as_bytes();
        let mut lines = Lines::default();
        let mut texts = Vec::new();
        while let Some(text) = lines.next(&mut input).unwrap() {
            texts.push((text.before, text.lines));
        }
        let expected = [(0, "SELECT 1;\n"), (2, "SELECT\n 2; -- two\n"), (5, "SELECT ';\n")];
        assert_eq!(texts, expected.map(|(before, lines)| (before, lines.to_owned())));
    }

    #[test]
    fn a_file_that_is_not_there_is_the_callers_to_mend() {
        let sql = Sql { texts: vec![Text::File(PathBuf::from("/nowhere/x.sql"))], ..Sql::default() };
        let error = scripts(&sql).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.to_string().contains("/nowhere/x.sql"), "{error}");
    }

    #[test]
    fn scripts_keep_their_order_and_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sql");
        fs::write(&path, "SELECT 2").unwrap();
        let texts = vec![Text::Given("SELECT 1".to_owned()), Text::File(path)];
        let read = scripts(&Sql { texts, ..Sql::default() }).unwrap();
        assert_eq!(read.iter().map(|one| one.text.as_str()).collect::<Vec<_>>(), ["SELECT 1", "SELECT 2"]);
        assert!(read[0].name.is_none() && read[1].name.is_some());
    }
}
