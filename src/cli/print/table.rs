//! Aligned columns for people: widths as the screen counts them, numbers to the right, NULL unlike empty text.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use unicode_width::UnicodeWidthChar;
use unicode_width::UnicodeWidthStr;

use crate::engine::rows::cell::Cells;
use crate::engine::rows::cell::is_number;
use crate::error::Result;

/// No column is cut to fewer places than this; a table that is still too wide is left to the pager.
const NARROWEST: usize = 8;

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// What the place that shows the table can do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    /// Long texts are cut so that a row fits this many places; none leaves them whole.
    pub(crate) width: Option<usize>,
    pub(crate) colours: bool,
    /// Lines drawn with box characters instead of ASCII.
    pub(crate) lines: bool,
}

/// The lines of one value, or NULL.
type Cell = Option<Vec<String>>;

/// The rows that decide how wide each column is.
pub(crate) struct Table {
    names: Vec<String>,
    right: Vec<bool>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(schema: &SchemaRef) -> Self {
        Self {
            names: schema.fields().iter().map(|field| visible(field.name()).join(" ")).collect(),
            right: schema.fields().iter().map(|field| is_number(field.data_type())).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.extend(cells(batch)?);
        Ok(())
    }

    /// The widths that these rows ask for, and the text of the table so far.
    pub(crate) fn render(&self, look: Look) -> (Grid, String) {
        let widths = (0..self.names.len()).map(|place| {
            let cells = self.rows.iter().map(|row| cell_width(&row[place]));
            cells.chain([self.names[place].width()]).max().unwrap_or(0)
        });
        let mut grid = Grid { widths: widths.collect(), right: self.right.clone(), look };
        if let Some(width) = look.width {
            grid.narrow(width, |place| !self.right[place] && !self.has_lines(place));
        }
        let mut text = grid.header(&self.names);
        for row in &self.rows {
            grid.row(row, &mut text);
        }
        (grid, text)
    }

    /// A text of several lines is made to be read whole, as a plan is.
    fn has_lines(&self, place: usize) -> bool {
        self.rows.iter().any(|row| row[place].as_ref().is_some_and(|lines| lines.len() > 1))
    }
}

/// The widths of a table that has begun: further rows keep them, and a value that is wider sticks out.
#[derive(Debug)]
pub(crate) struct Grid {
    widths: Vec<usize>,
    right: Vec<bool>,
    look: Look,
}

impl Grid {
    /// The text of further rows.
    pub(crate) fn rows(&self, batch: &RecordBatch) -> Result<String> {
        let mut text = String::new();
        for row in cells(batch)? {
            self.row(&row, &mut text);
        }
        Ok(text)
    }

    /// Cuts the widest of the columns that may be cut to a common width, the greatest with which the row fits.
    fn narrow(&mut self, width: usize, may_cut: impl Fn(usize) -> bool) {
        let room = |cap: usize| -> usize {
            let cut =
                |(place, width): (usize, &usize)| if may_cut(place) { (*width).min(cap) } else { *width };
            let columns: usize = self.widths.iter().enumerate().map(cut).sum();
            columns + 3 * self.widths.len().saturating_sub(1) + 2
        };
        let widest = self.widths.iter().copied().max().unwrap_or(0);
        if room(widest) <= width {
            return;
        }
        let cap = (NARROWEST..=widest).rev().find(|cap| room(*cap) <= width).unwrap_or(NARROWEST);
        for (place, one) in self.widths.iter_mut().enumerate() {
            if may_cut(place) {
                *one = (*one).min(cap);
            }
        }
    }

    fn header(&self, names: &[String]) -> String {
        let (bar, cross, line) = if self.look.lines { ("│", "┼", "─") } else { ("|", "+", "-") };
        let style = if self.look.colours { (BOLD, PLAIN) } else { ("", "") };
        let mut text = String::new();
        self.line(bar, names.iter().map(|name| (name.as_str(), style)), &mut text);
        let rules: Vec<String> = self.widths.iter().map(|width| line.repeat(width + 2)).collect();
        text.push_str(&rules.join(cross));
        text.push('\n');
        text
    }

    fn row(&self, row: &[Cell], text: &mut String) {
        let bar = if self.look.lines { "│" } else { "|" };
        let null = if self.look.colours { (DIM, PLAIN) } else { ("", "") };
        let height = row.iter().map(|cell| cell.as_ref().map_or(1, Vec::len)).max().unwrap_or(1);
        for line in 0..height {
            let parts = row.iter().map(|cell| match cell {
                Some(lines) => (lines.get(line).map_or("", String::as_str), ("", "")),
                None if line == 0 => ("NULL", null),
                None => ("", ("", "")),
            });
            self.line(bar, parts, text);
        }
    }

