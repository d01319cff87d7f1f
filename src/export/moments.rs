//! What is known of the Moments communication that an event belongs to: from the events of people who entered its flow.
//!
//! A channel event names its campaign by `campaignId`. The same person's latest entry into a flow of that campaign, at
//! or before the event, says the rest; so equal events give equal rows, whatever happened later.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::array::StringViewArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::datatypes::Int64Type;
use arrow::datatypes::TimestampMicrosecondType;
use futures::TryStreamExt;
use object_store::ObjectStore;

use crate::error::Context;
use crate::error::Result;
use crate::export::lake;
use crate::ids::PersonId;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::SEQ;
use crate::storage::KnownPersons;
use crate::storage::snapshot::Snapshot;
use crate::time::Day;
use crate::time::Micros;

/// The events that tell of flows.
const TELLERS: [&str; 2] = ["personEnteredFlow", "personExitedFlow"];
/// The property by which an event names its campaign.
pub(crate) const CAMPAIGN_ID: &str = "campaignId";
/// What an export with Moments adds where it is known, right behind the mandatory fields.
pub(crate) const FIELDS: [&str; 4] = ["campaignName", "elementName", "campaignStart", "flowElementId"];
/// The place of `campaignStart`, a time, among them.
pub(crate) const START: usize = 2;

/// What one event tells of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    at: i64,
    seq: i64,
    /// In the order of [`FIELDS`]; the time is [`Told::start`].
    pub(crate) texts: [Option<Arc<str>>; 4],
    pub(crate) start: Option<Micros>,
}

/// Everything that is told of flows, by person and campaign.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    told: HashMap<PersonId, HashMap<Arc<str>, Vec<Told>>>,
}

impl Flows {
    /// Reads the events up to a moment whose numbers are not above `seen`.
    pub(crate) async fn read(
        snapshot: &Snapshot,
        store: &Arc<dyn ObjectStore>,
        upto: Micros,
        seen: Option<i64>,
    ) -> Result<Self> {
        let mut flows = Self::default();
        let mut texts = Texts::default();
        for teller in TELLERS {
            let Some(table) = snapshot.tables.get(teller) else { continue };
            for file in table.files.iter().filter(|file| file.day <= Day::of(upto)) {
                let mut columns = vec![PERSON_ID, OCCURRED_TIME, SEQ, CAMPAIGN_ID];
                columns.extend(FIELDS);
                let mut rows = lake::columns(Arc::clone(store), &file.path, &columns).await?;
                while let Some(batch) = rows.try_next().await? {
                    flows.take(&batch, &snapshot.persons, upto, seen, &mut texts)?;
                }
            }
        }
        for told in flows.told.values_mut().flat_map(HashMap::values_mut) {
            told.sort_unstable_by_key(|one| (one.at, one.seq));
        }
        Ok(flows)
    }

    fn take(
        &mut self,
        batch: &RecordBatch,
        persons: &KnownPersons,
        upto: Micros,
        seen: Option<i64>,
        known: &mut Texts,
    ) -> Result<()> {
        let integers =
            |name: &str| batch.column_by_name(name).and_then(|one| one.as_primitive_opt::<Int64Type>());
        let times = |name: &str| {
            batch.column_by_name(name).and_then(|one| one.as_primitive_opt::<TimestampMicrosecondType>())
        };
        let (Some(ids), Some(at), Some(seqs)) = (integers(PERSON_ID), times(OCCURRED_TIME), integers(SEQ))
        else {
            return Ok(());
        };
        let Some(campaigns) = texts(batch, CAMPAIGN_ID)? else { return Ok(()) };
        let mut columns: [Option<StringViewArray>; 4] = Default::default();
        for (nth, name) in FIELDS.into_iter().enumerate().filter(|(nth, _)| *nth != START) {
            columns[nth] = texts(batch, name)?;
        }
        let starts = times(FIELDS[START]);
        for row in 0..batch.num_rows() {
            let late = at.value(row) > upto.0 || seen.is_some_and(|seen| seqs.value(row) > seen);
            if late || campaigns.is_null(row) {
                continue;
            }
            let mut told = Told { at: at.value(row), seq: seqs.value(row), ..Told::default() };
            for (nth, column) in columns.iter().enumerate() {
                told.texts[nth] = column
                    .as_ref()
                    .filter(|column| column.is_valid(row))
                    .map(|column| known.of(column.value(row)));
            }
            told.start = starts.filter(|starts| starts.is_valid(row)).map(|starts| Micros(starts.value(row)));
            let of_person = self.told.entry(persons.resolve(PersonId(ids.value(row)))).or_default();
            of_person.entry(known.of(campaigns.value(row))).or_default().push(told);
        }
        Ok(())
    }

    /// What was told last of a person's flow in a campaign, at a moment or before.
    pub(crate) fn last(&self, person: PersonId, campaign: &str, at: Micros) -> Option<&Told> {
        let told = self.told.get(&person)?.get(campaign)?;
        told[..told.partition_point(|one| one.at <= at.0)].last()
    }
}

/// The same few texts again and again, each held once.
#[derive(Debug, Default)]
struct Texts(HashMap<Arc<str>, ()>);

impl Texts {
    fn of(&mut self, text: &str) -> Arc<str> {
        if let Some((known, ())) = self.0.get_key_value(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(text);
        self.0.insert(Arc::clone(&new), ());
        new
    }
}

fn texts(batch: &RecordBatch, name: &str) -> Result<Option<StringViewArray>> {
    let Some(column) = batch.column_by_name(name) else { return Ok(None) };
    let views = cast(column, &DataType::Utf8View).internal(|| format!("column \"{name}\" holds no text"))?;
    Ok(views.as_string_view_opt().cloned())
}
