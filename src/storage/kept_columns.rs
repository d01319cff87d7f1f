//! `KeptColumns`: columns that stay in memory for long and are read now and then, in fewer bytes than Arrow's own layout
//! of them takes: what every row has is kept once, values of which there are few are numbered by bytes, and texts
//! lie end to end until somebody asks for them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::BooleanArray;
use arrow::array::DictionaryArray;
use arrow::array::Int32Array;
use arrow::array::ListArray;
use arrow::array::RunArray;
use arrow::array::StringArray;
use arrow::array::UInt8Array;
use arrow::array::UInt64Array;
use arrow::array::new_empty_array;
use arrow::array::new_null_array;
use arrow::buffer::BooleanBuffer;
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::compute::filter;
use arrow::compute::take;
use arrow::datatypes::DataType;
use arrow::datatypes::Field;
use arrow::datatypes::Int32Type;
use arrow::datatypes::Schema;
use arrow::datatypes::UInt8Type;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::record_batch::RecordBatchOptions;

/// The rows that tell whether it is worth while to look for the same values among all, and the most values that they may
/// have: of 256 values, each as often as another, 221 are among so many rows; of a thousand, 400.
const PROBE: usize = 512;
const MOST_PROBED: usize = 235;

#[derive(Clone, Debug)]
pub(crate) struct KeptColumns {
    rows: usize,
    columns: Vec<Column>,
}

#[derive(Clone, Debug)]
enum Column {
    /// The one value that all rows have.
    Same(ArrayRef),
    /// The values that there are, and which of them each row has.
    Few {
        values: ArrayRef,
        of: UInt8Array,
    },
    Whole(ArrayRef),
}

impl KeptColumns {
    /// Columns of like length.
    pub(crate) fn of(columns: Vec<ArrayRef>) -> Result<Self, ArrowError> {
        let rows = columns.first().map_or(0, |one| one.len());
        let columns = columns.into_iter().map(Column::of).collect::<Result<_, _>>()?;
        Ok(Self { rows, columns })
    }

    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// The columns as Arrow's own types for what they are: runs, dictionaries and plain arrays.
    pub(crate) fn to_batch(&self) -> Result<RecordBatch, ArrowError> {
        let arrays = self.columns.iter().map(|column| column.to_array(self.rows));
        let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
        let field = |(place, array): (usize, &ArrayRef)| {
            Field::new(place.to_string(), array.data_type().clone(), true)
        };
        let schema = Schema::new(arrays.iter().enumerate().map(field).collect::<Vec<_>>());
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options)
    }

    /// What [`KeptColumns::to_batch`] gave.
    pub(crate) fn of_batch(batch: &RecordBatch) -> Self {
        Self { rows: batch.num_rows(), columns: batch.columns().iter().map(Column::of_array).collect() }
    }

    /// The column at a place, as another type that Arrow can make of it; of the rows that are wanted, if not of all.
    pub(crate) fn column(
        &self,
        place: usize,
        shown_as: &DataType,
        wanted: Option<&BooleanArray>,
    ) -> Result<ArrayRef, ArrowError> {
        match (&self.columns[place], wanted) {
            (Column::Same(value), _) => {
                let rows = wanted.map_or(self.rows, BooleanArray::true_count);
                repeated(&cast(value, shown_as)?, rows)
            }
            (Column::Few { values, of }, None) => take(&cast(values, shown_as)?, of, None),
            (Column::Few { values, of }, Some(wanted)) => {
                take(&cast(values, shown_as)?, &filter(of, wanted)?, None)
            }
            (Column::Whole(whole), None) => cast(whole, shown_as),
            (Column::Whole(whole), Some(wanted)) => cast(&filter(whole, wanted)?, shown_as),
        }
    }

    /// The rows whose value at a place `holds` is true of; it is asked about each value once where they are kept once.
    pub(crate) fn matching<E: From<ArrowError>>(
        &self,
        place: usize,
        shown_as: &DataType,
        holds: impl Fn(&ArrayRef) -> Result<BooleanArray, E>,
    ) -> Result<BooleanArray, E> {
        let (values, of) = match &self.columns[place] {
            Column::Same(value) => {
                let all = holds(&cast(value, shown_as)?)?.value(0);
                let rows = if all { BooleanBuffer::new_set } else { BooleanBuffer::new_unset };
                return Ok(BooleanArray::new(rows(self.rows), None));
            }
            Column::Few { values, of } => (values, of.values()),
            Column::Whole(whole) => return holds(&cast(whole, shown_as)?),
        };
        let holds = holds(&cast(values, shown_as)?)?;
        let mut by_number = [false; u8::MAX as usize + 1];
        by_number.iter_mut().zip(holds.values()).for_each(|(one, holds)| *one = holds);
        let rows = BooleanBuffer::collect_bool(of.len(), |row| by_number[usize::from(of[row])]);
        Ok(BooleanArray::new(rows, None))
    }
}

