//! Where an answer goes: the screen (through the pager if it is long), standard output, or a file that appears whole.

use std::error::Error as StdError;
use std::fs;
use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::Stream;
use futures::StreamExt;

use crate::cli::print::Format;
use crate::cli::print::Look;
use crate::cli::print::Pager;
use crate::cli::print::table::Table;
use crate::cli::print::writer;
use crate::cli::terminal::Terminal;
use crate::engine::rows::written;
use crate::error::Context;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;

/// So many rows decide how wide the columns of a table are, and the prompt shows no more than these.
const HEAD: usize = 1000;

/// How answers are shown, until the user says otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct Output {
    pub(crate) terminal: Terminal,
    pub(crate) format: Format,
    /// A file instead of standard output.
    pub(crate) file: Option<PathBuf>,
    /// Answers are added to the file; otherwise each takes the place of the one before.
    pub(crate) append: bool,
    /// At the prompt a table shows its first rows and says so.
    pub(crate) prompt: bool,
    pub(crate) timing: bool,
}

/// What was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) rows: u64,
    /// Whether these are all rows.
    pub(crate) all: bool,
    /// Until the last row had come.
    pub(crate) elapsed: Duration,
}

impl Shown {
    /// The words for an answer that went to a file.
    pub(crate) fn said(self, file: &Path) -> String {
        let rows = counted(self.rows, "row");
        format!("{rows} written to {} in {:.3} s", file.display(), self.elapsed.as_secs_f64())
    }
}

impl Output {
    /// Shows one answer. A reader that went away is no error: he has seen what he wanted.
    ///
    /// `started` is when the question was asked.
    pub(crate) async fn show<S>(&self, schema: &SchemaRef, rows: S, started: Instant) -> Result<Shown>
    where
        S: Stream<Item = Result<RecordBatch>> + Unpin,
    {
        let shown = match &self.file {
            Some(path) => {
                let append = self.append && !self.format.is_binary();
                let mut file = if append { WholeFile::append(path)? } else { WholeFile::create(path)? };
                let shown = self.write(schema, rows, started, Sink::Given(Box::new(&mut file))).await?;
                file.publish()?;
                return Ok(shown);
            }
            None => self.write(schema, rows, started, Sink::Screen).await,
        };
        match shown {
            Err(error) if is_broken_pipe(&error) => {
                Ok(Shown { rows: 0, all: false, elapsed: started.elapsed() })
            }
            shown => shown,
        }
    }

    async fn write<S>(
        &self,
        schema: &SchemaRef,
        mut rows: S,
        started: Instant,
        sink: Sink<'_>,
    ) -> Result<Shown>
    where
        S: Stream<Item = Result<RecordBatch>> + Unpin,
    {
        if self.format == Format::Table {
            self.write_table(schema, rows, started, sink).await
        } else if self.format.is_binary() && matches!(sink, Sink::Screen) && self.terminal.stdout {
            let format = self.format.name();
            Err(Error::invalid(format!("{format} is not for a terminal; give it a file or a pipe")))
        } else {
            // Until there is something to show, the screen and the keyboard belong to the prompt and not to a pager.
            let first = rows.next().await.transpose()?;
            let rows = futures::stream::iter(first.map(Ok)).chain(rows);
            // How long it will be is not known yet; the pager itself leaves short answers on the screen.
            let out = sink.open(&self.terminal, self.prompt);
            stream(self.format, schema, rows, started, out).await
        }
    }

    async fn write_table<S>(
        &self,
        schema: &SchemaRef,
        mut rows: S,
        started: Instant,
        sink: Sink<'_>,
    ) -> Result<Shown>
    where
        S: Stream<Item = Result<RecordBatch>> + Unpin,
    {
        let screen = matches!(sink, Sink::Screen);
        let mut table = Table::new(schema);
        let mut rest = None;
        while let Some(batch) = rows.next().await.transpose()? {
            let taken = batch.num_rows().min(HEAD - table.len());
            table.push(&batch.slice(0, taken))?;
            if taken < batch.num_rows() {
                rest = Some(batch.slice(taken, batch.num_rows() - taken));
                break;
            }
        }
        let head_only = self.prompt && screen && rest.is_some();
        if head_only {
            drop(rows);
            return self.print_head(&table, started, sink);
        }
        let (grid, text) = table.render(self.look(screen));
        let mut count = table.len() as u64;
        let mut out = sink.open(&self.terminal, rest.is_some() || self.is_long(&text));
        written(out.write_all(text.as_bytes()))?;
        let mut next = rest;
        while let Some(batch) = next {
            written(out.write_all(grid.rows(&batch)?.as_bytes()))?;
            count += batch.num_rows() as u64;
            next = rows.next().await.transpose()?;
        }
        let shown = Shown { rows: count, all: true, elapsed: started.elapsed() };
        written(writeln!(out, "({})", self.footer(shown)))?;
        written(out.flush())?;
        Ok(shown)
    }

