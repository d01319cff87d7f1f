//! `milepost verify`, `backup` and `restore`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use indicatif::HumanBytes;

use crate::cli::args::Backup;
use crate::cli::args::Restore;
use crate::cli::closed;
use crate::cli::exit::Outcome;
use crate::cli::exit::answer;
use crate::cli::exit::say;
use crate::cli::print::counted;
use crate::cli::print::grouped;
use crate::cli::progress::Bar;
use crate::cli::sql::interruptible;
use crate::cli::terminal::Terminal;
use crate::engine::Config;
use crate::engine::Engine;
use crate::error::Result;

/// Says what was read and, in a line each, what is not as it should be.
pub(crate) async fn verify(config: Config, terminal: &Terminal) -> Result<Outcome> {
    let engine = Engine::open(config).await?;
    let bar = Arc::new(Bar::bytes(terminal.stderr));
    let (shown, read) = (Arc::clone(&bar), AtomicU64::new(0));
    let reading = move |path: &str| {
        let files = read.fetch_add(1, Ordering::Relaxed) + 1;
        shown.say(format!("{}, {path}", counted(files, "file")));
    };
    let found = interruptible(engine.verify(reading)).await;
    bar.clear();
    let outcome = found.and_then(|found| {
        answer(&format!(
            "{} in {} ({}), {} of them indexed, {}, {} remembered",
            counted(found.events, "event"),
            counted(found.files, "file"),
            HumanBytes(found.bytes),
            grouped(found.indexed),
            counted(found.persons, "person"),
            counted(found.ids, "event id")
        ))?;
        for removed in &found.indexes_removed {
            answer(removed)?;
        }
        for fault in &found.faults {
            answer(fault)?;
        }
        if found.more_faults > 0 {
            answer(&format!("and {} more", grouped(found.more_faults)))?;
        }
        if found.faults.is_empty() {
            answer("everything is as it should be")?;
            return Ok(Outcome::Done);
        }
        say("milepost: what is stored is damaged; restore a backup, and please report how it came to this\n");
        Ok(Outcome::Ours)
    });
    closed(engine, outcome).await
}

pub(crate) async fn backup(config: Config, backup: Backup) -> Result<Outcome> {
    let engine = Engine::open(config).await?;
    let done = interruptible(engine.backup(&backup.into)).await;
    let outcome = done.and_then(|said| answer(&said).map(|()| Outcome::Done));
    closed(engine, outcome).await
}

pub(crate) async fn restore(config: Config, restore: Restore) -> Result<Outcome> {
    let said = crate::engine::restore(&config, &restore.from).await?;
    answer(&said).map(|()| Outcome::Done)
}
