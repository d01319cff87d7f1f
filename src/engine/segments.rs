//! Segments: made, dropped and shown by statements, and found for the tables `segments.<name>`.

use std::path::Path;
use std::sync::Arc;
use std::sync::Weak;

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Int64Type;
use futures::StreamExt;
use futures::future::BoxFuture;
use roaring::RoaringTreemap;
use serde::Deserialize;
use serde::Serialize;

use crate::analysis::Ground;
use crate::analysis::segment::Audience;
use crate::analysis::segment::PersonsRequest;
use crate::analysis::segment::members;
use crate::engine::Answer;
use crate::engine::Engine;
use crate::engine::Inner;
use crate::engine::Rows;
use crate::engine::answer::Table;
use crate::engine::membership::Moved;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::ids::PersonId;
use crate::person::IdentifierType;
use crate::query::Segments;
use crate::schema::PERSON_ID;
use crate::sql::CreateSegment;
use crate::sql::Members;
use crate::sql::SegmentStatement;
use crate::storage::catalog::SegmentRow;
use crate::storage::snapshot::Snapshot;
use crate::time::Clock;
use crate::time::SystemClock;
use crate::time::Zone;

/// How the catalog keeps what a segment is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    /// Whoever meets the condition when it is asked for.
    Live(PersonsRequest),
    /// Whoever met it once.
    Frozen(PersonsRequest),
    /// Whoever was named, or found by a query.
    Listed,
}

/// The segments of an engine, for its sessions.
#[derive(Debug)]
pub(crate) struct EngineSegments(pub(crate) Weak<Inner>);

impl EngineSegments {
    fn engine(&self) -> Result<Engine> {
        let inner = self.0.upgrade().ok_or_else(|| Error::unavailable("the store is closed"))?;
        Ok(Engine { inner, session: Arc::default() })
    }
}

impl Segments for EngineSegments {
    fn names(&self) -> Vec<String> {
        let rows = self.engine().and_then(|engine| engine.storage().catalog().segments());
        rows.map(|rows| rows.into_iter().map(|row| row.name).collect()).unwrap_or_default()
    }

    fn exists(&self, name: &str) -> bool {
        self.engine().is_ok_and(|engine| matches!(engine.storage().catalog().segment(name), Ok(Some(_))))
    }

    fn members<'a>(&'a self, name: &'a str, snapshot: &'a Arc<Snapshot>) -> BoxFuture<'a, Result<Vec<i64>>> {
        Box::pin(async move {
            let engine = self.engine()?;
            let set = engine.members_of(name, snapshot).await?;
            Ok(set.iter().filter_map(|person| i64::try_from(person).ok()).collect())
        })
    }
}

impl Engine {
    /// The persons of a segment over a snapshot.
    pub(super) async fn members_of(&self, name: &str, snapshot: &Arc<Snapshot>) -> Result<RoaringTreemap> {
        let row = self.storage().catalog().segment(name)?.ok_or_else(|| self.no_segment(name))?;
        if let Some(bytes) = row.members {
            let set = RoaringTreemap::deserialize_from(bytes.as_slice())
                .internal(|| format!("the persons of the segment \"{name}\" are damaged"))?;
            // Whoever was merged since then is who they were merged into.
            let now = |person: u64| {
                let person = PersonId(i64::try_from(person).ok()?);
                u64::try_from(snapshot.persons.resolve(person).0).ok()
            };
            return Ok(set.into_iter().filter_map(now).collect());
        }
        match kept(&row.definition)? {
            Kept::Live(request) | Kept::Frozen(request) => {
                let session = self.session_over(Arc::clone(snapshot))?;
                let set = members(&request, &self.ground(&session)).await?;
                self.note_members(name, &set, false)?;
                Ok(set)
            }
            Kept::Listed => {
                Err(Error::internal(format!("the persons of the segment \"{name}\" are missing")))
            }
        }
    }

    /// What questions stand on: now, and days of the store's zone.
    pub(crate) fn ground(&self, session: &crate::query::Session) -> Ground {
        Ground::over(session, SystemClock.now(), self.config().zone.unwrap_or(Zone::UTC))
    }

    pub(super) fn no_segment(&self, name: &str) -> Error {
        let names: Vec<String> =
            self.storage().catalog().segments().unwrap_or_default().into_iter().map(|row| row.name).collect();
        let hint = did_you_mean(name, names.iter().map(String::as_str));
        Error::not_found(format!("no segment is called \"{name}\"{hint}"))
    }

    pub(crate) async fn segment_statement(&self, statement: &SegmentStatement, said: &str) -> Result<Answer> {
        match statement {
            SegmentStatement::Create(create) => Ok(Answer::Done(self.create_segment(create, said).await?)),
            SegmentStatement::Drop { name, if_exists } => {
                self.drop_segment(name, *if_exists).map(Answer::Done)
            }
            SegmentStatement::Refresh { name } => {
                Ok(Answer::Done(self.refresh_segments(name.as_deref()).await?))
            }
            SegmentStatement::Show => self.show_segments().map(Answer::Rows),
        }
    }

