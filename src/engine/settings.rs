//! The settings file: one table says each setting's name, its words, how it is read and how it is shown.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use crate::engine::Config;
use crate::engine::parse_bytes;
use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::time::parse_zone;

/// How `milepost serve` serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where HTTP listens.
    pub listen: String,
    /// Where the Postgres wire listens; empty for nowhere.
    pub postgres: String,
    /// Ask for keys on loopback too.
    pub always_keys: bool,
    /// The certificate chain and its key, in PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Web pages that may send events: `https://shop.example`, or `*`.
    pub origins: Vec<String>,
    /// Lines of JSON instead of text.
    pub json_log: bool,
    pub log: String,
    /// The most bytes of a request's body, unpacked.
    pub request_bytes: u64,
    /// The most bytes of large bodies that are held at a time, of all requests together.
    pub bodies_bytes: u64,
    /// How long the head of a request may take to come.
    pub header_time: Duration,
    /// How long a request may take, but for the rows of an answer and streams of events.
    pub request_time: Duration,
    /// How long a question may take, its rows included.
    pub query_time: Duration,
    /// How long a client that streams may be silent.
    pub idle_time: Duration,
    /// How many clients may be connected at a time; others wait.
    pub connections: usize,
    /// How many questions may run at a time; others wait.
    pub queries: usize,
    /// How long requests that run may take to end when the server stops.
    pub shutdown_time: Duration,
    /// How often live segments are looked at, for who entered and left; zero for never.
    pub segments_time: Duration,
    /// Requests a second and key, 0 for any number.
    pub single_rate: u32,
    pub batch_rate: u32,
    /// Keep exports, segments and persons to the rates that are published for them.
    pub published_rates: bool,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:6453".to_owned(),
            postgres: "127.0.0.1:6454".to_owned(),
            always_keys: false,
            tls: None,
            origins: vec!["*".to_owned()],
            json_log: false,
            log: "info".to_owned(),
            request_bytes: 16 << 20,
            bodies_bytes: 256 << 20,
            header_time: Duration::from_secs(10),
            request_time: Duration::from_secs(60),
            query_time: Duration::from_secs(600),
            idle_time: Duration::from_secs(60),
            connections: 10_000,
            queries: 8,
            shutdown_time: Duration::from_secs(30),
            segments_time: Duration::from_secs(60),
            single_rate: 0,
            batch_rate: 0,
            published_rates: false,
        }
    }
}

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// One setting of the file.
struct Setting {
    /// With its section: `server.listen`.
    name: &'static str,
    words: &'static str,
    /// What to show in its place when it is not set.
    example: &'static str,
    show: fn(&Config) -> Option<Value>,
    read: fn(&mut Config, &Value) -> Result<(), String>,
}

