//! Which events a funnel needs: one source a definition, with a bit for each step and each exclusion that it fits.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use arrow::datatypes::Fields;
use datafusion::common::Column;
use datafusion::common::ScalarValue;
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::JoinType;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::logical_expr::cast;
use datafusion::logical_expr::ident;
use datafusion::logical_expr::lit;

use crate::analysis::events::EntryField;
use crate::analysis::events::entries;
use crate::analysis::funnel::By;
use crate::analysis::funnel::Counting;
use crate::analysis::funnel::FunnelRequest;
use crate::analysis::funnel::Of;
use crate::analysis::funnel::Picked;
use crate::analysis::funnel::question::Places;
use crate::analysis::funnel::request::FunnelOrder;
use crate::analysis::funnel::request::Read;
use crate::analysis::hits::FIRST_EXTRA;
use crate::analysis::hits::Hits;
use crate::analysis::hits::Source;
use crate::analysis::hits::marks;
use crate::error::Context;
use crate::error::Error;
use crate::error::Place;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::query::NamedTable;
use crate::quote::quoted;
use crate::schema::PERSON_ID;
use crate::schema::SESSION_ID;

/// The events of one definition that the funnel looks at.
struct Wanted {
    table: NamedTable,
    steps: Vec<(u32, Option<Expr>)>,
    exclusions: Vec<(u32, Option<Expr>)>,
}

/// The plan of the events, and where its columns are.
pub(crate) async fn plan(
    request: &FunnelRequest,
    read: &Read,
    state: &SessionState,
) -> Result<(LogicalPlan, Places)> {
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    for (step, asked) in (0_u32..).zip(&request.steps) {
        for one in &asked.any {
            let (wanted, condition) = want(state, &mut wanted, one).await?;
            wanted.steps.push((step, condition));
        }
    }
    for (at, asked) in (0_u32..).zip(&request.excluding) {
        let (wanted, condition) = want(state, &mut wanted, &asked.picked).await?;
        wanted.exclusions.push((at, condition));
    }
    check_properties(request, &wanted)?;

    let mut columns = vec![("steps".to_owned(), DataType::UInt64)];
    let mut places = Places::default();
    let mut more = |name: &str| {
        columns.push((name.to_owned(), DataType::Utf8View));
        Some(FIRST_EXTRA + columns.len() - 1)
    };
    if request.counting == Counting::Sessions {
        places.held = more("session");
    } else if !request.holding.is_empty() {
        places.held = more("held");
    }
    let by = request.by.as_ref();
    if by.is_some_and(|by| !by.is_of_person()) {
        places.value = more("value");
    }
    if !request.excluding.is_empty() {
        columns.push(("excludes".to_owned(), DataType::UInt64));
        places.excludes = Some(FIRST_EXTRA + columns.len() - 1);
    }
    let mut sources = Vec::new();
    for one in wanted.values() {
        sources.push(source(request, one, &places, state)?);
    }
    if request.order == FunnelOrder::Strict {
        sources.push(strangers(&wanted, &places, state).await?);
    }
    let segment = match &request.for_segment {
        Some(name) => Some(segment(state, name).await?),
        None => None,
    };
    let hits = Hits { sources, columns, from: read.from, to: read.to, seq: by.is_some(), persons: segment };
    let mut events = hits.logical().internal(|| "could not plan a funnel".to_owned())?;
    if let Some(by) = by.filter(|by| by.is_of_person()) {
        places.value = Some(events.schema().fields().len());
        events = with_person(state, events, by).await?;
    }
    Ok((events, places))
}

/// The entry of an event's table, and the condition on it.
async fn want<'a>(
    state: &SessionState,
    wanted: &'a mut BTreeMap<String, Wanted>,
    picked: &Picked,
) -> Result<(&'a mut Wanted, Option<Expr>)> {
    let table = NamedTable::events(state, &picked.event).await.map_err(|error| at(error, picked.at))?;
    let condition = match &picked.condition {
        None => None,
        Some(text) => Some(condition(state, &table, text, picked.where_at)?),
    };
    let entry = wanted.entry(picked.event.clone());
    let wanted = entry.or_insert_with(|| Wanted { table, steps: Vec::new(), exclusions: Vec::new() });
    Ok((wanted, condition))
}

/// A condition on the columns of an event; `any(list.field …)` asks about the entries of a list.
fn condition(state: &SessionState, table: &NamedTable, text: &str, start: Option<[u64; 2]>) -> Result<Expr> {
    let Some((spelled, fields)) = entries(text).map_err(|error| at(error, start))? else {
        return table.condition(state, text).map_err(|error| within(of_list(table, text, error), start));
    };
    for one in &fields {
        check_field(table, one).map_err(|error| at(error, start))?;
    }
    // Its places are of the text that was spelled out.
    table.spelled_condition(state, &spelled, text).map_err(|error| match start {
        Some([line, column]) => error.at(Place { line, column }),
        None => Error::new(error.kind(), error.message().to_owned()),
    })
}

