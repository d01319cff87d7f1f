//! `milepost export`: the statement `EXPORT EVENTS` from flags, one meaning behind both, with a bar while it runs.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use indicatif::HumanBytes;
use indicatif::HumanCount;

use crate::cli::exit::Outcome;
use crate::cli::exit::answer;
use crate::cli::exit::say;
use crate::cli::export_args::Export;
use crate::cli::export_args::What;
use crate::cli::exports;
use crate::cli::progress::Bar;
use crate::cli::sql::interruptible;
use crate::cli::terminal::Terminal;
use crate::engine::Engine;
use crate::error::Result;
use crate::export::ExportProgress;
use crate::export::Progress;
use crate::sql::ExportEvents;

pub(crate) async fn run(engine: &Engine, export: Export, terminal: &Terminal) -> Result<Outcome> {
    if let Some(command) = export.command {
        return exports::run(engine, command, terminal).await;
    }
    let shown = Arc::new(Shown::new(terminal));
    let progress = Arc::<Shown>::clone(&shown);
    let what = export.now.unwrap_or_default();
    let started = Instant::now();
    let report = interruptible(engine.export(&what.into(), progress)).await;
    shown.clear();
    let report = report?;
    answer(&report.message)?;
    if terminal.stderr && !report.repeated {
        say(&summary(report.rows, report.bytes, started.elapsed()));
    }
    Ok(Outcome::Done)
}

/// The bar of an export.
#[derive(Debug)]
pub(crate) struct Shown {
    bar: Bar,
    started: Instant,
}

impl Shown {
    pub(crate) fn new(terminal: &Terminal) -> Self {
        Self { bar: Bar::rows(terminal.stderr), started: Instant::now() }
    }

    pub(crate) fn clear(&self) {
        self.bar.clear();
    }
}

/// What was done in how long, for people.
fn summary(rows: u64, bytes: u64, took: Duration) -> String {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    format!(
        "milepost: {} compressed, {} events/s, {:.1} s\n",
        HumanBytes(bytes),
        HumanCount(rows.saturating_mul(1_000) / millis),
        took.as_secs_f64()
    )
}

impl ExportProgress for Shown {
    fn advanced(&self, now: Progress) {
        // The files also hold rows outside the range, so the end may come before the bar is full.
        self.bar.end(now.rows_at_most);
        self.bar.at(now.rows);
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = HumanBytes(now.bytes.saturating_mul(1_000) / millis);
        self.bar.say(format!("{} written, {rate}/s", HumanBytes(now.bytes)));
    }
}

impl From<What> for ExportEvents {
    fn from(what: What) -> Self {
        let texts = [
            ("request_id", what.request_id),
            ("enrich_with_moments_info", what.enrich_moments.then(|| "true".to_owned())),
            ("rows_per_file", what.rows_per_file.map(|rows| rows.to_string())),
            ("region", what.region),
            ("endpoint", what.endpoint),
            ("role_arn", what.role_arn),
            ("external_id", what.external_id),
        ];
        let options = texts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        Self { events: what.events, from: what.from, to: what.to, into: what.into, options }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::StatementKind;

    #[test]
    fn a_summary_tells_rows_a_second() {
        let said = summary(3_000_000, 2 << 20, Duration::from_millis(1_500));
        assert_eq!(said, "milepost: 2.00 MiB compressed, 2,000,000 events/s, 1.5 s\n");
    }

    #[test]
    fn flags_say_what_the_statement_says() {
        let flags = What {
            from: "2026-06-01".to_owned(),
            to: "2026-06-02".to_owned(),
            into: "s3://acme/out/".to_owned(),
            events: vec!["pageView".to_owned(), "email*".to_owned()],
            enrich_moments: true,
            request_id: Some("r1".to_owned()),
            region: Some("EU_CENTRAL_1".to_owned()),
            role_arn: Some("arn:aws:iam::000000000000:role/x".to_owned()),
            ..What::default()
        };
        let text = "EXPORT EVENTS pageView, 'email*' FROM '2026-06-01' TO '2026-06-02' INTO 's3://acme/out/' \
                    WITH (request_id 'r1', enrich_with_moments_info true, region EU_CENTRAL_1, \
                    role_arn 'arn:aws:iam::000000000000:role/x')";
        let parsed = crate::sql::parse(text).unwrap().remove(0).kind;
        assert_eq!(StatementKind::ExportEvents(flags.into()), parsed);
    }
}
