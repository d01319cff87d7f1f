//! Computed attributes: made, activated, stopped and dropped by statements, and found as columns of `persons`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::array::Int64Array;
use arrow::datatypes::Int64Type;
use futures::future::BoxFuture;

use crate::analysis::attributes::Computation;
use crate::analysis::attributes::ComputedAttribute;
use crate::analysis::attributes::ComputedState;
use crate::analysis::attributes::Over;
use crate::engine::Answer;
use crate::engine::Engine;
use crate::engine::Inner;
use crate::engine::Rows;
use crate::engine::answer::Table;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::ids::PersonId;
use crate::query::ComputedColumn;
use crate::query::ComputedColumns;
use crate::query::ComputedField;
use crate::query::ComputedKind;
use crate::sql::ComputedStatement;
use crate::sql::CreateComputed;
use crate::sql::spelled;
use crate::storage::catalog::ComputedRow;
use crate::storage::snapshot::Snapshot;
use crate::time::Micros;
use crate::time::Zone;

const DRAFT: &str = "draft";
const ACTIVE: &str = "active";
const INACTIVE: &str = "inactive";

/// What is kept in memory of all computed attributes.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    by_name: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Held>>>>,
}

/// What is kept of one.
#[derive(Debug, Default)]
struct Held {
    /// The definition that it is of.
    definition: String,
    state: ComputedState,
    last: Option<Last>,
}

/// The last values, and for which snapshot and time they are those.
#[derive(Debug)]
struct Last {
    snapshot: Weak<Snapshot>,
    from: Micros,
    until: Micros,
    column: Arc<ComputedColumn>,
}

impl Keeper {
    fn held(&self, name: &str) -> Arc<tokio::sync::Mutex<Held>> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(by_name.entry(name.to_owned()).or_default())
    }

    fn forget(&self, name: &str) {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// The computed attributes of an engine, for its sessions.
#[derive(Debug)]
pub(crate) struct EngineComputed(pub(crate) Weak<Inner>);

impl EngineComputed {
    fn engine(&self) -> Result<Engine> {
        let inner = self.0.upgrade().ok_or_else(|| Error::unavailable("the store is closed"))?;
        Ok(Engine { inner, session: Arc::default() })
    }
}

impl ComputedColumns for EngineComputed {
    fn fields(&self) -> Result<Vec<ComputedField>> {
        let rows = self.engine()?.storage().catalog().computed_attributes()?;
        let shown = rows.into_iter().filter(is_column);
        shown.map(|row| Ok(ComputedField { kind: kind_of(&row)?, name: row.name })).collect()
    }

    fn column<'a>(
        &'a self,
        name: &'a str,
        snapshot: &'a Arc<Snapshot>,
    ) -> BoxFuture<'a, Result<Arc<ComputedColumn>>> {
        Box::pin(async move {
            let engine = self.engine()?;
            let row = engine.storage().catalog().computed_attribute(name)?;
            let row = row.ok_or_else(|| engine.no_computed(name))?;
            if row.state == INACTIVE {
                return frozen(&row, snapshot).map(Arc::new);
            }
            engine.computed_column(&row, snapshot).await
        })
    }
}

/// Whether persons have a column of it: an active one, or a score that was stopped and keeps its points.
fn is_column(row: &ComputedRow) -> bool {
    row.state == ACTIVE || row.state == INACTIVE && row.is_score()
}

impl ComputedRow {
    fn is_score(&self) -> bool {
        self.read().is_ok_and(|one| matches!(one.of, Computation::Score(_)))
    }

    fn read(&self) -> Result<ComputedAttribute> {
        let unreadable = "the catalog holds a computed attribute that cannot be read";
        ComputedAttribute::from_json(&self.definition)
            .map_err(|error| Error::internal(unreadable).with_source(error))
    }
}

fn kind_of(row: &ComputedRow) -> Result<ComputedKind> {
    let kind = serde_json::Value::String(row.kind.clone());
    serde_json::from_value(kind).internal(|| format!("\"{}\" is no kind of attribute", row.kind))
}

