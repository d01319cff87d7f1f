//! Live segments while the server runs: looked at every minute, so that it is known to the minute who entered and left.

use tokio::sync::watch;
use tokio::time::Instant;

use crate::server::app::App;
use crate::server::listen::stopped;

/// Looking takes at most this part of the time, however many segments there are.
const SHARE: u32 = 20;

/// Looks who is in the live segments, again and again, until told to stop.
pub(crate) async fn work(app: App, mut stop: watch::Receiver<bool>) {
    let every = app.settings.segments_time;
    if every.is_zero() || app.engine.config().read_only {
        return;
    }
    let mut pause = every;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopped(&mut stop) => return,
        }
        let began = Instant::now();
        match app.engine.follow_segments().await {
            Ok(moved) if moved.entered + moved.left > 0 => {
                tracing::debug!(
                    entered = moved.entered,
                    left = moved.left,
                    "persons entered and left segments"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::warn!("segments could not be looked at: {error}"),
        }
        pause = every.max(began.elapsed() * SHARE);
    }
}
