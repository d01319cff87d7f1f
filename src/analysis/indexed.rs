//! The events of a question from the indexes beside the files, where it asks for nothing but who and when.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use datafusion::execution::SessionState;

use crate::analysis::wanted::Kind;
use crate::error::Result;
use crate::ids::PersonId;
use crate::person::Aliases;
use crate::query::Indexed;
use crate::query::LakeFile;
use crate::query::NamedTable;
use crate::query::failure;
use crate::time::Micros;

/// Files with the kinds of events that each holds, the one with most rows first.
#[derive(Debug)]
pub(crate) struct IndexedEvents {
    indexed: Indexed,
    files: Vec<Marked>,
}

/// A file, and the kinds that its events are of when they occurred in time.
#[derive(Debug)]
struct Marked {
    file: LakeFile,
    /// A bit, from when, and before when.
    kinds: Vec<(u64, i64, i64)>,
}

impl Marked {
    /// Whether all events of the file occurred in time for all kinds.
    fn is_whole(&self) -> bool {
        let (Micros(first), Micros(last)) = self.file.file().times;
        self.kinds.iter().all(|(_, from, to)| *from <= first && last < *to)
    }
}

/// Whether a kind says nothing but which definition and when.
fn is_bare(kind: &Kind<'_>) -> bool {
    kind.events.filter.is_none() && kind.value.is_none()
}

/// The files of all kinds; none when the indexes do not say enough.
pub(crate) async fn plan(state: &SessionState, kinds: &[Kind<'_>]) -> Result<Option<IndexedEvents>> {
    if !kinds.iter().all(is_bare) {
        return Ok(None);
    }
    let Some((indexed, files)) = files(state, kinds.iter().map(|kind| kind.events.event.as_str())).await?
    else {
        return Ok(None);
    };
    let mut marked = Vec::new();
    for file in files {
        let (first, last) = file.file().times;
        let of_file = (0..).zip(kinds).filter(|(_, kind)| {
            let event = kind.events.event.as_str();
            event == "*" || event == file.definition()
        });
        let kinds: Vec<(u64, i64, i64)> = of_file
            .map(|(bit, kind)| {
                (1_u64 << bit, kind.from.map_or(i64::MIN, |at| at.0), kind.to.map_or(i64::MAX, |at| at.0))
            })
            .filter(|(_, from, to)| *from <= last.0 && first.0 < *to)
            .collect();
        if !kinds.is_empty() {
            marked.push(Marked { file, kinds });
        }
    }
    marked.sort_by_key(|one| std::cmp::Reverse(one.file.file().rows));
    Ok(Some(IndexedEvents { indexed, files: marked }))
}

/// The files of definitions by their names (`*` for all); none for a view.
pub(crate) async fn files<'a>(
    state: &SessionState,
    names: impl Iterator<Item = &'a str>,
) -> Result<Option<(Indexed, Vec<LakeFile>)>> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    let mut all: Vec<LakeFile> = Vec::new();
    let mut found = None;
    for name in &names {
        let is_any = *name == "*";
        let table = NamedTable::events(state, if is_any { "events" } else { name }).await?;
        let files = if is_any { table.all_files() } else { table.files() };
        let Some((lake, files)) = files else { return Ok(None) };
        found = Some(lake);
        if is_any {
            // Those of the other names are among them; what no name fits has no marks.
            all = files;
            break;
        }
        all.extend(files);
    }
    let Some(lake) = found else { return Ok(None) };
    // The other names must be there, too, and be definitions.
    for name in names.iter().skip(1) {
        if NamedTable::events(state, name).await?.files().is_none() {
            return Ok(None);
        }
    }
    all.retain(|file| file.file().rows > 0);
    let indexed = Indexed::new(lake, state.runtime_env()).map_err(|error| failure(state, error))?;
    Ok(Some((indexed, all)))
}

/// Deals out places, each once.
#[derive(Debug, Default)]
pub(crate) struct Places(AtomicUsize);

impl Places {
    pub(crate) fn next(&self, count: usize) -> Option<usize> {
        Some(self.0.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < count)
    }
}

/// The person that an id of an index stands for.
fn person_of(stored: u32, aliases: &Aliases) -> i64 {
    let stored = i64::from(stored);
    if aliases.is_empty() { stored } else { aliases.resolve(PersonId(stored)).0 }
}

impl IndexedEvents {
    pub(crate) fn count(&self) -> usize {
        self.files.len()
    }

    pub(crate) fn rows(&self, at: usize) -> usize {
        self.files.get(at).map_or(0, |one| usize::try_from(one.file.file().rows).unwrap_or(usize::MAX))
    }

    /// Hands over who has an event of a kind in a file, once or more often. `false` when the file can have no index.
    pub(crate) async fn visit_persons(
        &self,
        at: usize,
        mut on: impl FnMut(i64),
    ) -> datafusion::common::Result<bool> {
        let Some(one) = self.files.get(at) else { return Ok(true) };
        if !one.is_whole() {
            return self.visit(at, |_| true, |person, _, _| on(person)).await;
        }
        let Some((sidecar, _)) = self.indexed.of(&one.file).await? else { return Ok(false) };
        let aliases = self.indexed.lake().snapshot.persons.aliases();
        sidecar.persons().iter().for_each(|stored| on(person_of(*stored, aliases)));
        Ok(true)
    }

    /// Hands over who has events of a kind in a file, and how many; one person may come several times. `false` when the
    /// file can have no index.
    pub(crate) async fn visit_counts(
        &self,
        at: usize,
        mut on: impl FnMut(i64, u32),
    ) -> datafusion::common::Result<bool> {
        let Some(one) = self.files.get(at) else { return Ok(true) };
        if !one.is_whole() {
            return self.visit(at, |_| true, |person, _, _| on(person, 1)).await;
        }
        let Some((sidecar, _)) = self.indexed.of(&one.file).await? else { return Ok(false) };
        let aliases = self.indexed.lake().snapshot.persons.aliases();
        let persons = sidecar.persons();
        sidecar.events().counts(|nth, count| {
            let person = person_of(persons.get(nth).copied().unwrap_or(0), aliases);
            on(person, u32::try_from(count).unwrap_or(u32::MAX));
        });
        Ok(true)
    }

    /// Hands over the events of a file: person, time and marks, person by person; `keep` says of whom. `false` when the
    /// file can have no index.
    pub(crate) async fn visit(
        &self,
        at: usize,
        keep: impl Fn(i64) -> bool,
        mut on: impl FnMut(i64, i64, u64),
    ) -> datafusion::common::Result<bool> {
        let Some(one) = self.files.get(at) else { return Ok(true) };
        let (kinds, always) = (&one.kinds, one.is_whole());
        let Some((sidecar, _)) = self.indexed.of(&one.file).await? else { return Ok(false) };
        let all = kinds.iter().fold(0, |marks, kind| marks | kind.0);
        let aliases = self.indexed.lake().snapshot.persons.aliases();
        let (persons, events) = (sidecar.persons(), sidecar.events());
        let (mut place, mut person, mut kept) = (usize::MAX, 0, false);
        events.visit(
            |_| u64::MAX,
            |next, _, time| {
                if next != place {
                    place = next;
                    person = person_of(persons.get(next).copied().unwrap_or(0), aliases);
                    kept = keep(person);
                }
                if !kept {
                    return;
                }
                let marks = if always {
                    all
                } else {
                    let inside = kinds.iter().filter(|(_, from, to)| *from <= time && time < *to);
                    inside.fold(0, |marks, kind| marks | kind.0)
                };
                if marks != 0 {
                    on(person, time, marks);
                }
            },
        );
        Ok(true)
    }
}
