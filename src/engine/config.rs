//! All settings in one struct: a file first, then the environment, then what the command line says. The only reader of
//! the environment.

use std::path::Path;
use std::path::PathBuf;

use chrono_tz::Tz;

use crate::engine::ServerSettings;
use crate::engine::settings;
use crate::error::Error;
use crate::error::Result;
use crate::export::ExportRules;
use crate::ingest::FlushLimits;
use crate::storage::Layout;
use crate::time::parse_zone;

/// How to open an [`Engine`](crate::engine::Engine).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The data directory; made when it is not there.
    pub data: PathBuf,
    /// `s3://bucket/prefix` for a lake in a bucket; a data directory that is made with one remembers it.
    pub lake: Option<String>,
    /// Open without the writer's lock: ask, but change nothing.
    pub read_only: bool,
    /// Bytes that queries may hold before they spill; by default half of the machine's memory.
    pub memory: Option<u64>,
    /// Threads for queries, imports and exports; by default one a core.
    pub threads: Option<usize>,
    /// The zone of times that are written without one; by default such times are refused.
    pub zone: Option<Tz>,
    /// Bytes of memory for known event ids, which whoever imports nothing needs few of; by default enough for millions.
    pub event_ids: Option<usize>,
    /// When events of the log become files of the lake.
    pub flush: FlushLimits,
    /// What requests for exports must keep.
    pub exports: ExportRules,
    /// How `milepost serve` serves.
    pub server: ServerSettings,
}

/// Where the data lives when nothing says otherwise.
pub const DEFAULT_DATA: &str = "./milepost-data";

const MIB: u64 = 1024 * 1024;
/// Indexes of a quarter of a billion events.
const MOST_INDEX_BYTES: usize = 1 << 30;

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from(DEFAULT_DATA),
            lake: None,
            read_only: false,
            memory: None,
            threads: None,
            zone: None,
            event_ids: None,
            flush: FlushLimits::default(),
            exports: ExportRules::published(),
            server: ServerSettings::default(),
        }
    }
}

impl Config {
    /// The defaults, then what the file says, then `MILEPOST_DATA`, `MILEPOST_LAKE`, `MILEPOST_MEMORY`, `MILEPOST_THREADS` and
    /// `MILEPOST_ZONE`. The file is the one named here, else by `MILEPOST_CONFIG`, else `milepost.toml` in the data
    /// directory, if it is there.
    pub fn load(data: Option<&Path>, file: Option<&Path>) -> Result<Self> {
        Self::from_variables(data, file, variable)
    }

    fn from_variables(
        data: Option<&Path>,
        file: Option<&Path>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let mut config = Self::default();
        if let Some(data) = data.map(Path::to_owned).or_else(|| variable("MILEPOST_DATA").map(PathBuf::from))
        {
            config.data = data;
        }
        match file.map(Path::to_owned).or_else(|| variable("MILEPOST_CONFIG").map(PathBuf::from)) {
            Some(file) => settings::read(&mut config, &file, true)?,
            None => {
                let file = Layout::new(&config.data).settings();
                settings::read(&mut config, &file, false)?;
            }
        }
        if let Some(memory) = variable("MILEPOST_MEMORY") {
            config.memory = Some(parse_bytes(&memory)?);
        }
        config.lake = variable("MILEPOST_LAKE");
        if let Some(threads) = variable("MILEPOST_THREADS") {
            let count = threads.parse().ok().filter(|count| *count > 0);
            config.threads = Some(count.ok_or_else(|| {
                Error::invalid(format!("MILEPOST_THREADS must be a number from 1, found \"{threads}\""))
            })?);
        }
        if let Some(zone) = variable("MILEPOST_ZONE") {
            config.zone = Some(parse_zone(&zone)?);
        }
        Ok(config)
    }

    /// What of the memory queries have for themselves, and what of it the indexes that they read may keep, in bytes.
    pub(crate) fn shares_of_memory(&self) -> (usize, usize) {
        let all = usize::try_from(self.memory_bytes()).unwrap_or(usize::MAX);
        let of_indexes = (all / 8).min(MOST_INDEX_BYTES);
        (all - of_indexes, of_indexes)
    }

    /// The memory that queries may use, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.unwrap_or_else(|| machine_memory().map_or(2048 * MIB, |bytes| bytes / 2))
    }

    /// The number of threads to use.
    pub fn thread_count(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads settings from the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A size such as `512MiB`, `4GB` or a plain number of bytes.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "kb" => Some(1000),
        "mb" => Some(1000 * 1000),
        "gb" => Some(1000 * 1000 * 1000),
        "k" | "kib" => Some(1024),
        "m" | "mib" => Some(MIB),
        "g" | "gib" => Some(1024 * MIB),
        _ => None,
    };
    let bytes = factor.and_then(|factor| scaled(number, factor));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| {
        Error::invalid(format!(
            "a size is a number with KiB, MiB, GiB, KB, MB or GB behind it, found \"{text}\""
        ))
    })
}

/// `number` times `factor`, where the number may have decimals; rounded down to whole bytes.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: u64 =
        if fraction.is_empty() { 0 } else { fraction.get(..fraction.len().min(9))?.parse().ok()? };
    let scale = 10_u128.pow(u32::try_from(fraction.len().min(9)).ok()?);
    let part = u64::try_from(u128::from(digits) * u128::from(factor) / scale).ok()?;
    whole.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(part)
}

/// The machine's memory in bytes, where the system says it.
fn machine_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse_bytes("4GiB").unwrap(), 4 << 30);
        assert_eq!(parse_bytes("1.5 GB").unwrap(), 1_500_000_000);
        assert_eq!(parse_bytes("1.5GiB").unwrap(), 3 << 29);
        assert_eq!(parse_bytes("512").unwrap(), 512);
        for wrong in ["", "GiB", "4 apples", "0", "-1", "99999999999GiB"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_environment_is_checked() {
        let with = |name: &'static str, value: &'static str| {
            Config::from_variables(None, None, move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(with("MILEPOST_DATA", "/data").unwrap().data, PathBuf::from("/data"));
        assert_eq!(with("MILEPOST_THREADS", "3").unwrap().thread_count(), 3);
        assert!(with("MILEPOST_THREADS", "0").is_err());
        assert!(with("MILEPOST_ZONE", "Europe/Zagreb").is_ok());
        let fault = with("MILEPOST_ZONE", "Europe/Zagrab").unwrap_err().to_string();
        assert!(fault.ends_with("did you mean \"Europe/Zagreb\"?"), "{fault}");
    }
}
