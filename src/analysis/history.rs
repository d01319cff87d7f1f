//! What persons did, in order: the few columns of the events that a question is about, brought into memory.

use std::collections::HashMap;

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::array::StringArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use futures::StreamExt;

use crate::analysis::events::Events;
use crate::analysis::events::in_condition;
use crate::analysis::ground::Ground;
use crate::analysis::ground::Scope;
use crate::analysis::ground::between;
use crate::error::Context;
use crate::error::Result;
use crate::time::Micros;

/// One event of somebody, as far as a question needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hit {
    pub(crate) person: i64,
    pub(crate) at: i64,
    pub(crate) seq: i64,
    /// The number of its value among [`Values`]; 0 where the question asks for none.
    pub(crate) value: u32,
}

/// Texts with numbers; NULL is number 0.
#[derive(Debug)]
pub(crate) struct Values {
    numbers: HashMap<String, u32>,
    texts: Vec<Option<String>>,
}

impl Values {
    pub(crate) fn new() -> Self {
        Self { numbers: HashMap::new(), texts: vec![None] }
    }

    pub(crate) fn number(&mut self, text: Option<&str>) -> u32 {
        let Some(text) = text else { return 0 };
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(Some(text.to_owned()));
        self.numbers.insert(text.to_owned(), number);
        number
    }

    pub(crate) fn text(&self, number: u32) -> Option<&str> {
        self.texts.get(number as usize).and_then(Option::as_deref)
    }
}

/// Which events to bring, and what of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) events: &'a Events,
    pub(crate) from: Option<Micros>,
    pub(crate) to: Option<Micros>,
    /// An expression in SQL whose text is the hit's value.
    pub(crate) value: Option<&'a str>,
}

/// `SELECT columns FROM the events WHERE their condition, the time, the persons of the scope and more`.
pub(crate) fn select(
    columns: &str,
    events: &Events,
    range: (Option<Micros>, Option<Micros>),
    scope: &Scope,
    more: Option<String>,
) -> Result<String> {
    let condition = events.condition()?.map(|condition| format!("({condition})"));
    let parts = [condition, between(range.0, range.1), scope.persons(), more];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let filter = if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) };
    Ok(format!("SELECT {columns} FROM {}{filter}", events.table()))
}

/// Hands over the hits as they are read, in no promised order.
pub(crate) async fn each_hit(
    ground: &Ground<'_>,
    scope: &Scope,
    wanted: Wanted<'_>,
    values: &mut Values,
    mut take: impl FnMut(Hit),
) -> Result<()> {
    let mut columns = "\"personId\", \"occurredTime\", \"seq\"".to_owned();
    if let Some(value) = wanted.value {
        let value = crate::analysis::events::condition(value)?;
        columns.push_str(&format!(", CAST({value} AS VARCHAR) AS \"value\""));
    }
    let sql = select(&columns, wanted.events, (wanted.from, wanted.to), scope, None)?;
    let said = |error| in_condition(wanted.events.said(), error);
    let mut rows = ground.session.ask(&sql).await.map_err(said)?;
    while let Some(batch) = rows.next().await {
        take_batch(&batch.map_err(said)?, values, &mut take)?;
    }
    Ok(())
}

fn take_batch(batch: &RecordBatch, values: &mut Values, take: &mut impl FnMut(Hit)) -> Result<()> {
    let persons = batch.column(0).as_primitive::<Int64Type>();
    let times = batch.column(1).as_primitive::<TimestampMicrosecondType>();
    let seqs = batch.column(2).as_primitive::<Int64Type>();
    let texts = match batch.columns().get(3) {
        Some(column) => {
            Some(cast(column, &DataType::Utf8).internal(|| "could not read values as texts".to_owned())?)
        }
        None => None,
    };
    let texts: Option<&StringArray> = texts.as_ref().map(|texts| texts.as_string());
    for row in 0..batch.num_rows() {
        let text = texts.filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row));
        take(Hit {
            person: persons.value(row),
            at: times.value(row),
            seq: seqs.value(row),
            value: values.number(text),
        });
    }
    Ok(())
}

/// All hits in order of person, time and sequence number.
pub(crate) async fn hits(
    ground: &Ground<'_>,
    scope: &Scope,
    wanted: Wanted<'_>,
    values: &mut Values,
) -> Result<Vec<Hit>> {
    let mut hits = Vec::new();
    each_hit(ground, scope, wanted, values, |hit| hits.push(hit)).await?;
    hits.sort_unstable();
    Ok(hits)
}

/// The first hit of each person, in order of person.
pub(crate) async fn first_hits(
    ground: &Ground<'_>,
    scope: &Scope,
    wanted: Wanted<'_>,
    values: &mut Values,
) -> Result<Vec<Hit>> {
    let mut first: hashbrown::HashMap<i64, Hit> = hashbrown::HashMap::new();
    each_hit(ground, scope, wanted, values, |hit| {
        let known = first.entry(hit.person).or_insert(hit);
        *known = (*known).min(hit);
    })
    .await?;
    let mut hits: Vec<Hit> = first.into_values().collect();
    hits.sort_unstable();
    Ok(hits)
}

/// The stretch of one person in hits that are in order of person, from the front of what is left.
pub(crate) fn take_person<'a>(left: &mut &'a [Hit], person: i64) -> &'a [Hit] {
    let start = left.partition_point(|hit| hit.person < person);
    let rest = &left[start..];
    let length = rest.iter().take_while(|hit| hit.person == person).count();
    let (found, after) = rest.split_at(length);
    *left = after;
    found
}
