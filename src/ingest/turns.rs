//! `Turns`: who decides about events and persons at a moment, for numbers and persons are given out by one at a time.
//!
//! An import has the *whole* turn from its beginning to its end: nobody else imports or changes persons meanwhile. But it
//! lets events that come one by one through between its batches, where nothing of it is decided and not stored.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use tokio::sync::Mutex;
use tokio::sync::OwnedMutexGuard;

/// The turns of one store.
#[derive(Debug, Default)]
pub struct Turns {
    whole: Arc<Mutex<()>>,
    deciding: Arc<Mutex<()>>,
    /// Groups of events that wait to be decided.
    waiting: Arc<AtomicUsize>,
}

/// The whole turn, given back when it is dropped.
#[derive(Debug)]
pub struct Turn {
    deciding: Arc<Mutex<()>>,
    waiting: Arc<AtomicUsize>,
    held: Option<OwnedMutexGuard<()>>,
    _whole: OwnedMutexGuard<()>,
}

impl Turns {
    /// Waits for the whole turn.
    pub async fn whole(&self) -> Turn {
        let whole = Arc::clone(&self.whole).lock_owned().await;
        let held = Arc::clone(&self.deciding).lock_owned().await;
        Turn {
            deciding: Arc::clone(&self.deciding),
            waiting: Arc::clone(&self.waiting),
            held: Some(held),
            _whole: whole,
        }
    }

    /// Waits until a group of events may be decided. Blocks: not for an async thread.
    pub(crate) fn group(&self) -> OwnedMutexGuard<()> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let held = Arc::clone(&self.deciding).blocking_lock_owned();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        held
    }
}

impl Turn {
    /// Whether events wait to be decided.
    pub(crate) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Lets those who wait decide, and waits for them. Blocks: not for an async thread.
    pub(crate) fn let_others(&mut self) {
        self.held = None;
        // Whoever waits longer is first.
        self.held = Some(Arc::clone(&self.deciding).blocking_lock_owned());
    }
}
