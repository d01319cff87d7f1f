//! `milepost export`: the statement `EXPORT EVENTS` from flags, one meaning behind both, with a bar while it runs.

use std::sync::Arc;

use indicatif::HumanBytes;

use crate::cli::args::Export;
use crate::cli::exit::answer;
use crate::cli::progress::Bar;
use crate::cli::sql::interruptible;
use crate::cli::terminal::Terminal;
use crate::engine::Engine;
use crate::error::Result;
use crate::export::ExportProgress;
use crate::export::Progress;
use crate::sql::ExportEvents;

pub(crate) async fn run(engine: &Engine, export: Export, terminal: &Terminal) -> Result<()> {
    let shown = Arc::new(Shown { bar: Bar::rows(terminal.stderr) });
    let progress = Arc::<Shown>::clone(&shown);
    let report = interruptible(engine.export(&export.into(), progress)).await;
    shown.bar.clear();
    answer(&report?.message)
}

/// The bar of an export.
#[derive(Debug)]
struct Shown {
    bar: Bar,
}

impl ExportProgress for Shown {
    fn advanced(&self, now: Progress) {
        // The files also hold rows outside the range, so the end may come before the bar is full.
        self.bar.end(now.rows_at_most);
        self.bar.at(now.rows);
        self.bar.say(format!("{} written", HumanBytes(now.bytes)));
    }
}

impl From<Export> for ExportEvents {
    fn from(export: Export) -> Self {
        let mut options = Vec::new();
        if let Some(id) = export.request_id {
            options.push(("request_id".to_owned(), id));
        }
        if export.enrich_moments {
            options.push(("enrich_with_moments_info".to_owned(), "true".to_owned()));
        }
        Self { events: export.events, from: export.from, to: export.to, into: export.into, options }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::StatementKind;

    #[test]
    fn flags_say_what_the_statement_says() {
        let flags = Export {
            from: "2026-06-01".to_owned(),
            to: "2026-06-02".to_owned(),
            into: "out/".to_owned(),
            events: vec!["pageView".to_owned(), "email*".to_owned()],
            enrich_moments: true,
            request_id: Some("r1".to_owned()),
        };
        let text = "EXPORT EVENTS pageView, 'email*' FROM '2026-06-01' TO '2026-06-02' INTO 'out/' \
                    WITH (request_id 'r1', enrich_with_moments_info true)";
        let parsed = crate::sql::parse(text).unwrap().remove(0).kind;
        assert_eq!(StatementKind::ExportEvents(flags.into()), parsed);
    }
}
