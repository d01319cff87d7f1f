//! How a table of ours is scanned: by a future that is boxed where no lifetime is in sight.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;

/// A plan to come.
pub(crate) type Planned<'a> = BoxFuture<'a, Result<Arc<dyn ExecutionPlan>>>;

/// `TableProvider::scan` by a method that takes the same and gives a [`Planned`].
///
/// As an `async fn` in the trait, each scan would be checked anew for being `Send`, down to every kind of expression
/// that a plan may hold: the compiler keeps such findings only where no lifetime has bounds. That is four seconds a
/// table.
macro_rules! scan_by {
    ($method:ident) => {
        fn scan<'own, 'state, 'columns, 'filters, 'plan>(
            &'own self,
            state: &'state dyn Session,
            projection: Option<&'columns Vec<usize>>,
            filters: &'filters [Expr],
            limit: Option<usize>,
        ) -> $crate::query::Planned<'plan>
        where
            'own: 'plan,
            'state: 'plan,
            'columns: 'plan,
            'filters: 'plan,
            Self: 'plan,
        {
            self.$method(state, projection, filters, limit)
        }
    };
}

pub(crate) use scan_by;
