//! Commands and flags; checks form only, opens nothing.

use std::ffi::OsString;
use std::path::PathBuf;

use chrono_tz::Tz;
use clap::ArgMatches;
use clap::CommandFactory;
use clap::FromArgMatches;
use clap::Parser;
use clap::Subcommand;
use clap_complete::Shell;

use crate::cli::export_args::Export;
use crate::cli::print::Format;
use crate::engine::Config;
use crate::engine::Scope;
use crate::engine::parse_bytes;
use crate::engine::parse_zone;
use crate::error::Error;

const EXAMPLE: &str = "\
Example:
  milepost import events.json.gz
  milepost sql -c 'SELECT definitionId, count(*) FROM events GROUP BY 1'

Exit codes: 0 fine, 1 some rows were refused, 2 mend your request, 3 try again later, 4 our fault";

const LONG: &str = "\
Example:
  milepost import events.json.gz
      reads events, checks each against its definition and stores it; a row that does not fit is kept with its reason
  milepost sql -c 'SELECT definitionId, count(*) FROM events GROUP BY 1'
      asks; there is a table for each definition, and events, persons, definitions and system.* beside them
  milepost export --from 2026-06-01 --to 2026-06-02 --into out/
      writes the events of a day, each exactly once
  milepost
      opens the prompt: \\? says what it can do

Answers go to standard output and all else to standard error. One process writes to a data directory at a time, and a prompt is \
such a process; any number of others may read beside it with --read-only.

Environment:
  MILEPOST_DATA, MILEPOST_MEMORY, MILEPOST_THREADS  what --data, --memory and --threads are without the flags
  MILEPOST_LAKE            what --lake is without the flag; a lake in a bucket uses the AWS_ variables
  MILEPOST_ZONE            the zone of times that are written without one, such as Europe/Zagreb
  MILEPOST_PAGER, PAGER    what shows long answers; empty for nothing
  NO_COLOR                 no colours

Exit codes:
  0  fine
  1  done, but some rows were refused
  2  mend your request: what it says is wrong, or names what is not there
  3  try again later: another process is writing, the disk is full, a server does not answer, memory is short
  4  our fault: please report it";

/// Keeps what people did and answers questions about it; without a command it opens the prompt
#[derive(Debug, Parser)]
#[command(name = "milepost", version, after_help = EXAMPLE, after_long_help = LONG, disable_help_subcommand = true)]
pub struct Args {
    #[command(flatten)]
    pub(crate) store: Store,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What every command needs to know of the store.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Store")]
pub(crate) struct Store {
    /// The data directory [default: $MILEPOST_DATA, or ./milepost-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where the events of a new data directory are kept, such as s3://bucket/prefix [default: in the directory]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) lake: Option<String>,
    /// How much memory queries may take before they use the disk, such as 4GiB
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_bytes)]
    pub(crate) memory: Option<u64>,
    /// How many threads may work [default: all]
    #[arg(long, global = true, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,
    /// Change nothing, and work beside the one who writes
    #[arg(long, global = true)]
    pub(crate) read_only: bool,
    /// A file of settings [default: $MILEPOST_CONFIG, or milepost.toml in the data directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run SQL from the command line, from files or from standard input
    Sql(Sql),
    /// Read events from files, folders, patterns, S3 or standard input
    Import(Import),
    /// Take events as they come, and say of each when it is safe
    Ingest(Ingest),
    /// Write the events of a range of time as gzip JSON lines, at once or as a request
    Export(Box<Export>),
    /// Answer a funnel that is written as JSON; FUNNEL … in SQL means the same
    Funnel(Funnel),
    /// Show and change the definitions of events
    Events(Events),
    /// Import, find, tag and merge persons, and see what one of them did
    People(People),
    /// Show what is stored: definitions, days, files, rows, bytes
    Info(Info),
    /// Rewrite small files into few sorted ones
    Compact,
    /// Answer questions and change definitions over HTTP
    Serve(Serve),
    /// Show events as the running server stores them
    Tail(Tail),
    /// Make, list and revoke the keys of the server
    Key(Key),
    /// Show all settings with their words, as a file that can be changed
    Config(ShowConfig),
    /// Read everything that is stored and say what is not as it should be
    Verify,
    /// Copy the store into a new folder, as of one moment
    Backup(Backup),
    /// Make the data directory from a backup
    Restore(Restore),
    /// Load real third-party data and ask the first questions
    Demo(Demo),
    /// Print a script that teaches your shell these commands
    Completions(Completions),
}

#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Example:
  milepost sql -c 'SELECT count(*) FROM pageView' --format json
  milepost sql -f report.sql -o report.parquet")]
