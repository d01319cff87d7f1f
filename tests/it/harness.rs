//! `Store`: a data directory of its own for one test, and the binary run on it.

use std::ffi::OsStr;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread::JoinHandle;

use tempfile::TempDir;

/// A fresh folder with room for a data directory and files.
pub(crate) struct Store {
    folder: TempDir,
}

/// What a run of the binary left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The standard output of a run that must have gone well.
    #[track_caller]
    pub(crate) fn fine(self) -> String {
        assert_eq!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// The standard error of a run that must have ended with this code.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self.stderr
    }
}

/// A file of the project.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

impl Store {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    /// A store with the events that most tests use: `seatReserved`, and `pageView` enabled.
    pub(crate) fn with_seats() -> Self {
        let store = Self::new();
        store
            .sql(
                "CREATE EVENT seatReserved TITLE 'Seat reserved' (venueId NUMERIC, total DECIMAL, startsAt DATETIME, \
                 isMember BOOLEAN, seats LIST (row STRING, price DECIMAL), note STRING); ENABLE EVENT pageView",
            )
            .fine();
        store
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder of the store.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_milepost"));
        command.arg("--data").arg(self.path("data")).arg("--threads").arg("2").args(args);
        command.env_remove("MILEPOST_DATA").env("NO_COLOR", "1").current_dir(self.folder.path());
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        self.run_with(args, "")
    }

    /// Runs the binary with this on its standard input.
    pub(crate) fn run_with<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &str) -> Run {
        let mut child = self.spawn(args);
        // A binary that refuses its arguments does not read; that is no fault of the test.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn spawn<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Child {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn sql(&self, text: &str) -> Run {
        self.run(["sql", "-c", text])
    }

    /// The answer of one question as CSV without its header.
    #[track_caller]
    pub(crate) fn rows(&self, text: &str) -> Vec<String> {
        let answer = self.run(["sql", "--format", "csv", "-c", text]).fine();
        answer.lines().skip(1).map(str::to_owned).collect()
    }

    /// Imports these lines from standard input under a name that tells runs apart.
    pub(crate) fn import(&self, source: &str, lines: &str) -> Run {
        self.run_with(["import", "--quiet", "--source", source, "-"], lines)
    }
}

/// One `seatReserved` line.
pub(crate) fn seat(event_id: &str, person: &str, time: &str, properties: &str) -> String {
    format!(
        "{{\"definitionId\":\"seatReserved\",\"eventId\":\"{event_id}\",\"identifier\":{{\"id\":\"{person}\",\"type\":\"EXTERNAL_ID\"}},\
         \"occurredTime\":\"{time}\",\"properties\":{properties}}}\n"
    )
}

/// A server on a port of its own, over the store of a test; told to end when dropped.
pub(crate) struct Server {
    child: Child,
    log: Option<JoinHandle<String>>,
    pub(crate) address: String,
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn fine(self) -> String {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.body
    }

    /// The body of a refusal with this status.
    #[track_caller]
    pub(crate) fn fails(self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        self.body
    }
}

impl Server {
    pub(crate) fn start(store: &Store) -> Self {
        Self::start_with(store, &[])
    }

    pub(crate) fn start_with(store: &Store, args: &[&str]) -> Self {
        let mut line = vec!["serve", "--listen", "127.0.0.1:0"];
        if !args.contains(&"--postgres") {
            line.extend(["--postgres", ""]);
        }
        line.extend(args);
        let door = store.path("data").join("SERVER");
        // One that was killed has left its own.
        drop(std::fs::remove_file(&door));
        let mut child = store.spawn(line);
        // Read while it runs: a pipe holds some hundred lines, and whoever writes the next one waits.
        let mut pipe = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        for _ in 0..600 {
            if let Ok(text) = std::fs::read_to_string(&door) {
                let address = text.split("http://").nth(1).unwrap().split('"').next().unwrap().to_owned();
                return Self { child, log: Some(log), address };
            }
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        drop(child.kill());
        drop(child.wait());
        panic!("the server did not start: {}", log.join().unwrap());
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends bytes as they are and reads until the server closes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // A server that has answered already need not read the rest.
        drop(stream.write_all(bytes));
        let mut all = Vec::new();
        drop(stream.read_to_end(&mut all));
        let text = String::from_utf8_lossy(&all).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { unchunked(body) } else { body.to_owned() };
        Answer { status, head: head.to_owned(), body }
    }

    /// One request; `headers` are whole lines.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        self.raw(&[request.as_bytes(), body].concat())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &["Content-Type: application/json"], body)
    }

    pub(crate) fn sql(&self, text: &str) -> Answer {
        self.ask("POST", "/v1/sql", &["Content-Type: text/plain"], text)
    }

    /// Ends it without a word, as a power cut does.
    pub(crate) fn kill(&self) {
        let sent = Command::new("kill").arg("-KILL").arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// Asks it to end.
    pub(crate) fn end(&self) {
        end(&self.child);
    }

    /// Asks it to end, waits until it has, and gives what it logged.
    pub(crate) fn stop(mut self) -> String {
        end(&self.child);
        let log = self.log.take().unwrap().join().unwrap();
        assert!(self.child.wait().unwrap().success(), "{log}");
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already when a test has stopped it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The signal that service managers send.
fn end(child: &Child) {
    let sent = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status();
    assert!(sent.unwrap().success());
}

fn unchunked(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        out.push_str(rest.get(..size).unwrap_or(""));
        body = rest.get(size + 2..).unwrap_or("");
    }
    out
}
