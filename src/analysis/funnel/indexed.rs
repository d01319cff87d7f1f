//! The events of a funnel from the indexes beside the files, where conditions and breakdown ask for nothing but columns
//! of texts: who and when from the index, the texts as numbers from the file, and those of few rows only.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::array::StringArray;
use arrow::array::StringViewArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use datafusion::common::DFSchema;
use datafusion::common::Result;
use datafusion::common::internal_datafusion_err;
use datafusion::execution::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::physical_expr::PhysicalExpr;

use crate::analysis::funnel::By;
use crate::analysis::funnel::FunnelOrder;
use crate::analysis::funnel::FunnelRequest;
use crate::analysis::funnel::Of;
use crate::analysis::funnel::Picked;
use crate::analysis::funnel::buckets;
use crate::analysis::funnel::buckets::Extra;
use crate::analysis::funnel::buckets::Gathered;
use crate::analysis::funnel::buckets::MOST;
use crate::analysis::funnel::question::Code;
use crate::analysis::funnel::question::NULL;
use crate::analysis::funnel::request::Read;
use crate::analysis::gather::Unfit;
use crate::ids::PersonId;
use crate::query::Codes;
use crate::query::Indexed;
use crate::query::LakeFile;
use crate::query::NamedTable;
use crate::storage::Sidecar;
use crate::time::Day;
use crate::time::Micros;

/// Conditions on one definition that are told apart.
const MOST_CONDITIONS: usize = 32;

/// All events that a funnel looks at.
#[derive(Debug)]
pub(crate) struct IndexedHits {
    indexed: Indexed,
    sources: Vec<Source>,
    /// Files with their source, the one with most rows first.
    files: Vec<(usize, LakeFile)>,
    from: i64,
    to: i64,
    has_value: bool,
    /// Whether no definition has two files of a day: then the order of rows is that of the numbers of events.
    single: bool,
}

/// Events of one definition.
#[derive(Debug, Default)]
struct Source {
    /// Steps and exclusions that every event fits.
    always: u32,
    /// By the number of a condition: what an event fits that meets it.
    fits: Vec<u32>,
    filters: Vec<Filter>,
    /// The column in files that the breakdown is by.
    value: Option<String>,
}

/// What is asked of one column.
#[derive(Debug)]
struct Filter {
    column: String,
    schema: Arc<Schema>,
    /// With the number of the condition that each is a part of.
    parts: Vec<(usize, Arc<dyn PhysicalExpr>)>,
}

/// The events of a request; `None` when the indexes do not say enough, or the request has a fault.
pub(crate) async fn plan(
    request: &FunnelRequest,
    read: &Read,
    state: &SessionState,
) -> Result<Option<IndexedHits>> {
    if request.order == FunnelOrder::Strict || request.for_segment.is_some() || !request.holding.is_empty() {
        return Ok(None);
    }
    let mut wanted: BTreeMap<&str, (NamedTable, Source)> = BTreeMap::new();
    for (bit, picked) in picked(request) {
        if !wanted.contains_key(picked.event.as_str()) {
            let Ok(table) = NamedTable::events(state, &picked.event).await else { return Ok(None) };
            wanted.insert(picked.event.as_str(), (table, Source::default()));
        }
        let Some((table, source)) = wanted.get_mut(picked.event.as_str()) else { return Ok(None) };
        let understood = match &picked.condition {
            None => {
                source.always |= bit;
                true
            }
            Some(text) => match table.condition(state, text) {
                Ok(condition) => source.on(condition, bit, table, state)?,
                Err(_) => false,
            },
        };
        if !understood {
            return Ok(None);
        }
    }
    if let Some(by) = &request.by
        && !values(request, by, &mut wanted)
    {
        return Ok(None);
    }
    let (from, to) = (read.from.unwrap_or(Micros(i64::MIN)), read.to.unwrap_or(Micros(i64::MAX)));
    let (mut sources, mut files) = (Vec::new(), Vec::new());
    let mut lake = None;
    for (table, source) in wanted.into_values() {
        let Some((its_lake, its_files)) = table.files() else { return Ok(None) };
        let of = its_files.into_iter().filter(|one| {
            let (first, last) = one.file().times;
            one.file().rows > 0 && first < to && last >= from
        });
        files.extend(of.map(|one| (sources.len(), one)));
        sources.push(source);
        lake = Some(its_lake);
    }
    let Some(lake) = lake else { return Ok(None) };
    files.sort_by_key(|(_, one)| std::cmp::Reverse(one.file().rows));
    let indexed = Indexed::new(lake, state.runtime_env())?;
    let has_value = request.by.is_some();
    let days: HashSet<(usize, Day)> = files.iter().map(|(source, one)| (*source, one.file().day)).collect();
    let single = days.len() == files.len();
    Ok(Some(IndexedHits { indexed, sources, files, from: from.0, to: to.0, has_value, single }))
}

