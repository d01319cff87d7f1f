//! How a request for an export stands, and what may happen to it next: decides only, without a clock or a store.
//!
//! ```text
//! SUBMITTED ─ begin ─▶ IN_PROGRESS ─ done ──────────────▶ COMPLETED_SUCCESSFULLY
//!     │                    │  ▲
//!     │                    │  └ begin, when it is time ─ FAILED_AWAITING_RETRY
//!     │                    ├─ failed, may pass ─────────────────▲
//!     │                    └─ failed for good, or once too often ─▶ FAILED_AFTER_MAX_RETRIES
//!     └─ cancel ─▶ CANCELLED_BY_CUSTOMER            (in progress: once the attempt has let go)
//! ```
//!
//! A process that dies leaves IN_PROGRESS behind; the next one begins again, which is no failure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::Error;
use crate::error::Result;
use crate::time::Micros;

/// The word for how a request stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExportStatus {
    #[default]
    Submitted,
    InProgress,
    CompletedSuccessfully,
    FailedAwaitingRetry,
    FailedAfterMaxRetries,
    CancelledByCustomer,
}

impl ExportStatus {
    pub const ALL: [Self; 6] = [
        Self::Submitted,
        Self::InProgress,
        Self::CompletedSuccessfully,
        Self::FailedAwaitingRetry,
        Self::FailedAfterMaxRetries,
        Self::CancelledByCustomer,
    ];

    /// As it is published.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "SUBMITTED",
            Self::InProgress => "IN_PROGRESS",
            Self::CompletedSuccessfully => "COMPLETED_SUCCESSFULLY",
            Self::FailedAwaitingRetry => "FAILED_AWAITING_RETRY",
            Self::FailedAfterMaxRetries => "FAILED_AFTER_MAX_RETRIES",
            Self::CancelledByCustomer => "CANCELLED_BY_CUSTOMER",
        }
    }

    /// Nothing follows.
    pub fn is_final(self) -> bool {
        matches!(self, Self::CompletedSuccessfully | Self::FailedAfterMaxRetries | Self::CancelledByCustomer)
    }
}

impl fmt::Display for ExportStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ExportStatus {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == word);
        found.ok_or_else(|| Error::internal(format!("no export has the status \"{word}\"")))
    }
}

/// How often a failed attempt is repeated, and after how long: each pause is four times the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    pub most: u32,
    pub first_pause: Duration,
}

impl Default for Retries {
    /// Three: after half a minute, two minutes, eight minutes.
    fn default() -> Self {
        Self { most: 3, first_pause: Duration::from_secs(30) }
    }
}

impl Retries {
    /// How long to wait after the failure of this number, from 1.
    fn pause(self, failure: u32) -> i64 {
        let first = i64::try_from(self.first_pause.as_micros()).unwrap_or(i64::MAX);
        first.saturating_mul(4_i64.saturating_pow(failure.saturating_sub(1)))
    }
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended<'a> {
    Done {
        rows: u64,
    },
    /// It may go well another time.
    MayPass(&'a str),
    /// It cannot go well: no permission, no bucket.
    ForGood(&'a str),
    /// Somebody asked to cancel it, and it has stopped.
    LetGo,
}

/// What a worker that wants to begin an attempt has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Go on; the request is in progress.
    Run,
    /// It is over already, or has been cancelled just now.
    Over,
    /// Come back then.
    NotBefore(Micros),
}

/// How one request stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) status: ExportStatus,
    pub(crate) message: Option<String>,
    pub(crate) attempts: u32,
    /// Attempts that ended with an error.
    pub(crate) failures: u32,
    pub(crate) cancel_at: Option<Micros>,
    pub(crate) retry_at: Option<Micros>,
    pub(crate) finished_at: Option<Micros>,
}

/// What a failure is called, before its reason.
const FAILED: &str = "Exception caught while trying to push file to S3.";
/// What an export without rows is called.
pub(crate) const NO_ROWS: &str = "0 events found for the time period queried.";

impl Standing {
    /// A worker of this process, which has the only one for this request, wants to begin.
    pub(crate) fn begin(&mut self, now: Micros) -> Begin {
        if self.status.is_final() {
            return Begin::Over;
        }
        if self.cancel_at.is_some() {
            self.cancelled(now);
            return Begin::Over;
        }
        if let (ExportStatus::FailedAwaitingRetry, Some(at)) = (self.status, self.retry_at)
            && now < at
        {
            return Begin::NotBefore(at);
        }
        self.status = ExportStatus::InProgress;
        self.retry_at = None;
        self.attempts += 1;
        Begin::Run
    }

