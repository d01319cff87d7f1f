//! The Postgres wire: simple and prepared statements, read-only, for BI tools and drivers. A connection has views and
//! settings of its own; its password is a key.

mod catalog;
mod desk;
mod habit;
mod literal;
mod told;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Sink;
use futures::SinkExt;
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
use pgwire::api::results::Response;
use pgwire::api::stmt::QueryParser;
use pgwire::api::stmt::StoredStatement;
use pgwire::api::store::PortalStore;
use pgwire::error::PgWireError;
use pgwire::error::PgWireResult;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::PgWireFrontendMessage;
use pgwire::messages::startup::Authentication;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::server::app::App;
use crate::server::listen::stopped;
use crate::server::postgres::desk::Answers;
use crate::server::postgres::desk::Desk;
use crate::server::postgres::literal::Parameter;
use crate::server::postgres::literal::fill_in;
use crate::server::postgres::told::Told;
use crate::server::postgres::told::fields;
use crate::server::postgres::told::respond;
use crate::server::postgres::told::wrong_parameter;
use crate::server::watch::Counted;

/// Accepts connections until told to stop; then cuts them off, as nothing that they do is lost.
pub(crate) async fn serve(
    app: App,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(app.settings.connections));
    let manager = Arc::new(ConnectionManager::new());
    let pids = Arc::new(RandomPidSecretKeyGenerator::default());
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
        let (app, manager, pids, tls) = (app.clone(), Arc::clone(&manager), Arc::clone(&pids), tls.clone());
        open.spawn(async move {
            let _place = place;
            let counted = app.clone();
            let _counted = Counted::of(&counted.metrics.postgres);
            let answers = Arc::new(Desk::new(app));
            let connection = Connection { answers, manager, pids, begun: Mutex::default() };
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
    answers: Arc<dyn Answers>,
    manager: Arc<ConnectionManager>,
    pids: Arc<RandomPidSecretKeyGenerator>,
    /// What was run for the sake of its columns, by portal and with its text, until its rows are asked for.
    begun: Mutex<HashMap<String, (String, Told)>>,
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
        Arc::new(DefaultCancelHandler::new(Arc::clone(&self.0.manager)))
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
        match message {
            PgWireFrontendMessage::Startup(startup) => {
                protocol_negotiation(client, &startup).await?;
                save_startup_parameters_to_metadata(client, &startup);
                if !self.answers.is_open() {
                    client.set_state(PgWireConnectionState::AuthenticationInProgress);
                    let ask = PgWireBackendMessage::Authentication(Authentication::CleartextPassword);
                    client.send(ask).await?;
                    return Ok(());
                }
            }
            PgWireFrontendMessage::PasswordMessageFamily(given) => {
                let given = given.into_password()?;
                let user = client.metadata().get(METADATA_USER).cloned().unwrap_or_default();
                self.answers.admit(user, &given.password)?;
            }
            _ => return Ok(()),
        }
        let (pid, secret) = self.pids.generate(&*client);
        client.set_pid_and_secret_key(pid, secret.clone());
        let (handle, guard) = self.manager.register(pid, secret);
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
        let told = self.answers.run_all(query).await?;
        told.into_iter().map(|told| respond(told, &Format::UnifiedText)).collect()
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
        let fields = match self.answers.run(&text).await? {
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
        let told = self.answers.run(&text).await?;
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
            _ => self.answers.run(&text).await?,
        };
        respond(told, &portal.result_column_format)
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
