//! `Micros`, `Day`, half-open `TimeRange`, and the `Clock` that tests can stop.
//!
//! A moment is signed microseconds since the epoch, UTC: zero and negatives are ordinary. Zones only cut ranges and
//! buckets.

use std::fmt;
use std::sync::Arc;

/// A moment: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

/// A UTC day: days since 1970-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

pub const MICROS_PER_DAY: i64 = 86_400_000_000;

/// From `start`, up to but without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    pub start: Micros,
    pub end: Micros,
}

/// Where the time comes from.
pub trait Clock: fmt::Debug + Send + Sync {
    fn now(&self) -> Micros;
}

/// A clock that many hold.
pub type SharedClock = Arc<dyn Clock>;
