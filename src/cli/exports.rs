//! `milepost export submit|status|list|cancel|run-due`: exports as requests that outlive this process.

use std::sync::Arc;
use std::time::Duration;

use crate::cli::exit::Outcome;
use crate::cli::exit::answer;
use crate::cli::exit::say;
use crate::cli::export::Shown;
use crate::cli::export_args::ExportCommand;
use crate::cli::export_args::Submit;
use crate::cli::print::Format;
use crate::cli::print::Output;
use crate::cli::print::counted;
use crate::cli::sql;
use crate::cli::sql::interruptible;
use crate::cli::terminal::Terminal;
use crate::engine::Engine;
use crate::error::Error;
use crate::error::Result;
use crate::export::ExportRules;
use crate::export::ExportState;
use crate::export::ExportStatus;
use crate::export::Worked;
use crate::quote::literal;
use crate::time::Micros;

/// How long to sleep at most before looking again.
const LOOK: Duration = Duration::from_secs(5);

pub(crate) async fn run(engine: &Engine, command: ExportCommand, terminal: &Terminal) -> Result<Outcome> {
    match command {
        ExportCommand::Submit(request) => submit(engine, *request, terminal).await,
        ExportCommand::Status { id, format } => {
            engine.exports().status(&id)?;
            let only = format!("WHERE request_id = {}", literal(&id));
            show(engine, &only, format, terminal).await
        }
        ExportCommand::List { format } => show(engine, "", format, terminal).await,
        ExportCommand::Cancel { id } => {
            let state = engine.exports().cancel(&id)?;
            answer(&state.message.unwrap_or_default())?;
            Ok(Outcome::Done)
        }
        ExportCommand::RunDue { wait } => run_due(engine, wait, terminal).await,
    }
}

async fn submit(engine: &Engine, request: Submit, terminal: &Terminal) -> Result<Outcome> {
    let Submit { what, unlimited, wait } = request;
    let rules = if unlimited { ExportRules::unlimited() } else { engine.config().exports };
    let (order, _) = engine.export_order(&what.into())?;
    let id = engine.exports().submit(order, &rules)?;
    answer(&id)?;
    if !wait {
        say("milepost: submitted; milepost export run-due works on it\n");
        return Ok(Outcome::Done);
    }
    let shown = Arc::new(Shown::new(terminal));
    loop {
        let progress = Arc::<Shown>::clone(&shown);
        let worked = interruptible(engine.exports().work(&id, progress)).await;
        shown.clear();
        let state = engine.exports().status(&id)?;
        match worked? {
            Worked::NotBefore(at) => pause(engine, at).await?,
            Worked::Attempted(_) | Worked::Over if !state.status.is_final() => said(&state),
            Worked::Attempted(_) | Worked::Over => return ended(&state),
        }
    }
}

async fn run_due(engine: &Engine, wait: bool, terminal: &Terminal) -> Result<Outcome> {
    let before = engine.exports().list()?;
    let over = |id: &str| before.iter().any(|one| one.request_id == id && one.status.is_final());
    let late = |id: &str| before.iter().find(|one| one.request_id == id).map_or(0, |one| one.late);
    let shown = Arc::new(Shown::new(terminal));
    loop {
        let progress = Arc::<Shown>::clone(&shown);
        let worked = interruptible(engine.exports().run_due(progress)).await;
        shown.clear();
        let (_, next) = worked?;
        match next {
            Some(at) if wait => pause(engine, at).await?,
            _ => break,
        }
    }
    let mut outcome = Outcome::Done;
    let after = engine.exports().list()?;
    for state in after.iter().filter(|one| one.late > late(&one.request_id)) {
        say(&format!(
            "milepost: {}: {} of its range came after it was exported and are not in it; export the range again under \
             another id\n",
            state.request_id,
            counted(state.late, "event")
        ));
    }
    let worked: Vec<_> = after.iter().filter(|one| !over(&one.request_id)).collect();
    for state in worked.iter().copied() {
        said(state);
        if matches!(state.status, ExportStatus::FailedAfterMaxRetries | ExportStatus::FailedAwaitingRetry) {
            outcome = Outcome::Later;
        }
    }
    if worked.is_empty() {
        say("milepost: nothing is due\n");
    }
    Ok(outcome)
}

/// Sleeps until a moment, or a while.
async fn pause(engine: &Engine, until: Micros) -> Result<()> {
    let left = u64::try_from(until.0 - engine.now().0).unwrap_or(0);
    let sleep = async {
        tokio::time::sleep(Duration::from_micros(left).min(LOOK)).await;
        Ok(())
    };
    interruptible(sleep).await
}

fn said(state: &ExportState) {
    let message = state
        .message
        .as_deref()
        .map_or_else(|| format!("{}, {} bytes", counted(state.rows, "event"), state.bytes), str::to_owned);
    say(&format!("milepost: {} {}: {message}\n", state.request_id, state.status));
}

/// The outcome of a request that is over.
fn ended(state: &ExportState) -> Result<Outcome> {
    match state.status {
        ExportStatus::FailedAfterMaxRetries => {
            Err(Error::invalid(state.message.clone().unwrap_or_else(|| state.status.to_string())))
        }
        _ => {
            said(state);
            Ok(Outcome::Done)
        }
    }
}

async fn show(engine: &Engine, only: &str, format: Format, terminal: &Terminal) -> Result<Outcome> {
    let text = format!(
        "SELECT request_id, status, start_time, end_time, destination, files, rows, bytes, late, attempts, submitted_at, finished_at, message \
         FROM system.exports {only} ORDER BY submitted_at"
    );
    let output = Output { terminal: terminal.clone(), format, ..Output::default() };
    for statement in engine.parse(&text)? {
        interruptible(sql::ask(engine, &statement, &output, false)).await?;
    }
    Ok(Outcome::Done)
}
