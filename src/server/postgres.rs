//! The Postgres wire: simple and prepared statements, read-only, for BI tools and drivers. A connection has views and
//! settings of its own; its password is a key.

mod catalog;
mod habit;
mod literal;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::StringArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::record_batch::RecordBatchOptions;
use arrow_pg::datatypes::arrow_schema_to_pg_fields;
use arrow_pg::row_encoder::RowEncoder;
use async_trait::async_trait;
use bytes::Bytes;
use futures::Sink;
use futures::SinkExt;
use futures::StreamExt;
use futures::stream;
use pgwire::api::ClientInfo;
use pgwire::api::ClientPortalStore;
use pgwire::api::ConnectionManager;
use pgwire::api::METADATA_USER;
use pgwire::api::PgWireConnectionState;
use pgwire::api::PgWireServerHandlers;
use pgwire::api::PidSecretKeyGenerator;
use pgwire::api::RandomPidSecretKeyGenerator;
use pgwire::api::Type;
use pgwire::api::auth::DefaultServerParameterProvider;
use pgwire::api::auth::StartupHandler;
use pgwire::api::auth::finish_authentication;
use pgwire::api::auth::protocol_negotiation;
use pgwire::api::auth::save_startup_parameters_to_metadata;
use pgwire::api::cancel::CancelHandler;
use pgwire::api::cancel::DefaultCancelHandler;
use pgwire::api::portal::Format;
use pgwire::api::portal::Portal;
use pgwire::api::query::ExtendedQueryHandler;
use pgwire::api::query::SimpleQueryHandler;
use pgwire::api::results::DescribePortalResponse;
use pgwire::api::results::DescribeStatementResponse;
use pgwire::api::results::FieldInfo;
use pgwire::api::results::QueryResponse;
use pgwire::api::results::Response;
use pgwire::api::results::Tag;
use pgwire::api::stmt::QueryParser;
use pgwire::api::stmt::StoredStatement;
use pgwire::api::store::PortalStore;
use pgwire::error::ErrorInfo;
use pgwire::error::PgWireError;
use pgwire::error::PgWireResult;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::PgWireFrontendMessage;
use pgwire::messages::startup::Authentication;
use tokio::net::TcpListener;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::timeout_at;
use tokio_rustls::TlsAcceptor;

use crate::engine::Answer;
use crate::engine::Engine;
use crate::engine::Rows;
use crate::engine::Scope;
use crate::engine::rows::cell::Cells;
use crate::error::Context;
use crate::error::Error;
use crate::error::Place;
use crate::server::access;
use crate::server::app::App;
use crate::server::fault::Cause;
use crate::server::fault::Fault;
use crate::server::listen::stopped;
use crate::server::postgres::literal::Parameter;
use crate::server::postgres::literal::fill_in;
use crate::server::sql::needed;
use crate::server::watch::Counted;
use crate::sql::Statement;

/// What all connections share.
struct Shared {
    app: App,
    manager: Arc<ConnectionManager>,
    pids: RandomPidSecretKeyGenerator,
}

/// Accepts connections until told to stop; then cuts them off, as nothing that they do is lost.
pub(crate) async fn serve(
    app: App,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(app.settings.connections));
    let shared = Arc::new(Shared {
        app,
        manager: Arc::new(ConnectionManager::new()),
        pids: RandomPidSecretKeyGenerator::default(),
    });
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        // A client without a place learns it at once, as Postgres has it.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (shared, tls) = (Arc::clone(&shared), tls.clone());
        open.spawn(async move {
            let _place = place;
            let app = shared.app.clone();
            let _counted = Counted::of(&app.metrics.postgres);
            let engine = app.engine.apart();
            let connection = Connection { shared, engine, begun: Mutex::default() };
            let ended = pgwire::tokio::process_socket(stream, tls, Handlers(Arc::new(connection))).await;
            if let Err(error) = ended {
                tracing::debug!("a Postgres connection ended: {error}");
            }
        });
        while open.try_join_next().is_some() {}
    }
    open.shutdown().await;
}

/// One client.
struct Connection {
    shared: Arc<Shared>,
    engine: Engine,
    /// What was run for the sake of its columns, by portal and with its text, until its rows are asked for.
    begun: Mutex<HashMap<String, (String, Told)>>,
}

/// What a statement answered.
enum Told {
    Rows(Begun),
    Done(Response),
}

/// Rows whose first batch is there, in types that the wire has.
struct Begun {
    schema: SchemaRef,
    first: Option<RecordBatch>,
    rest: Rows,
    turn: OwnedSemaphorePermit,
}

struct Handlers(Arc<Connection>);

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::clone(&self.0)
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::clone(&self.0)
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::clone(&self.0)
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::new(DefaultCancelHandler::new(Arc::clone(&self.0.shared.manager)))
    }
}