/// The fields of a column that is a list.
fn list_fields<'a>(table: &'a NamedTable, column: &str) -> Option<&'a Fields> {
    match table.kind(column)? {
        DataType::List(item) | DataType::LargeList(item) => match item.data_type() {
            DataType::Struct(fields) => Some(fields),
            _ => None,
        },
        _ => None,
    }
}

fn check_field(table: &NamedTable, asked: &EntryField) -> Result<()> {
    let EntryField { list, field } = asked;
    if !table.has(list) {
        return Err(no_property(table, list));
    }
    let Some(fields) = list_fields(table, list) else {
        let message = format!("\"{list}\" is no list, so any(…) cannot ask about its entries");
        return Err(Error::invalid(message));
    };
    if fields.find(field).is_none() {
        let hint = did_you_mean(field, fields.iter().map(|one| one.name().as_str()));
        return Err(Error::not_found(format!("the list \"{list}\" has no field \"{field}\"{hint}")));
    }
    Ok(())
}

/// A list has no fields of its own; what helps is said instead.
fn of_list(table: &NamedTable, text: &str, error: Error) -> Error {
    let columns = table.columns();
    let is_asked = |one: &&String| list_fields(table, one).is_some() && text.contains(&format!("{one}."));
    let meant = columns.iter().filter(|_| error.message().starts_with("cannot access field")).find(is_asked);
    let Some(list) = meant else { return error };
    let field = list_fields(table, list).and_then(|fields| fields.first()).map_or("field", |one| one.name());
    let message =
        format!("\"{list}\" is a list; ask about its entries with any(…), such as any({list}.{field} = …)");
    let told = Error::invalid(message);
    match error.place() {
        Some(place) => told.at(place),
        None => told,
    }
}

fn at(error: Error, place: Option<[u64; 2]>) -> Error {
    match place {
        Some([line, column]) => error.at(Place { line, column }),
        None => error,
    }
}

/// An error whose place is counted in a text that starts at `start`.
fn within(error: Error, start: Option<[u64; 2]>) -> Error {
    match (start, error.place()) {
        (Some([line, column]), Some(place)) => error.at(place.within(Place { line, column })),
        (Some([line, column]), None) => error.at(Place { line, column }),
        (None, _) => error,
    }
}

fn no_property(table: &NamedTable, property: &str) -> Error {
    let columns = table.columns();
    let hint = did_you_mean(property, columns.iter().map(String::as_str));
    Error::not_found(format!("the event \"{}\" has no property \"{property}\"{hint}", table.name))
}

fn check_properties(request: &FunnelRequest, wanted: &BTreeMap<String, Wanted>) -> Result<()> {
    let tables_of = |step: usize| request.steps[step].any.iter().filter_map(|one| wanted.get(&one.event));
    for property in &request.holding {
        for step in 0..request.steps.len() {
            if let Some(lacks) = tables_of(step).find(|one| !one.table.has(property)) {
                return Err(no_property(&lacks.table, property));
            }
        }
    }
    if request.counting == Counting::Sessions
        && let Some(lacks) = wanted.values().find(|one| !one.table.has(SESSION_ID))
    {
        return Err(no_property(&lacks.table, SESSION_ID));
    }
    let Some(By { property, of, at: place }) = &request.by else { return Ok(()) };
    let missing = match of {
        Of::Step(step) => tables_of(step - 1).find(|one| !one.table.has(property)),
        Of::First | Of::Last => {
            let none_has = !wanted.values().any(|one| one.table.has(property));
            wanted.values().next().filter(|_| none_has)
        }
        Of::Person | Of::Segment => None,
    };
    missing.map_or(Ok(()), |one| Err(at(no_property(&one.table, property), *place)))
}

fn null() -> Expr {
    lit(ScalarValue::Utf8View(None))
}

fn source(request: &FunnelRequest, wanted: &Wanted, places: &Places, state: &SessionState) -> Result<Source> {
    let failed = || "could not plan the steps of a funnel".to_owned();
    let table = &wanted.table;
    let all: Vec<(u32, Option<Expr>)> = wanted.steps.iter().chain(&wanted.exclusions).cloned().collect();
    let (_, filter) = marks(&all).internal(failed)?;
    let alone = all.len() == 1;
    // A single condition is the filter, too; several must be told apart row by row.
    let bits = |of: &[(u32, Option<Expr>)]| match of {
        [] => Ok(lit(0_u64)),
        [(bit, _)] if alone => Ok(lit(1_u64 << bit)),
        [one] => marks(&[one.clone(), (one.0, Some(lit(false)))]).map(|(number, _)| number),
        several => marks(several).map(|(number, _)| number),
    };
    let mut columns = vec![bits(&wanted.steps).internal(failed)?];
    if places.held.is_some() {
        let held = if request.counting == Counting::Sessions {
            quoted(SESSION_ID)
        } else if request.holding.iter().all(|one| table.has(one)) {
            held(&request.holding)
        } else {
            "NULL".to_owned()
        };
        columns.push(table.expression(state, &held)?);
    }
    if let (Some(By { property, .. }), Some(_)) = (&request.by, places.value) {
        columns.push(if table.has(property) { table.expression(state, &quoted(property))? } else { null() });
    }
    if places.excludes.is_some() {
        columns.push(bits(&wanted.exclusions).internal(failed)?);
    }
    let filter = if request.order == FunnelOrder::Strict { None } else { filter };
    // Without the filter also a single condition must be asked row by row.
    if request.order == FunnelOrder::Strict
        && let [(bit, Some(condition))] = wanted.steps.as_slice()
    {
        let both = [(*bit, Some(condition.clone())), (*bit, Some(lit(false)))];
        columns[0] = marks(&both).internal(failed)?.0;
    }
    Ok(Source { table: table.clone(), filter, columns })
}