    pub(super) async fn create_segment(&self, create: &CreateSegment, said: &str) -> Result<String> {
        self.writable()?;
        let CreateSegment { name, description, .. } = create;
        let catalog = self.storage().catalog();
        let before = catalog.segment(name)?;
        if before.is_some() && create.if_not_exists {
            return Ok(format!("segment {name} is there already"));
        }
        if before.is_some() && !create.or_replace {
            return Err(Error::conflict(format!(
                "there is a segment \"{name}\" already; CREATE OR REPLACE SEGMENT takes its place"
            )));
        }
        if let Some(before) = &before {
            self.check_own(before)?;
        }
        let now = SystemClock.now();
        let mut row = SegmentRow {
            name: name.clone(),
            description: description.clone().unwrap_or_default(),
            said: without_comments(said).to_owned(),
            created: before.map_or(now, |before| before.created),
            modified: now,
            ..SegmentRow::default()
        };
        // What is written in JSON is live, too.
        let live = match &create.members {
            Members::Json(text) => Some(self.audience(text)?),
            Members::Live(request) => Some(request.clone()),
            _ => None,
        };
        let kept = match &create.members {
            Members::Live(_) | Members::Json(_) => Kept::Live(live.clone().ok_or_else(unreadable)?),
            Members::Frozen(request) => Kept::Frozen(request.clone()),
            Members::Listed(_) | Members::File(_) | Members::Query { .. } => Kept::Listed,
        };
        row.definition = serde_json::to_string(&kept).internal(|| "could not keep a segment".to_owned())?;
        let (set, unknown) = match &create.members {
            Members::Live(_) | Members::Json(_) | Members::Frozen(_) => {
                let (Kept::Live(request) | Kept::Frozen(request)) = &kept else { return Err(unreadable()) };
                self.check_cycle(name, request)?;
                let session = self.session().await?;
                (members(request, &self.ground(&session)).await?, 0)
            }
            Members::Query { text, place } => {
                let within = |error: Error| match error.place() {
                    Some(inner) => error.at(inner.within(*place)),
                    None => error.at(*place),
                };
                (self.persons_of(text).await.map_err(within)?, 0)
            }
            Members::Listed(ids) => self.listed(ids.iter().map(String::as_str))?,
            Members::File(path) => {
                let text = std::fs::read_to_string(Path::new(path))
                    .unavailable(|| format!("could not read \"{path}\""))?;
                self.listed(text.lines().map(str::trim).filter(|line| !line.is_empty()))?
            }
        };
        if live.is_none() {
            let mut bytes = Vec::new();
            set.serialize_into(&mut bytes)
                .internal(|| "could not keep the persons of a segment".to_owned())?;
            row.members = Some(bytes);
        }
        catalog.put_segment(&row)?;
        if live.is_some() {
            self.note_members(name, &set, true)?;
        }
        let persons = if set.len() == 1 { "person" } else { "persons" };
        let unknown =
            if unknown > 0 { format!("; {unknown} external ids are not known") } else { String::new() };
        Ok(format!("segment {name} created, {} {persons} now{unknown}", set.len()))
    }

    /// The persons in the column `personId` of a query's answer.
    async fn persons_of(&self, query: &str) -> Result<RoaringTreemap> {
        let mut rows = self.ask(query).await?;
        let column = rows.schema().index_of(PERSON_ID).ok();
        let is_number = |at: &usize| *rows.schema().field(*at).data_type() == DataType::Int64;
        let column = column.filter(is_number).ok_or_else(|| {
            Error::invalid(
                "a segment is made of persons, and the answer of this query has no column personId; a funnel has one \
                 with LISTING PERSONS",
            )
        })?;
        let mut set = RoaringTreemap::new();
        while let Some(batch) = rows.next().await.transpose()? {
            let persons = batch.column(column).as_primitive::<Int64Type>();
            set.extend(persons.iter().flatten().filter_map(|person| u64::try_from(person).ok()));
        }
        Ok(set)
    }

    /// Makes a segment of the published JSON form, with the name in it.
    pub async fn create_segment_json(&self, text: &str, or_replace: bool) -> Result<String> {
        let audience = Audience::from_json(text)?;
        let name = audience.name.filter(|name| !name.is_empty());
        let create = CreateSegment {
            name: name.ok_or_else(|| Error::invalid("a segment needs a name"))?,
            description: audience.description,
            or_replace,
            if_not_exists: false,
            members: Members::Json(text.to_owned()),
        };
        self.create_segment(&create, text).await
    }

    /// The question behind a segment in JSON.
    fn audience(&self, text: &str) -> Result<PersonsRequest> {
        let condition = Audience::from_json(text)?.condition(&self.storage().registry())?;
        Ok(PersonsRequest { condition, as_of: None, zone: None })
    }