/// The events of a request, each with the bit of its step or exclusion.
fn picked(request: &FunnelRequest) -> Vec<(u32, &Picked)> {
    let steps = request.steps.iter().enumerate();
    let steps = steps.flat_map(|(at, step)| step.any.iter().map(move |one| (1 << at, one)));
    let excluded = request.excluding.iter().enumerate();
    steps.chain(excluded.map(|(at, one)| (1 << (MOST + at), &one.picked))).collect()
}

/// Finds the columns of a breakdown; `false` when an index does not help with it.
fn values(request: &FunnelRequest, by: &By, wanted: &mut BTreeMap<&str, (NamedTable, Source)>) -> bool {
    let of_step = match by.of {
        Of::Step(step) => request.steps.get(step.wrapping_sub(1)),
        Of::First | Of::Last => None,
        _ => return false,
    };
    let mut found = false;
    for (event, (table, source)) in wanted {
        if of_step.is_some_and(|step| step.any.iter().all(|one| one.event != *event)) {
            continue;
        }
        if !table.has(&by.property) {
            // Which is a fault of the request, or leaves its events without a value.
            if of_step.is_some() {
                return false;
            }
            continue;
        }
        let Some(column) = table.text_in_files(&by.property) else { return false };
        source.value = Some(column);
        found = true;
    }
    found
}

impl Source {
    /// Adds a condition; `false` when it is about more than texts.
    fn on(&mut self, condition: Expr, bit: u32, table: &NamedTable, state: &SessionState) -> Result<bool> {
        let number = self.fits.len();
        if number == MOST_CONDITIONS {
            return Ok(false);
        }
        self.fits.push(bit);
        for part in split_conjunction_owned(condition) {
            let name = match part.column_refs().into_iter().collect::<Vec<_>>().as_slice() {
                [one] => one.name.clone(),
                _ => return Ok(false),
            };
            let Some(column) = table.text_in_files(&name).filter(|_| !part.is_volatile()) else {
                return Ok(false);
            };
            let at = self.filters.iter().position(|one| one.column == column).unwrap_or(self.filters.len());
            if at == self.filters.len() {
                let schema = Arc::new(Schema::new(vec![Field::new(&name, DataType::Utf8View, true)]));
                self.filters.push(Filter { column, schema, parts: Vec::new() });
            }
            let filter = &mut self.filters[at];
            let schema = DFSchema::try_from(Arc::clone(&filter.schema))?;
            filter.parts.push((number, state.create_physical_expr(part, &schema)?));
        }
        Ok(true)
    }
}

impl Filter {
    /// For each text, and for NULL behind them: the numbers of the conditions that it does not fail, as bits.
    fn passes(&self, texts: &StringArray) -> Result<Vec<u32>> {
        let asked = texts.iter().chain([None]).collect::<StringViewArray>();
        let count = asked.len();
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), vec![Arc::new(asked)])?;
        let mut passes = vec![u32::MAX; count];
        for (number, part) in &self.parts {
            let met = part.evaluate(&rows)?.into_array(count)?;
            let met = met
                .as_boolean_opt()
                .ok_or_else(|| internal_datafusion_err!("a condition is neither true nor false"))?;
            for (at, passes) in passes.iter_mut().enumerate() {
                if met.is_null(at) || !met.value(at) {
                    *passes &= !(1 << number);
                }
            }
        }
        Ok(passes)
    }
}

/// Which rows of a file fit what.
enum Chosen {
    /// All of them the same.
    All(u32),
    /// Those with one number in a column.
    One(Codes, usize, u32),
    /// By the number in one column; what does not fit anything is marked so.
    Some(Codes, Vec<bool>, Vec<u32>),
    /// By several columns: a row fits what it fails in none of them.
    Several(Vec<(Codes, Vec<u32>)>),
}

impl Chosen {
    #[inline]
    fn visit(&self, sidecar: &Sidecar, on: impl FnMut(usize, usize, i64)) {
        let events = sidecar.events();
        match self {
            Self::All(_) | Self::Several(_) => events.visit(|_| u64::MAX, on),
            Self::One(codes, code, _) => events.visit(|word| codes.equal(word, *code), on),
            Self::Some(codes, marked, _) => events.visit(|word| codes.marked(word, marked), on),
        }
    }
}

