//! Segments by number, for the published interface: they are kept by name, and the catalog numbers the names.

use crate::analysis::segment::Audience;
use crate::engine::Engine;
use crate::error::Error;
use crate::error::Result;
use crate::ids::PersonId;
use crate::sql::CreateSegment;
use crate::sql::Members;
use crate::storage::catalog::SegmentRow;
use crate::time::Micros;

/// A segment as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    pub id: i64,
    pub name: String,
    pub description: String,
    /// The JSON or the statement that made it.
    pub said: String,
    pub created: Micros,
    pub modified: Micros,
}

impl SegmentInfo {
    fn of(id: i64, row: SegmentRow) -> Self {
        let SegmentRow { name, description, said, created, modified, .. } = row;
        Self { id, name, description, said, created, modified }
    }
}

impl Engine {
    /// All segments, by name.
    pub fn segments(&self) -> Result<Vec<SegmentInfo>> {
        let ids = self.storage().catalog().segment_ids()?;
        let id = |name: &str| ids.iter().find(|(_, known)| known == name).map(|(id, _)| *id);
        let rows = self.storage().catalog().segments()?;
        Ok(rows.into_iter().filter_map(|row| Some(SegmentInfo::of(id(&row.name)?, row))).collect())
    }

    /// # Errors
    /// `NotFound` when there is none of this number.
    pub fn segment_of_id(&self, id: i64) -> Result<SegmentInfo> {
        let found = self.segments()?.into_iter().find(|one| one.id == id);
        found.ok_or_else(|| Error::not_found(format!("there is no segment {id}")))
    }

    /// # Errors
    /// `NotFound` when there is none of this name.
    pub fn segment_of_name(&self, name: &str) -> Result<SegmentInfo> {
        self.segments()?.into_iter().find(|one| one.name == name).ok_or_else(|| self.no_segment(name))
    }

    /// Puts the published JSON form in the place of a segment, which may get another name by it.
    ///
    /// # Errors
    /// `Conflict` when the new name is another's, or others are made of this segment under its name.
    pub async fn replace_segment_json(&self, id: i64, text: &str) -> Result<()> {
        let before = self.segment_of_id(id)?;
        let audience = Audience::from_json(text)?;
        let name = audience.name.clone().unwrap_or_else(|| before.name.clone());
        if name != before.name {
            if self.storage().catalog().segment(&name)?.is_some() {
                return Err(Error::conflict(format!("there is a segment \"{name}\" already")));
            }
            self.check_unused(&before.name)?;
        }
        let create = CreateSegment {
            name: before.name.clone(),
            description: audience.description,
            or_replace: true,
            if_not_exists: false,
            members: Members::Json(text.to_owned()),
        };
        self.create_segment(&create, text).await?;
        if name != before.name {
            self.storage().catalog().rename_segment(&before.name, &name)?;
        }
        Ok(())
    }

    /// # Errors
    /// `Conflict` when another segment is made of it.
    pub fn remove_segment(&self, name: &str) -> Result<()> {
        self.drop_segment(name, false).map(|_| ())
    }

    /// Some of the persons of a segment, in the order of ids, and how many there are.
    pub async fn persons_of_segment(
        &self,
        name: &str,
        skip: usize,
        take: usize,
    ) -> Result<(Vec<PersonId>, usize)> {
        let snapshot = self.storage().snapshot().await?;
        let all = self.members_of(name, &snapshot).await?;
        let persons = all.iter().skip(skip).take(take);
        let persons = persons.filter_map(|person| i64::try_from(person).ok().map(PersonId)).collect();
        Ok((persons, usize::try_from(all.len()).unwrap_or(usize::MAX)))
    }
}
