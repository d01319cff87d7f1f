//! Answers as JSON: one array, or one object per line.

use std::io::Write;

use arrow::array::RecordBatch;

use crate::engine::rows::RowWriter;
use crate::engine::rows::cell::Cells;
use crate::engine::rows::cell::object;
use crate::engine::rows::written;
use crate::error::Result;

/// What stands before the first row, between two rows, after the last one, and instead of all when there is no row.
struct Frame {
    before: &'static str,
    between: &'static str,
    after: &'static str,
    empty: &'static str,
}

/// Writes rows as objects whose keys are the columns, in their order.
pub(crate) struct Json<'a> {
    out: Box<dyn Write + Send + 'a>,
    frame: Frame,
    any: bool,
}

impl<'a> Json<'a> {
    pub(crate) fn array(out: Box<dyn Write + Send + 'a>) -> Self {
        Self { out, frame: Frame { before: "[", between: ",\n ", after: "]\n", empty: "[]\n" }, any: false }
    }

    pub(crate) fn lines(out: Box<dyn Write + Send + 'a>) -> Self {
        Self { out, frame: Frame { before: "", between: "\n", after: "\n", empty: "" }, any: false }
    }
}

impl RowWriter for Json<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let cells = Cells::of(batch)?;
        let columns = cells.columns()?;
        let schema = batch.schema_ref();
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            text.push_str(if self.any { self.frame.between } else { self.frame.before });
            self.any = true;
            let named = schema.fields().iter().zip(&columns);
            object(named.map(|(field, column)| (field.name().as_str(), column)), row, &mut text);
        }
        written(self.out.write_all(text.as_bytes()))
    }

    fn finish(&mut self) -> Result<()> {
        let end = if self.any { self.frame.after } else { self.frame.empty };
        written(self.out.write_all(end.as_bytes()))?;
        written(self.out.flush())
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::rows::RowFormat;
    use crate::engine::rows::tests::sample;
    use crate::engine::rows::tests::written_as;

    #[test]
    fn an_array_is_one_json_document() {
        let text = written_as(RowFormat::Json, &sample());
        let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(rows[0], serde_json::json!({"name": "東京", "count": 1}));
        assert_eq!(rows[2], serde_json::json!({"name": null, "count": null}));
        assert_eq!(rows.as_array().unwrap().len(), 4);
        assert_eq!(written_as(RowFormat::Json, &sample().slice(0, 0)), "[]\n");
    }

    #[test]
    fn ndjson_is_a_row_a_line() {
        let text = written_as(RowFormat::Ndjson, &sample());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[3], r#"{"name":"say \"hi\", now","count":300}"#);
        assert_eq!(written_as(RowFormat::Ndjson, &sample().slice(0, 0)), "");
    }
}