impl IndexedHits {
    pub(crate) fn said(&self) -> [String; 2] {
        let with_index = self.indexed.count(self.files.iter().map(|(_, one)| one));
        ["index=yes".to_owned(), format!("files={}, of them indexed={with_index}", self.files.len())]
    }

    pub(crate) fn files(&self) -> usize {
        self.files.len()
    }

    pub(crate) fn has_value(&self) -> bool {
        self.has_value
    }

    /// Deals out the places of the files, each once.
    pub(crate) fn queue(&self) -> Arc<dyn Fn() -> Option<usize> + Send + Sync> {
        let (next, count) = (AtomicUsize::new(0), self.files.len());
        Arc::new(move || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < count))
    }

    /// Gathers the events of a file; says whether it had an index.
    pub(crate) async fn take(&self, at: usize, gathered: &mut Gathered) -> std::result::Result<bool, Unfit> {
        let (source, one) = &self.files[at];
        let source = &self.sources[*source];
        let Some(chosen) = self.chosen(source, one).await? else { return Ok(true) };
        let Some((sidecar, was_there)) = self.indexed.of(one).await? else { return Err(Unfit::Sort) };
        let first_seq = sidecar.head().first_seq;
        let seqs = match first_seq {
            None if self.has_value => self.indexed.seqs(one).await?,
            _ => Vec::new(),
        };
        let seq = |row: usize| match first_seq {
            Some(first) => first.wrapping_add_unsigned(row as u64),
            None => seqs.get(row).copied().unwrap_or(0),
        };
        let values = match &source.value {
            Some(column) => Some(self.indexed.codes(one, column).await?),
            None => None,
        };
        let mut known: Vec<Option<Code>> =
            vec![None; values.as_ref().map_or(0, |values| values.texts.len() + 1)];
        let mut value = |row: usize, gathered: &mut Gathered| {
            let Some(values) = &values else { return NULL };
            let code = values.code(row);
            if code >= values.texts.len() {
                return NULL;
            }
            *known[code].get_or_insert_with(|| gathered.words.code(values.texts.value(code)))
        };

        let (times, (first, last)) = (self.from..self.to, one.file().times);
        let whole = times.contains(&first.0) && (times.contains(&last.0) || self.to == i64::MAX);
        let lake = self.indexed.lake();
        let aliases = lake.snapshot.persons.aliases();
        let persons = sidecar.persons();
        let mut person_at = usize::MAX;
        let mut person = 0;
        let mut unfit = None;
        let kinds = Kinds::of(&chosen, source, gathered)?;
        let rows = usize::try_from(one.file().rows).unwrap_or(0);
        let events = if matches!(chosen, Chosen::All(_)) { rows } else { rows / 16 };
        gathered.begin_file((one.file().day.0, at), events);
        if let (Kinds::Same(kind), true) = (&kinds, whole) {
            // The value of an event may be a part of its kind: then nothing else is kept of it.
            let by_value = match (&values, &chosen) {
                (Some(values), Chosen::All(marks) | Chosen::One(_, _, marks)) if self.single => gathered
                    .kinds_with(*marks, (0..values.texts.len()).map(|at| values.texts.value(at)))
                    .map(|kinds| (values, kinds)),
                _ => None,
            };
            // Of two who became one, events of one instant are told apart by their numbers, which are not kept here.
            let is_plain = values.is_none() || by_value.is_some() && aliases.is_empty();
            // Who was merged into another does not come in the order of the file.
            let mut moved: Option<Vec<(i64, i64, u64)>> = None;
            if let Some(mut file) = is_plain.then(|| gathered.in_order((first.0, last.0))).flatten() {
                let (some_are_merged, moved) = (!aliases.is_empty(), moved.insert(Vec::new()));
                let mut push = |at: usize, time: i64, kind: u64| {
                    let stored = persons.get(at).copied().unwrap_or(0);
                    if some_are_merged {
                        let root = aliases.resolve(PersonId(i64::from(stored))).0;
                        if root != i64::from(stored) {
                            return moved.push((root, time, kind));
                        }
                    }
                    file.push(stored, time, kind);
                };
                match by_value {
                    None => chosen.visit(&sidecar, |at, _, time| push(at, time, *kind)),
                    Some((values, kinds)) => chosen.visit(&sidecar, |at, row, time| {
                        push(at, time, kinds.get(values.code(row)).copied().unwrap_or(*kind));
                    }),
                }
            }
            if let Some(moved) = moved {
                for (root, time, kind) in moved {
                    gathered.push(Gathered::person(root)?, time, kind)?;
                }
                return Ok(was_there);
            }
        }
        let on = |at: usize, row: usize, time: i64| {
            if !(whole || times.contains(&time)) {
                return;
            }
            if at != person_at {
                person_at = at;
                let stored = persons.get(at).copied().unwrap_or(0);
                person = if aliases.is_empty() {
                    stored
                } else {
                    match Gathered::person(aliases.resolve(PersonId(i64::from(stored))).0) {
                        Ok(person) => person,
                        Err(one) => {
                            unfit = Some(one);
                            return;
                        }
                    }
                };
            }
            let pushed = kinds.of_row(row, gathered).and_then(|kind| match kind {
                Some(kind) => gathered.push_next(person, time, kind).map(|()| true),
                None => Ok(false),
            });
            match pushed {
                Ok(true) if self.has_value => {
                    let extra = Extra { seq: seq(row), value: value(row, gathered) };
                    gathered.push_extra(extra);
                }
                Ok(_) => {}
                Err(one) => unfit = Some(one),
            }
        };
        chosen.visit(&sidecar, on);
        match unfit {
            Some(one) => Err(one.into()),
            None => Ok(was_there),
        }
    }

    /// Which rows of a file count; `None` when none does.
    async fn chosen(&self, source: &Source, one: &LakeFile) -> Result<Option<Chosen>> {
        let mut columns = Vec::with_capacity(source.filters.len());
        for filter in &source.filters {
            let codes = self.indexed.codes(one, &filter.column).await?;
            let passes = filter.passes(&codes.texts)?;
            columns.push((codes, passes));
        }
        if columns.len() > 1 {
            return Ok(Some(Chosen::Several(columns)));
        }
        let Some((codes, passes)) = columns.pop() else { return Ok(Some(Chosen::All(source.always))) };
        let fits: Vec<u32> = passes.iter().map(|passes| source.fits_of(*passes)).collect();
        let fitting: Vec<usize> = (0..fits.len()).filter(|code| fits[*code] != 0).collect();
        Ok(match fitting.as_slice() {
            [] => None,
            [code] => Some(Chosen::One(codes, *code, fits[*code])),
            _ => Some(Chosen::Some(codes, fits.iter().map(|fits| *fits != 0).collect(), fits)),
        })
    }
}