fn name_of(kind: ComputedKind) -> Result<String> {
    let written =
        serde_json::to_value(kind).internal(|| "could not write the kind of an attribute".to_owned())?;
    Ok(written.as_str().unwrap_or_default().to_owned())
}

/// The points that a score had when it was stopped; of a merged person, those of the one that stands for it.
fn frozen(row: &ComputedRow, snapshot: &Snapshot) -> Result<ComputedColumn> {
    let bytes = row.frozen.as_deref().unwrap_or_default();
    let number = |bytes: &[u8]| bytes.try_into().map(i64::from_le_bytes).unwrap_or_default();
    let (persons, mut values): (Vec<i64>, Vec<i64>) = bytes
        .chunks_exact(16)
        .map(|pair| (number(&pair[..8]), number(&pair[8..])))
        .filter(|(person, _)| snapshot.persons.resolve(PersonId(*person)).0 == *person)
        .unzip();
    values.push(0);
    Ok(ComputedColumn { persons, values: Arc::new(Int64Array::from(values)) })
}

fn frozen_bytes(column: &ComputedColumn) -> Vec<u8> {
    let points = column.values.as_primitive::<Int64Type>();
    let pairs = column.persons.iter().zip(points.values());
    pairs.flat_map(|(person, points)| [person.to_le_bytes(), points.to_le_bytes()]).flatten().collect()
}

impl Engine {
    async fn computed_column(
        &self,
        row: &ComputedRow,
        snapshot: &Arc<Snapshot>,
    ) -> Result<Arc<ComputedColumn>> {
        let held = self.inner.computed.held(&row.name);
        let mut held = held.lock().await;
        if held.definition != row.definition {
            *held = Held { definition: row.definition.clone(), ..Held::default() };
        }
        let now = self.now();
        let here = Arc::downgrade(snapshot);
        if let Some(last) = &held.last
            && last.snapshot.ptr_eq(&here)
            && (last.from..last.until).contains(&now)
        {
            return Ok(Arc::clone(&last.column));
        }
        let open = |snapshot| self.session_over(snapshot);
        let over = Over { open: &open, snapshot, now, zone: self.config().zone.unwrap_or(Zone::UTC) };
        let found = held.state.values(&row.read()?.of, kind_of(row)?, &over).await?;
        held.last =
            Some(Last { snapshot: here, from: now, until: found.until, column: Arc::clone(&found.column) });
        Ok(found.column)
    }

    fn no_computed(&self, name: &str) -> Error {
        let rows = self.storage().catalog().computed_attributes().unwrap_or_default();
        let hint = did_you_mean(name, rows.iter().map(|row| row.name.as_str()));
        Error::not_found(format!("no computed attribute is called \"{name}\"{hint}"))
    }

    pub(crate) async fn computed_statement(
        &self,
        statement: &ComputedStatement,
        said: &str,
    ) -> Result<Answer> {
        Ok(match statement {
            ComputedStatement::Create(create) => Answer::Done(self.create_computed(create, said).await?),
            ComputedStatement::Json { text, or_replace } => {
                Answer::Done(self.create_computed_json(text, *or_replace).await?)
            }
            ComputedStatement::Activate { name, active } => {
                Answer::Done(self.switch_computed(name, *active).await?)
            }
            ComputedStatement::Drop { name, if_exists } => {
                Answer::Done(self.drop_computed(name, *if_exists)?)
            }
            ComputedStatement::Show { scores } => Answer::Rows(self.show_computed(*scores)?),
        })
    }

    /// Makes a computed attribute of its JSON form, and activates it.
    pub async fn create_computed_json(&self, text: &str, or_replace: bool) -> Result<String> {
        let attribute = ComputedAttribute::from_json(text)?;
        let create = CreateComputed { attribute, or_replace, if_not_exists: false, draft: false };
        self.create_computed(&create, text).await
    }