const SETTINGS: &[Setting] = &[
    Setting {
        name: "memory",
        words: "How much memory queries may take before they use the disk; half of the machine's when not set.",
        example: "\"4GiB\"",
        show: |config| config.memory.map(|bytes| Value::String(bytes.to_string())),
        read: |config, value| size(value).map(|bytes| config.memory = Some(bytes)),
    },
    Setting {
        name: "threads",
        words: "How many threads may work; all when not set.",
        example: "4",
        show: |config| config.threads.map(count_value),
        read: |config, value| number(value, 1).map(|count| config.threads = Some(count)),
    },
    Setting {
        name: "zone",
        words: "The zone of times that are written without one; such times are refused when it is not set.",
        example: "\"Europe/Zagreb\"",
        show: |config| config.zone.map(|zone| Value::String(zone.to_string())),
        read: |config, value| {
            config.zone = Some(parse_zone(text(value)?).map_err(|error| error.to_string())?);
            Ok(())
        },
    },
    Setting {
        name: "server.listen",
        words: "Where HTTP is served. On any address but loopback every request needs a key.",
        example: "",
        show: |config| Some(Value::String(config.server.listen.clone())),
        read: |config, value| text(value).map(|text| text.clone_into(&mut config.server.listen)),
    },
    Setting {
        name: "server.postgres",
        words: "Where the Postgres wire is served, read-only; \"\" for nowhere.",
        example: "",
        show: |config| Some(Value::String(config.server.postgres.clone())),
        read: |config, value| text(value).map(|text| text.clone_into(&mut config.server.postgres)),
    },
    Setting {
        name: "server.always_keys",
        words: "Ask for a key on loopback too.",
        example: "",
        show: |config| Some(Value::Boolean(config.server.always_keys)),
        read: |config, value| flag(value).map(|flag| config.server.always_keys = flag),
    },
    Setting {
        name: "server.tls_certificate",
        words: "A PEM file with the certificate chain; with tls_key, HTTP and Postgres speak TLS.",
        example: "\"/etc/milepost/fullchain.pem\"",
        show: |config| config.server.tls.as_ref().map(|(chain, _)| path_value(chain)),
        read: |config, value| {
            let path = PathBuf::from(text(value)?);
            config.server.tls.get_or_insert_default().0 = path;
            Ok(())
        },
    },
    Setting {
        name: "server.tls_key",
        words: "A PEM file with the key of the certificate.",
        example: "\"/etc/milepost/key.pem\"",
        show: |config| config.server.tls.as_ref().map(|(_, key)| path_value(key)),
        read: |config, value| {
            let path = PathBuf::from(text(value)?);
            config.server.tls.get_or_insert_default().1 = path;
            Ok(())
        },
    },
    Setting {
        name: "server.origins",
        words: "Web pages that may send events with a web key: [\"https://shop.example\"], or [\"*\"] for all.",
        example: "",
        show: |config| Some(Value::Array(config.server.origins.iter().cloned().map(Value::String).collect())),
        read: |config, value| {
            let Value::Array(items) = value else { return Err("expected a list of strings".to_owned()) };
            config.server.origins =
                items.iter().map(|item| text(item).map(str::to_owned)).collect::<Result<_, _>>()?;
            Ok(())
        },
    },
    Setting {
        name: "server.log",
        words: "What is logged on standard error: error, warn, info, debug, or parts such as \"info,milepost=debug\".",
        example: "",
        show: |config| Some(Value::String(config.server.log.clone())),
        read: |config, value| text(value).map(|text| text.clone_into(&mut config.server.log)),
    },
    Setting {
        name: "server.json_log",
        words: "Log lines of JSON instead of text.",
        example: "",
        show: |config| Some(Value::Boolean(config.server.json_log)),
        read: |config, value| flag(value).map(|flag| config.server.json_log = flag),
    },
    Setting {
        name: "server.segments_seconds",
        words: "How often live segments are looked at, for who entered and left; 0 for only when somebody asks.",
        example: "",
        show: |config| Some(whole(config.server.segments_time.as_secs())),
        read: |config, value| {
            number(value, 0)
                .map(|seconds: u32| config.server.segments_time = Duration::from_secs(seconds.into()))
        },
    },
    Setting {
        name: "limits.request_bytes",
        words: "The most bytes of a request's body, unpacked; streams of events may be longer.",
        example: "",
        show: |config| Some(whole(config.server.request_bytes)),
        read: |config, value| size(value).map(|bytes| config.server.request_bytes = bytes),
    },
    Setting {
        name: "limits.bodies_bytes",
        words: "The most bytes of large bodies that are held at a time, of all requests together; others wait.",
        example: "",
        show: |config| Some(whole(config.server.bodies_bytes)),
        read: |config, value| size(value).map(|bytes| config.server.bodies_bytes = bytes),
    },
    Setting {
        name: "limits.header_seconds",
        words: "How long the head of a request may take to come.",
        example: "",
        show: |config| Some(whole(config.server.header_time.as_secs())),
        read: |config, value| seconds(value).map(|time| config.server.header_time = time),
    },
    Setting {
        name: "limits.request_seconds",
        words: "How long a request may take, but for questions and streams.",
        example: "",
        show: |config| Some(whole(config.server.request_time.as_secs())),
        read: |config, value| seconds(value).map(|time| config.server.request_time = time),
    },
    Setting {
        name: "limits.query_seconds",
        words: "How long a question may take, its rows included.",
        example: "",
        show: |config| Some(whole(config.server.query_time.as_secs())),
        read: |config, value| seconds(value).map(|time| config.server.query_time = time),
    },
    Setting {
        name: "limits.idle_seconds",
        words: "How long a client that streams may be silent.",
        example: "",
        show: |config| Some(whole(config.server.idle_time.as_secs())),
        read: |config, value| seconds(value).map(|time| config.server.idle_time = time),
    },
    Setting {
        name: "limits.connections",
        words: "How many clients may be connected at a time; others wait.",
        example: "",
        show: |config| Some(count_value(config.server.connections)),
        read: |config, value| number(value, 1).map(|count| config.server.connections = count),
    },
    Setting {
        name: "limits.queries",
        words: "How many questions may run at a time; others wait.",
        example: "",
        show: |config| Some(count_value(config.server.queries)),
        read: |config, value| number(value, 1).map(|count| config.server.queries = count),
    },
    Setting {
        name: "limits.shutdown_seconds",
        words: "How long requests that run may take to end when the server stops.",
        example: "",
        show: |config| Some(whole(config.server.shutdown_time.as_secs())),
        read: |config, value| seconds(value).map(|time| config.server.shutdown_time = time),
    },
    Setting {
        name: "flush.seconds",
        words: "How long an event may be in the log before it becomes a part of a file of the lake.",
        example: "",
        show: |config| Some(whole(config.flush.age.as_secs())),
        read: |config, value| seconds(value).map(|time| config.flush.age = time),
    },
    Setting {
        name: "flush.events",
        words: "So many events in the log are worth files, however small and new they are.",
        example: "",
        show: |config| Some(count_value(config.flush.events)),
        read: |config, value| number(value, 1).map(|events| config.flush.events = events),
    },
    Setting {
        name: "flush.memory",
        words: "So much memory of events in the log is worth files, however few and new they are.",
        example: "",
        show: |config| Some(count_value(config.flush.bytes)),
        read: |config, value| size(value).map(|bytes| config.flush.bytes = whole_size(bytes)),
    },
    Setting {
        name: "flush.most_memory",
        words: "With so much memory of events in the log, senders wait until files are written.",
        example: "",
        show: |config| Some(count_value(config.flush.most_bytes)),
        read: |config, value| size(value).map(|bytes| config.flush.most_bytes = whole_size(bytes)),
    },
    Setting {
        name: "exports.hours",
        words: "The longest range of one request for an export; 0 for any.",
        example: "",
        show: |config| Some(limit_value(config.exports.longest, HOUR)),
        read: |config, value| limit(value, HOUR).map(|micros| config.exports.longest = micros),
    },
    Setting {
        name: "exports.days_back",
        words: "How far back the range of a request for an export may start; 0 for any time.",
        example: "",
        show: |config| Some(limit_value(config.exports.lookback, DAY)),
        read: |config, value| limit(value, DAY).map(|micros| config.exports.lookback = micros),
    },
    Setting {
        name: "exports.hours_in_progress",
        words: "How much range all requests in progress may have together; 0 for any.",
        example: "",
        show: |config| Some(limit_value(config.exports.in_progress, HOUR)),
        read: |config, value| limit(value, HOUR).map(|micros| config.exports.in_progress = micros),
    },
    Setting {
        name: "exports.definitions",
        words: "The most definitions of a request for an export that names them; 0 for any number.",
        example: "",
        show: |config| Some(count_value(config.exports.definitions.unwrap_or(0))),
        read: |config, value| number(value, 0).map(|most| config.exports.definitions = some(most)),
    },
    Setting {
        name: "exports.rows_per_file",
        words: "The most rows of one file that a request for an export may ask for; 0 for any number.",
        example: "",
        show: |config| Some(count_value(config.exports.rows_per_file.unwrap_or(0))),
        read: |config, value| number(value, 0).map(|most| config.exports.rows_per_file = some(most)),
    },
    Setting {
        name: "exports.only_past",
        words: "A range must have ended when it is asked for.",
        example: "",
        show: |config| Some(Value::Boolean(config.exports.only_past)),
        read: |config, value| flag(value).map(|flag| config.exports.only_past = flag),
    },
    Setting {
        name: "rates.single",
        words: "Single events a second and key, 0 for any number; the published limit is 250.",
        example: "",
        show: |config| Some(whole(config.server.single_rate)),
        read: |config, value| number(value, 0).map(|rate| config.server.single_rate = rate),
    },
    Setting {
        name: "rates.batch",
        words: "Batches a second and key, 0 for any number; the published limit is 5.",
        example: "",
        show: |config| Some(whole(config.server.batch_rate)),
        read: |config, value| number(value, 0).map(|rate| config.server.batch_rate = rate),
    },
    Setting {
        name: "rates.published",
        words: "Keep exports, segments and persons to the rates that are published for them.",
        example: "",
        show: |config| Some(Value::Boolean(config.server.published_rates)),
        read: |config, value| flag(value).map(|flag| config.server.published_rates = flag),
    },
];

