//! `milepost tail`: events as the running server stores them, one line of JSON each, until Ctrl-C.

use futures::StreamExt;
use serde_json::Value;

use crate::cli::args::Tail;
use crate::cli::exit::answer;
use crate::cli::exit::say;
use crate::cli::remote::Remote;
use crate::cli::sql::interruptible;
use crate::engine::Config;
use crate::error::Error;
use crate::error::Result;

pub(crate) async fn run(config: &Config, tail: Tail) -> Result<()> {
    let Some(remote) = Remote::of(&config.data)? else {
        return Err(Error::unavailable(format!(
            "no server has \"{}\" open, so no event comes; `milepost serve` starts one",
            config.data.display()
        )));
    };
    interruptible(watch(&remote, &tail.definitions)).await
}

async fn watch(remote: &Remote, definitions: &[String]) -> Result<()> {
    let mut parts = remote.tail(definitions).await?;
    let mut read = Reader::default();
    while let Some(part) = parts.next().await {
        let part =
            part.map_err(|error| Error::unavailable("the server's answer broke off").with_source(error))?;
        for told in read.take(&part) {
            match told {
                Told::Event(line) => answer(&line)?,
                Told::Missed(count) => say(&format!("{count} events came faster than they were read\n")),
            }
        }
    }
    say("the server has ended\n");
    Ok(())
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Event(String),
    Missed(u64),
}

/// Reads server-sent events as they come in parts.
#[derive(Debug, Default)]
struct Reader {
    rest: Vec<u8>,
    missed: bool,
}

impl Reader {
    fn take(&mut self, part: &[u8]) -> Vec<Told> {
        self.rest.extend_from_slice(part);
        let mut told = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            if let Some(name) = line.strip_prefix("event: ") {
                self.missed = name == "missed";
            } else if let Some(data) = line.strip_prefix("data: ") {
                told.push(match std::mem::take(&mut self.missed) {
                    false => Told::Event(data.to_owned()),
                    true => {
                        let value: Value = serde_json::from_str(data).unwrap_or_default();
                        Told::Missed(value["missed"].as_u64().unwrap_or_default())
                    }
                });
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_however_they_are_cut() {
        let all = b": watching\n\nid: 1\ndata: {\"seq\":1}\n\nevent: missed\ndata: {\"missed\":4}\n\ndata: {\"seq\":6}\n\n";
        let expected =
            [Told::Event("{\"seq\":1}".to_owned()), Told::Missed(4), Told::Event("{\"seq\":6}".to_owned())];
        for size in [1, 3, all.len()] {
            let mut reader = Reader::default();
            let told: Vec<Told> = all.chunks(size).flat_map(|part| reader.take(part)).collect();
            assert_eq!(told, expected, "{size}");
        }
    }
}