    fn line<'a>(
        &self,
        bar: &str,
        parts: impl Iterator<Item = (&'a str, (&'a str, &'a str))>,
        text: &mut String,
    ) {
        let start = text.len();
        for (place, (part, (before, after))) in parts.enumerate() {
            if place > 0 {
                text.push(' ');
                text.push_str(bar);
            }
            text.push(' ');
            let width = self.widths[place];
            let part = if self.look.width.is_some() { cut(part, width) } else { part.to_owned() };
            let padding = " ".repeat(width.saturating_sub(part.width()));
            if self.right[place] {
                text.push_str(&padding);
            }
            text.push_str(before);
            text.push_str(&part);
            text.push_str(after);
            if !self.right[place] {
                text.push_str(&padding);
            }
        }
        text.truncate(start + text[start..].trim_end_matches(' ').len());
        text.push('\n');
    }
}

fn cells(batch: &RecordBatch) -> Result<Vec<Vec<Cell>>> {
    let cells = Cells::of(batch)?;
    let columns = cells.columns()?;
    let cell = |row: usize, place: usize| {
        let column = &columns[place];
        (!column.is_null(row)).then(|| {
            let mut text = String::new();
            column.text(row, &mut text);
            visible(&text)
        })
    };
    Ok((0..batch.num_rows()).map(|row| (0..columns.len()).map(|place| cell(row, place)).collect()).collect())
}

fn cell_width(cell: &Cell) -> usize {
    match cell {
        Some(lines) => lines.iter().map(|line| line.width()).max().unwrap_or(0),
        None => "NULL".len(),
    }
}

/// The lines of a text without anything that would move the cursor or command the terminal.
fn visible(text: &str) -> Vec<String> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let line = |line: &str| -> String {
        let mut out = String::with_capacity(line.len());
        for c in line.strip_suffix('\r').unwrap_or(line).chars() {
            match c {
                '\t' => out.push_str("    "),
                c if c.is_control() => out.extend(c.escape_default()),
                c => out.push(c),
            }
        }
        out
    };
    text.split('\n').map(line).collect()
}

/// The text itself, or as much of it as leaves room for the sign that it goes on.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut taken = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if taken + wide + 1 > width {
            break;
        }
        taken += wide;
        out.push(c);
    }
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::ArrayRef;
    use arrow::array::Int64Array;
    use arrow::array::StringArray;

    use super::*;
    use crate::engine::rows::tests::sample;

    fn table(batch: &RecordBatch, look: Look) -> String {
        let mut table = Table::new(&batch.schema());
        table.push(batch).unwrap();
        table.render(look).1
    }

    fn texts(values: &[&str]) -> RecordBatch {
        let ids = Int64Array::from_iter_values((1..).take(values.len()));
        let texts = StringArray::from_iter_values(values);
        RecordBatch::try_from_iter([("id", Arc::new(ids) as ArrayRef), ("text", Arc::new(texts) as ArrayRef)])
            .unwrap()
    }

    #[test]
    fn wide_letters_and_numbers_are_aligned() {
        let expected = "
 name          | count
---------------+-------
 東京          |     1
               |   -20
 NULL          |  NULL
 say \"hi\", now |   300
";
        assert_eq!(format!("\n{}", table(&sample(), Look::default())), expected);
    }

    #[test]
    fn null_is_dim_and_headings_are_bold_where_there_are_colours() {
        let text = table(&sample(), Look { colours: true, lines: true, width: None });
        assert!(text.contains("\x1b[2mNULL\x1b[0m          │"), "{text}");
        assert!(text.starts_with(" \x1b[1mname\x1b[0m"), "{text}");
        assert!(text.contains("─┼─"), "{text}");
    }

    #[test]
    fn a_narrow_terminal_cuts_texts_and_never_numbers() {
        let batch = texts(&["a rather long text", "東京東京東京東京東京", "short"]);
        let text = table(&batch, Look { width: Some(17), ..Look::default() });
        let expected = "
 id | text
----+------------
  1 | a rather …
  2 | 東京東京…
  3 | short
";
        assert_eq!(format!("\n{text}"), expected);
        assert!(text.lines().all(|line| line.width() <= 17), "{text}");
        let number = table(&texts(&["x"]).project(&[0]).unwrap(), Look { width: Some(2), ..Look::default() });
        assert!(number.contains('1') && !number.contains('…'), "{number}");
    }

    #[test]
    fn a_text_of_several_lines_keeps_them_and_is_not_cut() {
        let batch = texts(&["Filter: this line is long\n  Scan\n"]);
        let text = table(&batch, Look { width: Some(20), ..Look::default() });
        assert!(text.contains("  1 | Filter: this line is long\n    |   Scan\n"), "{text}");
    }

    #[test]
    fn a_value_cannot_command_the_terminal() {
        let text = table(&texts(&["\x1b[31mred\u{9b}\ttab"]), Look::default());
        assert!(text.contains("\\u{1b}[31mred\\u{9b}    tab"), "{text}");
    }

    #[test]
    fn later_rows_keep_the_widths() {
        let mut table = Table::new(&texts(&[]).schema());
        table.push(&texts(&["abc"])).unwrap();
        let (grid, _) = table.render(Look::default());
        assert_eq!(grid.rows(&texts(&["a longer one"])).unwrap(), "  1 | a longer one\n");
    }
}
