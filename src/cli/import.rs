//! `milepost import`: a bar while it runs, and at the end in words what was stored, what was refused and where to look.

use std::time::Duration;
use std::time::Instant;

use indicatif::HumanBytes;

use crate::cli::args::Import;
use crate::cli::exit::Outcome;
use crate::cli::exit::answer;
use crate::cli::exit::say;
use crate::cli::print::counted;
use crate::cli::print::grouped;
use crate::cli::progress::Bar;
use crate::cli::sql::interruptible;
use crate::cli::terminal::Terminal;
use crate::engine::Engine;
use crate::engine::ImportRequest;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::ingest::Code;
use crate::ingest::Progress;
use crate::ingest::Report;

pub(crate) async fn run(engine: &Engine, import: Import, terminal: &Terminal) -> Result<Outcome> {
    let request = request(&import);
    if import.define {
        let proposed = engine.propose(&request).await?;
        if !import.quiet {
            proposed.notes.iter().for_each(|note| say(&format!("{note}\n")));
        }
        if !import.yes {
            answer(proposed.json.trim_end())?;
            return Ok(Outcome::Done);
        }
        for line in engine.apply_definitions(&proposed.json, true, false)? {
            if !import.quiet {
                say(&format!("{line}\n"));
            }
        }
    }
    let started = Instant::now();
    let progress = Shown::new(!import.quiet && terminal.stderr);
    let report = interruptible(engine.import(request, Box::new(progress))).await.map_err(goes_on)?;
    say(&summary(&report, started.elapsed(), import.quiet));
    Ok(if report.refused > 0 { Outcome::Refused } else { Outcome::Done })
}

/// A stopped import is no loss, and people should know.
fn goes_on(error: Error) -> Error {
    if error.kind() == Kind::Cancelled {
        Error::cancelled("stopped; what was stored stays, and the same command goes on from there")
    } else {
        error
    }
}

fn request(import: &Import) -> ImportRequest {
    ImportRequest {
        inputs: import.inputs.clone(),
        map: import.map.clone(),
        zone: import.zone,
        create_persons: import.creates_persons(),
        lenient: import.lenient,
        again: import.again,
        source: import.source.clone(),
        replay: import.replay,
    }
}

/// The bar of an import; it goes when it is dropped.
struct Shown {
    bar: Bar,
    source: String,
    started: Instant,
}

impl Shown {
    fn new(shown: bool) -> Self {
        Self { bar: Bar::bytes(shown), source: String::new(), started: Instant::now() }
    }

    fn words(&self, report: &Report, now: Duration) -> String {
        let rows = per_second(report.rows, now);
        let refused =
            if report.refused > 0 { format!(", {} refused", grouped(report.refused)) } else { String::new() };
        format!("{} rows/s, {} stored{refused}  {}", grouped(rows), grouped(report.stored), self.source)
    }
}

impl Progress for Shown {
    fn source(&mut self, name: &str, bytes: Option<u64>) {
        // The end of a path says more than its beginning.
        let skipped = name.chars().count().saturating_sub(40);
        self.source = name.chars().skip(skipped).collect();
        self.bar.begin(bytes);
        self.bar.say(self.source.clone());
    }

    fn advanced(&mut self, bytes: u64, report: &Report) {
        self.bar.at(bytes);
        self.bar.say(self.words(report, self.started.elapsed()));
    }

    fn committing(&mut self, rows: u64) {
        self.bar.say(format!("writing {}  {}", counted(rows, "row"), self.source));
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.bar.clear();
    }
}

fn per_second(count: u64, elapsed: Duration) -> u64 {
    let millis = elapsed.as_millis().max(1);
    u64::try_from(u128::from(count) * 1000 / millis).unwrap_or(u64::MAX)
}

/// What people read at the end. When they asked for quiet: what was refused, or nothing.
fn summary(report: &Report, elapsed: Duration, quiet: bool) -> String {
    let mut text = String::new();
    if !quiet {
        for note in &report.notes {
            text.push_str(&format!("{note}\n"));
        }
        text.push_str(&format!(
            "{} ({}) in {:.1} s: {} rows/s\n",
            counted(report.rows, "row"),
            HumanBytes(report.bytes),
            elapsed.as_secs_f64(),
            grouped(per_second(report.rows, elapsed))
        ));
        text.push_str(&format!("  {:>12} stored\n", grouped(report.stored)));
        if report.duplicates > 0 {
            let known = "known already, ignored";
            text.push_str(&format!("  {:>12} {known}\n", grouped(report.duplicates)));
        }
        if report.persons_created > 0 {
            let persons = if report.persons_created == 1 { "person" } else { "persons" };
            text.push_str(&format!("  {:>12} {persons} new\n", grouped(report.persons_created)));
        }
    }
    if report.refused > 0 {
        text.push_str(&format!("  {:>12} refused\n", grouped(report.refused)));
        text.push_str(&refused(report));
        if report.reasons.contains_key(&Code::UnknownDefinition) {
            text.push_str("Definitions can be proposed from the data: add --define\n");
        }
        text.push_str("Refused rows are kept: SELECT * FROM system.rejected;\n");
        text.push_str("When the cause is mended: milepost import --replay\n");
    }
    text
}