#[async_trait]
impl StartupHandler for Connection {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let app = &self.shared.app;
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                if !app.open {
                    client.set_state(PgWireConnectionState::AuthenticationInProgress);
                    let ask = PgWireBackendMessage::Authentication(Authentication::CleartextPassword);
                    client.send(ask).await?;
                    return Ok(());
                }
            }
            PgWireFrontendMessage::PasswordMessageFamily(given) => {
                let given = given.into_password()?;
                let user = client.metadata().get(METADATA_USER).cloned().unwrap_or_default();
                let caller =
                    access::holder(app, &given.password).map_err(|_| PgWireError::InvalidPassword(user))?;
                caller.may(&[Scope::Query]).map_err(|fault| refused(&fault, ""))?;
            }
            _ => return Ok(()),
        }
        let (pid, secret) = self.shared.pids.generate(&*client);
        client.set_pid_and_secret_key(pid, secret.clone());
        let (handle, guard) = self.shared.manager.register(pid, secret);
        client.session_extensions().insert(handle);
        client.session_extensions().insert(guard);
        let mut parameters = DefaultServerParameterProvider::default();
        parameters.is_superuser = false;
        parameters.default_transaction_read_only = true;
        finish_authentication(client, &parameters).await
    }
}

#[async_trait]
impl SimpleQueryHandler for Connection {
    async fn do_query<C>(&self, _client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statements = self.engine.parse(query).map_err(|error| refused(&Fault::from(error), query))?;
        let mut answers = Vec::new();
        for statement in statements {
            let told = self.tell(&statement).await.map_err(|fault| refused(&fault, query))?;
            answers.push(respond(told, &Format::UnifiedText)?);
        }
        Ok(answers)
    }
}

/// Keeps statements as the texts that they are: parameters are filled in when they are known.
struct Texts;

#[async_trait]
impl QueryParser for Texts {
    type Statement = String;

    async fn parse_sql<C>(&self, _: &C, sql: &str, _: &[Option<Type>]) -> PgWireResult<Option<String>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        Ok(Some(sql.to_owned()))
    }

    fn get_parameter_types(&self, _: &String) -> PgWireResult<Vec<Type>> {
        Ok(Vec::new())
    }

    fn get_result_schema(&self, _: &String, _: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl ExtendedQueryHandler for Connection {
    type Statement = String;
    type QueryParser = Texts;

    fn query_parser(&self) -> Arc<Texts> {
        Arc::new(Texts)
    }

    async fn do_describe_statement<C>(
        &self,
        _client: &mut C,
        target: &StoredStatement<String>,
    ) -> PgWireResult<DescribeStatementResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = String>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let count = literal::count(&target.statement).max(target.parameter_types.len());
        let text = fill_in(&target.statement, &vec![Parameter::Null; count]).map_err(wrong_parameter)?;
        let types = (0..count).map(|at| {
            let given = target.parameter_types.get(at).and_then(Clone::clone);
            given.filter(|kind| *kind != Type::UNKNOWN).unwrap_or(Type::TEXT)
        });
        let fields = match self.run(&text).await? {
            Told::Rows(begun) => fields(&begun.schema, &Format::UnifiedText)?,
            Told::Done(_) => Vec::new(),
        };
        Ok(DescribeStatementResponse::new(types.collect(), fields))
    }

    async fn do_describe_portal<C>(
        &self,
        _client: &mut C,
        target: &Portal<String>,
    ) -> PgWireResult<DescribePortalResponse>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = String>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let text = filled(target)?;
        let told = self.run(&text).await?;
        let fields = match &told {
            Told::Rows(begun) => fields(&begun.schema, &target.result_column_format)?,
            Told::Done(_) => Vec::new(),
        };
        let mut held = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(target.name.clone(), (text, told));
        Ok(DescribePortalResponse::new(fields))
    }

    async fn do_query<C>(
        &self,
        _client: &mut C,
        portal: &Portal<String>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = String>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let text = filled(portal)?;
        let held = self.begun.lock().unwrap_or_else(PoisonError::into_inner).remove(&portal.name);
        let told = match held {
            Some((of, told)) if of == text => told,
            _ => self.run(&text).await?,
        };
        respond(told, &portal.result_column_format)
    }
}

impl Connection {
    /// Runs one statement, given as its text.
    async fn run(&self, text: &str) -> PgWireResult<Told> {
        let statements = self.engine.parse(text).map_err(|error| refused(&Fault::from(error), text))?;
        match statements.as_slice() {
            [] => Ok(Told::Done(Response::EmptyQuery)),
            [statement] => self.tell(statement).await.map_err(|fault| refused(&fault, text)),
            _ => Err(wrong_parameter("a prepared statement is one statement".to_owned())),
        }
    }