pub(crate) struct Sql {
    /// Statements to run; may be given several times, and together with -f, in order
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    pub(crate) command: Vec<String>,
    /// A file of statements to run; - is standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,
    /// How answers are written [default: by the name of the -o file, or table]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Write the answer to a file, which appears when it is whole
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Say on standard error how long each statement took
    #[arg(long)]
    pub(crate) timing: bool,
    /// What to run, in the order given.
    #[arg(skip)]
    pub(crate) texts: Vec<Text>,
}

/// A text of statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Given(String),
    File(PathBuf),
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Example:
  milepost import 'logs/2026-06-*.json.gz' --create-persons
  milepost import export.csv --map mixpanel.toml --define

A refused row is kept: see SELECT * FROM system.rejected, then milepost import --replay.")]
pub(crate) struct Import {
    /// Files of JSON lines, JSON arrays or CSV (plain, gzip, zstd), folders, patterns, s3:// addresses, or -
    #[arg(value_name = "INPUT", required_unless_present = "replay")]
    pub(crate) inputs: Vec<String>,
    /// A TOML file that says how rows of another shape become events
    #[arg(long, value_name = "FILE")]
    pub(crate) map: Option<PathBuf>,
    /// Propose definitions for the events that have none, and stop
    #[arg(long)]
    pub(crate) define: bool,
    /// With --define: create what is proposed, and import
    #[arg(long, requires = "define")]
    pub(crate) yes: bool,
    /// The zone of times without an offset, such as Europe/Zagreb; without it they are refused
    #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
    pub(crate) zone: Option<Tz>,
    /// Create persons that are not known yet (phone, email, external id); this is the default
    #[arg(long, overrides_with = "no_create_persons")]
    pub(crate) create_persons: bool,
    /// Refuse events of persons that are not known yet
    #[arg(long, overrides_with = "create_persons")]
    pub(crate) no_create_persons: bool,
    /// Leave unknown properties out instead of refusing the event
    #[arg(long)]
    pub(crate) lenient: bool,
    /// Read inputs again that were read to their end before; known events stay single
    #[arg(long)]
    pub(crate) again: bool,
    /// The name under which standard input is remembered
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Try the refused rows again
    #[arg(long, conflicts_with_all = ["inputs", "map", "define"])]
    pub(crate) replay: bool,
    /// No progress bar, and no words unless rows were refused
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

impl Import {
    pub(crate) fn creates_persons(&self) -> bool {
        !self.no_create_persons
    }
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Example:
  tail -f events.jsonl | milepost ingest -

Each line of the answer is about one line of the input, in order, and comes when a power cut cannot take the event:
  {\"row\":1,\"status\":\"stored\",\"eventId\":\"a1\",\"personId\":7,\"seq\":42}")]
pub(crate) struct Ingest {
    /// A file of JSON lines, or - for standard input
    #[arg(value_name = "INPUT", default_value = "-")]
    pub(crate) input: PathBuf,
    /// The zone of times without an offset, such as Europe/Zagreb; without it they are refused
    #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
    pub(crate) zone: Option<Tz>,
    /// Refuse events of persons that are not known yet
    #[arg(long)]
    pub(crate) no_create_persons: bool,
    /// What the sender is called: under one name, the same line is the same event, even without an eventId
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Option<String>,
    /// Answer only refused lines
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  echo '{\"steps\":[{\"any\":[{\"event\":\"productView\"}]},{\"any\":[{\"event\":\"purchase\"}]}],\"within\":\"7 days\"}' |
    milepost funnel -

docs/funnels.md says what a funnel may ask.")]
pub(crate) struct Funnel {
    /// A file with one funnel; - is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// How the answer is written [default: by the name of the -o file, or table]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Write the answer to a file, which appears when it is whole
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Events {
    #[command(subcommand)]
    pub(crate) command: EventsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// All definitions
    List {
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// One definition with its properties
    Show {
        id: String,
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Create and extend definitions from a JSON file; - is standard input
    Apply {
        /// One definition or an array of them, as import --define proposes them
        file: PathBuf,
        /// Allow names of properties that must be quoted in SQL
        #[arg(long)]
        any_names: bool,
        /// Say what would happen, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Let events of these definitions in: ids or patterns with *
    Enable {
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Refuse events of these definitions: ids or patterns with *
    Disable {
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  milepost people import crm.csv --map crm.toml
  milepost people get EMAIL:ana@example.com

WHO is an external id, a personId, an email, a phone number, or TYPE:id; docs/people.md tells more.")]
pub(crate) struct People {
    #[command(subcommand)]
    pub(crate) command: PeopleCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PeopleCommand {
    /// Add persons from JSON lines or CSV, or add to those that are there by any identifier
    Import {
        /// A file of JSON lines, or a .csv with a header (plain or .gz); - is standard input
        file: PathBuf,
        /// A TOML file that says what the columns of a CSV are
        #[arg(long, value_name = "FILE")]
        map: Option<PathBuf>,
        /// Overwrite persons that are there: what a row does not say is emptied
        #[arg(long)]
        replace: bool,
        /// No progress bar, and no words unless persons were refused
        #[arg(short, long)]
        quiet: bool,
    },
    /// The profile of one person, as JSON
    Get { who: String },
    /// The persons that meet a condition of SQL
    Find {
        /// Such as "city = 'Pula' AND array_has(tags, 'vip')"
        condition: String,
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// What one person did, the latest first
    Timeline {
        who: String,
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Add tags to persons
    Tag {
        #[arg(required = true)]
        who: Vec<String>,
        #[arg(long, required = true, value_name = "TAG")]
        with: Vec<String>,
    },
    /// Remove tags from persons
    Untag {
        #[arg(required = true)]
        who: Vec<String>,
        #[arg(long, required = true, value_name = "TAG")]
        with: Vec<String>,
    },
    /// Make persons one: the one created first stands for all
    Merge {
        #[arg(required = true, num_args = 2..)]
        who: Vec<String>,
    },
    /// Undo the merge of a person, by a name or the personId that it had (see system.merges)
    Unmerge { who: String },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Info {
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Example:
  milepost serve
  curl -d 'SELECT count(*) FROM events' http://127.0.0.1:6453/v1/sql

On loopback no key is needed; see milepost key. All settings: milepost config show")]
pub(crate) struct Serve {
    /// Where HTTP is served [default: 127.0.0.1:6453]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where the Postgres wire is served, read-only; an empty text for nowhere [default: 127.0.0.1:6454]
    #[arg(long, value_name = "HOST:PORT")]
    postgres: Option<String>,
}

impl Serve {
    /// The settings, with what the command line says.
    pub(crate) fn over(self, mut config: Config) -> Config {
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        config.server.postgres = self.postgres.unwrap_or(config.server.postgres);
        config
    }
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Example:
  milepost tail pageView itemPurchased

One line of JSON an event, until Ctrl-C; what came faster than it was read is counted on standard error.")]
pub(crate) struct Tail {
    /// Ids of definitions; all events when there is none
    #[arg(value_name = "DEFINITION")]
    pub(crate) definitions: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and show it, once
    #[command(after_help = "\
Example:
  milepost key create shop-backend --scope ingest --scope query

Scopes: ingest sends events, web sends events from a page, query asks, export exports, manage does everything")]
    Create {
        /// What the key is called in lists and logs
        name: String,
        /// What it allows; may be given several times
        #[arg(long = "scope", required = true, value_name = "SCOPE", value_parser = scope)]
        scopes: Vec<Scope>,
    },
    /// All keys, the revoked ones too
    List {
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// End a key at once
    Revoke { name: String },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowConfig {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// The settings as they hold
    Show,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Example:
  milepost backup /backups/2026-06-01

While another process has the store open, ask that one: BACKUP TO '/backups/2026-06-01'")]
pub(crate) struct Backup {
    /// A folder that is new or empty, or s3://bucket/prefix
    #[arg(value_name = "PLACE")]
    pub(crate) into: String,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Example:
  milepost --data ./restored restore /backups/2026-06-01

Every file is checked; a damaged backup makes no data directory.")]
pub(crate) struct Restore {
    /// The folder of the backup, or s3://bucket/prefix
    #[arg(value_name = "PLACE")]
    pub(crate) from: String,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Demo {
    /// Load the data, ask nothing
    #[arg(long)]
    pub(crate) load_only: bool,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Example:
  milepost completions bash > ~/.local/share/bash-completion/completions/milepost")]
pub(crate) struct Completions {
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// The script.
    pub(crate) fn script(&self) -> String {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Args::command(), "milepost", &mut script);
        String::from_utf8_lossy(&script).into_owned()
    }
}

impl Args {
    /// Reads a command line; the error prints itself, help and version among them.
    pub fn read<T: Into<OsString> + Clone>(line: impl IntoIterator<Item = T>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(line)?;
        let mut args = Self::from_arg_matches(&matches)?;
        if let (Some(Command::Sql(sql)), Some((_, matches))) = (&mut args.command, matches.subcommand()) {
            sql.texts = in_order(sql, matches);
        }
        Ok(args)
    }
}

/// `-c` and `-f` run in the order in which they were given, across the two.
fn in_order(sql: &Sql, matches: &ArgMatches) -> Vec<Text> {
    let places = |name: &str| matches.indices_of(name).into_iter().flatten().collect::<Vec<_>>();
    let given = sql.command.iter().cloned().map(Text::Given);
    let files = sql.file.iter().cloned().map(Text::File);
    let mut texts: Vec<(usize, Text)> =
        places("command").into_iter().zip(given).chain(places("file").into_iter().zip(files)).collect();
    texts.sort_by_key(|(place, _)| *place);
    texts.into_iter().map(|(_, text)| text).collect()
}

fn scope(text: &str) -> Result<Scope, String> {
    text.parse().map_err(|error: Error| error.to_string())
}

fn threads(text: &str) -> Result<usize, String> {
    let number: usize =
        text.parse().map_err(|_| format!("expected a number of threads, found \"{text}\""))?;
    if number == 0 { Err("at least one thread must work".to_owned()) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Args {
        Args::read(line.split(' ')).unwrap()
    }

    fn refusal(line: &str) -> String {
        Args::read(line.split(' ')).unwrap_err().to_string()
    }

    #[test]
    fn the_definition_of_the_command_line_holds_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn without_a_command_there_is_the_prompt() {
        let args = read("milepost --data d");
        assert!(args.command.is_none());
        assert_eq!(args.store.data, Some(PathBuf::from("d")));
    }

    #[test]
    fn the_flags_of_the_store_may_stand_after_the_command() {
        let args = read("milepost info --data d --memory 2GiB --threads 3 --read-only");
        assert_eq!(args.store.memory, Some(2 << 30));
        assert_eq!(args.store.threads, Some(3));
        assert!(args.store.read_only);
    }

    #[test]
    fn statements_and_files_run_in_the_order_given() {
        let args = Args::read(["milepost", "sql", "-c", "one", "-f", "a.sql", "-c", "two"]).unwrap();
        let Some(Command::Sql(sql)) = args.command else { panic!("not sql") };
        let expected = [Text::Given("one".into()), Text::File("a.sql".into()), Text::Given("two".into())];
        assert_eq!(sql.texts, expected);
    }

    #[test]
    fn import_creates_persons_unless_told_not_to() {
        let creates = |line: &str| match read(line).command {
            Some(Command::Import(import)) => import.creates_persons(),
            other => panic!("{other:?}"),
        };
        assert!(creates("milepost import a.json"));
        assert!(creates("milepost import a.json --no-create-persons --create-persons"));
        assert!(!creates("milepost import a.json --no-create-persons"));
    }

    #[test]
    fn import_needs_an_input_or_a_replay() {
        assert!(refusal("milepost import").contains("<INPUT>"));
        assert!(refusal("milepost import --replay a.json").contains("cannot be used with"));
        assert!(refusal("milepost import a.json --yes").contains("--define"));
        assert!(matches!(read("milepost import --replay").command, Some(Command::Import(one)) if one.replay));
    }

    #[test]
    fn the_events_of_an_export_are_separated_by_commas() {
        let args = read("milepost export --from 2026-06-01 --to 2026-06-02 --into out --events a,b*");
        let Some(Command::Export(export)) = args.command else { panic!("not export") };
        assert_eq!(export.now.map(|now| now.events), Some(vec!["a".to_owned(), "b*".to_owned()]));
        assert!(refusal("milepost export --from a --to b").contains("--into"));
        assert!(
            matches!(read("milepost export list").command, Some(Command::Export(one)) if one.now.is_none())
        );
    }

    #[test]
    fn a_wrong_value_says_what_was_expected() {
        assert!(refusal("milepost --memory lots").contains("a size is a number with"));
        assert!(refusal("milepost --memory 0").contains("a size is"));
        assert!(refusal("milepost --threads 0").contains("at least one thread"));
        assert!(
            refusal("milepost import a --zone Europe/Zagrab").contains("did you mean \"Europe/Zagreb\"?")
        );
        assert!(refusal("milepost sql --format parket").contains("parquet"));
    }

    #[test]
    fn shells_are_taught_the_commands() {
        let args = read("milepost completions fish");
        let Some(Command::Completions(completions)) = args.command else { panic!("not completions") };
        let script = completions.script();
        assert!(script.contains("import") && script.contains("no-create-persons"), "{script}");
    }

    #[test]
    fn long_help_explains_codes_and_variables() {
        let help = refusal("milepost --help");
        for part in ["MILEPOST_PAGER", "try again later", "milepost export --from"] {
            assert!(help.contains(part), "{help}");
        }
    }

    #[test]
    fn short_help_fits_a_screen_and_shows_an_example() {
        let help = refusal("milepost -h");
        assert!(help.lines().count() <= 48, "{help}");
        assert!(help.contains("milepost import events.json.gz"), "{help}");
    }
}
