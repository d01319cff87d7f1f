//! What a statement answered, as the Postgres wire shows it: rows in types that it has, faults with their codes and
//! their places.

use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::StringArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use arrow::record_batch::RecordBatchOptions;
use arrow_pg::datatypes::arrow_schema_to_pg_fields;
use arrow_pg::row_encoder::RowEncoder;
use futures::StreamExt;
use futures::stream;
use pgwire::api::portal::Format;
use pgwire::api::results::FieldInfo;
use pgwire::api::results::QueryResponse;
use pgwire::api::results::Response;
use pgwire::error::ErrorInfo;
use pgwire::error::PgWireError;
use pgwire::error::PgWireResult;
use tokio::sync::OwnedSemaphorePermit;

use crate::engine::Rows;
use crate::engine::rows::cell::Cells;
use crate::error::Context;
use crate::error::Error;
use crate::error::Place;
use crate::server::fault::Cause;
use crate::server::fault::Fault;

/// What a statement answered.
pub(super) enum Told {
    Rows(Begun),
    Done(Response),
}

/// Rows whose first batch is there, in types that the wire has.
pub(super) struct Begun {
    pub(super) schema: SchemaRef,
    pub(super) first: Option<RecordBatch>,
    pub(super) rest: Rows,
    pub(super) turn: OwnedSemaphorePermit,
}

pub(super) fn wrong_parameter(message: String) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new("ERROR".to_owned(), "22023".to_owned(), message)))
}

/// A fault as Postgres tells it; the place is counted in characters of the text.
pub(super) fn refused(fault: &Fault, text: &str) -> PgWireError {
    let code = match fault.cause {
        Cause::NotFound => "42P01",
        Cause::Forbidden | Cause::Unauthorized => "42501",
        Cause::Conflict => "23505",
        Cause::Exhausted => "53200",
        Cause::Timeout => "57014",
        Cause::Unavailable | Cause::TooMany => "53300",
        Cause::Internal => "XX000",
        _ => "42601",
    };
    if fault.cause == Cause::Internal {
        tracing::error!("{fault}");
    }
    let mut info = ErrorInfo::new("ERROR".to_owned(), code.to_owned(), fault.message.clone());
    info.position = fault.place.map(|place| position(text, place).to_string());
    PgWireError::UserError(Box::new(info))
}

fn position(text: &str, place: Place) -> u64 {
    let before = usize::try_from(place.line - 1).unwrap_or(usize::MAX);
    let lines: u64 = text.split('\n').take(before).map(|line| line.chars().count() as u64 + 1).sum();
    lines + place.column
}

pub(super) fn fields(schema: &Schema, format: &Format) -> PgWireResult<Vec<FieldInfo>> {
    arrow_schema_to_pg_fields(schema, format, None)
}

pub(super) fn respond(told: Told, format: &Format) -> PgWireResult<Response> {
    let begun = match told {
        Told::Done(response) => return Ok(response),
        Told::Rows(begun) => begun,
    };
    let fields = Arc::new(fields(&begun.schema, format)?);
    let (shown, schema, turn) = (Arc::clone(&fields), begun.schema, begun.turn);
    let batches = stream::iter(begun.first.map(Ok)).chain(begun.rest);
    let rows = batches.flat_map(move |batch| {
        // Another question may begin when this one has ended.
        let _turn = &turn;
        let encoded = batch.and_then(|batch| flat(&batch, &schema)).map(|batch| {
            let mut encoder = RowEncoder::new(batch, Arc::clone(&shown));
            std::iter::from_fn(move || encoder.next_row()).collect::<Vec<_>>()
        });
        stream::iter(encoded.unwrap_or_else(|error| vec![Err(refused(&Fault::from(error), ""))]))
    });
    Ok(Response::Query(QueryResponse::new(fields, rows)))
}

/// The type in which the wire shows a type of ours: lists and structs are JSON.
fn flat_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Dictionary(_, value) => flat_type(value),
        DataType::UInt64 => DataType::Int64,
        DataType::Decimal256(_, scale) => DataType::Decimal128(38, *scale),
        kind if kind.is_nested() || kind.is_null() => DataType::Utf8,
        other => other.clone(),
    }
}

pub(super) fn flat_schema(schema: &Schema) -> Schema {
    let flat =
        schema.fields().iter().map(|field| Field::new(field.name(), flat_type(field.data_type()), true));
    Schema::new(flat.collect::<Vec<_>>())
}

fn flat(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let doing = || "could not show rows on the Postgres wire".to_owned();
    let cells = Cells::of(batch)?;
    let texts = cells.columns()?;
    let columns = batch.columns().iter().zip(schema.fields()).zip(&texts).map(|((array, field), text)| {
        if array.data_type() == field.data_type() {
            return Ok(ArrayRef::clone(array));
        }
        if !array.data_type().is_nested() {
            return cast(array, field.data_type()).internal(doing);
        }
        let rows = (0..array.len()).map(|row| {
            (!text.is_null(row)).then(|| {
                let mut out = String::new();
                text.text(row, &mut out);
                out
            })
        });
        Ok(Arc::new(rows.collect::<StringArray>()) as ArrayRef)
    });
    let columns = columns.collect::<Result<Vec<_>, Error>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).internal(doing)
}
