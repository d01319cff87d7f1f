//! Connections: so many at a time, heads of requests in time, TLS if there is a certificate, and an orderly end.

use std::convert::Infallible;
use std::fs::File;
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::engine::ServerSettings;
use crate::error::Context;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::server::app::App;
use crate::server::watch::Counted;

/// The most bytes that one connection reads ahead; the head of a request must fit.
const BUFFER: usize = 64 << 10;
const HEADERS: usize = 100;

/// Opens a listening socket.
///
/// # Errors
/// `Invalid` when the address is none, `Unavailable` when somebody else has it.
pub(crate) async fn bind(address: &str, setting: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => Error::unavailable(format!(
            "\"{address}\" is taken by another program; choose another address with the setting {setting}"
        )),
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::NotFound => Error::invalid(format!(
            "\"{address}\" is no address to listen on; the setting {setting} is a host and a port, such as \
             127.0.0.1:6453"
        )),
        _ => Error::new(Kind::Unavailable, format!("could not listen on \"{address}\"")).with_source(error),
    })
}

/// What turns connections into encrypted ones, if there is a certificate.
pub(crate) fn tls(settings: &ServerSettings) -> Result<Option<TlsAcceptor>> {
    let Some((chain, key)) = &settings.tls else { return Ok(None) };
    let doing = |path: &Path| format!("could not read \"{}\" as PEM", path.display());
    let open = |path: &Path| File::open(path).map(BufReader::new).context(Kind::Invalid, || doing(path));
    let chain_of = CertificateDer::pem_reader_iter(open(chain)?)
        .collect::<Result<Vec<_>, _>>()
        .context(Kind::Invalid, || doing(chain))?;
    let key_of = PrivateKeyDer::from_pem_reader(open(key)?).context(Kind::Invalid, || doing(key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain_of, key_of))
        .context(Kind::Invalid, || "the certificate and its key do not fit together".to_owned())?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// Serves until told to stop, then lets what runs end.
pub(crate) async fn serve(
    app: App,
    router: Router,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(app.settings.connections));
    // Dropped by the last connection; see the end.
    let (alive, mut all_gone) = tokio::sync::mpsc::channel::<Infallible>(1);
    loop {
        let place = tokio::select! {
            () = stopped(&mut stop) => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, _) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // No files left, mostly: those that are connected will end.
                tracing::warn!("could not accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (app, router, tls) = (app.clone(), router.clone(), tls.clone());
        let (stop, alive) = (stop.clone(), alive.clone());
        tokio::spawn(async move {
            let _held = (place, alive);
            let _counted = Counted::of(&app.metrics.connections);
            open(&app, router, stream, tls, stop).await;
        });
    }
    drop((listener, alive));
    if tokio::time::timeout(app.settings.shutdown_time, all_gone.recv()).await.is_err() {
        tracing::warn!("requests that took too long were cut off");
    }
}

async fn open(
    app: &App,
    router: Router,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
) {
    // Small answers go out at once; the error is that of a connection which is gone already.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return converse(app, router, stream, stop).await };
    match tokio::time::timeout(app.settings.header_time, tls.accept(stream)).await {
        Ok(Ok(stream)) => converse(app, router, stream, stop).await,
        Ok(Err(error)) => tracing::debug!("no TLS with a client: {error}"),
        Err(_) => tracing::debug!("no TLS with a client in time"),
    }
}

/// One connection, request by request.
async fn converse(
    app: &App,
    router: Router,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut stop: watch::Receiver<bool>,
) {
    let service = TowerToHyperService::new(router);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(app.settings.header_time)
        .max_buf_size(BUFFER)
        .max_headers(HEADERS);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stopped(&mut stop) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}

/// Returns when the server is to stop, or nobody is left who could say so.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Where a program on this machine reaches a socket.
pub(crate) fn local_url(address: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    let host = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => "127.0.0.1".to_owned(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => "[::1]".to_owned(),
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    format!("{scheme}://{host}:{}", address.port())
}
