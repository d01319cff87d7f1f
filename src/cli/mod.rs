//! What a person at a terminal sees.

mod args;
mod bars;
mod chart;
mod command;
mod complete;
mod demo;
mod events;
mod exit;
mod export;
mod export_args;
mod exports;
mod funnel;
mod helper;
mod highlight;
mod housekeeping;
mod import;
mod ingest;
mod key;
mod memory;
mod people;
mod print;
mod progress;
mod remote;
mod repl;
mod sql;
mod tail;
mod terminal;
mod threads;
mod tokens;

pub use args::Args;

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;

use crate::cli::args::Command;
use crate::cli::args::Store;
use crate::cli::exit::Outcome;
use crate::cli::exit::report;
use crate::cli::progress::Bar;
use crate::cli::remote::Reached;
use crate::cli::terminal::Terminal;
use crate::engine::Config;
use crate::engine::Engine;
use crate::engine::show_settings;
use crate::error::Context;
use crate::error::Kind;
use crate::error::Result;

/// What is still being read or written when a run ends gets so long; a store loses nothing when it is cut off.
const FAREWELL: Duration = Duration::from_secs(1);

/// What an export keeps of event ids: enough for what persons tell of themselves on the way.
const EXPORT_IDS: usize = 8 << 20;

/// What `milepost serve` calls: the server is this floor's neighbour, so whoever stands above brings it.
pub type Serve = fn(Engine) -> Pin<Box<dyn Future<Output = Result<()>>>>;

/// Does what the command line asks. Answers go to standard output, all else to standard error.
pub fn run(args: Args, serve: Serve) -> ExitCode {
    let outcome = begin(args, serve).unwrap_or_else(|error| {
        report(&error, None);
        Outcome::of(&error)
    });
    outcome.into()
}

/// Answers a command line that could not be read, or that asked for help.
pub fn refuse(refusal: &clap::Error) -> ExitCode {
    exit::refuse(refusal).into()
}

fn begin(args: Args, serve: Serve) -> Result<Outcome> {
    let config = config(args.store)?;
    match &args.command {
        Some(Command::Import(import)) => memory::begin_with(memory::of_import(&import.inputs)),
        Some(Command::Compact) => memory::begin_with(memory::KEEP_FREED_PAGES),
        Some(Command::Export(_)) => memory::begin_with(memory::SMALL_PAGES),
        _ => {}
    }
    let mut builder = Builder::new_multi_thread();
    builder.enable_all();
    if let Some(threads) = config.threads {
        builder.worker_threads(threads);
    }
    if matches!(args.command, Some(Command::Serve(_))) {
        // The server answers questions on threads of its own, which do not give way.
        builder.on_thread_start(threads::give_way);
    }
    let runtime = builder.build().unavailable(|| "could not start threads".to_owned())?;
    let outcome = runtime.block_on(dispatch(args.command, config, serve, &Terminal::detect()));
    runtime.shutdown_timeout(FAREWELL);
    outcome
}

fn config(store: Store) -> Result<Config> {
    let mut config = Config::load(store.data.as_deref(), store.config.as_deref())?;
    config.lake = store.lake.or(config.lake);
    config.memory = store.memory.or(config.memory);
    config.threads = store.threads.or(config.threads);
    config.read_only |= store.read_only;
    Ok(config)
}

