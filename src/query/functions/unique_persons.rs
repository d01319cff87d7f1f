//! `unique_persons(personId)`: how many different persons, counted in compressed sets of bits.
//!
//! Person ids are dense, so a set of them is far smaller than a hash table of them, and sets of parts are united word
//! by word. `COUNT(DISTINCT personId)` of events becomes this function.

use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::BinaryBuilder;
use arrow::array::BooleanArray;
use arrow::array::Int64Array;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::FieldRef;
use arrow::datatypes::Int64Type;
use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::AggregateUDFImpl;
use datafusion::logical_expr::DocSection;
use datafusion::logical_expr::Documentation;
use datafusion::logical_expr::EmitTo;
use datafusion::logical_expr::GroupsAccumulator;
use datafusion::logical_expr::ReversedUDAF;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::Volatility;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::function::StateFieldsArgs;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::utils::format_state_name;
use roaring::RoaringTreemap;

use crate::query::functions::counted;

pub(crate) const NAME: &str = "unique_persons";

/// The aggregate `unique_persons`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct UniquePersons {
    signature: Signature,
    documentation: Documentation,
}

impl UniquePersons {
    pub(crate) fn new() -> Self {
        let section = DocSection { include: true, label: "Events", description: None };
        let documentation = Documentation::builder(
            section,
            "How many different persons there are; COUNT(DISTINCT personId) of events means the same.",
            "unique_persons(personId)",
        )
        .with_argument("personId", "The id of a person.")
        .with_sql_example("SELECT deviceType, unique_persons(personId) FROM pageView GROUP BY deviceType")
        .build();
        Self { signature: Signature::exact(vec![DataType::Int64], Volatility::Immutable), documentation }
    }
}

impl AggregateUDFImpl for UniquePersons {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, _data_type: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "persons");
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneSet(Sets::default())))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Sets::default()))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// The persons of one group.
#[derive(Debug, Default)]
struct Set {
    persons: RoaringTreemap,
    /// Files are sorted by person, so the same one comes many times in a row.
    last: Option<u64>,
}

/// The persons of each group.
#[derive(Debug, Default)]
struct Sets {
    sets: Vec<Set>,
    /// At most so many bytes are in the sets: two for each new person, since the sets were last measured.
    bytes: usize,
    measured: usize,
}

/// The bits of an id, whose order does not matter here.
fn key(person: i64) -> u64 {
    person.cast_unsigned()
}

/// How much sets may grow before they are measured again.
const SLACK: usize = 1 << 20;

impl Sets {
    fn insert(&mut self, group: usize, person: i64) {
        let set = &mut self.sets[group];
        let person = key(person);
        if set.last == Some(person) {
            return;
        }
        set.last = Some(person);
        if set.persons.insert(person) {
            self.bytes += 2;
        }
    }

    fn unite(&mut self, group: usize, bytes: &[u8]) -> Result<()> {
        let persons = RoaringTreemap::deserialize_from(bytes).map_err(DataFusionError::IoError)?;
        self.bytes += persons.serialized_size();
        self.sets[group].persons |= persons;
        Ok(())
    }

    fn grow(&mut self, groups: usize) {
        self.sets.resize_with(groups, Set::default);
        if self.bytes > self.measured.saturating_mul(2).saturating_add(SLACK) {
            self.measure();
        }
    }

    fn measure(&mut self) {
        self.measured = self.sets.iter().map(|set| set.persons.serialized_size()).sum();
        self.bytes = self.measured;
    }

    fn take(&mut self, emit: EmitTo) -> Vec<Set> {
        let sets = emit.take_needed(&mut self.sets);
        self.measure();
        sets
    }
}

fn count(set: &Set) -> i64 {
    i64::try_from(set.persons.len()).unwrap_or(i64::MAX)
}

fn bytes_of(persons: &RoaringTreemap) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(persons.serialized_size());
    persons.serialize_into(&mut bytes).map_err(DataFusionError::IoError)?;
    Ok(bytes)
}

impl GroupsAccumulator for Sets {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups);
        let persons = values[0].as_primitive::<Int64Type>();
        for (row, group) in group_indices.iter().enumerate() {
            let counts = persons.is_valid(row)
                && opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if counts {
                self.insert(*group, persons.value(row));
            }
        }
        Ok(())
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups);
        let states = values[0].as_binary::<i32>();
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| states.is_valid(*row)) {
            self.unite(*group, states.value(row))?;
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let counts: Int64Array = self.take(emit_to).iter().map(|set| Some(count(set))).collect();
        Ok(Arc::new(counts))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut states = BinaryBuilder::new();
        for set in self.take(emit_to) {
            states.append_value(bytes_of(&set.persons)?);
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let persons = values[0].as_primitive::<Int64Type>();
        let counted = counted(persons.nulls(), opt_filter);
        let mut states = BinaryBuilder::new();
        for row in 0..persons.len() {
            if counted.as_ref().is_none_or(|counted| counted.is_valid(row)) {
                let one: RoaringTreemap = std::iter::once(key(persons.value(row))).collect();
                states.append_value(bytes_of(&one)?);
            } else {
                states.append_null();
            }
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn size(&self) -> usize {
        self.bytes + self.sets.capacity() * size_of::<Set>()
    }
}

/// The persons of an aggregate without groups.
#[derive(Debug)]
struct OneSet(Sets);

impl Accumulator for OneSet {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.grow(1);
        for person in values[0].as_primitive::<Int64Type>().iter().flatten() {
            self.0.insert(0, person);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.grow(1);
        states[0].as_binary::<i32>().iter().flatten().try_for_each(|bytes| self.0.unite(0, bytes))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.grow(1);
        Ok(vec![ScalarValue::Binary(Some(bytes_of(&self.0.sets[0].persons)?))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(self.0.sets.first().map_or(0, count))))
    }

    fn size(&self) -> usize {
        self.0.bytes + size_of::<Set>() + size_of_val(self)
    }
}
