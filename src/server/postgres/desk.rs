//! Where a connection's statements are answered: by one engine with views and settings of its own, a turn at a time.

use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use pgwire::api::results::Response;
use pgwire::api::results::Tag;
use pgwire::error::PgWireError;
use pgwire::error::PgWireResult;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::engine::Answer;
use crate::engine::Engine;
use crate::engine::Scope;
use crate::server::access;
use crate::server::app::App;
use crate::server::fault::Cause;
use crate::server::fault::Fault;
use crate::server::postgres::catalog;
use crate::server::postgres::habit;
use crate::server::postgres::told::Begun;
use crate::server::postgres::told::Told;
use crate::server::postgres::told::flat_schema;
use crate::server::postgres::told::refused;
use crate::server::postgres::told::wrong_parameter;
use crate::server::sql::needed;
use crate::sql::Statement;

/// What the wire asks for. A trait, and futures in boxes, because the wire's own traits have bounds on lifetimes, in
/// which the compiler would look through all that an engine holds again and again to see that it may be sent.
pub(super) trait Answers: Send + Sync {
    /// Whether anybody may ask, without a key.
    fn is_open(&self) -> bool;

    /// Whether the password is a key that may ask.
    fn admit(&self, user: String, password: &str) -> PgWireResult<()>;

    /// Runs one statement, given as its text.
    fn run<'a>(&'a self, text: &'a str) -> BoxFuture<'a, PgWireResult<Told>>;

    /// Runs statements one after the other.
    fn run_all<'a>(&'a self, text: &'a str) -> BoxFuture<'a, PgWireResult<Vec<Told>>>;
}

/// Where one connection's statements are answered.
pub(super) struct Desk {
    app: App,
    engine: Engine,
}

impl Answers for Desk {
    fn is_open(&self) -> bool {
        self.app.open
    }

    fn admit(&self, user: String, password: &str) -> PgWireResult<()> {
        let caller = access::holder(&self.app, password).map_err(|_| PgWireError::InvalidPassword(user))?;
        caller.may(&[Scope::Query]).map_err(|fault| refused(&fault, ""))
    }

    fn run<'a>(&'a self, text: &'a str) -> BoxFuture<'a, PgWireResult<Told>> {
        Box::pin(async move {
            match self.parse(text)?.as_slice() {
                [] => Ok(Told::Done(Response::EmptyQuery)),
                [statement] => self.tell(statement).await.map_err(|fault| refused(&fault, text)),
                _ => Err(wrong_parameter("a prepared statement is one statement".to_owned())),
            }
        })
    }

    fn run_all<'a>(&'a self, text: &'a str) -> BoxFuture<'a, PgWireResult<Vec<Told>>> {
        Box::pin(async move {
            let mut told = Vec::new();
            for statement in self.parse(text)? {
                told.push(self.tell(&statement).await.map_err(|fault| refused(&fault, text))?);
            }
            Ok(told)
        })
    }
}

impl Desk {
    pub(super) fn new(app: App) -> Self {
        let engine = app.engine.apart();
        Self { app, engine }
    }

    fn parse(&self, text: &str) -> PgWireResult<Vec<Statement>> {
        self.engine.parse(text).map_err(|error| refused(&Fault::from(error), text))
    }

    async fn tell(&self, statement: &Statement) -> Result<Told, Fault> {
        let app = &self.app;
        let deadline = Instant::now() + app.settings.query_time;
        let words = habit::words(&statement.text);
        if let Some(answer) = habit::done(&words) {
            return Ok(Told::Done(answer));
        }
        if needed(statement) != Scope::Query {
            let message = "the Postgres wire is read-only; changes go over HTTP or the command line";
            return Err(Fault::new(Cause::Forbidden, message));
        }
        let turn = timeout_at(deadline, Arc::clone(&app.queries).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Fault::new(Cause::Unavailable, "too many questions are being answered"));
        };
        let known = habit::known(&words);
        let asked = match &known {
            Some(text) => self.engine.parse(text)?,
            None => vec![statement.clone()],
        };
        let Some(asked) = asked.into_iter().next() else { return Ok(Told::Done(Response::EmptyQuery)) };
        let too_long = |_| Fault::new(Cause::Timeout, "the question took too long, so it was stopped");
        let (engine, of_catalog) = (self.engine.clone(), known.is_none() && catalog::is_asked(&asked.text));
        let answer = async move {
            if of_catalog {
                return Box::pin(catalog::answer(&engine, &asked.text)).await.map(Answer::Rows);
            }
            engine.execute(&asked).await.map(Answer::ahead)
        };
        let answer = timeout_at(deadline, app.asking.run(answer)).await.map_err(too_long)???;
        match answer {
            Answer::Done(_) => Ok(Told::Done(Response::Execution(Tag::new("OK")))),
            Answer::Rows(mut rest) => {
                let schema = Arc::new(flat_schema(&rest.schema()));
                // Waited for here, where a cancellation is heard.
                let first = timeout_at(deadline, rest.next()).await.map_err(too_long)?.transpose()?;
                Ok(Told::Rows(Begun { schema, first, rest, turn }))
            }
        }
    }
}
