//! `milepost demo`: real third-party data goes in, first questions are asked, a day comes out.
//!
//! The data is compiled into the binary, so the demo runs anywhere; a second run finds everything there already.

use std::fs;
use std::path::Path;

use crate::cli::exit::Outcome;
use crate::cli::exit::answer;
use crate::cli::exit::say;
use crate::cli::print::Output;
use crate::cli::repl;
use crate::cli::sql;
use crate::cli::terminal::Terminal;
use crate::engine::Config;
use crate::engine::Engine;
use crate::engine::ImportRequest;
use crate::error::Context;
use crate::error::Result;
use crate::ingest::Quiet;
use crate::quote::literal;

/// A data set: what it is, the file, and the map that turns its rows into events, with the definitions of those.
struct DataSet {
    said: &'static str,
    file: (&'static str, &'static [u8]),
    map: (&'static str, &'static str),
    definitions: (&'static str, &'static str),
}

const DATA_SETS: [DataSet; 2] = [
    DataSet {
        said: "a shop: 600 persons, six months (retentioneering, Apache-2.0)",
        file: ("ecom.csv.gz", include_bytes!("../../testdata/ecom/ecom.csv.gz")),
        map: ("ecom.toml", include_str!("../../testdata/maps/ecom.toml")),
        definitions: ("ecom.events.json", include_str!("../../testdata/maps/ecom.events.json")),
    },
    DataSet {
        said: "buyers of CDs: 23,570 persons, 18 months (CDNOW, in lifetimes, MIT)",
        file: ("CDNOW_master.txt", include_bytes!("../../testdata/cdnow/CDNOW_master.txt")),
        map: ("cdnow.toml", include_str!("../../testdata/maps/cdnow.toml")),
        definitions: ("cdnow.events.json", include_str!("../../testdata/maps/cdnow.events.json")),
    },
];

/// Questions with what they ask, in words.
const QUESTIONS: [(&str, &str); 3] = [
    ("events and persons by day", include_str!("../../queries/shop/daily.sql")),
    ("how often each event, and by how many persons", include_str!("../../queries/shop/uniques.sql")),
    ("a funnel of three steps within seven days", include_str!("../../queries/shop/funnel.sql")),
];

/// The day that is exported.
const DAY: (&str, &str) = ("2024-03-08", "2024-03-09");

pub(crate) async fn demo(config: Config, terminal: &Terminal, load_only: bool) -> Result<Outcome> {
    let engine = Engine::open(config.clone()).await?;
    let folder = config.data.join("demo");
    load(&engine, &folder).await?;
    if load_only {
        engine.close().await?;
        return Ok(Outcome::Done);
    }
    let output = Output { terminal: terminal.clone(), ..Output::default() };
    for (said, text) in QUESTIONS {
        answer(&format!("\n-- {said}\n{}", without_comments(text)))?;
        for statement in engine.parse(text)? {
            sql::ask(&engine, &statement, &output, false).await?;
        }
    }
    export(&engine, &folder.join("export"), &output).await?;
    if terminal.stdin && terminal.stdout {
        answer("\nNow you. Type \\? for help, \\d for the tables.\n")?;
        repl::run(&engine, &config, terminal).await?;
    } else {
        let data = config.data.display();
        answer(&format!("\nYour turn: milepost --data {data} opens the prompt on this data."))?;
    }
    engine.close().await?;
    Ok(Outcome::Done)
}

/// Writes the data sets beside the store, so that their rows have a source of a name, and imports them.
async fn load(engine: &Engine, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .unavailable(|| format!("could not make the folder \"{}\"", folder.display()))?;
    for set in DATA_SETS {
        write(folder, set.file.0, set.file.1)?;
        write(folder, set.map.0, set.map.1.as_bytes())?;
        write(folder, set.definitions.0, set.definitions.1.as_bytes())?;
        say(&format!("importing {} … ", set.said));
        let request = ImportRequest {
            inputs: vec![folder.join(set.file.0).display().to_string()],
            map: Some(folder.join(set.map.0)),
            ..ImportRequest::default()
        };
        let report = engine.import(request, Box::new(Quiet)).await?;
        match (report.stored, report.refused) {
            (0, 0) => say("there already\n"),
            (stored, 0) => say(&format!("{} events\n", crate::cli::print::grouped(stored))),
            (stored, refused) => say(&format!("{stored} events, {refused} refused\n")),
        }
    }
    Ok(())
}

/// Leaves a file alone that is there already: its time of change is part of what the store knows it by.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    if fs::read(&path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::write(&path, bytes).unavailable(|| format!("could not write \"{}\"", path.display()))
}

async fn export(engine: &Engine, folder: &Path, output: &Output) -> Result<()> {
    let (from, to) = DAY;
    let into = literal(&folder.display().to_string());
    let text = format!("EXPORT EVENTS FROM '{from}' TO '{to}' INTO {into} WITH (request_id 'demo')");
    answer(&format!("\n-- export one day, as gzip JSON lines\n{text};"))?;
    for statement in engine.parse(&text)? {
        if let sql::Told::Line(line) = sql::ask(engine, &statement, output, false).await? {
            answer(&line)?;
        }
    }
    Ok(())
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n")
}
