//! `percentile_cont`, exact to the last bit: values are kept flat beside their groups and ordered once, at the end.
//!
//! DataFusion's own keeps a vector for each group and cuts the weight of the interpolation to six digits.

use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::BooleanArray;
use arrow::array::Float64Array;
use arrow::array::ListArray;
use arrow::buffer::NullBuffer;
use arrow::buffer::OffsetBuffer;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::FieldRef;
use arrow::datatypes::Float64Type;
use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::common::exec_datafusion_err;
use datafusion::common::exec_err;
use datafusion::functions_aggregate::percentile_cont::percentile_cont_udaf;
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::AggregateUDF;
use datafusion::logical_expr::AggregateUDFImpl;
use datafusion::logical_expr::Documentation;
use datafusion::logical_expr::EmitTo;
use datafusion::logical_expr::GroupsAccumulator;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::function::StateFieldsArgs;
use datafusion::physical_expr::expressions::Literal;

use crate::query::functions::counted;

/// The aggregate `percentile_cont`, in place of DataFusion's.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct PercentileCont {
    plain: Arc<AggregateUDF>,
}

impl PercentileCont {
    pub(crate) fn new() -> Self {
        Self { plain: percentile_cont_udaf() }
    }
}

/// Whether the values are ours to order; different values and other floats are left to DataFusion.
fn is_ours(args: &AccumulatorArgs<'_>) -> bool {
    !args.is_distinct && *args.expr_fields[0].data_type() == DataType::Float64
}

impl AggregateUDFImpl for PercentileCont {
    fn name(&self) -> &str {
        self.plain.name()
    }

    fn aliases(&self) -> &[String] {
        self.plain.aliases()
    }

    fn signature(&self) -> &Signature {
        self.plain.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.plain.return_type(arg_types)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.plain.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if !is_ours(&args) {
            return self.plain.accumulator(args);
        }
        Ok(Box::new(OneGroup { percentile: percentile_of(&args)?, values: Vec::new() }))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.plain.create_sliding_accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.plain.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        if !is_ours(&args) {
            return self.plain.create_groups_accumulator(args);
        }
        let percentile = percentile_of(&args)?;
        Ok(Box::new(ManyGroups::new(percentile)))
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.plain.documentation()
    }
}

/// The share that is asked for, from 0 to 1, counted from the least value.
fn percentile_of(args: &AccumulatorArgs<'_>) -> Result<f64> {
    let literal = args.exprs.get(1).and_then(|expr| expr.downcast_ref::<Literal>());
    let share = match literal.map(Literal::value) {
        Some(ScalarValue::Float64(Some(share))) if (0.0..=1.0).contains(share) => *share,
        _ => return exec_err!("percentile_cont takes a constant from 0 to 1"),
    };
    let descending = args.order_bys.first().is_some_and(|sort| sort.options.descending);
    Ok(if descending { 1.0 - share } else { share })
}

/// The value below which this share lies, between the two nearest values in proportion; reorders the values.
fn interpolate(values: &mut [f64], share: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let place = share * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and `last`")]
    let low = (place.floor() as usize).min(last);
    let (_, lower, above) = values.select_nth_unstable_by(low, f64::total_cmp);
    let lower = *lower;
    let weight = place - low as f64;
    if weight == 0.0 {
        return Some(lower);
    }
    let upper = above.iter().copied().min_by(f64::total_cmp).unwrap_or(lower);
    Some(lower + (upper - lower) * weight)
}

/// The values of an aggregate without groups.
#[derive(Debug)]
struct OneGroup {
    percentile: f64,
    values: Vec<f64>,
}

