//! `App`: what every request sees: the engine, the settings, the counters.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use tokio::sync::Mutex;
use tokio::sync::Notify;
use tokio::sync::Semaphore;

use crate::engine::Engine;
use crate::engine::Scope;
use crate::engine::ServerSettings;
use crate::server::access::Caller;
use crate::server::asking::Asking;
use crate::server::body::Room;
use crate::server::fault::Fault;
use crate::server::metrics::Metrics;
use crate::server::rates::Published;
use crate::server::rates::Rates;

/// Shared by all requests; a clone is a handle.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) engine: Engine,
    /// Where questions are answered.
    pub(crate) asking: Arc<Asking>,
    pub(crate) settings: ServerSettings,
    /// Requests without a key are let in, as only this machine can make them.
    pub(crate) open: bool,
    /// The token of this machine's own commands.
    pub(crate) token: String,
    pub(crate) metrics: Metrics,
    pub(crate) rates: Rates,
    pub(crate) room: Room,
    /// Questions that may still start.
    pub(crate) queries: Arc<Semaphore>,
    /// Held while definitions change, so that what was checked is still so when it is done.
    pub(crate) changing: Mutex<()>,
    /// Wakes the task that works on exports.
    pub(crate) due: Notify,
    stopping: AtomicBool,
}

impl App {
    pub(crate) fn new(engine: Engine, asking: Arc<Asking>, open: bool, token: String) -> Self {
        let settings = engine.config().server.clone();
        Self(Arc::new(Parts {
            queries: Arc::new(Semaphore::new(settings.queries)),
            metrics: Metrics::default(),
            rates: Rates::default(),
            room: Room::of(settings.bodies_bytes),
            changing: Mutex::default(),
            due: Notify::new(),
            stopping: AtomicBool::new(false),
            engine,
            asking,
            settings,
            open,
            token,
        }))
    }

    /// The same, where nobody comes in without a key.
    pub(crate) fn closed(&self) -> Self {
        Self::new(self.engine.clone(), Arc::clone(&self.asking), false, self.token.clone())
    }

    /// Keeps a caller to a rate that is published, where the settings ask for it.
    pub(crate) fn published(&self, rate: Published, caller: &Caller) -> Result<(), Fault> {
        if self.settings.published_rates { self.rates.keep(rate, caller.name()) } else { Ok(()) }
    }

    /// Lets a caller change what is published so: one who may, and who keeps to its rate.
    pub(crate) fn managed(&self, rate: Published, caller: &Caller) -> Result<(), Fault> {
        caller.may(&[Scope::Manage])?;
        self.published(rate, caller)
    }

    /// No new work should come here any more.
    pub(crate) fn stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