/// Reads a file into the settings. A file that nobody named need not be there.
pub(crate) fn read(config: &mut Config, path: &Path, named: bool) -> Result<()> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && !named => return Ok(()),
        Err(error) => {
            let message = format!("could not read the settings \"{}\"", path.display());
            let message = match error.kind() {
                ErrorKind::NotFound => Error::not_found(message),
                _ => Error::unavailable(message),
            };
            return Err(message.with_source(error));
        }
    };
    apply(config, &text).map_err(|wrong| Error::invalid(format!("\"{}\": {wrong}", path.display())))
}

fn apply(config: &mut Config, text: &str) -> Result<(), String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map(|span| text[..span.start].lines().count().max(1));
        let at = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        format!("{at}{}", error.message())
    })?;
    for (name, value) in &table {
        match value {
            Value::Table(section) if sections().any(|known| known == name) => {
                for (key, value) in section {
                    set(config, &format!("{name}.{key}"), value)?;
                }
            }
            value => set(config, name, value)?,
        }
    }
    match &config.server.tls {
        Some((chain, key)) if chain.as_os_str().is_empty() || key.as_os_str().is_empty() => {
            Err("server.tls_certificate and server.tls_key belong together; give both or none".to_owned())
        }
        _ => Ok(()),
    }
}