    async fn create_computed(&self, create: &CreateComputed, said: &str) -> Result<String> {
        self.storage().writer()?;
        let CreateComputed { attribute, or_replace, if_not_exists, draft } = create;
        let name = &attribute.name;
        let what = attribute.what();
        let catalog = self.storage().catalog();
        let before = catalog.computed_attribute(name)?;
        match &before {
            Some(_) if *if_not_exists => return Ok(format!("{what} {name} is there already")),
            Some(row) if *or_replace && row.state == ACTIVE => {
                return Err(Error::conflict(format!(
                    "\"{name}\" is active; DEACTIVATE COMPUTED ATTRIBUTE {} first, then change it",
                    spelled(name)
                )));
            }
            Some(_) if !or_replace => {
                return Err(Error::conflict(format!(
                    "there is a computed attribute \"{name}\" already; CREATE OR REPLACE takes its place"
                )));
            }
            _ => {}
        }
        self.check_name(name)?;
        self.check_circle(attribute)?;
        let session = self.session().await?;
        let kind = attribute.check(&self.storage().registry(), &self.ground(&session)).await?;
        let now = self.now();
        let row = ComputedRow {
            name: name.clone(),
            definition: attribute.to_json()?,
            kind: name_of(kind)?,
            state: DRAFT.to_owned(),
            said: without_leading_comments(said),
            frozen: None,
            created: before.map_or(now, |before| before.created),
            modified: now,
        };
        self.inner.computed.forget(name);
        catalog.put_computed_attribute(&row)?;
        if *draft {
            return Ok(format!("{what} {name} created as a draft; ACTIVATE computes it"));
        }
        match self.switch_computed(name, true).await {
            Ok(said) => Ok(said.replacen("activated", "created", 1)),
            Err(error) => {
                catalog.drop_computed_attribute(name)?;
                Err(error)
            }
        }
    }

    /// A column has one meaning.
    fn check_name(&self, name: &str) -> Result<()> {
        let stored = self.storage().people_schema();
        if stored.fields().iter().any(|field| field.name().eq_ignore_ascii_case(name)) {
            return Err(Error::conflict(format!(
                "persons have an attribute \"{name}\" already; take another name"
            )));
        }
        let rows = self.storage().catalog().computed_attributes()?;
        let alike = rows.iter().find(|row| row.name != name && row.name.eq_ignore_ascii_case(name));
        match alike {
            Some(row) => Err(Error::conflict(format!(
                "there is a computed attribute \"{}\" already; take another name",
                row.name
            ))),
            None => Ok(()),
        }
    }

    /// Nothing is computed from itself.
    fn check_circle(&self, new: &ComputedAttribute) -> Result<()> {
        let rows = self.storage().catalog().computed_attributes()?;
        let all = rows.iter().map(ComputedRow::read).collect::<Result<Vec<_>>>()?;
        let mut left = vec![new.clone()];
        let mut seen = Vec::new();
        while let Some(next) = left.pop() {
            if next.uses(&new.name) {
                return Err(Error::invalid(format!("\"{}\" would be computed from itself", new.name)));
            }
            let used = all.iter().filter(|one| one.name != new.name && next.uses(&one.name));
            for one in used.filter(|one| !seen.contains(&one.name)).collect::<Vec<_>>() {
                seen.push(one.name.clone());
                left.push(one.clone());
            }
        }
        Ok(())
    }