    fn print_head(&self, table: &Table, started: Instant, sink: Sink<'_>) -> Result<Shown> {
        let shown = Shown { rows: table.len() as u64, all: false, elapsed: started.elapsed() };
        let (_, text) = table.render(self.look(true));
        let mut out = sink.open(&self.terminal, self.is_long(&text));
        written(out.write_all(text.as_bytes()))?;
        let footer = self.footer(shown);
        written(writeln!(out, "(the first {footer}; there are more: \\export FILE.csv writes them all)"))?;
        written(out.flush())?;
        Ok(shown)
    }

    fn look(&self, screen: bool) -> Look {
        let terminal = screen && self.terminal.stdout;
        Look {
            width: if terminal { self.terminal.size().map(|(width, _)| width) } else { None },
            colours: screen && self.terminal.colours,
            lines: terminal,
        }
    }

    fn is_long(&self, text: &str) -> bool {
        self.terminal.size().is_some_and(|(_, height)| text.lines().count() + 2 > height)
    }

    /// `3 rows`, with the time when it is wanted.
    fn footer(&self, shown: Shown) -> String {
        let rows = counted(shown.rows, "row");
        if self.timing { format!("{rows}, {:.3} s", shown.elapsed.as_secs_f64()) } else { rows }
    }
}

/// `1 row`, `1,234 rows`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A number with its thousands set apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Writes a whole answer in any format but the table.
async fn stream<S>(
    format: Format,
    schema: &SchemaRef,
    mut rows: S,
    started: Instant,
    out: Box<dyn Write + Send + '_>,
) -> Result<Shown>
where
    S: Stream<Item = Result<RecordBatch>> + Unpin,
{
    let mut writer = writer(format, schema, out)?;
    let mut count = 0;
    while let Some(batch) = rows.next().await.transpose()? {
        count += batch.num_rows() as u64;
        writer.write(&batch)?;
    }
    writer.finish()?;
    Ok(Shown { rows: count, all: true, elapsed: started.elapsed() })
}

enum Sink<'a> {
    Screen,
    Given(Box<dyn Write + Send + 'a>),
}

impl<'a> Sink<'a> {
    fn open(self, terminal: &Terminal, long: bool) -> Box<dyn Write + Send + 'a> {
        match self {
            Self::Given(out) => out,
            Self::Screen => match if long { Pager::start(terminal) } else { None } {
                Some(pager) => Box::new(pager),
                None => Box::new(BufWriter::with_capacity(64 * 1024, io::stdout())),
            },
        }
    }
}

/// A file that appears under its name only when it is whole; pipes and devices are written to as they are.
#[derive(Debug)]
struct WholeFile {
    out: BufWriter<File>,
    path: PathBuf,
    /// The name until it is whole.
    part: Option<PathBuf>,
}

impl WholeFile {
    fn create(path: &Path) -> Result<Self> {
        let special = fs::metadata(path).is_ok_and(|found| !found.is_file());
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = (!special).then(|| path.with_file_name(name));
        let open = part.as_deref().unwrap_or(path);
        let file = File::create(open).map_err(|error| refused("create", path, error))?;
        Ok(Self { out: BufWriter::with_capacity(64 * 1024, file), path: path.to_owned(), part })
    }

    fn append(path: &Path) -> Result<Self> {
        let file = File::options().append(true).create(true).open(path);
        let file = file.map_err(|error| refused("open", path, error))?;
        Ok(Self { out: BufWriter::with_capacity(64 * 1024, file), path: path.to_owned(), part: None })
    }

    fn publish(mut self) -> Result<()> {
        written(self.out.flush())?;
        if let Some(part) = self.part.take() {
            fs::rename(&part, &self.path)
                .unavailable(|| format!("could not create \"{}\"", self.path.display()))?;
        }
        Ok(())
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            // The error that brought us here says more than this one could.
            let _ = fs::remove_file(part);
        }
    }
}