async fn dispatch(
    command: Option<Command>,
    config: Config,
    serve: Serve,
    terminal: &Terminal,
) -> Result<Outcome> {
    match command.unwrap_or_else(|| Command::Sql(args::Sql::default())) {
        Command::Sql(sql) if sql.texts.is_empty() && terminal.stdin => prompt(config, terminal).await,
        Command::Sql(sql) => {
            let scripts = sql::scripts(&sql)?;
            let output = sql::output(&sql, terminal);
            let store = Reached::store(config).await?;
            let outcome = if scripts.is_empty() {
                sql::run_input(&store, &output).await
            } else {
                sql::run(&store, &scripts, &output).await
            };
            store.close().await?;
            Ok(outcome)
        }
        Command::Serve(wanted) => {
            let engine = Engine::open(wanted.over(config)).await?;
            serve(engine).await.map(|()| Outcome::Done)
        }
        Command::Tail(tail) => tail::run(&config, tail).await.map(|()| Outcome::Done),
        Command::Key(key) => {
            let store = Reached::store(config).await?;
            let done = key::run(&store, key.command, terminal).await;
            store.close().await?;
            done.map(|()| Outcome::Done)
        }
        Command::Config(_) => exit::answer(show_settings(&config).trim_end()).map(|()| Outcome::Done),
        Command::Import(import) => {
            let engine = remote::writer(config, "send the events to it: curl --data-binary @FILE -H 'Content-Type: application/x-ndjson' URL/v1/events").await?;
            let outcome = import::run(&engine, import, terminal).await;
            closed(engine, outcome).await
        }
        Command::Ingest(ingest) => {
            let engine = remote::writer(
                config,
                "send the events to it: curl -T - -H 'Content-Type: application/x-ndjson' URL/v1/events",
            )
            .await?;
            let outcome = ingest::run(&engine, ingest).await;
            closed(engine, outcome).await
        }
        Command::Export(export) => {
            // Nothing is imported here.
            let config = Config { event_ids: Some(EXPORT_IDS), ..config };
            let engine = match &export.command {
                Some(command) if !command.only_reads() => Engine::open(config).await?,
                _ => open_beside(config).await?.0,
            };
            let outcome = export::run(&engine, *export, terminal).await;
            closed(engine, outcome).await
        }
        Command::Events(events) => {
            let engine = if events.command.only_reads() {
                open_beside(config).await?.0
            } else {
                remote::writer(
                    config,
                    "ask it with milepost sql -c 'CREATE EVENT …', which finds it by itself",
                )
                .await?
            };
            let done = events::run(&engine, events.command, terminal).await;
            closed(engine, done.map(|()| Outcome::Done)).await
        }
        Command::People(people) => {
            let engine = if people.command.only_reads() {
                open_beside(config).await?.0
            } else {
                remote::writer(config, "ask it with milepost sql -c 'INSERT INTO persons …', or send persons to URL/people/3/persons/upsert").await?
            };
            let outcome = people::run(&engine, people.command, terminal).await;
            closed(engine, outcome).await
        }
        Command::Funnel(asked) => {
            let text = funnel::read(&asked)?;
            let (engine, _) = open_beside(config).await?;
            let done = funnel::run(&engine, &asked, &text, terminal).await;
            closed(engine, done).await
        }
        Command::Info(info) => {
            let (engine, _) = open_beside(config).await?;
            let done = sql::info(&engine, info.format, terminal).await;
            closed(engine, done.map(|()| Outcome::Done)).await
        }
        Command::Compact => {
            let engine = Engine::open(config).await?;
            let done = compact(&engine, terminal).await;
            closed(engine, done.map(|()| Outcome::Done)).await
        }
        Command::Verify => housekeeping::verify(config, terminal).await,
        Command::Backup(backup) => housekeeping::backup(config, backup).await,
        Command::Restore(restore) => housekeeping::restore(config, restore).await,
        Command::Completions(completions) => {
            exit::answer(completions.script().trim_end()).map(|()| Outcome::Done)
        }
        Command::Demo(demo) => demo::demo(config, terminal, demo.load_only).await,
    }
}

async fn compact(engine: &Engine, terminal: &Terminal) -> Result<()> {
    let bar = Arc::new(Bar::bytes(terminal.stderr));
    let shown = Arc::clone(&bar);
    let progress = move |done, all| {
        shown.end(all);
        shown.at(done);
    };
    let said = sql::interruptible(engine.compact(progress)).await;
    bar.clear();
    exit::answer(&said?)
}

/// Opens the prompt, read-only when another process is writing.
async fn prompt(config: Config, terminal: &Terminal) -> Result<Outcome> {
    let (engine, config) = open_beside(config).await?;
    let done = repl::run(&engine, &config, terminal).await;
    closed(engine, done.map(|()| Outcome::Done)).await
}

/// Opens a store for one who need not write: beside a writer it is opened read-only. Also says how it was opened.
async fn open_beside(config: Config) -> Result<(Engine, Config)> {
    match Engine::open(config.clone()).await {
        Err(error) if !config.read_only && error.kind() == Kind::Unavailable => {
            let config = Config { read_only: true, ..config };
            // Were it not for the writer, the first error says more.
            let engine = Engine::open(config.clone()).await.map_err(|_| error)?;
            Ok((engine, config))
        }
        opened => Ok((opened?, config)),
    }
}

/// Closes the store whatever came of the work; the first error counts.
async fn closed(engine: Engine, outcome: Result<Outcome>) -> Result<Outcome> {
    let closed = engine.close().await;
    let outcome = outcome?;
    closed.map(|()| outcome)
}