fn sections() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().filter_map(|setting| setting.name.split_once('.').map(|(section, _)| section))
}

fn set(config: &mut Config, name: &str, value: &Value) -> Result<(), String> {
    let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) else {
        let hint = did_you_mean(name, SETTINGS.iter().map(|setting| setting.name));
        let hint = if hint.is_empty() { "; `milepost config show` lists them all".to_owned() } else { hint };
        return Err(format!("there is no setting \"{name}\"{hint}"));
    };
    (setting.read)(config, value).map_err(|wrong| format!("{name}: {wrong}"))
}

/// All settings as they hold now, each with its words, as a file that can be read back.
pub fn show(config: &Config) -> String {
    let mut out = String::new();
    let mut section = "";
    for setting in SETTINGS {
        let (of, key) = setting.name.split_once('.').unwrap_or(("", setting.name));
        if of != section {
            section = of;
            out.push_str(&format!("\n[{section}]\n"));
        }
        out.push_str(&format!("# {}\n", setting.words));
        match (setting.show)(config) {
            Some(value) => out.push_str(&format!("{key} = {value}\n")),
            None => out.push_str(&format!("# {key} = {}\n", setting.example)),
        }
    }
    out
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("expected a string, found {value}"))
}

fn flag(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("expected true or false, found {value}"))
}

