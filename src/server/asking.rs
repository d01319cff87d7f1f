//! Questions are answered on threads of their own, which the system prefers to those that take events in: those give way
//! (`cli` says so when it starts them), so that a question takes little longer while events come as fast as they can.

use tokio::runtime::Builder;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::error::Context;
use crate::error::Result;
use crate::server::fault::Cause;
use crate::server::fault::Fault;

/// The threads.
#[derive(Debug)]
pub(crate) struct Asking(Option<Runtime>);

impl Asking {
    /// Starts them; they are as important as the thread that this is called on.
    pub(crate) fn start(threads: usize) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .worker_threads(threads.max(1))
            .thread_name("questions")
            .build();
        Ok(Self(Some(runtime.unavailable(|| "could not start threads".to_owned())?)))
    }

    /// Does this there; dropped, it stops.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> std::result::Result<T, Fault> {
        let broken_off = || Fault::new(Cause::Internal, "answering a question broke off");
        let runtime = self.0.as_ref().ok_or_else(broken_off)?;
        let mut running = JoinSet::new();
        running.spawn_on(work, runtime.handle());
        running.join_next().await.and_then(std::result::Result::ok).ok_or_else(broken_off)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // To wait for its threads is forbidden where others wait for us.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
