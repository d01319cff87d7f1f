//! `Active`: who did something on a day, from the indexes beside the files: no rows are read where those are there.
//!
//! The persons are those that stand for all whom they were merged with. Late events, several files a day, forgotten
//! persons and events that are in the log alone are all accounted for: what counts is the snapshot's list of files.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use datafusion::common::internal_err;
use datafusion::common::runtime::JoinSet;
use roaring::RoaringTreemap;

use crate::error::Result;
use crate::ids::PersonId;
use crate::person::Aliases;
use crate::query::failure::Known;
use crate::query::failure::translate;
use crate::query::files::FileSet;
use crate::query::files::LakeFile;
use crate::query::indexed::Indexed;
use crate::time::Day;

/// Answers of one session.
#[derive(Clone, Debug)]
pub struct Active {
    indexed: Indexed,
    threads: usize,
}

impl Active {
    pub(crate) fn new(indexed: Indexed, threads: usize) -> Self {
        Self { indexed, threads: threads.max(1) }
    }

    /// The days on which a definition has events, in order; none for one that nobody knows.
    pub fn days(&self, definition: &str) -> Vec<Day> {
        let table = self.indexed.lake().snapshot.tables.get(definition);
        let mut days: Vec<Day> = table
            .iter()
            .flat_map(|table| &table.files)
            .filter(|file| file.rows > 0)
            .map(|file| file.day)
            .collect();
        days.dedup();
        days
    }

    /// Who did it on each UTC day of a range, the end left out; days on which nobody did are not there.
    pub async fn by_day(&self, definition: &str, days: Range<Day>) -> Result<BTreeMap<Day, RoaringTreemap>> {
        self.found(definition, days).await.map_err(|error| translate(error, Known::default))
    }

    async fn found(
        &self,
        definition: &str,
        days: Range<Day>,
    ) -> datafusion::common::Result<BTreeMap<Day, RoaringTreemap>> {
        let mut by_day: BTreeMap<Day, Vec<LakeFile>> = BTreeMap::new();
        let table = self.indexed.lake().snapshot.tables.get(definition);
        for one in FileSet::of(table).into_files() {
            if days.contains(&one.file().day) && one.file().rows > 0 {
                by_day.entry(one.file().day).or_default().push(one);
            }
        }
        let mut waiting = by_day.into_iter();
        let mut reading: JoinSet<datafusion::common::Result<(Day, RoaringTreemap)>> = JoinSet::new();
        let mut found = BTreeMap::new();
        loop {
            while reading.len() < 2 * self.threads
                && let Some((day, files)) = waiting.next()
            {
                let one = self.clone();
                reading.spawn(async move { Ok((day, one.of_files(&files).await?)) });
            }
            match reading.join_next().await {
                None => return Ok(found),
                Some(Ok(done)) => {
                    let (day, persons) = done?;
                    found.insert(day, persons);
                }
                Some(Err(error)) => return internal_err!("a task that looks for persons stopped: {error}"),
            }
        }
    }

    /// Who did it on any UTC day of a range, the end left out.
    pub async fn within(&self, definition: &str, days: Range<Day>) -> Result<RoaringTreemap> {
        let by_day = self.by_day(definition, days).await?;
        Ok(by_day.into_values().reduce(|all, day| all | day).unwrap_or_default())
    }

    async fn of_files(&self, files: &[LakeFile]) -> datafusion::common::Result<RoaringTreemap> {
        let aliases = Arc::clone(self.indexed.lake().snapshot.persons.aliases());
        let mut all = RoaringTreemap::new();
        for one in files {
            all |= match self.indexed.of(one).await? {
                Some((sidecar, _)) => resolved(sidecar.persons().iter().map(|id| i64::from(*id)), &aliases),
                None => resolved(self.indexed.persons(one).await?.into_iter(), &aliases),
            };
        }
        Ok(all)
    }
}

/// Ids in order, with those in the place of merged ones who stand for them.
fn resolved(ids: impl Iterator<Item = i64> + Clone, aliases: &Aliases) -> RoaringTreemap {
    let key = |id: i64| id.cast_unsigned();
    let alone = ids.clone().filter(|id| !aliases.is_involved(PersonId(*id))).map(key);
    // Only ids that count from 1 are in order here, too.
    let mut set = RoaringTreemap::from_sorted_iter(alone.clone()).unwrap_or_else(|_| alone.collect());
    if aliases.is_empty() {
        return set;
    }
    let involved = ids.filter(|id| aliases.is_involved(PersonId(*id)));
    set.extend(involved.map(|id| key(aliases.resolve(PersonId(id)).0)));
    set
}