impl Source {
    /// What an event fits that meets these conditions.
    fn fits_of(&self, met: u32) -> u32 {
        let all = self.fits.iter().enumerate();
        all.fold(self.always, |fits, (number, bits)| if met >> number & 1 == 1 { fits | bits } else { fits })
    }
}

/// The kind of each chosen row.
enum Kinds<'a> {
    Same(u64),
    /// By the number in the column; only those that are marked.
    ByCode(&'a Codes, Vec<u64>),
    Several(&'a [(Codes, Vec<u32>)], &'a Source),
}

impl<'a> Kinds<'a> {
    fn of(
        chosen: &'a Chosen,
        source: &'a Source,
        gathered: &mut Gathered,
    ) -> std::result::Result<Self, buckets::Unfit> {
        Ok(match chosen {
            Chosen::All(marks) | Chosen::One(_, _, marks) => Self::Same(gathered.kind(*marks)?),
            Chosen::Some(codes, _, fits) => {
                let kinds = fits.iter().map(|marks| if *marks == 0 { Ok(0) } else { gathered.kind(*marks) });
                Self::ByCode(codes, kinds.collect::<std::result::Result<_, _>>()?)
            }
            Chosen::Several(columns) => Self::Several(columns, source),
        })
    }

    #[inline]
    fn of_row(
        &self,
        row: usize,
        gathered: &mut Gathered,
    ) -> std::result::Result<Option<u64>, buckets::Unfit> {
        match self {
            Self::Same(kind) => Ok(Some(*kind)),
            Self::ByCode(codes, kinds) => Ok(kinds.get(codes.code(row)).copied()),
            Self::Several(columns, source) => {
                let met = columns.iter().fold(u32::MAX, |met, (codes, passes)| {
                    met & passes.get(codes.code(row)).copied().unwrap_or(0)
                });
                let marks = source.fits_of(met);
                if marks == 0 { Ok(None) } else { gathered.kind(marks).map(Some) }
            }
        }
    }
}
