//! How a table of ours is scanned: by a future that is boxed where no lifetime is in sight; and what our table functions
//! have in common.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::common::Result;
use datafusion::common::internal_err;
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;

/// A plan to come.
pub(crate) type Planned<'a> = BoxFuture<'a, Result<Arc<dyn ExecutionPlan>>>;

/// What is asked of a table.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) state: &'a dyn Session,
    /// The places of the columns; all, if there are none.
    pub(crate) projection: Option<&'a Vec<usize>>,
    pub(crate) filters: &'a [Expr],
    pub(crate) limit: Option<usize>,
}

impl<'a> Wanted<'a> {
    /// The whole session, as answering a question takes.
    pub(crate) fn session(&self) -> Result<&'a SessionState> {
        match self.state.as_any().downcast_ref() {
            Some(state) => Ok(state),
            None => internal_err!("a question is asked in a session"),
        }
    }
}

/// The text that a table function of ours is called with, if that is all that it is called with.
pub(crate) fn constant_text(arguments: &[Expr]) -> Option<&str> {
    match arguments {
        [Expr::Literal(value, _)] => value.try_as_str().flatten(),
        _ => None,
    }
}

/// `TableProvider::scan` by a method that takes what is [`Wanted`] and gives a [`Planned`].
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
            self.$method($crate::query::Wanted { state, projection, filters, limit })
        }
    };
}

pub(crate) use scan_by;