    async fn switch_computed(&self, name: &str, active: bool) -> Result<String> {
        self.storage().writer()?;
        let catalog = self.storage().catalog();
        let mut row = catalog.computed_attribute(name)?.ok_or_else(|| self.no_computed(name))?;
        let attribute = row.read()?;
        let what = attribute.what();
        let snapshot = self.storage().snapshot().await?;
        row.modified = self.now();
        if active {
            if row.state == ACTIVE {
                return Ok(format!("{what} {name} is active already"));
            }
            // An event or an attribute may have gone since.
            let session = self.session().await?;
            row.kind = name_of(attribute.check(&self.storage().registry(), &self.ground(&session)).await?)?;
            row.frozen = None;
            let column = self.computed_column(&row, &snapshot).await?;
            row.state = ACTIVE.to_owned();
            catalog.put_computed_attribute(&row)?;
            let values = column.values.len() - 1 - column.values.slice(0, column.persons.len()).null_count();
            let of = if matches!(attribute.of, Computation::Formula(_)) {
                ""
            } else {
                " from events or attributes"
            };
            let persons = if values == 1 { "person has".to_owned() } else { "persons have".to_owned() };
            return Ok(format!("{what} {name} activated, {values} {persons} a value{of}"));
        }
        match row.state.as_str() {
            ACTIVE => {}
            _ => return Ok(format!("{what} {name} is not active")),
        }
        if let Some(user) = self.user_of(name)? {
            return Err(in_use(name, &user));
        }
        if row.is_score() {
            let column = self.computed_column(&row, &snapshot).await?;
            row.frozen = Some(frozen_bytes(&column));
        }
        row.state = INACTIVE.to_owned();
        catalog.put_computed_attribute(&row)?;
        self.inner.computed.forget(name);
        let stays = if row.frozen.is_some() { "; its points stay as they are" } else { "" };
        Ok(format!("{what} {name} deactivated{stays}"))
    }

    fn drop_computed(&self, name: &str, if_exists: bool) -> Result<String> {
        self.storage().writer()?;
        let Some(row) = self.storage().catalog().computed_attribute(name)? else {
            return match if_exists {
                true => Ok(format!("there is no computed attribute {name}")),
                false => Err(self.no_computed(name)),
            };
        };
        if let Some(user) = self.user_of(name)? {
            return Err(in_use(name, &user));
        }
        self.storage().catalog().drop_computed_attribute(name)?;
        self.inner.computed.forget(name);
        Ok(format!("{} {name} dropped", row.read()?.what()))
    }

    /// What would not be computed any more without it.
    fn user_of(&self, name: &str) -> Result<Option<String>> {
        for row in self.storage().catalog().computed_attributes()? {
            let one = row.read()?;
            if row.name != name && one.uses(name) {
                return Ok(Some(format!("the {} \"{}\"", one.what(), row.name)));
            }
        }
        Ok(self.segment_that_uses(name)?.map(|segment| format!("the segment \"{segment}\"")))
    }

    fn show_computed(&self, scores: bool) -> Result<Rows> {
        let rows = self.storage().catalog().computed_attributes()?;
        let rows: Vec<&ComputedRow> = rows.iter().filter(|row| row.is_score() == scores).collect();
        let read = rows.iter().map(|row| row.read()).collect::<Result<Vec<_>>>()?;
        let kinds = rows.iter().map(|row| kind_of(row)).collect::<Result<Vec<_>>>()?;
        let table = Table::default()
            .texts("name", rows.iter().map(|row| Some(&row.name)))
            .texts("state", rows.iter().map(|row| Some(&row.state)))
            .texts("type", kinds.iter().map(|kind| Some(kind.name())))
            .texts("in_sql", rows.iter().map(|row| Some(spelled(&row.name))))
            .texts(
                "description",
                read.iter().map(|one| Some(&one.description).filter(|text| !text.is_empty())),
            )
            .texts("statement", rows.iter().map(|row| Some(&row.said)));
        Ok(Rows::of(table.batch()?))
    }
}

fn in_use(name: &str, user: &str) -> Error {
    Error::conflict(format!("{user} is computed from \"{name}\"; change or drop that first"))
}
/// A statement as it was written, without the comments before it.
fn without_leading_comments(statement: &str) -> String {
    let is_said = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("--");
    let start = statement.lines().find(is_said).and_then(|line| statement.find(line)).unwrap_or(0);
    statement[start..].trim().to_owned()
}
