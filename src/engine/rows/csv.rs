//! Answers as CSV (RFC 4180, lines end in `\n`): a NULL is an empty field, empty text is `""`.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::engine::rows::RowWriter;
use crate::engine::rows::cell::Cells;
use crate::engine::rows::written;
use crate::error::Result;

/// Writes the header at once, so that an answer without rows still says its columns.
pub(crate) struct Csv<'a> {
    out: Box<dyn Write + Send + 'a>,
}

impl<'a> Csv<'a> {
    pub(crate) fn new(schema: &SchemaRef, mut out: Box<dyn Write + Send + 'a>) -> Result<Self> {
        let mut line = String::new();
        for (place, field) in schema.fields().iter().enumerate() {
            line.push_str(if place > 0 { "," } else { "" });
            quote(field.name(), &mut line);
        }
        line.push('\n');
        written(out.write_all(line.as_bytes()))?;
        Ok(Self { out })
    }
}

impl RowWriter for Csv<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = Cells::of(batch)?;
        let columns = cells.columns()?;
        let (mut lines, mut value) = (String::new(), String::new());
        for row in 0..batch.num_rows() {
            for (place, column) in columns.iter().enumerate() {
                lines.push_str(if place > 0 { "," } else { "" });
                if !column.is_null(row) {
                    value.clear();
                    column.text(row, &mut value);
                    quote(&value, &mut lines);
                }
            }
            lines.push('\n');
        }
        written(self.out.write_all(lines.as_bytes()))
    }

    fn finish(&mut self) -> Result<()> {
        written(self.out.flush())
    }
}

/// A field, in quotes when a reader would otherwise see something else.
fn quote(value: &str, line: &mut String) {
    let plain = !value.is_empty()
        && !value.contains(['"', ',', '\n', '\r'])
        && !value.starts_with(char::is_whitespace)
        && !value.ends_with(char::is_whitespace);
    if plain {
        line.push_str(value);
    } else {
        line.push('"');
        line.push_str(&value.replace('"', "\"\""));
        line.push('"');
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::rows::RowFormat;
    use crate::engine::rows::tests::sample;
    use crate::engine::rows::tests::written_as;

    #[test]
    fn null_and_empty_text_are_told_apart() {
        let text = written_as(RowFormat::Csv, &sample());
        assert_eq!(text, "name,count\n東京,1\n\"\",-20\n,\n\"say \"\"hi\"\", now\",300\n");
    }

    #[test]
    fn an_answer_without_rows_is_its_header() {
        assert_eq!(written_as(RowFormat::Csv, &sample().slice(0, 0)), "name,count\n");
    }
}
