//! `\chart`: an answer drawn with characters: a bar for each number, shades for retention, as wide as the terminal.

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::array::StringArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::datatypes::Float64Type;
use unicode_width::UnicodeWidthChar;
use unicode_width::UnicodeWidthStr;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;

/// More lines than this are no picture.
const MOST_LINES: usize = 200;

/// A bar that is narrower says nothing.
const LEAST: usize = 6;

/// What stands between two columns.
const GAP: &str = "  ";

/// Draws an answer into lines of up to `width` columns.
pub(crate) fn draw(answer: &RecordBatch, width: usize) -> Result<String> {
    if answer.num_rows() == 0 {
        return Ok("there is nothing to draw: the answer has no rows\n".to_owned());
    }
    let shown = answer.num_rows().min(MOST_LINES);
    let rows = answer.slice(0, shown);
    let mut text = match cells(&rows) {
        Some(cells) => shades(&rows, &cells)?,
        None => bars(&rows, width)?,
    };
    if shown < answer.num_rows() {
        text.push_str(&format!("… and {} rows more\n", answer.num_rows() - shown));
    }
    Ok(text)
}

/// The columns of a retention that hold percents, if the answer is one.
fn cells(rows: &RecordBatch) -> Option<Vec<usize>> {
    rows.column_by_name("cohort")?;
    let is_percent = |column: &ArrayRef| {
        column.as_string_opt::<i32>().is_some_and(|texts| {
            let mut said = texts.iter().flatten().peekable();
            said.peek().is_some() && said.all(|text| percent(text).is_some())
        })
    };
    let found: Vec<usize> = (0..rows.num_columns()).filter(|at| is_percent(rows.column(*at))).collect();
    (!found.is_empty()).then_some(found)
}

/// `12.5%*` as 12.5.
fn percent(text: &str) -> Option<f64> {
    text.trim_end_matches('*').strip_suffix('%')?.parse().ok()
}

/// A line a cohort with a shade a cell, and the average as bars below.
fn shades(rows: &RecordBatch, cells: &[usize]) -> Result<String> {
    let labels = labels(
        rows,
        &(0..cells[0]).filter(|at| rows.schema().field(*at).name() != "persons").collect::<Vec<_>>(),
    )?;
    let texts: Vec<&StringArray> = cells.iter().map(|at| rows.column(*at).as_string::<i32>()).collect();
    let value = |row: usize, cell: usize| {
        texts[cell].is_valid(row).then(|| percent(texts[cell].value(row))).flatten()
    };
    let is_average = |row: usize| labels[row].ends_with("average");
    let wide = labels.iter().map(|label| label.width()).max().unwrap_or(0);
    // The darkest shade is the greatest return; that nearly all are there in the first period tells little.
    let most = (0..rows.num_rows())
        .flat_map(|row| (0..cells.len()).filter_map(move |cell| value(row, cell)))
        .fold(0.0, f64::max);
    let mut text = String::new();
    for (row, label) in labels.iter().enumerate().filter(|(row, _)| !is_average(*row)) {
        let shade = |cell: usize| match value(row, cell) {
            None => "   ".to_owned(),
            Some(value) => shade(value, most).to_string().repeat(3),
        };
        let line: String = (0..cells.len()).map(shade).collect();
        text.push_str(&format!("{}{GAP}{}\n", padded(label, wide), line.trim_end()));
    }
    let schema = rows.schema();
    for row in (0..rows.num_rows()).filter(|row| is_average(*row)) {
        text.push_str(&format!("\n{}\n", labels[row]));
        let names: Vec<&str> = cells.iter().map(|at| schema.field(*at).name().as_str()).collect();
        let wide = names.iter().map(|name| name.width()).max().unwrap_or(0);
        for (cell, name) in names.iter().enumerate() {
            if let Some(value) = value(row, cell) {
                let line = format!("{}{GAP}{} {value:.1}%", padded(name, wide), bar(value, 100.0, 40));
                text.push_str(&format!("{line}\n"));
            }
        }
    }
    Ok(text)
}

fn shade(value: f64, most: f64) -> char {
    match if most > 0.0 { value / most } else { 0.0 } {
        share if share <= 0.0 => '·',
        share if share <= 0.25 => '░',
        share if share <= 0.5 => '▒',
        share if share <= 0.75 => '▓',
        _ => '█',
    }
}

