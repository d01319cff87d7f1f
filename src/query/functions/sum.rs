//! `sum` that does not wrap: integers are added in 128 bits and give a `Decimal(38, 0)`; other types are DataFusion's.
//!
//! 2^63 values of 2^63 stay below 10^38, so no sum of integers can fail either.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::ArrowPrimitiveType;
use arrow::array::AsArray;
use arrow::array::BooleanArray;
use arrow::array::Decimal128Array;
use arrow::array::ListArray;
use arrow::array::PrimitiveArray;
use arrow::buffer::NullBuffer;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use arrow::datatypes::Decimal128Type;
use arrow::datatypes::Field;
use arrow::datatypes::FieldRef;
use arrow::datatypes::Int64Type;
use arrow::datatypes::UInt64Type;
use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::common::exec_datafusion_err;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::AggregateUDF;
use datafusion::logical_expr::AggregateUDFImpl;
use datafusion::logical_expr::Documentation;
use datafusion::logical_expr::EmitTo;
use datafusion::logical_expr::GroupsAccumulator;
use datafusion::logical_expr::ReversedUDAF;
use datafusion::logical_expr::SetMonotonicity;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::function::StateFieldsArgs;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::utils::format_state_name;

use crate::query::functions::counted;

const DIGITS: u8 = 38;

/// The type of a sum of integers.
const WHOLE: DataType = DataType::Decimal128(DIGITS, 0);

/// The aggregate `sum`, in place of DataFusion's.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ExactSum {
    plain: Arc<AggregateUDF>,
}

impl ExactSum {
    pub(crate) fn new() -> Self {
        Self { plain: sum_udaf() }
    }
}

fn is_whole(kind: &DataType) -> bool {
    matches!(kind, DataType::Int64 | DataType::UInt64)
}

impl AggregateUDFImpl for ExactSum {
    fn name(&self) -> &str {
        self.plain.name()
    }

    fn signature(&self) -> &Signature {
        self.plain.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [kind] if is_whole(kind) => Ok(WHOLE),
            _ => self.plain.return_type(arg_types),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let kind = args.input_fields[0].data_type();
        if !is_whole(kind) {
            return self.plain.state_fields(args);
        }
        let field = if args.is_distinct {
            let item = Field::new_list_field(kind.clone(), true);
            Field::new_list(format_state_name(args.name, "sum distinct"), item, false)
        } else {
            Field::new(format_state_name(args.name, "sum"), WHOLE, true)
        };
        Ok(vec![Arc::new(field)])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        match (args.expr_fields[0].data_type(), args.is_distinct) {
            (DataType::Int64, false) => Ok(Box::new(WholeSum::<Int64Type>::default())),
            (DataType::UInt64, false) => Ok(Box::new(WholeSum::<UInt64Type>::default())),
            (DataType::Int64, true) => Ok(Box::new(DistinctSum::<Int64Type>::default())),
            (DataType::UInt64, true) => Ok(Box::new(DistinctSum::<UInt64Type>::default())),
            _ => self.plain.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if is_whole(args.expr_fields[0].data_type()) {
            self.accumulator(args)
        } else {
            self.plain.create_sliding_accumulator(args)
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        match args.expr_fields[0].data_type() {
            DataType::Int64 => Ok(Box::new(WholeSums::<Int64Type>::default())),
            DataType::UInt64 => Ok(Box::new(WholeSums::<UInt64Type>::default())),
            _ => self.plain.create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn set_monotonicity(&self, kind: &DataType) -> SetMonotonicity {
        self.plain.inner().set_monotonicity(kind)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.plain.documentation()
    }
}

/// The sum of one group, or of a window; values may leave it again.
struct WholeSum<T> {
    sum: i128,
    values: u64,
    kind: PhantomData<fn() -> T>,
}

impl<T> Default for WholeSum<T> {
    fn default() -> Self {
        Self { sum: 0, values: 0, kind: PhantomData }
    }
}

impl<T> fmt::Debug for WholeSum<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WholeSum").field("sum", &self.sum).field("values", &self.values).finish()
    }
}

fn total<T>(values: &PrimitiveArray<T>) -> i128
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128>,
{
    match values.null_count() {
        0 => values.values().iter().map(|value| (*value).into()).sum(),
        _ => values.iter().flatten().map(Into::into).sum(),
    }
}

impl<T> WholeSum<T> {
    fn value(&self) -> ScalarValue {
        ScalarValue::Decimal128((self.values > 0).then_some(self.sum), DIGITS, 0)
    }
}

impl<T> Accumulator for WholeSum<T>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128>,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.sum += total(values);
        self.values += (values.len() - values.null_count()) as u64;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        self.sum -= total(values);
        self.values = self.values.saturating_sub((values.len() - values.null_count()) as u64);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let states = states[0].as_primitive::<Decimal128Type>();
        self.sum += states.iter().flatten().sum::<i128>();
        self.values += (states.len() - states.null_count()) as u64;
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value())
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The sum of different values, each with how often it is in the window.
struct DistinctSum<T: ArrowPrimitiveType> {
    values: HashMap<T::Native, u64>,
}

impl<T> Default for DistinctSum<T>
where
    T: ArrowPrimitiveType,
{
    fn default() -> Self {
        Self { values: HashMap::new() }
    }
}

impl<T: ArrowPrimitiveType> fmt::Debug for DistinctSum<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DistinctSum").field("values", &self.values.len()).finish()
    }
}

