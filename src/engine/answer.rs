//! What a statement answers: rows that stream, or one line that says what was done.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use arrow::array::ArrayRef;
use arrow::array::BooleanArray;
use arrow::array::StringArray;
use arrow::array::UInt64Array;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::Stream;
use futures::StreamExt;
use futures::TryStreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::error::Context as _;
use crate::error::Error;
use crate::error::Result;

/// What came of a statement.
#[derive(Debug)]
pub enum Answer {
    Rows(Rows),
    /// One line for people.
    Done(String),
}

impl Answer {
    /// The answer with [`Rows::ahead`].
    #[must_use]
    pub fn ahead(self) -> Self {
        match self {
            Self::Rows(rows) => Self::Rows(rows.ahead()),
            done @ Self::Done(_) => done,
        }
    }
}

/// Batches that are found before somebody takes them, at most.
const BATCHES_AHEAD: usize = 2;

/// Rows as a stream of batches. Dropping it stops the question.
pub struct Rows {
    schema: SchemaRef,
    batches: Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>,
}

impl Rows {
    pub(crate) fn new(
        schema: SchemaRef,
        batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
    ) -> Self {
        Self { schema, batches: Box::pin(batches) }
    }

    /// Rows that are all there already.
    pub(crate) fn of(batch: RecordBatch) -> Self {
        Self::new(batch.schema(), futures::stream::once(std::future::ready(Ok(batch))))
    }

    /// The same rows, found by a task of the runtime that this is called on, a few batches ahead of whoever takes them.
    #[must_use]
    pub fn ahead(mut self) -> Self {
        let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
        let schema = self.schema();
        let mut finding = JoinSet::new();
        finding.spawn(async move {
            while let Some(batch) = self.batches.next().await {
                if sender.send(batch).await.is_err() {
                    return;
                }
            }
        });
        // The task is dropped with the rows, which stops it. One that broke off must not look like one that is done.
        let found = futures::stream::unfold(Some((receiver, finding)), |state| async {
            let (mut receiver, mut finding) = state?;
            match receiver.recv().await {
                Some(batch) => Some((batch, Some((receiver, finding)))),
                None => match finding.join_next().await {
                    Some(Err(error)) => {
                        Some((Err(Error::internal("an answer broke off").with_source(error)), None))
                    }
                    _ => None,
                },
            }
        });
        Self::new(schema, found)
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// All batches, in memory.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.batches.try_collect().await
    }
}

impl Stream for Rows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_next_unpin(context)
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// A small table put together column by column.
#[derive(Default)]
pub(crate) struct Table {
    columns: Vec<(&'static str, ArrayRef)>,
}

impl Table {
    pub(crate) fn texts<T: AsRef<str>>(
        mut self,
        name: &'static str,
        values: impl IntoIterator<Item = Option<T>>,
    ) -> Self {
        let array: StringArray = values.into_iter().collect();
        self.columns.push((name, Arc::new(array)));
        self
    }

    pub(crate) fn numbers(mut self, name: &'static str, values: impl IntoIterator<Item = u64>) -> Self {
        let array: UInt64Array = values.into_iter().map(Some).collect();
        self.columns.push((name, Arc::new(array)));
        self
    }

    pub(crate) fn flags(mut self, name: &'static str, values: impl IntoIterator<Item = bool>) -> Self {
        let array: BooleanArray = values.into_iter().map(Some).collect();
        self.columns.push((name, Arc::new(array)));
        self
    }

    pub(crate) fn array(mut self, name: &'static str, values: ArrayRef) -> Self {
        self.columns.push((name, values));
        self
    }

    pub(crate) fn batch(self) -> Result<RecordBatch> {
        if self.columns.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::new(Schema::empty())));
        }
        RecordBatch::try_from_iter(self.columns).internal(|| "could not build a table".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::array::Int64Array;
    use arrow::datatypes::Int64Type;
    use tokio::sync::oneshot;

    use super::*;

    fn batch(value: i64) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![value])) as ArrayRef)]).unwrap()
    }

    #[tokio::test]
    async fn rows_ahead_are_the_same_rows_in_their_order() {
        let rows = Rows::new(batch(0).schema(), futures::stream::iter((0..9).map(|n| Ok(batch(n)))));
        let found = rows.ahead().collect().await.unwrap();
        let found: Vec<i64> =
            found.iter().map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0)).collect();
        assert_eq!(found, (0..9).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_ahead_is_not_whole() {
        let falls =
            futures::stream::iter(0..2).map(|n| if n == 0 { Ok(batch(n)) } else { panic!("it falls") });
        let mut rows = Rows::new(batch(0).schema(), falls).ahead();
        assert!(rows.next().await.unwrap().is_ok());
        assert!(rows.next().await.unwrap().is_err());
        assert!(rows.next().await.is_none());
    }

    #[tokio::test]
    async fn rows_ahead_that_are_dropped_stop_the_question() {
        let (held, dropped) = oneshot::channel::<()>();
        let endless = futures::stream::repeat_with(move || {
            let _ = &held;
            Ok(batch(1))
        });
        let mut rows = Rows::new(batch(0).schema(), endless).ahead();
        assert!(rows.next().await.unwrap().is_ok());
        drop(rows);
        assert!(dropped.await.is_err(), "its sender is gone");
    }
}
