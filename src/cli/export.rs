//! `milepost export`: the statement `EXPORT EVENTS` from flags, one meaning behind both, with a bar while it runs.

use std::sync::Arc;

use indicatif::HumanBytes;

use crate::cli::exit::Outcome;
use crate::cli::exit::answer;
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
    let report = interruptible(engine.export(&what.into(), progress)).await;
    shown.clear();
    answer(&report?.message)?;
    Ok(Outcome::Done)
}

/// The bar of an export.
#[derive(Debug)]
pub(crate) struct Shown {
    bar: Bar,
}

impl Shown {
    pub(crate) fn new(terminal: &Terminal) -> Self {
        Self { bar: Bar::rows(terminal.stderr) }
    }

    pub(crate) fn clear(&self) {
        self.bar.clear();
    }
}

impl ExportProgress for Shown {
    fn advanced(&self, now: Progress) {
        // The files also hold rows outside the range, so the end may come before the bar is full.
        self.bar.end(now.rows_at_most);
        self.bar.at(now.rows);
        self.bar.say(format!("{} written", HumanBytes(now.bytes)));
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
