//! `Micros`, `Day`, half-open `TimeRange`, and the `Clock` that tests can stop.
//!
//! A moment is signed microseconds since the epoch, UTC: zero and negatives are ordinary. Zones only cut ranges and
//! buckets.

mod calendar;
mod duration;
mod parse;
pub(crate) mod periods;
pub(crate) mod zones;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;

use chrono::Utc;

pub use calendar::Stamp;
pub use duration::parse_duration;
pub use parse::TimeFault;
pub use parse::Zone;
pub use parse::from_epoch_millis;
pub use parse::parse_day_first;
pub use parse::parse_instant;
pub use parse::parse_zone;
pub use periods::Period;

/// A moment: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

/// A UTC day: days since 1970-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

pub const MICROS_PER_DAY: i64 = 86_400_000_000;
pub const MICROS_PER_MILLI: i64 = 1_000;

/// From `start`, up to but without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    pub start: Micros,
    pub end: Micros,
}

impl TimeRange {
    /// Whether the moment lies in the range; the end does not.
    pub fn contains(&self, moment: Micros) -> bool {
        self.start <= moment && moment < self.end
    }

    /// Whether no moment lies in the range.
    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// The first and the last UTC day that a moment of the range lies on; none for an empty range.
    pub fn days(&self) -> Option<(Day, Day)> {
        (!self.is_empty()).then(|| (Day::of(self.start), Day::of(Micros(self.end.0 - 1))))
    }
}

/// Where the time comes from.
pub trait Clock: fmt::Debug + Send + Sync {
    fn now(&self) -> Micros;
}

/// A clock that many hold.
pub type SharedClock = Arc<dyn Clock>;

/// The time of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The machine's clock, ready to be handed around.
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Micros {
        Micros(Utc::now().timestamp_micros())
    }
}

/// A clock that stands until it is moved, for tests and for reproducible runs.
#[derive(Debug, Default)]
pub struct StoppedClock(AtomicI64);

impl StoppedClock {
    pub fn at(moment: Micros) -> Self {
        Self(AtomicI64::new(moment.0))
    }

    /// Moves the hands to a moment, forwards or back.
    pub fn set(&self, moment: Micros) {
        self.0.store(moment.0, Ordering::SeqCst);
    }
}

impl Clock for StoppedClock {
    fn now(&self) -> Micros {
        Micros(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_start_and_not_its_end() {
        let range = TimeRange { start: Micros(-5), end: Micros(MICROS_PER_DAY) };
        assert!(range.contains(Micros(-5)) && range.contains(Micros(0)));
        assert!(!range.contains(range.end) && !range.contains(Micros(-6)));
        assert_eq!(range.days(), Some((Day(-1), Day(0))));
        assert_eq!(TimeRange { start: Micros(3), end: Micros(3) }.days(), None);
    }

    #[test]
    fn a_stopped_clock_stands_until_it_is_moved() {
        let clock = StoppedClock::at(Micros(7));
        assert_eq!((clock.now(), clock.now()), (Micros(7), Micros(7)));
        clock.set(Micros(-1));
        assert_eq!(clock.now(), Micros(-1));
    }

    #[test]
    fn the_system_clock_is_past_the_year_2020() {
        assert!(SystemClock::shared().now() > Micros(1_577_836_800_000_000));
    }
}
