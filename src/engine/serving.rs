//! Where the server is that has a data directory open: a file in it, so that commands which find the directory locked
//! talk to the server instead.
//!
//! The file is for its owner only, as it holds a token that lets the owner's commands in, whatever keys there are.

use std::fs;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::engine::Engine;
use crate::error::Context;
use crate::error::Result;
use crate::storage::Layout;

/// How a command on the same machine reaches the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// Where it listens, such as `http://127.0.0.1:6453`.
    pub url: String,
    /// Lets its bearer do everything, as long as this server runs.
    pub token: String,
}

impl Door {
    /// The door of the server that has this directory open; none when no server says that it has.
    pub fn of(data: &Path) -> Result<Option<Self>> {
        let path = Layout::new(data).server();
        let doing = || format!("could not read where the server listens from \"{}\"", path.display());
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(serde_json::from_str(&text).unavailable(doing)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).unavailable(doing),
        }
    }
}

/// Stands as long as the server does; taken away when dropped.
#[derive(Debug)]
pub struct Announcement(PathBuf);

impl Engine {
    /// Says in the data directory where the server listens.
    pub fn announce(&self, door: &Door) -> Result<Announcement> {
        let path = self.storage().layout().server();
        let doing = || format!("could not say where the server listens in \"{}\"", path.display());
        let text = serde_json::to_string(door).internal(doing)?;
        let part = path.with_extension("part");
        drop(fs::remove_file(&part));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options
            .open(&part)
            .and_then(|mut file| writeln!(file, "{text}"))
            .and_then(|()| fs::rename(&part, &path))
            .unavailable(doing)?;
        Ok(Announcement(path))
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // What is left behind says a place where nobody listens, which whoever reads it finds out.
        drop(fs::remove_file(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Config;

    #[tokio::test]
    async fn a_server_is_found_while_it_runs_and_only_by_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(Config { data: dir.path().to_owned(), ..Config::default() }).await.unwrap();
        assert_eq!(Door::of(dir.path()).unwrap(), None);
        let door = Door { url: "http://127.0.0.1:6453".to_owned(), token: "t".to_owned() };
        let announced = engine.announce(&door).unwrap();
        assert_eq!(Door::of(dir.path()).unwrap(), Some(door));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(dir.path().join("SERVER")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        drop(announced);
        assert_eq!(Door::of(dir.path()).unwrap(), None);
    }
}