/// A place where no file can be is the user's to mend; of the rest the disk is to blame.
fn refused(doing: &str, path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Kind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => Kind::Invalid,
        _ => Kind::Unavailable,
    };
    Error::new(kind, format!("could not {doing} \"{}\"", path.display())).with_source(error)
}

/// Whether the reader of our output went away.
pub(crate) fn is_broken_pipe(error: &Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::ArrayRef;
    use arrow::array::Int64Array;
    use arrow::error::ArrowError;
    use futures::executor::block_on;
    use futures::stream;
    use parquet::errors::ParquetError;

    use super::*;

    fn numbers(count: i64) -> RecordBatch {
        let numbers = Int64Array::from_iter_values(0..count);
        RecordBatch::try_from_iter([("n", Arc::new(numbers) as ArrayRef)]).unwrap()
    }

    #[test]
    fn a_table_of_many_batches_is_written_whole() {
        let mut bytes = Vec::new();
        let rows = stream::iter([Ok(numbers(999)), Ok(numbers(5)), Ok(numbers(2))]);
        let schema = numbers(0).schema();
        let sink = Sink::Given(Box::new(&mut bytes));
        let shown = block_on(Output::default().write(&schema, rows, Instant::now(), sink)).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!((shown.rows, shown.all), (1006, true));
        assert_eq!(text.lines().count(), 2 + 1006 + 1);
        assert!(text.ends_with("   0\n   1\n(1,006 rows)\n"), "{}", &text[text.len() - 40..]);
    }

    #[test]
    fn bytes_for_programs_are_kept_off_the_screen() {
        let terminal = Terminal { stdout: true, ..Terminal::default() };
        let output = Output { terminal, format: Format::Parquet, ..Output::default() };
        let rows = stream::iter([Ok(numbers(3))]);
        let error = block_on(output.show(&numbers(0).schema(), rows, Instant::now())).unwrap_err();
        assert_eq!(error.to_string(), "parquet is not for a terminal; give it a file or a pipe");
    }

    #[test]
    fn answers_are_added_to_a_file_when_told_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("all.csv");
        let output =
            Output { format: Format::Csv, file: Some(path.clone()), append: true, ..Output::default() };
        for count in [1, 2] {
            let rows = stream::iter([Ok(numbers(count))]);
            block_on(output.show(&numbers(0).schema(), rows, Instant::now())).unwrap();
        }
        assert_eq!(fs::read_to_string(path).unwrap(), "n\n0\nn\n0\n1\n");
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("answer.csv");
        let output = Output { format: Format::Csv, file: Some(path.clone()), ..Output::default() };
        let failing = stream::iter([Ok(numbers(3)), Err(Error::cancelled("stopped"))]);
        let schema = numbers(0).schema();
        assert!(block_on(output.show(&schema, failing, Instant::now())).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        block_on(output.show(&schema, stream::iter([Ok(numbers(2))]), Instant::now())).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "n\n0\n1\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_is_shown_of_an_answer_that_fails_before_its_first_row() {
        for format in [Format::Csv, Format::Json, Format::Table] {
            let mut bytes = Vec::new();
            let rows = stream::iter([Err(Error::cancelled("stopped"))]);
            let sink = Sink::Given(Box::new(&mut bytes));
            let output = Output { format, ..Output::default() };
            assert!(block_on(output.write(&numbers(0).schema(), rows, Instant::now(), sink)).is_err());
            assert_eq!(bytes, b"");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_the_users_to_mend() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none").join("answer.csv");
        let output = Output { format: Format::Csv, file: Some(path), ..Output::default() };
        let error =
            block_on(output.show(&numbers(0).schema(), stream::iter([Ok(numbers(1))]), Instant::now()))
                .unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
    }

    #[test]
    fn a_broken_pipe_is_known_behind_every_writer() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        let plain: Result<()> = written(Err(pipe()));
        let arrow: Result<()> = written(Err(ArrowError::from(pipe())));
        let parquet: Result<()> = written(Err(ParquetError::from(pipe())));
        for result in [plain, arrow, parquet] {
            assert!(is_broken_pipe(&result.unwrap_err()));
        }
        let full: Result<()> = written(Err(io::Error::from(io::ErrorKind::StorageFull)));
        assert!(!is_broken_pipe(&full.unwrap_err()));
    }

    #[test]
    fn numbers_are_counted_in_words() {
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(counted(0, "row"), "0 rows");
        assert_eq!(counted(1_234_567, "row"), "1,234,567 rows");
        assert_eq!(grouped(100), "100");
    }
}
