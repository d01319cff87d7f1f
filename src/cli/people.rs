//! `milepost people`: import, look up, tag and merge persons, and see what one of them did.

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use flate2::read::MultiGzDecoder;

use crate::cli::args::PeopleCommand;
use crate::cli::exit::Outcome;
use crate::cli::exit::answer;
use crate::cli::exit::say;
use crate::cli::print::Format;
use crate::cli::print::Output;
use crate::cli::print::counted;
use crate::cli::progress::Bar;
use crate::cli::sql;
use crate::cli::sql::Told;
use crate::cli::sql::interruptible;
use crate::cli::terminal::Terminal;
use crate::engine::Engine;
use crate::engine::PeopleFile;
use crate::engine::PeopleImport;
use crate::engine::PersonForm;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::person::Identifier;
use crate::sql::PeopleStatement;
use crate::sql::Statement;
use crate::sql::StatementKind;
use crate::sql::Who;

impl PeopleCommand {
    /// Whether it only looks.
    pub(crate) fn only_reads(&self) -> bool {
        matches!(self, Self::Get { .. } | Self::Find { .. } | Self::Timeline { .. })
    }
}

pub(crate) async fn run(engine: &Engine, command: PeopleCommand, terminal: &Terminal) -> Result<Outcome> {
    let table = Format::Table;
    match command {
        PeopleCommand::Import { file, map, replace, quiet } => {
            return import(engine, &file, map.as_deref(), replace, quiet, terminal).await;
        }
        PeopleCommand::Get { who } => {
            let profile = engine.find_person(&known(engine, &who).await?)?;
            let profile = profile.ok_or_else(|| Error::not_found(format!("nobody is known by \"{who}\"")))?;
            let told = engine.people_json(&[profile.id], PersonForm::ByChannel).await?;
            let json = serde_json::to_string_pretty(&told.first());
            answer(&json.internal(|| "could not write the person".to_owned())?)?;
        }
        PeopleCommand::Find { condition, limit, format } => {
            let text = format!("SELECT * FROM persons WHERE {condition} ORDER BY \"personId\" LIMIT {limit}");
            ask(engine, StatementKind::Plain, text, format, terminal).await?;
        }
        PeopleCommand::Timeline { who, limit, format } => {
            let id = engine.find_person(&known(engine, &who).await?)?.map_or(0, |profile| profile.id.0);
            ask(engine, StatementKind::Plain, timeline(id, limit), format, terminal).await?;
        }
        PeopleCommand::Tag { who, with } => tag(engine, who, with, true, terminal).await?,
        PeopleCommand::Untag { who, with } => tag(engine, who, with, false, terminal).await?,
        PeopleCommand::Merge { who } => {
            let who = who.into_iter().map(Who::Named).collect();
            let kind = StatementKind::People(PeopleStatement::Merge { who });
            ask(engine, kind, String::new(), table, terminal).await?;
        }
        PeopleCommand::Unmerge { who } => {
            let kind = StatementKind::People(PeopleStatement::Unmerge { who });
            ask(engine, kind, String::new(), table, terminal).await?;
        }
    }
    Ok(Outcome::Done)
}

/// What a person did, the latest first: one read of each file that may hold an event of it.
fn timeline(id: i64, limit: usize) -> String {
    format!(
        "SELECT \"occurredTime\", \"definitionId\", \"eventId\", properties FROM events WHERE \"personId\" = {id} \
         ORDER BY \"occurredTime\" DESC, seq DESC LIMIT {limit}"
    )
}

/// A reader knows persons as of its last look at the store.
async fn known(engine: &Engine, who: &str) -> Result<Identifier> {
    engine.refresh().await?;
    engine.who(who)
}

async fn tag(
    engine: &Engine,
    who: Vec<String>,
    tags: Vec<String>,
    add: bool,
    terminal: &Terminal,
) -> Result<()> {
    let who = who.into_iter().map(Who::Named).collect();
    let kind = StatementKind::People(PeopleStatement::Tag { who, tags, add });
    ask(engine, kind, String::new(), Format::Table, terminal).await
}

/// Runs a statement that nobody has typed, and shows what it answers.
async fn ask(
    engine: &Engine,
    kind: StatementKind,
    text: String,
    format: Format,
    terminal: &Terminal,
) -> Result<()> {
    let statement = Statement { text, place: crate::error::Place { line: 1, column: 1 }, kind };
    let output = Output { terminal: terminal.clone(), format, ..Output::default() };
    match interruptible(sql::ask(engine, &statement, &output, false)).await? {
        Told::Rows(_) => Ok(()),
        Told::Line(line) => answer(&line),
    }
}

async fn import(
    engine: &Engine,
    file: &Path,
    map: Option<&Path>,
    replace: bool,
    quiet: bool,
    terminal: &Terminal,
) -> Result<Outcome> {
    let map = map.map(sql::read).transpose()?;
    let is_csv = is_csv(file);
    let request =
        PeopleImport { file: if is_csv { PeopleFile::Csv } else { PeopleFile::Json }, map, replace };
    let bar = Bar::rows(!quiet && terminal.stderr);
    let started = Instant::now();
    let report = interruptible(engine.import_people(open(file)?, request, |rows| bar.at(rows))).await;
    bar.clear();
    let report = report.map_err(|error| Error::new(error.kind(), format!("{}: {error}", file.display())))?;
    if !quiet {
        let rows = format!("{} read", counted(report.rows(), "person"));
        say(&format!("{rows} in {:.1} s\n", started.elapsed().as_secs_f64()));
        let counts =
            [(report.created, "created"), (report.updated, "updated"), (report.unchanged, "as they were")];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            say(&format!("  {count:>12} {what}\n"));
        }
    }
    if report.refused == 0 {
        return Ok(Outcome::Done);
    }
    say(&format!("  {:>12} refused\n", report.refused));
    for (row, message) in &report.samples {
        say(&format!("               {}:{row}: {message}\n", file.display()));
    }
    Ok(Outcome::Refused)
}

fn is_csv(file: &Path) -> bool {
    let name = file.to_string_lossy().to_ascii_lowercase();
    name.strip_suffix(".gz").unwrap_or(&name).ends_with(".csv")
}

/// The bytes of a file, unpacked if need be; `-` is standard input.
fn open(file: &Path) -> Result<Box<dyn Read + Send>> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let opened = File::open(file).map_err(|source| {
        let message = format!("could not read \"{}\"", file.display());
        match source.kind() {
            io::ErrorKind::NotFound => Error::not_found(message),
            _ => Error::unavailable(message),
        }
        .with_source(source)
    })?;
    let packed = file.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("gz"));
    Ok(if packed { Box::new(MultiGzDecoder::new(opened)) } else { Box::new(opened) })
}