impl Column {
    fn to_array(&self, rows: usize) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Same(value) => {
                let end = i32::try_from(rows).map_err(|error| ArrowError::ExternalError(error.into()))?;
                Arc::new(RunArray::try_new(&Int32Array::from(vec![end]), value)?)
            }
            Self::Few { values, of } => Arc::new(DictionaryArray::try_new(of.clone(), Arc::clone(values))?),
            Self::Whole(whole) => Arc::clone(whole),
        })
    }

    fn of_array(array: &ArrayRef) -> Self {
        if let Some(runs) = array.as_run_opt::<Int32Type>() {
            return Self::Same(Arc::clone(runs.values()));
        }
        if let Some(few) = array.as_dictionary_opt::<UInt8Type>() {
            return Self::Few { values: Arc::clone(few.values()), of: few.keys().clone() };
        }
        Self::Whole(Arc::clone(array))
    }

    fn of(mut whole: ArrayRef) -> Result<Self, ArrowError> {
        if !whole.is_empty() && is_same(&whole) {
            return Ok(Self::Same(take(&whole, &UInt8Array::from(vec![0]), None)?));
        }
        if let Some((of, values)) = few(&whole)? {
            return Ok(Self::Few { values, of });
        }
        // What grows while it is made grows by doubling.
        whole.shrink_to_fit();
        Ok(Self::Whole(whole))
    }
}

/// As many rows as asked for of the one value.
fn repeated(value: &ArrayRef, rows: usize) -> Result<ArrayRef, ArrowError> {
    if value.null_count() > 0 {
        return Ok(new_null_array(value.data_type(), rows));
    }
    if let (DataType::List(item), Some(list)) = (value.data_type(), value.as_list_opt::<i32>())
        && list.value_length(0) == 0
    {
        let offsets = OffsetBuffer::new_zeroed(rows);
        let items = new_empty_array(item.data_type());
        return Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, None)?));
    }
    take(value, &UInt8Array::from_value(0, rows), None)
}

fn is_same(whole: &ArrayRef) -> bool {
    let others = whole.len() - 1;
    whole.null_count() == whole.len() || whole.slice(0, others).as_ref() == whole.slice(1, others).as_ref()
}

/// The place of each row's value among the values that there are, if a byte can say it.
fn few(whole: &ArrayRef) -> Result<Option<(UInt8Array, ArrayRef)>, ArrowError> {
    // Lists take long to put together again.
    let Some(texts) = whole.as_string_opt::<i32>() else { return Ok(None) };
    if texts.len() > PROBE && numbered(&texts.slice(0, PROBE), MOST_PROBED).is_none() {
        return Ok(None);
    }
    let Some((of, firsts)) = numbered(texts, usize::from(u8::MAX) + 1) else { return Ok(None) };
    Ok(Some((of, take(whole, &UInt64Array::from(firsts), None)?)))
}

