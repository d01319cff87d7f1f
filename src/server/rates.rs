//! How often a caller may do a thing: one token bucket for each pair of them.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use crate::server::fault::Cause;
use crate::server::fault::Fault;

/// A rate that is published for a group of endpoints: requests a second, and how many may come at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published(&'static str, u32, u32);

impl Published {
    pub(crate) const EXPORT: Self = Self("export", 1, 5);
    pub(crate) const CANCEL: Self = Self("export cancel", 1, 1);
    pub(crate) const SEGMENTS: Self = Self("segments", 5, 5);
    pub(crate) const SEGMENT: Self = Self("segment", 10, 10);
    pub(crate) const PERSONS: Self = Self("persons", 5, 5);
    pub(crate) const NEW_PERSON: Self = Self("new person", 10, 10);
    pub(crate) const MATCH: Self = Self("match", 15, 15);
}

/// More buckets than this are thinned out: full ones are as good as none.
const MANY: usize = 10_000;

/// The buckets of all callers.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<HashMap<(&'static str, String), Bucket>>);

/// Tokens that came since, kept as the moment when the bucket was last seen and what it held then.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    tokens: f64,
    seen: Instant,
}

impl Bucket {
    /// Takes a token, or says after how many seconds there will be one.
    fn take(&mut self, rate: f64, burst: f64, now: Instant) -> Result<(), f64> {
        let passed = now.saturating_duration_since(self.seen).as_secs_f64();
        self.tokens = (self.tokens + passed * rate).min(burst);
        self.seen = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err((1.0 - self.tokens) / rate)
    }
}

impl Rates {
    /// [`Rates::take`] at a rate that is published.
    pub(crate) fn keep(&self, Published(what, rate, burst): Published, who: &str) -> Result<(), Fault> {
        self.take(what, who, rate, burst)
    }

    /// Lets a caller do a thing, or says when it may; a rate of 0 lets everything through.
    pub(crate) fn take(&self, what: &'static str, who: &str, rate: u32, burst: u32) -> Result<(), Fault> {
        if rate == 0 {
            return Ok(());
        }
        let (rate, burst, now) = (f64::from(rate), f64::from(burst.max(1)), Instant::now());
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > MANY {
            buckets.retain(|_, bucket| now.saturating_duration_since(bucket.seen).as_secs() < 60);
        }
        let bucket = buckets.entry((what, who.to_owned())).or_insert(Bucket { tokens: burst, seen: now });
        bucket.take(rate, burst, now).map_err(|wait| {
            let seconds = whole_seconds(wait);
            Fault {
                retry_after: Some(seconds),
                ..Fault::new(
                    Cause::TooMany,
                    format!("more than {rate} requests a second; try again in {seconds} s"),
                )
            }
        })
    }
}

/// At least 1: a header cannot say less.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few seconds")]
fn whole_seconds(wait: f64) -> u64 {
    wait.ceil().clamp(1.0, 3600.0) as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket { tokens: 5.0, seen: start };
        for _ in 0..5 {
            bucket.take(1.0, 5.0, start).unwrap();
        }
        assert_eq!(bucket.take(1.0, 5.0, start), Err(1.0));
        assert_eq!(bucket.take(1.0, 5.0, start + Duration::from_millis(500)), Err(0.5));
        bucket.take(1.0, 5.0, start + Duration::from_secs(1)).unwrap();
        let later = start + Duration::from_secs(3600);
        for _ in 0..5 {
            bucket.take(1.0, 5.0, later).unwrap();
        }
        assert!(bucket.take(1.0, 5.0, later).is_err());
    }

    #[test]
    fn callers_do_not_take_from_each_other() {
        let rates = Rates::default();
        rates.take("x", "a", 1, 1).unwrap();
        let fault = rates.take("x", "a", 1, 1).unwrap_err();
        assert_eq!((fault.cause, fault.retry_after), (Cause::TooMany, Some(1)));
        rates.take("x", "b", 1, 1).unwrap();
        rates.take("y", "a", 1, 1).unwrap();
        for _ in 0..100 {
            rates.take("x", "a", 0, 1).unwrap();
        }
    }
}