    /// The attempt that was begun has ended.
    pub(crate) fn end(&mut self, ended: Ended<'_>, retries: Retries, now: Micros) {
        if self.status != ExportStatus::InProgress {
            return;
        }
        match ended {
            // What is done is done, also when somebody asked too late.
            Ended::Done { rows } => {
                self.status = ExportStatus::CompletedSuccessfully;
                self.message = (rows == 0).then(|| NO_ROWS.to_owned());
                self.cancel_at = None;
                self.finished_at = Some(now);
            }
            Ended::LetGo => self.cancelled(now),
            Ended::MayPass(_) | Ended::ForGood(_) if self.cancel_at.is_some() => {
                self.failures += 1;
                self.cancelled(now);
            }
            Ended::MayPass(reason) if self.failures < retries.most => {
                self.failures += 1;
                self.status = ExportStatus::FailedAwaitingRetry;
                self.message = Some(format!("{FAILED} {reason}"));
                self.retry_at = Some(Micros(now.0.saturating_add(retries.pause(self.failures))));
            }
            Ended::MayPass(reason) | Ended::ForGood(reason) => {
                self.failures += 1;
                self.status = ExportStatus::FailedAfterMaxRetries;
                self.message = Some(format!("{FAILED} {reason}"));
                self.finished_at = Some(now);
            }
        }
    }

    /// Somebody asks to cancel; `running` says whether an attempt is under way in this process, which then ends with
    /// [`Ended::LetGo`].
    ///
    /// # Errors
    /// `Conflict` when the request is over. To ask twice is fine; the first time counts.
    pub(crate) fn cancel(&mut self, running: bool, now: Micros) -> Result<()> {
        if self.status.is_final() {
            return Err(Error::conflict(format!(
                "the export has ended as {} and cannot be cancelled",
                self.status
            )));
        }
        self.cancel_at.get_or_insert(now);
        if !running {
            self.cancelled(now);
        }
        Ok(())
    }

    /// As it is told: while a cancellation waits for an attempt to let go, SUBMITTED and a message that says so.
    pub(crate) fn told(&self) -> (ExportStatus, Option<String>) {
        match self.cancel_at {
            Some(at) if !self.status.is_final() => {
                let message =
                    format!("Cancellation pending, cancellation request received at {}", at.iso_millis());
                (ExportStatus::Submitted, Some(message))
            }
            _ => (self.status, self.message.clone()),
        }
    }

