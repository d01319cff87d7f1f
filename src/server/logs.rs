//! Where log lines go, and in which form.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::engine::ServerSettings;
use crate::error::Context;
use crate::error::Kind;
use crate::error::Result;

/// Sends the log of this process to standard error. A process that has a log already keeps it.
pub(crate) fn start(settings: &ServerSettings) -> Result<()> {
    let filter = EnvFilter::builder()
        .parse(format!("buoyant_kernel=warn,{}", settings.log))
        .context(Kind::Invalid, || format!("the setting server.log cannot be \"{}\"", settings.log))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = if settings.json_log {
        lines.json().flatten_event(true).try_init()
    } else {
        lines.with_ansi(false).try_init()
    };
    if let Err(error) = started {
        tracing::debug!("the log stays as it is: {error}");
    }
    Ok(())
}
