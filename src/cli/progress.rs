//! Progress on standard error: a spinner for a query that takes long, bars for import, export and compaction.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::Stream;
use futures::StreamExt;
use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;
use tokio::task::JoinSet;

use crate::cli::print::counted;
use crate::cli::terminal::Terminal;
use crate::error::Result;

/// A query that answers sooner shows no spinner.
const PATIENCE: Duration = Duration::from_millis(500);

const TICK: Duration = Duration::from_millis(100);

/// A spinner that appears after a while and goes when dropped.
#[derive(Debug)]
pub(crate) struct Spinner {
    bar: ProgressBar,
    /// Waits until the spinner is due; stops when dropped.
    _due: JoinSet<()>,
}

impl Spinner {
    /// Must be called inside a Tokio runtime.
    pub(crate) fn start(terminal: &Terminal, doing: &str) -> Self {
        let mut due = JoinSet::new();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        if terminal.stderr {
            bar.set_style(style("{spinner} {msg} {elapsed}"));
            bar.set_message(doing.to_owned());
            let waiting = bar.clone();
            due.spawn(async move {
                tokio::time::sleep(PATIENCE).await;
                waiting.set_draw_target(ProgressDrawTarget::stderr());
                waiting.enable_steady_tick(TICK);
            });
        }
        Self { bar, _due: due }
    }

    pub(crate) fn say(&self, message: String) {
        self.bar.set_message(message);
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A stream of answers that shows a spinner while it is waited for.
pub(crate) struct Watched<S> {
    rows: S,
    spinner: Option<Spinner>,
    /// The rows go elsewhere, so the spinner may stay while they come; on a screen it must leave before the first.
    stays: bool,
    count: u64,
}

impl<S> Watched<S> {
    pub(crate) fn new(rows: S, spinner: Spinner, stays: bool) -> Self {
        Self { rows, spinner: Some(spinner), stays, count: 0 }
    }
}

impl<S: Stream<Item = Result<RecordBatch>> + Unpin> Stream for Watched<S> {
    type Item = Result<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let next = this.rows.poll_next_unpin(context);
        match &next {
            Poll::Ready(Some(Ok(batch))) if this.stays => {
                this.count += batch.num_rows() as u64;
                if let Some(spinner) = &this.spinner {
                    spinner.say(format!("{} so far,", counted(this.count, "row")));
                }
            }
            Poll::Ready(_) => this.spinner = None,
            Poll::Pending => {}
        }
        next
    }
}

/// A progress bar with a line of words behind it; on no terminal it is silent.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    /// The templates with and without an end in sight.
    known: &'static str,
    unknown: &'static str,
}

impl Bar {
    /// A bar of bytes with rate and the time that is left.
    pub(crate) fn bytes(shown: bool) -> Self {
        Self::new(
            shown,
            "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left  {msg}",
            "{spinner} {bytes}, {bytes_per_sec}, {elapsed}  {msg}",
        )
    }

    /// A bar of rows.
    pub(crate) fn rows(shown: bool) -> Self {
        Self::new(
            shown,
            "{bar:30} {human_pos} of {human_len} rows, {per_sec}, {eta} left  {msg}",
            "{spinner} {human_pos} rows, {elapsed}  {msg}",
        )
    }

    fn new(shown: bool, known: &'static str, unknown: &'static str) -> Self {
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target).with_style(style(unknown));
        if shown {
            bar.enable_steady_tick(TICK);
        }
        Self { bar, known, unknown }
    }

    /// Begins anew, with the end in sight or without.
    pub(crate) fn begin(&self, total: Option<u64>) {
        self.bar.set_style(style(if total.is_some() { self.known } else { self.unknown }));
        match total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.bar.set_position(0);
        self.bar.reset_eta();
    }

    /// The end has come in sight, or has moved.
    pub(crate) fn end(&self, total: u64) {
        if self.bar.length() != Some(total) {
            self.bar.set_style(style(self.known));
            self.bar.set_length(total);
        }
    }

    pub(crate) fn at(&self, position: u64) {
        self.bar.set_position(position);
    }

    pub(crate) fn say(&self, message: String) {
        self.bar.set_message(message);
    }

    /// Leaves no trace on the screen, so that words can be said.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// A template of ours; a wrong one falls back to the library's own bar.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::ArrayRef;
    use arrow::array::Int64Array;
    use futures::stream;

    use super::*;

    fn batch() -> RecordBatch {
        let numbers = Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
        RecordBatch::try_from_iter([("n", numbers)]).unwrap()
    }

    async fn message_after_one_batch(stays: bool) -> Option<String> {
        let spinner = Spinner::start(&Terminal::default(), "waiting");
        let mut rows = Watched::new(stream::iter([Ok(batch()), Ok(batch())]), spinner, stays);
        rows.next().await;
        rows.spinner.map(|spinner| spinner.bar.message())
    }

    #[tokio::test]
    async fn the_spinner_leaves_before_rows_are_printed() {
        assert_eq!(message_after_one_batch(false).await, None);
    }

    #[tokio::test]
    async fn the_spinner_counts_rows_that_go_to_a_file() {
        assert_eq!(message_after_one_batch(true).await.as_deref(), Some("2 rows so far,"));
    }

    #[test]
    fn our_templates_are_understood() {
        for bar in [Bar::bytes(false), Bar::rows(false)] {
            assert!(ProgressStyle::with_template(bar.known).is_ok());
            assert!(ProgressStyle::with_template(bar.unknown).is_ok());
        }
    }

    #[test]
    fn a_bar_begins_anew_with_each_source() {
        let bar = Bar::bytes(false);
        bar.begin(Some(10));
        bar.at(3);
        assert_eq!((bar.bar.position(), bar.bar.length()), (3, Some(10)));
        bar.end(12);
        assert_eq!((bar.bar.position(), bar.bar.length()), (3, Some(12)));
        bar.begin(None);
        assert_eq!((bar.bar.position(), bar.bar.length()), (0, None));
    }
}
