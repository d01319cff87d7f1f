//! The quarantine once more: refused rows are checked as if they came now.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::ingest::import::Run;
use crate::ingest::import::unread_row;
use crate::ingest::import::workers::Shared;
use crate::ingest::report::Code;
use crate::ingest::report::Rejection;
use crate::ingest::sequencer::Input;
use crate::storage::catalog::RejectedRow;

/// Refused rows that are read from the quarantine at once.
const REPLAY_ROWS: usize = 10_000;

/// How the codes of a map begin.
const UNMAPPED: &str = "unmapped_";

/// What becomes of a quarantined row that is tried again.
enum Again {
    /// It can be checked.
    Row(Vec<u8>),
    /// The map leaves it out now.
    LeftOut,
    /// The map refuses it.
    Refused(Rejection),
    /// It cannot be tried, for this reason.
    Stays(&'static str),
}

impl Run {
    pub(super) fn replay(&mut self) -> Result<()> {
        let mut after = 0;
        loop {
            self.go_on()?;
            let rows = self.storage.catalog().rejected(after, REPLAY_ROWS)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.id;
            let mut by_source: BTreeMap<String, Vec<RejectedRow>> = BTreeMap::new();
            for row in rows {
                by_source.entry(row.source.clone()).or_default().push(row);
            }
            for (source, rows) in by_source {
                self.replay_rows(&source, rows)?;
            }
            self.commit_if_full()?;
        }
    }

    fn replay_rows(&mut self, source: &str, rows: Vec<RejectedRow>) -> Result<()> {
        let now = self.clock.now();
        let (mut bytes, mut places, mut quarantined) = (Vec::new(), Vec::new(), BTreeMap::new());
        for row in rows {
            let start = bytes.len();
            match self.shared.again(&row) {
                Again::Row(raw) => bytes.extend(raw),
                Again::LeftOut => {
                    self.sequencer.forget(row.id);
                    continue;
                }
                Again::Refused(rejection) => {
                    self.sequencer.refuse(source, rejection, now);
                    continue;
                }
                Again::Stays(why) => {
                    self.sequencer.report.refuse(source, row.row, Code::Unread("not_replayed"), why);
                    continue;
                }
            }
            places.push((row.row, (start, bytes.len())));
            quarantined.insert(row.row, row.id);
        }
        let persons = self.sequencer.persons().clone();
        let checked = self.shared.checker.check_rows(&bytes, places.into_iter(), source, &persons)?;
        let input = Input { source, bytes: &bytes, quarantined, now };
        self.sequencer.take(&input, checked, &mut *self.storage.event_ids()?)?;
        self.progress.advanced(0, &self.sequencer.report);
        Ok(())
    }
}

impl Shared {
    fn again(&self, row: &RejectedRow) -> Again {
        match (row.code.as_str(), &self.mapping) {
            ("row_too_long", _) => Again::Stays("only its beginning was kept; import it again"),
            (code, None) if code.starts_with(UNMAPPED) => {
                Again::Stays("it was refused by a map; give the map when replaying")
            }
            (code, Some(mapping)) if code.starts_with(UNMAPPED) => match mapping.replay(row.row, &row.raw) {
                Ok(Some(raw)) => Again::Row(raw),
                Ok(None) => Again::LeftOut,
                Err(refusal) => Again::Refused(unread_row(*refusal)),
            },
            _ => Again::Row(row.raw.clone()),
        }
    }
}
