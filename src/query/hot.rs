//! Decoded columns of files, kept in memory, so that the same question asked again decodes nothing.
//!
//! A file of the lake never changes, so what is kept of it is right for as long as it is kept: nothing is ever made
//! invalid, only pushed out by columns that are asked for more.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use arrow::array::Array;
use arrow::array::ArrayRef;
use object_store::path::Path;

/// Columns in memory, at most so many bytes; the ones not used for longest go first.
#[derive(Debug)]
pub(crate) struct HotColumns {
    limit: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    files: HashMap<Path, HashMap<String, Column>>,
    /// Which column was used when; the first is the next to go.
    used: BTreeMap<u64, (Path, String)>,
    clock: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Column {
    values: ArrayRef,
    bytes: usize,
    used: u64,
}

impl HotColumns {
    /// A limit of 0 keeps nothing.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, held: Mutex::default() }
    }

    /// Whether columns of about so many bytes may come in without pushing out most of what is there.
    pub(crate) fn welcomes(&self, bytes: usize) -> bool {
        bytes <= self.limit / 2
    }

    /// These columns of a file, if all of them are here.
    pub(crate) fn get<'a>(
        &self,
        file: &Path,
        columns: impl Iterator<Item = &'a str> + Clone,
    ) -> Option<Vec<ArrayRef>> {
        let mut held = self.lock();
        let held = &mut *held;
        let of_file = held.files.get_mut(file)?;
        if !columns.clone().all(|name| of_file.contains_key(name)) {
            return None;
        }
        let mut found = Vec::new();
        for name in columns {
            let column = of_file.get_mut(name)?;
            held.clock += 1;
            if let Some(key) = held.used.remove(&column.used) {
                held.used.insert(held.clock, key);
            }
            column.used = held.clock;
            found.push(Arc::clone(&column.values));
        }
        Some(found)
    }

    /// Keeps a column of a file.
    pub(crate) fn put(&self, file: &Path, name: &str, values: ArrayRef) {
        let bytes = values.get_array_memory_size() + file.as_ref().len() + name.len();
        if bytes > self.limit {
            return;
        }
        let mut held = self.lock();
        held.remove(file, name);
        held.clock += 1;
        let used = held.clock;
        held.used.insert(used, (file.clone(), name.to_owned()));
        held.files.entry(file.clone()).or_default().insert(name.to_owned(), Column { values, bytes, used });
        held.bytes += bytes;
        while held.bytes > self.limit {
            let Some((_, (file, name))) = held.used.pop_first() else { break };
            held.remove(&file, &name);
        }
    }

    /// Nothing here is half changed when a thread stops with the lock: at worst a column is counted twice.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn remove(&mut self, file: &Path, name: &str) {
        let Some(of_file) = self.files.get_mut(file) else { return };
        if let Some(column) = of_file.remove(name) {
            self.bytes = self.bytes.saturating_sub(column.bytes);
            self.used.remove(&column.used);
        }
        if of_file.is_empty() {
            self.files.remove(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    fn column(rows: i64) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(0..rows))
    }

    fn found(hot: &HotColumns, file: &str, names: &[&str]) -> Option<usize> {
        hot.get(&Path::from(file), names.iter().copied()).map(|columns| columns.len())
    }

    #[test]
    fn columns_are_found_only_all_together() {
        let hot = HotColumns::new(1 << 20);
        hot.put(&Path::from("a"), "one", column(10));
        assert_eq!(found(&hot, "a", &["one", "two"]), None);
        hot.put(&Path::from("a"), "two", column(10));
        assert_eq!(found(&hot, "a", &["one", "two"]), Some(2));
        assert_eq!(found(&hot, "b", &["one"]), None);
    }

    #[test]
    fn the_column_not_used_for_longest_goes_first() {
        let bytes = column(1_000).get_array_memory_size() + 4;
        let hot = HotColumns::new(3 * bytes);
        for name in ["one", "two", "six"] {
            hot.put(&Path::from("a"), name, column(1_000));
        }
        assert_eq!(found(&hot, "a", &["one"]), Some(1));
        hot.put(&Path::from("b"), "one", column(1_000));
        assert_eq!(found(&hot, "a", &["two"]), None);
        assert_eq!(found(&hot, "a", &["one", "six"]), Some(2));
        assert_eq!(found(&hot, "b", &["one"]), Some(1));
        assert_eq!(hot.lock().bytes, 3 * bytes);
    }

    #[test]
    fn a_column_put_twice_is_counted_once_and_one_too_big_is_left_out() {
        let bytes = column(1_000).get_array_memory_size() + 4;
        let hot = HotColumns::new(2 * bytes);
        hot.put(&Path::from("a"), "one", column(1_000));
        hot.put(&Path::from("a"), "one", column(1_000));
        assert_eq!(hot.lock().bytes, bytes);
        hot.put(&Path::from("a"), "big", column(10_000));
        assert_eq!(found(&hot, "a", &["big"]), None);
        assert_eq!(found(&hot, "a", &["one"]), Some(1));
        assert_eq!(hot.lock().used.len(), 1);
    }

    #[test]
    fn a_limit_of_nothing_keeps_nothing() {
        let hot = HotColumns::new(0);
        assert!(!hot.welcomes(1));
        hot.put(&Path::from("a"), "one", column(1));
        assert_eq!(found(&hot, "a", &["one"]), None);
        assert!(hot.lock().files.is_empty());
    }
}
