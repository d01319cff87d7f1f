//! A bucket of one's own that speaks S3 and STS (moto), and a proxy before it that drops, delays, truncates and lies.

mod exports;
mod lake;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// A moto server that only this test uses.
#[derive(Debug)]
pub(crate) struct Moto {
    process: Child,
    pub(crate) address: String,
}

impl Moto {
    pub(crate) fn start(python: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(python);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let moto = Self { process, address: format!("127.0.0.1:{port}") };
        for _ in 0..600 {
            if TcpStream::connect(&moto.address).is_ok() {
                return moto;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("moto did not start");
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on every request needs a signature and a permission.
    pub(crate) fn check_signatures(&self) {
        self.trust("0");
    }

    /// From now on nobody is asked who they are: moto takes the signature of a list for wrong.
    pub(crate) fn trust_all(&self) {
        self.trust("inf");
    }

    /// The requests that need no signature from now on.
    fn trust(&self, requests: &str) {
        let length = requests.len();
        let body = format!(
            "POST /moto-api/reset-auth HTTP/1.1\r\nHost: moto\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{requests}"
        );
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("200"), "{answer}");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// What the proxy does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The line breaks before the bucket hears of it.
    DropBefore,
    /// The bucket does it, and its answer is lost.
    LostAnswer,
    /// 500, nothing done.
    Broken,
    /// 500, but done.
    DoneAndBroken,
    /// 200, nothing done.
    Lie,
    /// 200 with an error in its body, nothing done.
    FineWithError,
    /// Only half of the body arrives, and 200.
    Torn,
    /// 400: the token has expired.
    Expired,
    /// 403.
    Denied,
    /// Done, after a while.
    Delayed,
}

type Decide = dyn Fn(&Request) -> Fault + Send + Sync;

/// Stands before a server; dropped with the test.
pub(crate) struct Proxy {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Proxy {
    pub(crate) fn start(moto: &Moto, decide: impl Fn(&Request) -> Fault + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (decide, log, behind): (Arc<Decide>, _, _) =
            (Arc::new(decide), Arc::clone(&seen), moto.address.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (decide, log, behind) = (Arc::clone(&decide), Arc::clone(&log), behind.clone());
                // A client that is killed breaks its line; that is no fault of the test.
                thread::spawn(move || drop(serve(stream, &behind, decide.as_ref(), &log)));
            }
        });
        Self { url, seen }
    }

    /// A proxy that does something to the first request for each object that is to be put, and to no other.
    pub(crate) fn once_each(moto: &Moto, fault: Fault) -> Self {
        let met = Mutex::new(BTreeMap::<String, ()>::new());
        Self::start(moto, move |request| {
            let first =
                request.method == "PUT" && met.lock().unwrap().insert(request.path.clone(), ()).is_none();
            if first { fault } else { Fault::None }
        })
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(
    mut client: TcpStream,
    behind: &str,
    decide: &Decide,
    log: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let Some(request) = read_request(&mut client)? else { return Ok(()) };
    log.lock().unwrap().push(request.clone());
    let fault = decide(&request);
    let error = |status: &str, code: &str| {
        let fault = format!("<Error><Code>{code}</Code><Message>as the test says</Message></Error>");
        // STS has a form of its own.
        let fault =
            if request.path == "/" { format!("<ErrorResponse>{fault}</ErrorResponse>") } else { fault };
        let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{fault}");
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    };
    let answer = match fault {
        Fault::DropBefore => return Ok(()),
        Fault::LostAnswer => {
            forward(&request, &request.body, behind)?;
            return Ok(());
        }
        Fault::Broken => error("500 Internal Server Error", "InternalError").into_bytes(),
        Fault::DoneAndBroken => {
            forward(&request, &request.body, behind)?;
            error("500 Internal Server Error", "InternalError").into_bytes()
        }
        Fault::Lie => {
            b"HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
        }
        Fault::FineWithError => error("200 OK\r\nETag: \"x\"", "InternalError").into_bytes(),
        Fault::Torn => forward(&request, &request.body[..request.body.len() / 2], behind)?,
        Fault::Expired => error("400 Bad Request", "ExpiredToken").into_bytes(),
        Fault::Denied => error("403 Forbidden", "AccessDenied").into_bytes(),
        Fault::Delayed => {
            thread::sleep(Duration::from_millis(200));
            forward(&request, &request.body, behind)?
        }
        Fault::None => forward(&request, &request.body, behind)?,
    };
    client.write_all(&answer)
}

/// One request with its body; none when the line is closed.
fn read_request(client: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 << 10];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = bytes[..end + 2].to_vec();
            let text = String::from_utf8_lossy(&head).into_owned();
            let mut first = text.lines().next().unwrap_or_default().split(' ');
            let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
            let length = text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
            });
            let mut body = bytes[end + 4..].to_vec();
            while body.len() < length.unwrap_or(0) {
                match client.read(&mut chunk)? {
                    0 => return Ok(None),
                    read => body.extend_from_slice(&chunk[..read]),
                }
            }
            return Ok(Some(Request { method: method.to_owned(), path: path.to_owned(), head, body }));
        }
        match client.read(&mut chunk)? {
            0 => return Ok(None),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

/// The answer of the server behind, to the request with this body.
fn forward(request: &Request, body: &[u8], behind: &str) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(behind)?;
    let head = String::from_utf8_lossy(&request.head).into_owned();
    let mut out = Vec::new();
    for line in head.lines() {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        match name.as_str() {
            "content-length" => {
                out.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes())
            }
            "connection" => {}
            _ => {
                out.extend_from_slice(line.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
    }
    out.extend_from_slice(b"Connection: close\r\n\r\n");
    out.extend_from_slice(body);
    server.write_all(&out)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    Ok(answer)
}
