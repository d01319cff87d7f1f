//! The prompt: statements over several lines until `;`, backslash commands, Ctrl-C stops the query and not the session.

use std::fs;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use arrow::array::ArrayRef;
use arrow::array::RecordBatch;
use arrow::array::StringArray;
use arrow::array::UInt64Array;
use arrow::compute::concat_batches;
use rustyline::ColorMode;
use rustyline::CompletionType;
use rustyline::Editor;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;

use crate::cli::chart;
use crate::cli::command;
use crate::cli::command::Command;
use crate::cli::exit::Given;
use crate::cli::exit::answer;
use crate::cli::exit::report;
use crate::cli::exit::say;
use crate::cli::helper::Typing;
use crate::cli::print::Format;
use crate::cli::print::Output;
use crate::cli::sql;
use crate::cli::sql::Told;
use crate::cli::sql::interruptible;
use crate::cli::terminal::Terminal;
use crate::engine::Answer;
use crate::engine::Config;
use crate::engine::Engine;
use crate::engine::Names;
use crate::error::Context;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::sql::spelled;

const HISTORY: usize = 10_000;

/// Asks, answers, asks again, until the user leaves.
pub(crate) async fn run(engine: &Engine, config: &Config, terminal: &Terminal) -> Result<()> {
    let mut session = Session {
        engine: engine.clone(),
        output: Output { terminal: terminal.clone(), prompt: true, ..Output::default() },
        last: None,
    };
    let history = history_file(config, terminal);
    let mut editor = editor(terminal, engine.names().await?, history.as_deref())?;
    let prompt = prompt(config);
    let painted = if terminal.colours { format!("\x1b[1m{prompt}\x1b[0m") } else { prompt.clone() };
    say(&greeting(config));
    loop {
        // The runtime's other threads go on while this one waits for the keyboard.
        let typed = tokio::task::block_in_place(|| editor.readline(&(prompt.as_str(), painted.as_str())));
        let text = match typed {
            Ok(text) => text,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error).unavailable(|| "could not read from the terminal".to_owned()),
        };
        if text.trim().is_empty() {
            continue;
        }
        remember(&mut editor, &text, history.as_deref());
        match session.run(&text, None).await {
            Next::Leave => break,
            Next::Same => {}
            Next::Changed => {
                if let Some(typing) = editor.helper_mut() {
                    typing.learn(session.engine.names().await?);
                }
            }
        }
    }
    Ok(())
}

fn greeting(config: &Config) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let only = if config.read_only { ", read-only" } else { "" };
    format!("milepost {version} on {}{only}; \\? for help, \\q to leave\n", config.data.display())
}

/// The data directory's own name, so that two prompts side by side are told apart.
fn prompt(config: &Config) -> String {
    let name = config.data.file_name().map_or_else(|| "milepost".into(), |name| name.to_string_lossy());
    if config.read_only { format!("{name} (read-only)> ") } else { format!("{name}> ") }
}

/// In the data directory where we may write to it, else with the user's other state; none when neither can be.
fn history_file(config: &Config, terminal: &Terminal) -> Option<PathBuf> {
    let dir = if config.read_only { terminal.state.clone()? } else { config.data.join("state") };
    fs::create_dir_all(&dir).ok()?;
    Some(dir.join("history"))
}

type Prompt = Editor<Typing, DefaultHistory>;

fn editor(terminal: &Terminal, names: Names, history: Option<&Path>) -> Result<Prompt> {
    let failed = || "could not set up the terminal".to_owned();
    let builder = rustyline::Config::builder()
        .completion_type(CompletionType::List)
        .color_mode(if terminal.colours { ColorMode::Enabled } else { ColorMode::Disabled })
        .bracketed_paste(true)
        .max_history_size(HISTORY)
        .and_then(|builder| builder.history_ignore_dups(true));
    let mut editor = Prompt::with_config(builder.unavailable(failed)?.build()).unavailable(failed)?;
    editor.set_helper(Some(Typing::new(names)));
    if let Some(path) = history {
        // Without its past the prompt is still a prompt: a first run has none.
        let _ = editor.load_history(path);
    }
    Ok(editor)
}

fn remember(editor: &mut Prompt, text: &str, history: Option<&Path>) {
    if editor.add_history_entry(text.trim()).is_ok_and(|added| added)
        && let Some(path) = history
        && let Err(error) = editor.append_history(path)
    {
        say(&format!("milepost: could not keep the history in \"{}\": {error}\n", path.display()));
    }
}

/// What the prompt has to do after a text has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Same,
    /// Names may have changed.
    Changed,
    Leave,
}

/// What lasts from one statement to the next.
struct Session {
    engine: Engine,
    output: Output,
    /// The last statement that answered rows.
    last: Option<String>,
}

impl Session {
    /// Runs what was typed or stood in a file; errors are said and end it, but not the session.
    async fn run(&mut self, text: &str, name: Option<&str>) -> Next {
        let command = text.trim_start().starts_with('\\');
        let done = if command { self.command(text).await } else { self.statements(text).await };
        match done {
            Ok(next) => next,
            Err(error) => {
                report(&error, (!command).then_some(Given::whole(name, text)));
                Next::Same
            }
        }
    }