fn number<T: TryFrom<i64>>(value: &Value, least: i64) -> Result<T, String> {
    let number = value.as_integer().filter(|number| *number >= least);
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("expected a number from {least}, found {value}"))
}

fn some(most: usize) -> Option<usize> {
    (most > 0).then_some(most)
}

/// A limit in whole hours or days; 0 is none.
fn limit(value: &Value, unit: i64) -> Result<Option<i64>, String> {
    let most: i64 = number(value, 0)?;
    Ok((most > 0).then_some(most.saturating_mul(unit)))
}

fn limit_value(limit: Option<i64>, unit: i64) -> Value {
    Value::Integer(limit.unwrap_or(0) / unit)
}

fn seconds(value: &Value) -> Result<Duration, String> {
    number(value, 1).map(Duration::from_secs)
}

fn whole_size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn size(value: &Value) -> Result<u64, String> {
    match value {
        Value::String(text) => parse_bytes(text).map_err(|error| error.to_string()),
        other => number(other, 1),
    }
}

fn whole(number: impl Into<u64>) -> Value {
    Value::Integer(i64::try_from(number.into()).unwrap_or(i64::MAX))
}

fn count_value(count: usize) -> Value {
    Value::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

fn path_value(path: &Path) -> Value {
    Value::String(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        apply(&mut Config::default(), text).unwrap_err()
    }

    #[test]
    fn what_is_shown_reads_back_to_the_same_settings_with_words_for_each() {
        let mut config = Config { threads: Some(3), memory: Some(1 << 30), ..Config::default() };
        config.server.listen = "0.0.0.0:80".to_owned();
        config.server.origins = vec!["https://a.example".to_owned()];
        config.server.tls = Some((PathBuf::from("/c.pem"), PathBuf::from("/k.pem")));
        config.server.single_rate = 250;
        config.exports.longest = None;
        config.exports.in_progress = Some(100 * HOUR);
        config.exports.definitions = None;
        let shown = show(&config);
        let mut read = Config::default();
        apply(&mut read, &shown).unwrap();
        assert_eq!(read, config);
        for (before, line) in shown.lines().zip(shown.lines().skip(1)) {
            if line.contains(" = ") && !line.starts_with("# ") {
                assert!(before.starts_with("# ") && before.ends_with('.'), "{line} has no words: {before}");
            }
        }
    }

    #[test]
    fn the_examples_of_what_is_not_set_can_be_set() {
        let shown = show(&Config::default());
        let examples = shown.lines().filter_map(|line| {
            let line = line.strip_prefix("# ")?;
            let (key, _) = line.split_once(" = ")?;
            SETTINGS.iter().find(|one| one.name.rsplit('.').next() == Some(key) && !one.example.is_empty())
        });
        let examples: Vec<_> = examples.collect();
        assert_eq!(examples.len(), 5);
        for one in examples {
            let value: toml::Table = format!("x = {}", one.example).parse().unwrap();
            (one.read)(&mut Config::default(), &value["x"]).unwrap();
        }
    }

    #[test]
    fn an_unknown_or_wrong_setting_is_refused_with_the_cure() {
        assert!(refusal("[server]\nlisten_on = \"a\"").contains("there is no setting \"server.listen_on\""));
        assert!(refusal("[server]\nlisen = \"a\"").contains("did you mean \"server.listen\"?"));
        assert!(refusal("[sever]\nlisten = \"a\"").contains("there is no setting \"sever\""));
        assert_eq!(refusal("threads = 0"), "threads: expected a number from 1, found 0");
        assert_eq!(refusal("[server]\nlisten = 80"), "server.listen: expected a string, found 80");
        assert!(refusal("[server]\ntls_key = \"k\"").contains("belong together"));
        assert!(
            refusal("threads = 2\n[server\n").starts_with("line 2: "),
            "{}",
            refusal("threads = 2\n[server\n")
        );
        assert!(refusal("zone = \"Europe/Zagrab\"").contains("did you mean \"Europe/Zagreb\"?"));
    }
}