    fn cancelled(&mut self, now: Micros) {
        let at = *self.cancel_at.get_or_insert(now);
        self.status = ExportStatus::CancelledByCustomer;
        self.message =
            Some(format!("Cancellation complete, cancellation request received at {}", at.iso_millis()));
        self.retry_at = None;
        self.finished_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Kind;

    const RETRIES: Retries = Retries { most: 3, first_pause: Duration::from_secs(30) };

    fn begun(now: i64) -> Standing {
        let mut standing = Standing::default();
        assert_eq!(standing.begin(Micros(now)), Begin::Run);
        standing
    }

    #[test]
    fn the_words_are_the_published_ones_and_read_back() {
        for status in ExportStatus::ALL {
            assert_eq!(status.as_str().parse::<ExportStatus>().unwrap(), status);
        }
        assert!("DONE".parse::<ExportStatus>().is_err());
    }

    #[test]
    fn a_request_that_goes_well() {
        let mut standing = begun(1);
        assert_eq!(standing.told(), (ExportStatus::InProgress, None));
        standing.end(Ended::Done { rows: 7 }, RETRIES, Micros(5));
        assert_eq!(standing.told(), (ExportStatus::CompletedSuccessfully, None));
        assert_eq!((standing.attempts, standing.finished_at), (1, Some(Micros(5))));
        assert_eq!(standing.begin(Micros(6)), Begin::Over);
    }

    #[test]
    fn no_rows_are_a_success_that_says_so() {
        let mut standing = begun(1);
        standing.end(Ended::Done { rows: 0 }, RETRIES, Micros(5));
        let message = "0 events found for the time period queried.".to_owned();
        assert_eq!(standing.told(), (ExportStatus::CompletedSuccessfully, Some(message)));
    }

    #[test]
    fn a_failure_that_may_pass_is_repeated_three_times_with_growing_pauses() {
        let mut standing = Standing::default();
        let mut now = Micros(0);
        for seconds in [30, 120, 480] {
            assert_eq!(standing.begin(now), Begin::Run);
            standing.end(Ended::MayPass("the line broke"), RETRIES, now);
            let (status, message) = standing.told();
            assert_eq!(status, ExportStatus::FailedAwaitingRetry);
            assert_eq!(message.unwrap(), "Exception caught while trying to push file to S3. the line broke");
            let at = Micros(now.0 + seconds * 1_000_000);
            assert_eq!(standing.begin(Micros(at.0 - 1)), Begin::NotBefore(at));
            now = at;
        }
        assert_eq!(standing.begin(now), Begin::Run);
        standing.end(Ended::MayPass("the line broke"), RETRIES, now);
        assert_eq!(standing.status, ExportStatus::FailedAfterMaxRetries);
        assert_eq!((standing.attempts, standing.failures), (4, 4));
        assert_eq!(standing.begin(now), Begin::Over);
    }

    #[test]
    fn what_cannot_go_well_is_not_repeated() {
        let mut standing = begun(0);
        standing.end(Ended::ForGood("access denied"), RETRIES, Micros(1));
        let (status, message) = standing.told();
        assert_eq!(status, ExportStatus::FailedAfterMaxRetries);
        assert!(message.unwrap().ends_with("access denied"));
    }

    #[test]
    fn a_process_that_died_is_no_failure() {
        let mut standing = begun(0);
        for _ in 0..50 {
            assert_eq!(standing.begin(Micros(1)), Begin::Run);
        }
        assert_eq!((standing.attempts, standing.failures), (51, 0));
        standing.end(Ended::MayPass("x"), RETRIES, Micros(1));
        assert_eq!(standing.status, ExportStatus::FailedAwaitingRetry);
    }

    #[test]
    fn a_cancellation_waits_for_the_attempt_and_is_told_as_published() {
        let mut standing = begun(0);
        let at = Micros(1_743_588_000_000_000);
        standing.cancel(true, at).unwrap();
        let pending = "Cancellation pending, cancellation request received at 2025-04-02T10:00:00.000Z";
        assert_eq!(standing.told(), (ExportStatus::Submitted, Some(pending.to_owned())));
        standing.cancel(true, Micros(at.0 + 9)).unwrap();
        standing.end(Ended::LetGo, RETRIES, Micros(at.0 + 10));
        let complete = "Cancellation complete, cancellation request received at 2025-04-02T10:00:00.000Z";
        assert_eq!(standing.told(), (ExportStatus::CancelledByCustomer, Some(complete.to_owned())));
        assert_eq!(standing.cancel(false, at).unwrap_err().kind(), Kind::Conflict);
    }

    #[test]
    fn what_nobody_works_on_is_cancelled_at_once() {
        let mut waiting = Standing::default();
        waiting.cancel(false, Micros(1)).unwrap();
        assert_eq!(waiting.status, ExportStatus::CancelledByCustomer);
        let mut failed = begun(0);
        failed.end(Ended::MayPass("x"), RETRIES, Micros(1));
        failed.cancel(false, Micros(2)).unwrap();
        assert_eq!((failed.status, failed.retry_at), (ExportStatus::CancelledByCustomer, None));
    }

    #[test]
    fn a_cancellation_that_comes_too_late_changes_nothing_that_is_done() {
        let mut standing = begun(0);
        standing.cancel(true, Micros(1)).unwrap();
        standing.end(Ended::Done { rows: 1 }, RETRIES, Micros(2));
        assert_eq!(standing.told(), (ExportStatus::CompletedSuccessfully, None));
    }

    #[test]
    fn a_cancellation_survives_the_death_of_the_process() {
        let mut standing = begun(0);
        standing.cancel(true, Micros(1)).unwrap();
        assert_eq!(standing.begin(Micros(2)), Begin::Over);
        assert_eq!(standing.status, ExportStatus::CancelledByCustomer);
    }

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Begin,
        Done,
        MayPass,
        ForGood,
        Cancel,
        Die,
        Wait(i64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            3 => Just(Op::Begin),
            1 => Just(Op::Done),
            2 => Just(Op::MayPass),
            1 => Just(Op::ForGood),
            1 => Just(Op::Cancel),
            1 => Just(Op::Die),
            2 => (1_i64..1_000_000_000).prop_map(Op::Wait),
        ]
    }

    proptest! {
        /// Whatever happens in whatever order: an end is an end, exactly the ends have a time, a retry waits only in
        /// its own status, failures keep to their limit, and a cancellation always leads to an end.
        #[test]
        fn no_order_of_happenings_leads_astray(ops in proptest::collection::vec(op(), 0..60)) {
            let mut standing = Standing::default();
            let (mut now, mut running) = (Micros(0), false);
            for op in ops {
                let before = standing.clone();
                match op {
                    Op::Begin if !running => running = standing.begin(now) == Begin::Run,
                    Op::Done | Op::MayPass | Op::ForGood if running => {
                        let ended = match (op, standing.cancel_at) {
                            (Op::Done, _) => Ended::Done { rows: 1 },
                            (Op::MayPass, None) => Ended::MayPass("x"),
                            (_, None) => Ended::ForGood("y"),
                            _ => Ended::LetGo,
                        };
                        standing.end(ended, RETRIES, now);
                        running = false;
                    }
                    Op::Cancel => {
                        let refused = standing.cancel(running, now).is_err();
                        prop_assert_eq!(refused, before.status.is_final());
                    }
                    Op::Die => running = false,
                    Op::Wait(micros) => now = Micros(now.0 + micros),
                    _ => {}
                }
                if before.status.is_final() {
                    prop_assert_eq!(&standing, &before);
                }
                prop_assert_eq!(standing.status.is_final(), standing.finished_at.is_some());
                prop_assert_eq!(
                    standing.retry_at.is_some(),
                    standing.status == ExportStatus::FailedAwaitingRetry
                );
                prop_assert!(standing.failures <= RETRIES.most + 1);
                prop_assert!(standing.attempts >= standing.failures);
                if standing.cancel_at.is_some() && !running {
                    let mut later = standing.clone();
                    later.begin(now);
                    prop_assert!(later.status.is_final());
                }
            }
        }
    }
}