/// A line a row: what it is, and a bar with its number for each column of numbers, as many as fit beside each other.
fn bars(rows: &RecordBatch, width: usize) -> Result<String> {
    let schema = rows.schema();
    let name = |at: usize| schema.field(at).name().as_str();
    let is_number = |at: usize| schema.field(at).data_type().is_numeric();
    // Of two names of a moment the one for people is shown; a tree says all that its path does.
    let hidden = |at: usize| {
        let has = |other: &str| schema.column_with_name(other).is_some();
        (name(at) == "start" && has("local")) || (name(at) == "step" && has("tree")) || name(at) == "personId"
    };
    let first = (0..rows.num_columns()).find(|at| is_number(*at) && !hidden(*at));
    let Some(first) = first else {
        return Err(Error::invalid("there is nothing to draw: the answer has no column of numbers"));
    };
    let mut said: Vec<usize> = (0..first).filter(|at| !hidden(*at)).collect();
    let mut drawn: Vec<usize> = (first..rows.num_columns()).filter(|at| is_number(*at)).collect();
    if schema.column_with_name("tree").is_some() {
        drawn.truncate(1);
    }
    if said.is_empty() && drawn.len() > 1 {
        said.push(drawn.remove(0));
    }
    let labels = labels(rows, &said)?;
    let numbers: Vec<Vec<Option<f64>>> =
        drawn.iter().map(|at| values(rows.column(*at))).collect::<Result<_>>()?;
    let texts: Vec<Vec<String>> = numbers
        .iter()
        .map(|all| all.iter().map(|value| value.map_or(String::new(), short)).collect())
        .collect();

    let heading = said.iter().map(|at| name(*at)).collect::<Vec<_>>().join(" ");
    let widest = labels.iter().map(|label| label.width()).chain([heading.width()]).max().unwrap_or(0);
    let wide = widest.min(width / 2);
    // Each column needs its bar, a space and its number.
    let figures: Vec<usize> =
        texts.iter().map(|all| all.iter().map(|text| text.width()).max().unwrap_or(0)).collect();
    let needs = |count: usize| {
        wide + (0..count)
            .map(|at| GAP.len() + LEAST.max(name(drawn[at]).width().min(12)) + 1 + figures[at])
            .sum::<usize>()
    };
    let fits = (1..=drawn.len()).rev().find(|count| needs(*count) <= width).unwrap_or(1);
    let free = width.saturating_sub(wide + (0..fits).map(|at| GAP.len() + 1 + figures[at]).sum::<usize>());
    let long = (free / fits).clamp(LEAST, 60);

    let mut text = padded(&heading, wide);
    for at in 0..fits {
        text.push_str(&format!("{GAP}{}", padded(name(drawn[at]), long + 1 + figures[at])));
    }
    let mut text = format!("{}\n", text.trim_end());
    let most: Vec<f64> = numbers
        .iter()
        .map(|all| all.iter().flatten().fold(0.0, |most: f64, one| most.max(one.abs())))
        .collect();
    for row in 0..rows.num_rows() {
        let mut line = padded(&labels[row], wide);
        for at in 0..fits {
            let drawn = numbers[at][row].map_or(String::new(), |value| bar(value.abs(), most[at], long));
            line.push_str(&format!(
                "{GAP}{}",
                padded(&format!("{drawn} {}", texts[at][row]), long + 1 + figures[at])
            ));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if fits < drawn.len() {
        let names: Vec<&str> = drawn[fits..].iter().map(|at| name(*at)).collect();
        text.push_str(&format!("there is no room for {}\n", names.join(", ")));
    }
    Ok(text)
}

/// What each row is called: its values of these columns.
fn labels(rows: &RecordBatch, columns: &[usize]) -> Result<Vec<String>> {
    let failed = || "could not read the names of the rows".to_owned();
    let mut labels = vec![String::new(); rows.num_rows()];
    for at in columns {
        let texts = cast(rows.column(*at), &DataType::Utf8).internal(failed)?;
        let texts = texts.as_string::<i32>();
        for (row, label) in labels.iter_mut().enumerate() {
            if !label.is_empty() {
                label.push(' ');
            }
            label.push_str(if texts.is_valid(row) { texts.value(row) } else { "NULL" });
        }
    }
    Ok(labels)
}

fn values(column: &ArrayRef) -> Result<Vec<Option<f64>>> {
    let numbers = cast(column, &DataType::Float64).internal(|| "could not read numbers".to_owned())?;
    Ok(numbers.as_primitive::<Float64Type>().iter().collect())
}

/// A number in a few figures.
fn short(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// Cut or filled up to so many columns.
fn padded(text: &str, width: usize) -> String {
    let wide = text.width();
    if wide <= width {
        return format!("{text}{}", " ".repeat(width - wide));
    }
    let mut cut = String::new();
    let mut left = width.saturating_sub(1);
    for one in text.chars() {
        let needs = one.width().unwrap_or(0);
        if needs > left {
            break;
        }
        left -= needs;
        cut.push(one);
    }
    format!("{cut}…{}", " ".repeat(left))
}

/// A bar in eighths of a column; whatever is more than nothing can be seen.
fn bar(value: f64, most: f64, width: usize) -> String {
    let share = if most > 0.0 { (value / most).clamp(0.0, 1.0) } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the width")]
    let eighths = (share * (width * 8) as f64).round() as usize;
    let eighths = if value > 0.0 { eighths.max(1) } else { eighths };
    let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    format!("{}{part}", "█".repeat(eighths / 8))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Date32Array;
    use arrow::array::Int64Array;

    use super::*;

    fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, true)),
        )
        .unwrap()
    }

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(values.iter().copied().collect::<StringArray>())
    }

    fn numbers(values: &[Option<i64>]) -> ArrayRef {
        Arc::new(values.iter().copied().collect::<Int64Array>())
    }

    #[test]
    fn every_number_has_a_bar_that_fits() {
        let days: ArrayRef = Arc::new(Date32Array::from(vec![20_605, 20_606, 20_607]));
        let answer = table(vec![
            ("day", days),
            ("views", numbers(&[Some(200), Some(100), None])),
            ("buys", numbers(&[Some(0), Some(1), Some(1000)])),
        ]);
        let drawn = draw(&answer, 60).unwrap();
        let lines: Vec<&str> = drawn.lines().collect();
        assert!(lines[0].starts_with("day         views"), "{drawn}");
        assert!(lines[1].starts_with("2026-06-01  ██████████") && lines[1].contains(" 200"), "{drawn}");
        let blocks = |line: &str| line.chars().filter(|one| *one == '█').count();
        assert_eq!(blocks(lines[1]) / 2, blocks(lines[2]), "half as many are half as long: {drawn}");
        assert!(lines[2].contains("▏ 1"), "what is there can be seen: {drawn}");
        assert!(lines.iter().all(|line| line.width() <= 60), "{drawn}");
        let narrow = draw(&answer, 30).unwrap();
        assert!(narrow.contains("no room for buys"), "{narrow}");
    }

    #[test]
    fn retention_is_shaded_and_its_average_drawn() {
        let answer = table(vec![
            ("cohort", texts(&[Some("2026-06-01"), Some("2026-06-08"), Some("average")])),
            ("persons", numbers(&[Some(10), Some(20), Some(30)])),
            ("week 0", texts(&[Some("100.0%"), Some("50.0%*"), Some("100.0%")])),
            ("week 1", texts(&[Some("20.0%"), None, Some("20.0%")])),
        ]);
        let drawn = draw(&answer, 80).unwrap();
        assert!(drawn.contains("2026-06-01  ███░░░\n2026-06-08  ▒▒▒\n"), "{drawn}");
        assert!(
            drawn.contains(
                "average\nweek 0  ████████████████████████████████████████ 100.0%\nweek 1  ████████ 20.0%"
            ),
            "{drawn}"
        );
    }

    #[test]
    fn a_tree_keeps_its_branches_and_a_count_is_a_name() {
        let tree = table(vec![
            ("step", numbers(&[Some(0), Some(1)])),
            ("tree", texts(&[Some("home"), Some("└─ shoes")])),
            ("persons", numbers(&[Some(4), Some(2)])),
            ("median_seconds", numbers(&[None, Some(9)])),
        ]);
        let drawn = draw(&tree, 30).unwrap();
        assert_eq!(
            drawn.lines().map(|line| line.chars().take(10).collect::<String>()).collect::<Vec<_>>(),
            ["tree      ", "home      ", "└─ shoes  "]
        );
        assert!(!drawn.contains('9'), "{drawn}");
        let days =
            table(vec![("days", numbers(&[Some(1), Some(2)])), ("persons", numbers(&[Some(4), Some(2)]))]);
        assert!(draw(&days, 40).unwrap().starts_with("days  persons\n1     ███"));
        let none = table(vec![("name", texts(&[Some("a")]))]);
        assert!(draw(&none, 40).unwrap_err().to_string().contains("no column of numbers"));
    }
}