    async fn tell(&self, statement: &Statement) -> Result<Told, Fault> {
        let app = &self.shared.app;
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
        let Some(asked) = asked.first() else { return Ok(Told::Done(Response::EmptyQuery)) };
        let too_long = |_| Fault::new(Cause::Timeout, "the question took too long, so it was stopped");
        let answer = async {
            if known.is_none() && catalog::is_asked(&asked.text) {
                return Box::pin(catalog::answer(&self.engine, &asked.text)).await.map(Answer::Rows);
            }
            self.engine.execute(asked).await
        };
        let answer = timeout_at(deadline, answer).await.map_err(too_long)??;
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

/// The statement of a portal with its parameters.
fn filled(portal: &Portal<String>) -> PgWireResult<String> {
    let types = &portal.statement.parameter_types;
    let read = |(at, bytes): (usize, &Option<Bytes>)| {
        let kind = types.get(at).and_then(Clone::clone).unwrap_or(Type::UNKNOWN);
        Parameter::read(bytes.as_deref(), &kind, portal.parameter_format.is_binary(at))
    };
    let given: Result<Vec<_>, _> = portal.parameters.iter().enumerate().map(read).collect();
    given.and_then(|given| fill_in(&portal.statement.statement, &given)).map_err(wrong_parameter)
}

fn wrong_parameter(message: String) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".to_owned(), "22023".to_owned(), message)))
}

/// A fault as Postgres tells it; the place is counted in characters of the text.
fn refused(fault: &Fault, text: &str) -> PgWireError {
    let code = match fault.cause {
        Cause::NotFound => "42P01",
        Cause::Forbidden | Cause::Unauthorized => "42501",
        Cause::Conflict => "23505",
        Cause::Exhausted => "53200",
        Cause::Timeout => "57014",
        Cause::Unavailable | Cause::TooMany => "53300",
        Cause::Internal => "XX000",
        _ => "42601",
    };
    if fault.cause == Cause::Internal {
        tracing::error!("{fault}");
    }
    let mut info = ErrorInfo::new("ERROR".to_owned(), code.to_owned(), fault.message.clone());
    info.position = fault.place.map(|place| position(text, place).to_string());
    PgWireError::UserError(Box::new(info))
}

fn position(text: &str, place: Place) -> u64 {
    let before = usize::try_from(place.line - 1).unwrap_or(usize::MAX);
    let lines: u64 = text.split('\n').take(before).map(|line| line.chars().count() as u64 + 1).sum();
    lines + place.column
}

fn fields(schema: &Schema, format: &Format) -> PgWireResult<Vec<FieldInfo>> {
    arrow_schema_to_pg_fields(schema, format, None)
}

fn respond(told: Told, format: &Format) -> PgWireResult<Response> {
    let begun = match told {
        Told::Done(response) => return Ok(response),
        Told::Rows(begun) => begun,
    };
    let fields = Arc::new(fields(&begun.schema, format)?);
    let (shown, schema, turn) = (Arc::clone(&fields), begun.schema, begun.turn);
    let batches = stream::iter(begun.first.map(Ok)).chain(begun.rest);
    let rows = batches.flat_map(move |batch| {
        // Another question may begin when this one has ended.
        let _turn = &turn;
        let encoded = batch.and_then(|batch| flat(&batch, &schema)).map(|batch| {
            let mut encoder = RowEncoder::new(batch, Arc::clone(&shown));
            std::iter::from_fn(move || encoder.next_row()).collect::<Vec<_>>()
        });
        stream::iter(encoded.unwrap_or_else(|error| vec![Err(refused(&Fault::from(error), ""))]))
    });
    Ok(Response::Query(QueryResponse::new(fields, rows)))
}

/// The type in which the wire shows a type of ours: lists and structs are JSON.
fn flat_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Dictionary(_, value) => flat_type(value),
        DataType::UInt64 => DataType::Int64,
        DataType::Decimal256(_, scale) => DataType::Decimal128(38, *scale),
        kind if kind.is_nested() || kind.is_null() => DataType::Utf8,
        other => other.clone(),
    }
}

fn flat_schema(schema: &Schema) -> Schema {
    let flat =
        schema.fields().iter().map(|field| Field::new(field.name(), flat_type(field.data_type()), true));
    Schema::new(flat.collect::<Vec<_>>())
}

fn flat(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let doing = || "could not show rows on the Postgres wire".to_owned();
    let cells = Cells::of(batch)?;
    let texts = cells.columns()?;
    let columns = batch.columns().iter().zip(schema.fields()).zip(&texts).map(|((array, field), text)| {
        if array.data_type() == field.data_type() {
            return Ok(ArrayRef::clone(array));
        }
        if !array.data_type().is_nested() {
            return cast(array, field.data_type()).internal(doing);
        }
        let rows = (0..array.len()).map(|row| {
            (!text.is_null(row)).then(|| {
                let mut out = String::new();
                text.text(row, &mut out);
                out
            })
        });
        Ok(Arc::new(rows.collect::<StringArray>()) as ArrayRef)
    });
    let columns = columns.collect::<Result<Vec<_>, Error>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).internal(doing)
}