    async fn statements(&mut self, text: &str) -> Result<Next> {
        let mut next = Next::Same;
        for statement in self.engine.parse(text)? {
            let started = Instant::now();
            match interruptible(sql::ask(&self.engine, &statement, &self.output, false)).await? {
                Told::Rows(shown) => {
                    self.last = Some(statement.text.clone());
                    if let Some(file) = &self.output.file {
                        say(&format!("{}\n", shown.said(file)));
                    } else if self.output.timing && self.output.format != Format::Table {
                        say(&format!("({:.3} s)\n", shown.elapsed.as_secs_f64()));
                    }
                }
                Told::Line(line) => {
                    next = Next::Changed;
                    let elapsed = started.elapsed().as_secs_f64();
                    answer(&if self.output.timing { format!("{line} ({elapsed:.3} s)") } else { line })?;
                }
            }
        }
        Ok(next)
    }

    async fn command(&mut self, line: &str) -> Result<Next> {
        match Command::parse(line)? {
            Command::Quit => return Ok(Next::Leave),
            Command::Help => answer(command::help().trim_end())?,
            Command::Timing(wanted) => {
                self.output.timing = wanted.unwrap_or(!self.output.timing);
                say(if self.output.timing { "timing is on\n" } else { "timing is off\n" });
            }
            Command::Format(wanted) => {
                self.output.format = wanted.unwrap_or(self.output.format);
                say(&format!("answers are shown as {}\n", self.output.format.name()));
            }
            Command::Output(file) => {
                self.output.append = true;
                self.output.file = file;
            }
            Command::Tables => self.show(&tables(&self.engine.names().await?)?).await?,
            Command::Describe(name) => {
                let describe = format!("DESCRIBE {}", described(&name));
                let last = self.last.take();
                let done = self.statements(&describe).await;
                self.last = last;
                done?;
            }
            Command::Function(None) => self.show(&functions(&self.engine.names().await?)?).await?,
            Command::Function(Some(name)) => {
                answer(documentation(&name, &self.engine.names().await?)?.trim_end())?
            }
            Command::Include(path) => {
                let text = sql::read(&path)?;
                let name = path.display().to_string();
                return Ok(Box::pin(self.run(&text, Some(&name))).await);
            }
            Command::Export(path) => self.export(path).await?,
            Command::Chart => self.chart().await?,
            Command::Watch(pause) => self.watch(pause).await?,
        }
        Ok(Next::Same)
    }

    async fn show(&self, batch: &RecordBatch) -> Result<()> {
        let rows = futures::stream::iter([Ok(batch.clone())]);
        self.output.show(&batch.schema(), rows, Instant::now()).await.map(|_| ())
    }

    fn last(&self) -> Result<&str> {
        self.last.as_deref().ok_or_else(|| Error::invalid("there is no query yet; run one first"))
    }

    async fn export(&self, path: PathBuf) -> Result<()> {
        let format = Format::of_file(&path).ok_or_else(|| {
            let message = "the name must end in .csv, .json, .ndjson, .parquet, .arrow or .txt";
            Error::invalid(format!("cannot tell the format of \"{}\": {message}", path.display()))
        })?;
        let output =
            Output { format, file: Some(path.clone()), append: false, prompt: false, ..self.output.clone() };
        for statement in self.engine.parse(self.last()?)? {
            if let Told::Rows(shown) =
                interruptible(sql::ask(&self.engine, &statement, &output, false)).await?
            {
                say(&format!("{}\n", shown.said(&path)));
            }
        }
        Ok(())
    }

    /// Draws the answer of the last query.
    async fn chart(&self) -> Result<()> {
        let width = self.output.terminal.size().map_or(80, |(width, _)| width);
        for statement in self.engine.parse(self.last()?)? {
            let asked = interruptible(self.engine.execute(&statement)).await?;
            if let Answer::Rows(rows) = asked {
                let schema = rows.schema();
                let batches = interruptible(rows.collect()).await?;
                let whole =
                    concat_batches(&schema, &batches).internal(|| "could not draw an answer".to_owned())?;
                answer(chart::draw(&whole, width)?.trim_end())?;
            }
        }
        Ok(())
    }

    /// Answers again and again; only Ctrl-C or an error ends it.
    async fn watch(&self, pause: Duration) -> Result<()> {
        let mut output = self.output.clone();
        output.terminal.pager = None;
        let statements = self.engine.parse(self.last()?)?;
        let watching = async {
            for round in 1_u64.. {
                if output.terminal.stdout && output.file.is_none() {
                    clear_screen()?;
                }
                say(&format!("every {} s, round {round}, Ctrl-C stops\n", pause.as_secs_f64()));
                for statement in &statements {
                    sql::ask(&self.engine, statement, &output, false).await?;
                }
                tokio::time::sleep(pause).await;
            }
            Ok(())
        };
        match interruptible(watching).await {
            Err(error) if error.kind() == Kind::Cancelled => Ok(()),
            ended => ended,
        }
    }
}