fn list_of(values: Vec<f64>, offsets: OffsetBuffer<i32>, nulls: Option<NullBuffer>) -> ListArray {
    let item = Arc::new(Field::new_list_field(DataType::Float64, true));
    ListArray::new(item, offsets, Arc::new(Float64Array::from(values)), nulls)
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<Float64Type>();
        match values.null_count() {
            0 => self.values.extend_from_slice(values.values()),
            _ => self.values.extend(values.iter().flatten()),
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        states[0].as_list::<i32>().iter().flatten().try_for_each(|values| self.update_batch(&[values]))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = std::mem::take(&mut self.values);
        let offsets = OffsetBuffer::from_lengths([values.len()]);
        Ok(vec![ScalarValue::List(Arc::new(list_of(values, offsets, None)))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(interpolate(&mut self.values, self.percentile)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<f64>()
    }
}

/// The values of many groups: those of rows beside the number of their group, in the order in which they came; those
/// of other phases where they came, as runs.
#[derive(Debug)]
struct ManyGroups {
    percentile: f64,
    values: Vec<f64>,
    groups: Vec<u32>,
    runs: Vec<Run>,
    lists: Vec<ScalarBuffer<f64>>,
    /// How many values the runs have.
    in_runs: usize,
    /// How many groups there are.
    total: usize,
}

/// Values of one group that lie side by side in one of the lists, so that a second phase copies none before it is asked.
#[derive(Debug, Clone, Copy)]
struct Run {
    group: u32,
    list: u32,
    from: u32,
    to: u32,
}

fn group_number(group: usize) -> Result<u32> {
    u32::try_from(group).map_err(|_| exec_datafusion_err!("percentile_cont takes at most 2^32 groups"))
}

/// Where each of the first `count` groups starts when members are laid out group by group; the last is where they end.
fn starts_of(members: impl Iterator<Item = u32>, count: usize) -> Vec<usize> {
    let mut starts = vec![0; count + 1];
    for group in members.map(|group| group as usize).filter(|group| *group < count) {
        starts[group + 1] += 1;
    }
    for group in 0..count {
        starts[group + 1] += starts[group];
    }
    starts
}

/// The members of the first `count` groups, group by group, with where each group starts; the others stay, their
/// numbers still the old ones.
fn split<T: Copy>(members: Vec<T>, count: usize, group_of: impl Fn(usize, &T) -> u32, empty: T) -> Split<T> {
    let starts = starts_of(members.iter().enumerate().map(|(at, member)| group_of(at, member)), count);
    let mut next = starts[..count].to_vec();
    let mut taken = vec![empty; starts[count]];
    let mut rest = Vec::new();
    for (at, member) in members.into_iter().enumerate() {
        match next.get_mut(group_of(at, &member) as usize) {
            Some(next) => {
                taken[*next] = member;
                *next += 1;
            }
            None => rest.push(member),
        }
    }
    Split { taken, starts, rest }
}

#[derive(Debug)]
struct Split<T> {
    taken: Vec<T>,
    starts: Vec<usize>,
    rest: Vec<T>,
}

/// The values of the groups that are given out.
#[derive(Debug)]
struct Given {
    count: usize,
    values: Split<f64>,
    runs: Split<Run>,
    lists: Vec<ScalarBuffer<f64>>,
}

impl Given {
    /// Appends the values of one group.
    fn append(&self, group: usize, to: &mut Vec<f64>) {
        to.extend_from_slice(&self.values.taken[self.values.starts[group]..self.values.starts[group + 1]]);
        for run in &self.runs.taken[self.runs.starts[group]..self.runs.starts[group + 1]] {
            to.extend_from_slice(&self.lists[run.list as usize][run.from as usize..run.to as usize]);
        }
    }
}

impl ManyGroups {
    fn new(percentile: f64) -> Self {
        let (values, groups, runs, lists) = Default::default();
        Self { percentile, values, groups, runs, lists, in_runs: 0, total: 0 }
    }

    /// Takes the groups that are given out; the others stay, numbered anew from 0.
    fn take(&mut self, emit: EmitTo) -> Given {
        let count = match emit {
            EmitTo::All => self.total,
            EmitTo::First(count) => count.min(self.total),
        };
        let groups = std::mem::take(&mut self.groups);
        let mut values = split(std::mem::take(&mut self.values), count, |at, _| groups[at], 0.0);
        let nothing = Run { group: 0, list: 0, from: 0, to: 0 };
        let mut runs = split(std::mem::take(&mut self.runs), count, |_, run: &Run| run.group, nothing);
        // `count` is at most the number of each group that stays, which is a `u32`.
        let moved = |group: u32| group - u32::try_from(count).unwrap_or(group);
        self.values = std::mem::take(&mut values.rest);
        self.groups = groups.into_iter().filter(|group| *group as usize >= count).map(moved).collect();
        self.runs = std::mem::take(&mut runs.rest)
            .into_iter()
            .map(|run| Run { group: moved(run.group), ..run })
            .collect();
        self.total -= count;
        self.in_runs = self.runs.iter().map(|run| (run.to - run.from) as usize).sum();
        let lists = self.lists.clone();
        if self.runs.is_empty() {
            self.lists.clear();
        }
        Given { count, values, runs, lists }
    }
}

impl GroupsAccumulator for ManyGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.total = total_num_groups;
        group_number(total_num_groups)?;
        let values = values[0].as_primitive::<Float64Type>();
        if values.null_count() == 0 && opt_filter.is_none() {
            self.values.extend_from_slice(values.values());
            // No group is numbered higher than `total_num_groups`, which is a `u32`.
            self.groups.extend(group_indices.iter().map(|group| u32::try_from(*group).unwrap_or(u32::MAX)));
            return Ok(());
        }
        for (row, group) in group_indices.iter().enumerate() {
            let counts = values.is_valid(row)
                && opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if counts {
                self.values.push(values.value(row));
                self.groups.push(group_number(*group)?);
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
        self.total = total_num_groups;
        group_number(total_num_groups)?;
        let lists = values[0].as_list::<i32>();
        let list = group_number(self.lists.len())?;
        self.lists.push(lists.values().as_primitive::<Float64Type>().values().clone());
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| lists.is_valid(*row)) {
            let bounds =
                (u32::try_from(lists.value_offsets()[row]), u32::try_from(lists.value_offsets()[row + 1]));
            let (Ok(from), Ok(to)) = bounds else { continue };
            self.in_runs += (to - from) as usize;
            self.runs.push(Run { group: group_number(*group)?, list, from, to });
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let given = self.take(emit_to);
        let mut values = Vec::new();
        let answers: Float64Array = (0..given.count)
            .map(|group| {
                values.clear();
                given.append(group, &mut values);
                interpolate(&mut values, self.percentile)
            })
            .collect();
        Ok(Arc::new(answers))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        if i32::try_from(self.values.len() + self.in_runs).is_err() {
            return exec_err!("percentile_cont holds more than 2^31 values at once; ask for fewer");
        }
        let mut given = self.take(emit_to);
        let lengths = |starts: &[usize], group: usize| starts[group + 1] - starts[group];
        let (values, offsets) = if given.runs.taken.is_empty() {
            let starts = &given.values.starts;
            let offsets = OffsetBuffer::from_lengths((0..given.count).map(|group| lengths(starts, group)));
            (std::mem::take(&mut given.values.taken), offsets)
        } else {
            let mut values = Vec::new();
            let mut sizes = Vec::with_capacity(given.count);
            for group in 0..given.count {
                let before = values.len();
                given.append(group, &mut values);
                sizes.push(values.len() - before);
            }
            (values, OffsetBuffer::from_lengths(sizes))
        };
        Ok(vec![Arc::new(list_of(values, offsets, None))])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<Float64Type>();
        let nulls = counted(values.nulls(), opt_filter);
        let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(1, values.len()));
        Ok(vec![Arc::new(list_of(values.values().to_vec(), offsets, nulls))])
    }

    fn size(&self) -> usize {
        (self.values.capacity() + self.in_runs) * size_of::<f64>()
            + self.groups.capacity() * size_of::<u32>()
            + self.runs.capacity() * size_of::<Run>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_lies_between_its_neighbours_in_proportion() {
        let of = |share| interpolate(&mut [40.0, 10.0, 30.0, 20.0], share);
        assert_eq!(of(0.0), Some(10.0));
        assert_eq!(of(1.0), Some(40.0));
        assert_eq!(of(0.5), Some(25.0));
        assert_eq!(of(0.95), Some(10.0 + 10.0 * (2.0 + 0.95 * 3.0 - 2.0)));
        assert_eq!(interpolate(&mut [], 0.5), None);
        assert_eq!(interpolate(&mut [7.0], 0.3), Some(7.0));
    }

    #[test]
    fn groups_that_are_given_out_first_leave_the_others_whole() {
        let mut groups = ManyGroups::new(0.5);
        let values: ArrayRef =
            Arc::new(Float64Array::from(vec![Some(1.0), Some(9.0), None, Some(3.0), Some(7.0)]));
        groups.update_batch(&[values], &[0, 1, 1, 0, 2], None, 3).unwrap();
        let first = groups.evaluate(EmitTo::First(1)).unwrap();
        assert_eq!(first.as_primitive::<Float64Type>().values(), &[2.0]);
        let state = groups.state(EmitTo::All).unwrap();
        let mut merged = ManyGroups::new(0.5);
        merged.merge_batch(&state, &[1, 0], 2).unwrap();
        let more: ArrayRef = Arc::new(Float64Array::from(vec![3.0, 5.0]));
        merged.update_batch(&[more], &[1, 2], None, 3).unwrap();
        let first = merged.evaluate(EmitTo::First(1)).unwrap();
        assert_eq!(first.as_primitive::<Float64Type>().values(), &[7.0]);
        let state = merged.state(EmitTo::All).unwrap();
        let mut last = ManyGroups::new(0.5);
        last.merge_batch(&state, &[0, 1], 2).unwrap();
        let rest = last.evaluate(EmitTo::All).unwrap();
        assert_eq!(rest.as_primitive::<Float64Type>().values(), &[6.0, 5.0]);
    }
}
