//! `Store`: a data directory of its own for one test, and the binary run on it.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

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