/// The rows by the values that they have, numbered as they come, and where each value comes first; `None` if there are
/// more values than `most`.
fn numbered(texts: &StringArray, most: usize) -> Option<(UInt8Array, Vec<u64>)> {
    let mut numbers = HashMap::new();
    let mut firsts = Vec::new();
    let mut of = Vec::with_capacity(texts.len());
    for (row, value) in (0_u64..).zip(texts) {
        let next = firsts.len();
        let number = *numbers.entry(value).or_insert(next);
        if number == next {
            firsts.push(row);
        }
        of.push(u8::try_from(number).ok().filter(|_| number < most)?);
    }
    Some((UInt8Array::from(of), firsts))
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::array::ListBuilder;
    use arrow::array::StringBuilder;
    use arrow::array::StringViewArray;
    use proptest::prelude::*;

    use super::*;

    fn lists(of: &[Vec<String>]) -> ArrayRef {
        let mut lists = ListBuilder::new(StringBuilder::new());
        of.iter().for_each(|one| lists.append_value(one.iter().map(Some)));
        Arc::new(lists.finish())
    }

    #[test]
    fn each_column_is_kept_in_its_own_way() {
        let rows = 1_000;
        let count = |most: i64| (0..rows).map(move |row| row % most);
        let texts =
            |most| Arc::new(count(most).map(|n| Some(format!("n{n}"))).collect::<StringArray>()) as ArrayRef;
        let kept = KeptColumns::of(vec![
            texts(1),
            texts(256),
            texts(257),
            Arc::new(StringArray::new_null(1_000)),
            lists(&count(1).map(|_| Vec::new()).collect::<Vec<_>>()),
            lists(&count(7).map(|n| vec![n.to_string(); 2]).collect::<Vec<_>>()),
            Arc::new(Int64Array::from_iter_values(count(2))),
        ])
        .unwrap();
        let shape = |one: &Column| match one {
            Column::Same(value) => (0, value.len()),
            Column::Few { values, .. } => (1, values.len()),
            Column::Whole(whole) => (2, whole.len()),
        };
        let shapes: Vec<_> = kept.columns.iter().map(shape).collect();
        // All 256 are among the first rows.
        assert_eq!(shapes, [(0, 1), (2, 1_000), (2, 1_000), (0, 1), (0, 1), (2, 1_000), (2, 1_000)]);
        let kept = KeptColumns::of(vec![texts(200)]).unwrap();
        assert_eq!(shape(&kept.columns[0]), (1, 200));
        assert_eq!(KeptColumns::of(Vec::new()).unwrap().len(), 0);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_was_given(
            rows in prop::collection::vec((prop::option::of("[ab]{0,2}|[a-zž]{13,20}"), prop::collection::vec("[xy]", 0..3), any::<Option<i64>>()), 0..700),
            few in any::<bool>(),
        ) {
            let rows: Vec<_> = rows.iter().cycle().take(if few { rows.len() * 2 } else { rows.len() }).collect();
            let texts: Vec<Option<&str>> = rows.iter().map(|one| one.0.as_deref()).collect();
            let tags: Vec<Vec<String>> = rows.iter().map(|one| one.1.clone()).collect();
            let numbers: ArrayRef = Arc::new(rows.iter().map(|one| one.2).collect::<Int64Array>());
            let given: Vec<ArrayRef> = vec![Arc::new(StringArray::from(texts.clone())), lists(&tags), numbers];
            let kept = KeptColumns::of(given.clone()).unwrap();
            for (place, column) in given.iter().enumerate() {
                prop_assert_eq!(&kept.column(place, column.data_type(), None).unwrap(), column);
            }
            let views: ArrayRef = Arc::new(StringViewArray::from(texts));
            prop_assert_eq!(&kept.column(0, &DataType::Utf8View, None).unwrap(), &views);
            prop_assert_eq!(kept.len(), rows.len());
            let wanted: BooleanArray = rows.iter().map(|one| Some(one.2.is_some_and(|number| number > 0))).collect();
            for (place, column) in given.iter().enumerate() {
                let some = kept.column(place, column.data_type(), Some(&wanted)).unwrap();
                prop_assert_eq!(&some, &filter(column, &wanted).unwrap());
                // True of what has a value.
                let valid = kept.matching::<ArrowError>(place, column.data_type(), |values| arrow::compute::is_not_null(values));
                prop_assert_eq!(valid.unwrap(), arrow::compute::is_not_null(column).unwrap());
            }
            let again = KeptColumns::of_batch(&kept.to_batch().unwrap());
            prop_assert_eq!(again.len(), rows.len());
            for (place, column) in given.iter().enumerate() {
                prop_assert_eq!(&again.column(place, column.data_type(), None).unwrap(), column);
            }
        }
    }
}