    /// Persons by external id, and how many ids nobody has.
    fn listed<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Result<(RoaringTreemap, u64)> {
        let persons = self.storage().persons()?;
        let (mut set, mut unknown) = (RoaringTreemap::new(), 0);
        for id in ids {
            match persons.find_by(IdentifierType::ExternalId, id, "").and_then(|id| u64::try_from(id.0).ok())
            {
                Some(person) => {
                    set.insert(person);
                }
                None => unknown += 1,
            }
        }
        Ok((set, unknown))
    }

    /// A segment may be made of others, but not of itself.
    fn check_cycle(&self, name: &str, request: &PersonsRequest) -> Result<()> {
        let mut left: Vec<String> = request.condition.segments().into_iter().map(str::to_owned).collect();
        let mut seen: Vec<String> = Vec::new();
        while let Some(next) = left.pop() {
            if next == name {
                return Err(Error::invalid(format!("the segment \"{name}\" would be made of itself")));
            }
            if seen.contains(&next) {
                continue;
            }
            let row = self.storage().catalog().segment(&next)?.ok_or_else(|| self.no_segment(&next))?;
            if let Kept::Live(request) = kept(&row.definition)? {
                left.extend(request.condition.segments().into_iter().map(str::to_owned));
            }
            seen.push(next);
        }
        Ok(())
    }

    /// The live segments with their conditions.
    pub(super) fn live_segments(&self) -> Result<Vec<(String, PersonsRequest)>> {
        let mut live = Vec::new();
        for row in self.storage().catalog().segments()? {
            if let Kept::Live(request) = kept(&row.definition)? {
                live.push((row.name, request));
            }
        }
        Ok(live)
    }

    /// Looks who is in a live segment, or in all of them, and notes who entered and left.
    async fn refresh_segments(&self, name: Option<&str>) -> Result<String> {
        let mut live = self.live_segments()?;
        if let Some(name) = name {
            live.retain(|(known, _)| known == name);
            if live.is_empty() {
                let there = self.storage().catalog().segment(name)?.is_some();
                let fixed = || {
                    Error::invalid(format!("the segment \"{name}\" is static: nobody enters or leaves it"))
                };
                return Err(if there { fixed() } else { self.no_segment(name) });
            }
        }
        let Moved { segments: refreshed, entered, left } = self.look_at(live).await?;
        let segments = if refreshed == 1 { "segment" } else { "segments" };
        Ok(format!("{refreshed} live {segments} refreshed: {entered} persons entered, {left} left"))
    }

    /// An error when another segment is made of this one.
    pub(super) fn check_unused(&self, name: &str) -> Result<()> {
        for (other, request) in self.live_segments()? {
            if request.condition.segments().contains(&name) {
                return Err(Error::conflict(format!(
                    "the segment \"{other}\" is made of \"{name}\"; drop it first"
                )));
            }
        }
        Ok(())
    }

    pub(super) fn drop_segment(&self, name: &str, if_exists: bool) -> Result<String> {
        self.writable()?;
        self.check_unused(name)?;
        if let Some(row) = self.storage().catalog().segment(name)? {
            self.check_own(&row)?;
        }
        match (self.storage().catalog().drop_segment(name)?, if_exists) {
            (true, _) => Ok(format!("segment {name} dropped")),
            (false, true) => Ok(format!("there is no segment {name}")),
            (false, false) => Err(self.no_segment(name)),
        }
    }

    /// A segment that asks for an attribute of persons whenever it is asked for.
    pub(crate) fn segment_that_uses(&self, attribute: &str) -> Result<Option<String>> {
        let mut live = self.live_segments()?.into_iter();
        Ok(live.find(|(_, request)| request.condition.asks_for(attribute)).map(|(name, _)| name))
    }

    /// One row a segment.
    fn show_segments(&self) -> Result<Rows> {
        let rows = self.storage().catalog().segments()?;
        let mut kinds = Vec::new();
        for row in &rows {
            kinds.push(match kept(&row.definition)? {
                Kept::Live(_) => "live",
                Kept::Frozen(_) | Kept::Listed => "static",
            });
        }
        let table = Table::default()
            .texts("name", rows.iter().map(|row| Some(&row.name)))
            .texts("kind", kinds.into_iter().map(Some))
            .texts(
                "description",
                rows.iter().map(|row| Some(&row.description).filter(|text| !text.is_empty())),
            )
            .texts(
                "statement",
                rows.iter().map(|row| Some(row.said.split_whitespace().collect::<Vec<_>>().join(" "))),
            );
        Ok(Rows::of(table.batch()?))
    }

    fn writable(&self) -> Result<()> {
        self.storage().writer()
    }
}

/// A statement from its first word on.
fn without_comments(mut text: &str) -> &str {
    while let Some((_, rest)) = text.trim_start().strip_prefix("--").and_then(|rest| rest.split_once('\n')) {
        text = rest;
    }
    text.trim_start()
}

fn kept(definition: &str) -> Result<Kept> {
    serde_json::from_str(definition).map_err(|error| unreadable().with_source(error))
}

fn unreadable() -> Error {
    Error::internal("the catalog holds a segment that cannot be read")
}