/// A line for each reason, the most frequent first, with the first row that it was met in.
fn refused(report: &Report) -> String {
    let mut reasons: Vec<_> = report.reasons.iter().collect();
    reasons.sort_by_key(|(code, count)| (std::cmp::Reverse(**count), **code));
    let mut text = String::new();
    for (code, count) in reasons {
        text.push_str(&format!("  {:>12} {code}", grouped(*count)));
        if let Some(sample) = report.samples.iter().find(|sample| sample.code == *code) {
            text.push_str(&format!(", first {}:{}: {}", sample.source, sample.row, sample.message));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::Sample;

    fn report() -> Report {
        let sample = |code: Code, row, message: &str| Sample {
            source: "day.json.gz".to_owned(),
            row,
            code,
            message: message.to_owned(),
        };
        Report {
            rows: 12_345,
            bytes: 3 << 20,
            stored: 12_300,
            refused: 5,
            duplicates: 40,
            persons_created: 1,
            reasons: [(Code::WrongType, 1), (Code::UnknownProperty, 4)].into(),
            samples: vec![
                sample(Code::UnknownProperty, 17, "\"seatReserved\" has no property \"gate\""),
                sample(Code::UnknownProperty, 18, "not this one"),
                sample(Code::WrongType, 99, "property \"total\" must be a number, found \"x\""),
            ],
            notes: vec!["old.json.gz was read before; skipped".to_owned()],
        }
    }

    #[test]
    fn the_summary_says_in_words_what_came_of_it_and_where_to_look() {
        let text = summary(&report(), Duration::from_secs(2), false);
        let expected = "\
old.json.gz was read before; skipped
12,345 rows (3.00 MiB) in 2.0 s: 6,172 rows/s
        12,300 stored
            40 known already, ignored
             1 person new
             5 refused
             4 unknown_property, first day.json.gz:17: \"seatReserved\" has no property \"gate\"
             1 wrong_type, first day.json.gz:99: property \"total\" must be a number, found \"x\"
Refused rows are kept: SELECT * FROM system.rejected;
When the cause is mended: milepost import --replay
";
        assert_eq!(text, expected);
    }

    #[test]
    fn who_has_no_definitions_is_told_how_to_come_by_them() {
        let told = "Definitions can be proposed from the data: add --define\n";
        let unknown = Report { reasons: [(Code::UnknownDefinition, 5)].into(), ..report() };
        assert!(summary(&unknown, Duration::from_secs(2), false).contains(told));
        assert!(!summary(&report(), Duration::from_secs(2), false).contains(told));
    }

    #[test]
    fn quiet_says_only_what_was_refused() {
        let text = summary(&report(), Duration::from_secs(2), true);
        assert!(text.starts_with("             5 refused\n") && text.contains("gate"), "{text}");
        let fine = Report { refused: 0, reasons: [].into(), ..report() };
        assert_eq!(summary(&fine, Duration::from_secs(2), true), "");
    }

    #[test]
    fn the_bar_says_rates_counts_and_the_end_of_the_path() {
        let mut shown = Shown::new(false);
        shown.source(&format!("/{}/day.json.gz", "long".repeat(30)), Some(100));
        let words = shown.words(&report(), Duration::from_secs(5));
        assert!(words.starts_with("2,469 rows/s, 12,300 stored, 5 refused  "), "{words}");
        assert!(words.ends_with("long/day.json.gz") && words.len() < 90, "{words}");
    }

    #[test]
    fn flags_become_the_request() {
        let line =
            ["milepost", "import", "a", "b", "--no-create-persons", "--zone", "Europe/Zagreb", "--again"];
        let args = crate::cli::Args::read(line).unwrap();
        let Some(crate::cli::args::Command::Import(import)) = args.command else { panic!("not import") };
        let request = request(&import);
        assert_eq!(request.inputs, ["a", "b"]);
        assert_eq!(request.zone, Some(chrono_tz::Europe::Zagreb));
        assert!(request.again && !request.create_persons && !request.lenient && !request.replay);
    }
}