fn clear_screen() -> Result<()> {
    let mut out = io::stdout();
    let cleared = out.write_all(b"\x1b[H\x1b[2J").and_then(|()| out.flush());
    cleared.unavailable(|| "could not write to the terminal".to_owned())
}

/// A table's name as `DESCRIBE` takes it: what the user has quoted stays, the parts of a bare name are quoted.
fn described(name: &str) -> String {
    if name.contains('"') {
        return name.to_owned();
    }
    name.split('.').map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join(".")
}

fn batch(columns: Vec<(&'static str, ArrayRef)>) -> Result<RecordBatch> {
    RecordBatch::try_from_iter(columns).internal(|| "could not build a table".to_owned())
}

/// The answer to `\d`.
fn tables(names: &Names) -> Result<RecordBatch> {
    let spelled_names = names.tables.iter().map(|(table, _)| {
        // No id of an event holds a dot, so a dot is a schema's.
        table.split('.').map(spelled).collect::<Vec<_>>().join(".")
    });
    let counts = names.tables.iter().map(|(_, columns)| columns.len() as u64);
    batch(vec![
        ("table", Arc::new(StringArray::from_iter_values(spelled_names))),
        ("columns", Arc::new(UInt64Array::from_iter_values(counts))),
    ])
}

/// The answer to `\h` without a name.
fn functions(names: &Names) -> Result<RecordBatch> {
    let first = |doc: &str| doc.lines().find(|line| !line.trim().is_empty()).unwrap_or("").trim().to_owned();
    batch(vec![
        ("function", Arc::new(StringArray::from_iter_values(names.functions.iter().map(|(name, _)| name)))),
        ("does", Arc::new(StringArray::from_iter_values(names.functions.iter().map(|(_, doc)| first(doc))))),
    ])
}

fn documentation<'a>(name: &str, names: &'a Names) -> Result<&'a str> {
    let found = names.functions.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    match found {
        Some((known, doc)) if doc.trim().is_empty() => Ok(known),
        Some((_, doc)) => Ok(doc),
        None => {
            let near = did_you_mean(name, names.functions.iter().map(|(known, _)| known.as_str()));
            let near = if near.is_empty() { "; \\h lists all".to_owned() } else { near };
            Err(Error::not_found(format!("no function is called \"{name}\"{near}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(read_only: bool) -> Config {
        Config { data: PathBuf::from("/data/shop"), read_only, ..Config::default() }
    }

    fn names() -> Names {
        Names {
            tables: vec![
                ("pageView".to_owned(), vec![("path".to_owned(), "String".to_owned())]),
                ("system.rejected".to_owned(), Vec::new()),
                ("order".to_owned(), Vec::new()),
            ],
            functions: vec![("count".to_owned(), "\nCounts rows.\nMore.".to_owned())],
            ..Names::default()
        }
    }

    #[test]
    fn the_prompt_names_the_database() {
        assert_eq!(prompt(&config(false)), "shop> ");
        assert_eq!(prompt(&config(true)), "shop (read-only)> ");
    }

    #[test]
    fn the_history_of_a_reader_is_kept_outside_the_data() {
        let dir = tempfile::tempdir().unwrap();
        let terminal = Terminal { state: Some(dir.path().join("milepost")), ..Terminal::default() };
        let own = history_file(&config(true), &terminal).unwrap();
        assert_eq!(own, dir.path().join("milepost").join("history"));
        let writer = Config { data: dir.path().join("data"), ..Config::default() };
        assert_eq!(history_file(&writer, &terminal).unwrap(), dir.path().join("data/state/history"));
        assert_eq!(history_file(&config(true), &Terminal::default()), None);
    }

    #[test]
    fn tables_are_listed_as_sql_spells_them() {
        let batch = tables(&names()).unwrap();
        let spelled = batch.column(0).as_any().downcast_ref::<StringArray>().unwrap();
        assert_eq!(
            spelled.iter().flatten().collect::<Vec<_>>(),
            ["pageView", "system.rejected", "\"order\""]
        );
    }

    #[test]
    fn a_described_name_is_quoted_part_by_part() {
        assert_eq!(described("system.rejected"), "\"system\".\"rejected\"");
        assert_eq!(described("\"odd name\""), "\"odd name\"");
    }

    #[test]
    fn a_function_is_found_in_any_case_and_a_near_one_is_proposed() {
        assert_eq!(documentation("COUNT", &names()).unwrap(), "\nCounts rows.\nMore.");
        let fault = documentation("cuont", &names()).unwrap_err().to_string();
        assert!(fault.ends_with("did you mean \"count\"?"), "{fault}");
        let list = functions(&names()).unwrap();
        let does = list.column(1).as_any().downcast_ref::<StringArray>().unwrap();
        assert_eq!(does.value(0), "Counts rows.");
    }
}
