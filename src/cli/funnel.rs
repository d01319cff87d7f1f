//! `milepost funnel FILE.json`: a funnel from its JSON form, answered as SQL is.

use std::time::Instant;

use crate::analysis::FunnelRequest;
use crate::cli::args::Funnel;
use crate::cli::exit::Given;
use crate::cli::exit::Outcome;
use crate::cli::exit::report;
use crate::cli::exit::say;
use crate::cli::print::Format;
use crate::cli::print::Output;
use crate::cli::sql;
use crate::cli::terminal::Terminal;
use crate::engine::Engine;
use crate::error::Result;

/// The request of a file, with its text for the errors that have a place in it.
pub(crate) fn read(funnel: &Funnel) -> Result<String> {
    sql::read(&funnel.file)
}

pub(crate) async fn run(
    engine: &Engine,
    funnel: &Funnel,
    text: &str,
    terminal: &Terminal,
) -> Result<Outcome> {
    let request = match FunnelRequest::parse(text) {
        Ok(request) => request,
        Err(error) => {
            let name = funnel.file.display().to_string();
            report(&error, Some(Given::whole(Some(&name), text)));
            return Ok(Outcome::of(&error));
        }
    };
    let by_name = funnel.output.as_deref().and_then(Format::of_file);
    let output = Output {
        terminal: terminal.clone(),
        format: funnel.format.or(by_name).unwrap_or_default(),
        file: funnel.output.clone(),
        ..Output::default()
    };
    let started = Instant::now();
    let rows = sql::interruptible(engine.funnel(&request)).await?;
    let schema = rows.schema();
    let shown = sql::show(rows, &schema, sql::draws_bars(&output), &output, started).await?;
    if let Some(file) = &output.file {
        say(&format!("{}\n", shown.said(file)));
    }
    Ok(Outcome::Done)
}
