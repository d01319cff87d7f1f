//! Texts as numbers, so that events stay small: one book of them for all threads, of which each remembers its part.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use arrow::array::Array;
use arrow::array::StringViewArray;

/// The number of NULL.
pub(crate) const NULL: u32 = 0;

/// Texts with numbers; NULL is number 0. Which number a text has depends on who came first, so no answer may.
#[derive(Debug)]
pub(crate) struct Values {
    numbers: HashMap<String, u32>,
    texts: Vec<Option<String>>,
}

impl Default for Values {
    fn default() -> Self {
        Self { numbers: HashMap::new(), texts: vec![None] }
    }
}

impl Values {
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(NULL);
        self.texts.push(Some(text.to_owned()));
        self.numbers.insert(text.to_owned(), number);
        number
    }

    pub(crate) fn text(&self, number: u32) -> Option<&str> {
        self.texts.get(number as usize).and_then(Option::as_deref)
    }
}

/// One thread's way to the book.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    shared: Arc<Mutex<Values>>,
    known: hashbrown::HashMap<String, u32>,
    bytes: usize,
}

impl Numbers {
    pub(crate) fn of(shared: &Arc<Mutex<Values>>) -> Self {
        Self { shared: Arc::clone(shared), ..Self::default() }
    }

    /// About how much memory its texts take, here and in the book.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The numbers of a column's texts, in order.
    pub(crate) fn of_column(&mut self, texts: &StringViewArray, mut take: impl FnMut(u32)) {
        // Values repeat, so the one before is looked at first. A view of up to 12 bytes holds the whole text, whose
        // length comes first.
        let mut last: Option<(u128, u32)> = None;
        for (row, view) in texts.views().iter().enumerate() {
            if texts.is_null(row) {
                take(NULL);
                continue;
            }
            let is_short = view & 0xffff_ffff <= 12;
            let number = match last {
                Some((before, number)) if is_short && before == *view => number,
                _ => self.number(texts.value(row)),
            };
            last = is_short.then_some((*view, number));
            take(number);
        }
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.known.get(text) {
            return *number;
        }
        let number = self.shared.lock().unwrap_or_else(PoisonError::into_inner).number(text);
        self.known.insert(text.to_owned(), number);
        self.bytes += 3 * text.len() + 128;
        number
    }
}
