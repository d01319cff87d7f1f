//! `milepost serve`: what sites, apps, back ends and BI tools talk to.
//!
//! ```text
//! listen ─ connections ─▶ watch ─ id, log, time, faults ─▶ access ─ who, may they ─▶ one file for each door
//! ```
//!
//! The doors hold no meaning of their own: they read a request, ask the engine, and write what it says in the form that
//! the door has always had.

mod access;
mod analysis;
mod app;
mod asking;
mod batch;
mod body;
mod definitions;
mod exports;
mod fault;
mod follow;
mod health;
mod keys;
mod listen;
mod logs;
mod metrics;
mod mobile;
mod openapi;
mod own;
mod params;
mod people;
mod postgres;
mod rates;
mod routes;
mod rows;
mod segments;
mod single;
mod sql;
mod tail;
mod watch;
mod web;

use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::engine::Door;
use crate::engine::Engine;
use crate::error::Context;
use crate::error::Result;
use crate::server::app::App;
use crate::server::asking::Asking;

/// Serves the engine until the process is asked to end; what was begun is done before this returns, and what was
/// acknowledged is on disk.
///
/// # Errors
/// When an address cannot be listened on, or the certificate cannot be read.
///
/// Boxed here, so that all of the server is compiled with this library and not once more with the binary.
pub fn serve(engine: Engine) -> Pin<Box<dyn Future<Output = Result<()>>>> {
    Box::pin(run(engine))
}

async fn run(engine: Engine) -> Result<()> {
    let settings = engine.config().server.clone();
    logs::start(&settings)?;
    engine.expect_events().await?;
    engine.predefine_segments().await?;
    let tls = listen::tls(&settings)?;
    let listener = listen::bind(&settings.listen, "server.listen").await?;
    let address = address(&listener)?;
    let open = address.ip().is_loopback() && !settings.always_keys;
    let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    let asking = Arc::new(Asking::start(engine.config().thread_count())?);
    let app = App::new(engine.clone(), asking, open, token.clone());
    let router = routes::all(app.clone());
    let (stopper, stop) = tokio::sync::watch::channel(false);
    let mut servers = tokio::task::JoinSet::new();
    let url = listen::local_url(address, tls.is_some());
    // This machine's own commands need no certificate to know this machine.
    let inner = match tls {
        Some(_) => Some(listen::bind("127.0.0.1:0", "server.listen").await?),
        None => None,
    };
    let inner_url =
        inner.as_ref().map(self::address).transpose()?.map(|inner| listen::local_url(inner, false));
    if let Some(inner) = inner {
        servers.spawn(listen::serve(app.clone(), router.clone(), inner, None, stop.clone()));
    }
    if !settings.postgres.is_empty() {
        let wire = listen::bind(&settings.postgres, "server.postgres").await?;
        let address = self::address(&wire)?;
        // What only this machine may ask without a key must not be asked from elsewhere on another door.
        let app = if address.ip().is_loopback() { app.clone() } else { app.closed() };
        tracing::info!(%address, "listening for Postgres clients");
        servers.spawn(postgres::serve(app, wire, tls.clone(), stop.clone()));
    }
    servers.spawn(exports::work(app.clone(), stop.clone()));
    servers.spawn(follow::work(app.clone(), stop.clone()));
    servers.spawn(listen::serve(app.clone(), router, listener, tls, stop));
    let announced = engine.announce(&Door { url: inner_url.unwrap_or_else(|| url.clone()), token })?;
    let keys = if open { "no key needed on this machine" } else { "every request needs a key" };
    tracing::info!(%url, keys, "listening");
    asked_to_end().await?;
    tracing::info!("stopping: requests that run may end");
    app.stop();
    // Nobody is left to tell when all servers have failed already.
    let _ = stopper.send(true);
    tokio::select! {
        () = async { while servers.join_next().await.is_some() {} } => {}
        again = asked_to_end() => again?,
    }
    drop(announced);
    drop(app);
    engine.close().await?;
    tracing::info!("stopped");
    Ok(())
}

fn address(listener: &TcpListener) -> Result<std::net::SocketAddr> {
    listener.local_addr().unavailable(|| "could not tell where the server listens".to_owned())
}

/// Returns when somebody presses Ctrl-C or the system asks the process to end.
async fn asked_to_end() -> Result<()> {
    let waiting = || "could not wait for the signal to end".to_owned();
    #[cfg(unix)]
    {
        use tokio::signal::unix::SignalKind;
        use tokio::signal::unix::signal;
        let mut terminate = signal(SignalKind::terminate()).unavailable(waiting)?;
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => pressed.unavailable(waiting),
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.unavailable(waiting)
}