/// One text of all held values; NULL when any is.
fn held(properties: &[String]) -> String {
    let names: Vec<String> = properties.iter().map(|one| quoted(one)).collect();
    match names.as_slice() {
        [one] => one.clone(),
        several => {
            let nulls: Vec<String> = several.iter().map(|one| format!("{one} IS NULL")).collect();
            let texts: Vec<String> = several.iter().map(|one| format!("CAST({one} AS VARCHAR)")).collect();
            let joined = texts.join(", chr(31), ");
            format!("CASE WHEN {} THEN NULL ELSE concat({joined}) END", nulls.join(" OR "))
        }
    }
}

/// All other events, which start a person over where nothing may lie between two steps.
async fn strangers(
    wanted: &BTreeMap<String, Wanted>,
    places: &Places,
    state: &SessionState,
) -> Result<Source> {
    let table = NamedTable::events(state, "events").await?;
    let known = wanted.keys().map(|name| lit(name.as_str())).collect();
    let filter = Some(ident("definitionId").in_list(known, true));
    let mut columns = vec![lit(0_u64)];
    columns.extend(places.value.map(|_| null()));
    Ok(Source { table, filter, columns })
}

/// The persons of a segment.
async fn segment(state: &SessionState, name: &str) -> Result<LogicalPlan> {
    let table = NamedTable::open(state, &format!("segments.{name}")).await.map_err(|error| {
        let hint = error.message().split_once("; did you mean").map(|(_, hint)| hint);
        let hint = hint.map(|hint| format!("; did you mean{hint}")).unwrap_or_default();
        Error::not_found(format!("no segment is called \"{name}\"{hint}"))
    })?;
    let plan = table.scan()?.project(vec![ident(PERSON_ID)]).and_then(LogicalPlanBuilder::build);
    plan.internal(|| format!("could not read the segment \"{name}\""))
}

/// The events with a value of their person behind the others: an attribute, or the name of the segment that the person
/// is in.
async fn with_person(state: &SessionState, events: LogicalPlan, by: &By) -> Result<LogicalPlan> {
    let failed = || "could not join persons to a funnel".to_owned();
    let (persons, value) = match by.of {
        Of::Segment => {
            let members = segment(state, &by.property).await.map_err(|error| at(error, by.at))?;
            (LogicalPlanBuilder::from(members), lit(by.property.as_str()))
        }
        _ => {
            let persons = NamedTable::open(state, "persons").await?;
            let value = attribute(state, &persons, by)?;
            (persons.scan()?, value)
        }
    };
    let names: Vec<String> = events.schema().fields().iter().map(|one| one.name().clone()).collect();
    let join = || {
        let value = cast(value, DataType::Utf8View).alias("value");
        let persons = persons.project(vec![ident(PERSON_ID).alias("known"), value])?.build()?;
        let on = (vec![Column::from_name(PERSON_ID)], vec![Column::from_name("known")]);
        let columns = names.iter().map(String::as_str).chain(["value"]).map(ident);
        LogicalPlanBuilder::from(events)
            .join(persons, JoinType::Left, on, None)?
            .project(columns.collect::<Vec<_>>())?
            .build()
    };
    join().internal(failed)
}

/// An attribute of a person as text. Several, such as tags, are one value, in order; none of them is NULL.
fn attribute(state: &SessionState, persons: &NamedTable, by: &By) -> Result<Expr> {
    let By { property, at: place, .. } = by;
    let Some(kind) = persons.kind(property) else {
        let columns = persons.columns();
        let hint = did_you_mean(property, columns.iter().map(String::as_str));
        return Err(at(Error::not_found(format!("persons have no \"{property}\"{hint}")), *place));
    };
    let name = quoted(property);
    persons.expression(
        state,
        &match kind {
            DataType::List(_) | DataType::LargeList(_) => {
                format!("NULLIF(array_to_string(array_sort({name}), ', '), '')")
            }
            _ => format!("CAST({name} AS VARCHAR)"),
        },
    )
}
