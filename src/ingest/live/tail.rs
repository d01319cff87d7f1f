//! Events as they become safe, for whoever watches: in their order, with a bounded number of them in memory. Whoever
//! reads slower than they come is told how many it has missed.

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::ids::PersonId;

/// So many events wait for watchers at most.
const WAITING: usize = 1_024;
/// Rows that are larger are told without what they say.
const LARGE: usize = 64 << 10;

/// One event that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailedEvent {
    pub seq: i64,
    pub event_id: String,
    pub person: PersonId,
    /// The row as it came; empty when it is very large.
    pub row: Bytes,
}

/// What a watcher sees next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tailed {
    Event(TailedEvent),
    /// So many came and went unseen.
    Missed(u64),
}

/// Where events are told.
#[derive(Clone, Debug)]
pub(crate) struct Tail(broadcast::Sender<TailedEvent>);

impl Default for Tail {
    fn default() -> Self {
        Self(broadcast::channel(WAITING).0)
    }
}

impl Tail {
    pub(crate) fn watch(&self) -> Watcher {
        Watcher(self.0.subscribe())
    }

    pub(super) fn is_watched(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Tells of events that are safe, in the order of their numbers. Nobody may be watching.
    pub(super) fn tell(&self, mut events: Vec<TailedEvent>) {
        events.sort_by_key(|event| event.seq);
        for mut event in events {
            event.row = if event.row.len() > LARGE {
                Bytes::new()
            } else {
                // A copy: a part of a large body would keep all of it.
                Bytes::copy_from_slice(&event.row)
            };
            let _ = self.0.send(event);
        }
    }
}

/// Sees events from now on.
#[derive(Debug)]
pub struct Watcher(broadcast::Receiver<TailedEvent>);

impl Watcher {
    /// The next event, or how many were missed; none when the store is closed.
    pub async fn next(&mut self) -> Option<Tailed> {
        match self.0.recv().await {
            Ok(event) => Some(Tailed::Event(event)),
            Err(RecvError::Lagged(count)) => Some(Tailed::Missed(count)),
            Err(RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: i64) -> TailedEvent {
        TailedEvent { seq, event_id: format!("e{seq}"), person: PersonId(1), row: Bytes::from_static(b"{}") }
    }

    #[tokio::test]
    async fn a_slow_watcher_is_told_what_it_missed_and_a_fast_one_misses_nothing() {
        let tail = Tail::default();
        assert!(!tail.is_watched());
        let mut slow = tail.watch();
        let extra = 10;
        for seq in 0..i64::try_from(WAITING).unwrap() + extra {
            tail.tell(vec![event(seq)]);
        }
        assert_eq!(slow.next().await, Some(Tailed::Missed(10)));
        assert_eq!(slow.next().await, Some(Tailed::Event(event(extra))));
        let mut fast = tail.watch();
        tail.tell(vec![event(3), event(1), event(2)]);
        for seq in 1..4 {
            assert_eq!(fast.next().await, Some(Tailed::Event(event(seq))));
        }
        tail.tell(vec![TailedEvent { row: Bytes::from(vec![b' '; LARGE + 1]), ..event(4) }]);
        assert_eq!(fast.next().await, Some(Tailed::Event(TailedEvent { row: Bytes::new(), ..event(4) })));
        drop(tail);
        assert_eq!(fast.next().await, None);
    }
}