impl<T> Accumulator for DistinctSum<T>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128> + Hash + Eq,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<T>().iter().flatten() {
            *self.values.entry(value).or_default() += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<T>().iter().flatten() {
            if let Entry::Occupied(mut times) = self.values.entry(value) {
                *times.get_mut() -= 1;
                if *times.get() == 0 {
                    times.remove();
                }
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        states[0].as_list::<i32>().iter().flatten().try_for_each(|values| self.update_batch(&[values]))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = PrimitiveArray::<T>::from_iter_values(self.values.keys().copied());
        let item = Arc::new(Field::new_list_field(T::DATA_TYPE, true));
        let offsets = OffsetBuffer::from_lengths([values.len()]);
        let list = ListArray::new(item, offsets, Arc::new(values), None);
        Ok(vec![ScalarValue::List(Arc::new(list))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = self.values.keys().map(|value| (*value).into()).sum::<i128>();
        Ok(ScalarValue::Decimal128((!self.values.is_empty()).then_some(sum), DIGITS, 0))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<(T::Native, u64)>()
    }
}

/// The sums of many groups; a group without a value is NULL.
struct WholeSums<T> {
    sums: Vec<i128>,
    filled: Vec<bool>,
    kind: PhantomData<fn() -> T>,
}

impl<T> Default for WholeSums<T> {
    fn default() -> Self {
        Self { sums: Vec::new(), filled: Vec::new(), kind: PhantomData }
    }
}

impl<T> WholeSums<T> {
    fn add<N: Into<i128> + Copy>(
        &mut self,
        groups: &[usize],
        values: &[N],
        nulls: Option<&NullBuffer>,
        filter: Option<&BooleanArray>,
        total: usize,
    ) {
        self.sums.resize(total, 0);
        self.filled.resize(total, false);
        if nulls.is_none() && filter.is_none() {
            for (group, value) in groups.iter().zip(values) {
                self.sums[*group] += (*value).into();
                self.filled[*group] = true;
            }
            return;
        }
        for (row, (group, value)) in groups.iter().zip(values).enumerate() {
            let counts = nulls.is_none_or(|nulls| nulls.is_valid(row))
                && filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if counts {
                self.sums[*group] += (*value).into();
                self.filled[*group] = true;
            }
        }
    }

    fn take(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let sums = emit.take_needed(&mut self.sums);
        let filled = emit.take_needed(&mut self.filled);
        Ok(Arc::new(whole_array(sums, Some(NullBuffer::from(filled)))?))
    }
}

fn whole_array(sums: Vec<i128>, nulls: Option<NullBuffer>) -> Result<Decimal128Array> {
    Decimal128Array::new(sums.into(), nulls)
        .with_precision_and_scale(DIGITS, 0)
        .map_err(|error| exec_datafusion_err!("a sum has no place in a decimal: {error}"))
}

impl<T> GroupsAccumulator for WholeSums<T>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128>,
{
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let values = values[0].as_primitive::<T>();
        let nulls = values.nulls().filter(|nulls| nulls.null_count() > 0);
        self.add(group_indices, values.values(), nulls, opt_filter, total_num_groups);
        Ok(())
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        let values = values[0].as_primitive::<Decimal128Type>();
        let nulls = values.nulls().filter(|nulls| nulls.null_count() > 0);
        self.add(group_indices, values.values(), nulls, None, total_num_groups);
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.take(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.take(emit_to)?])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<T>();
        let nulls = counted(values.nulls(), opt_filter);
        let whole = values.values().iter().map(|value| (*value).into()).collect();
        Ok(vec![Arc::new(whole_array(whole, nulls)?)])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.filled.capacity()
    }
}
