//! What the values of one property looked like, and the type that takes the most of them.

use std::collections::HashMap;

use crate::ingest::map::Node;
use crate::ingest::number::DecimalFault;
use crate::ingest::number::Number;
use crate::schema::Field;
use crate::schema::NameRule;
use crate::schema::Property;
use crate::schema::PropertyType;
use crate::schema::evolve::LIST_FIELDS;
use crate::schema::evolve::check_name;
use crate::time::parse_instant;
use crate::value::ScalarType;

/// Counts of values by what they are.
#[derive(Debug, Default)]
pub(super) struct Seen {
    nulls: u64,
    booleans: u64,
    /// Numbers that are an integer of 64 bits, however they are written.
    integers: u64,
    /// Numbers that are not.
    fractions: u64,
    /// Numbers written with a point or an exponent.
    pointed: u64,
    /// Integers that no Decimal holds exactly.
    inexact: u64,
    /// Texts that are a time with an offset.
    times: u64,
    texts: u64,
    /// Lists of objects, empty ones among them.
    lists: u64,
    empty: u64,
    objects: u64,
    /// Lists of anything else.
    others: u64,
    /// Of the objects in lists, in the order of their first value.
    fields: Vec<(String, Seen)>,
    places: HashMap<String, usize>,
}

impl Seen {
    pub(super) fn see(&mut self, value: &Node<'_>) {
        match value {
            Node::Null => self.nulls += 1,
            Node::Boolean(_) => self.booleans += 1,
            Node::Number(text) => self.see_number(text),
            Node::Text(text) if has_offset(text) => self.times += 1,
            Node::Text(_) => self.texts += 1,
            Node::Object(_) => self.objects += 1,
            Node::List(items) if items.iter().all(|item| matches!(item, Node::Object(_))) => {
                self.lists += 1;
                self.empty += u64::from(items.is_empty());
                items.iter().for_each(|item| self.see_item(item));
            }
            Node::List(_) => self.others += 1,
        }
    }

    fn see_number(&mut self, text: &str) {
        let (Ok(number), _) = Number::read(text) else { return };
        match number.to_i64() {
            Some(_) => self.integers += 1,
            None => self.fractions += 1,
        }
        self.pointed += u64::from(!number.plain);
        self.inexact += u64::from(number.to_f64() == Err(DecimalFault::Inexact));
    }

    fn see_item(&mut self, item: &Node<'_>) {
        let Node::Object(entries) = item else { return };
        for (key, value) in entries {
            let place = match self.places.get(key.as_ref()) {
                Some(place) => *place,
                None => {
                    self.places.insert(key.to_string(), self.fields.len());
                    self.fields.push((key.to_string(), Self::default()));
                    self.fields.len() - 1
                }
            };
            self.fields[place].1.see(value);
        }
    }

    /// The type that takes the most values; `None` when no type takes any. `notes` learn what is not taken and why.
    pub(super) fn kind(&self, name: &str, notes: &mut Vec<String>) -> Option<PropertyType> {
        if self.objects + self.others > 0 {
            let (what, cure) = if self.objects >= self.others {
                ("an object", "describe what is in it with paths in a map, or map it to a String")
            } else {
                ("a list of single values", "map it to a String")
            };
            let count = rows(self.objects + self.others);
            notes.push(format!(
                "\"{name}\" is {what} in {count}, for which there is no type: they are refused; {cure}"
            ));
        }
        let lists = if self.fields.is_empty() { 0 } else { self.lists };
        if self.lists > 0 && self.fields.is_empty() {
            notes.push(format!("\"{name}\" is an empty list in {}: what is in it is not known, so they are refused; leave it out with a map", rows(self.lists)));
        }
        if lists > self.numbers().max(self.booleans).max(self.strings()) {
            let fields = self.list_fields(name, notes);
            self.note_mixed(name, "a List", lists, notes);
            return if fields.is_empty() { None } else { Some(PropertyType::List(fields)) };
        }
        self.scalar(name, notes).map(PropertyType::Scalar)
    }

    fn scalar(&self, name: &str, notes: &mut Vec<String>) -> Option<ScalarType> {
        let (numbers, strings) = (self.numbers(), self.strings());
        if numbers + strings + self.booleans == 0 {
            if self.nulls > 0 && self.lists + self.objects + self.others == 0 {
                notes.push(format!("\"{name}\" is null in all of {}: defined as a String", rows(self.nulls)));
                return Some(ScalarType::String);
            }
            return None;
        }
        if self.booleans > numbers.max(strings) {
            self.note_mixed(name, "a Boolean", self.booleans, notes);
            return Some(ScalarType::Boolean);
        }
        if numbers > strings {
            let kind =
                if self.pointed + self.fractions > 0 { ScalarType::Decimal } else { ScalarType::Numeric };
            self.note_mixed(name, &format!("a {kind}"), numbers, notes);
            if kind == ScalarType::Decimal && self.inexact > 0 {
                notes.push(format!("\"{name}\" holds integers in {} that a Decimal cannot hold exactly: they are refused; map it to a String", rows(self.inexact)));
            }
            return Some(kind);
        }
        if self.texts == 0 {
            self.note_mixed(name, "a DateTime", strings, notes);
            return Some(ScalarType::DateTime);
        }
        self.note_mixed(name, "a String", strings, notes);
        if self.times > 0 {
            notes.push(format!(
                "\"{name}\" looks like a time in {} of {strings} rows only: defined as a String",
                self.times
            ));
        }
        Some(ScalarType::String)
    }

    fn note_mixed(&self, name: &str, what: &str, taken: u64, notes: &mut Vec<String>) {
        let others = self.numbers() + self.strings() + self.booleans + self.lists - taken;
        if others > 0 {
            notes.push(format!("\"{name}\" is {what} in {}, and of another type in {}, which are refused; bring it to one type with a map", rows(taken), rows(others)));
        }
    }

    fn list_fields(&self, list: &str, notes: &mut Vec<String>) -> Vec<Field> {
        let mut fields: Vec<Field> = Vec::new();
        for (key, seen) in &self.fields {
            let name = format!("{list}.{key}");
            let usable = check_name(key, NameRule::Strict).is_ok()
                && !fields.iter().any(|other| other.name.eq_ignore_ascii_case(key))
                && fields.len() < LIST_FIELDS;
            match seen.kind(&name, notes) {
                Some(PropertyType::Scalar(kind)) if usable => fields.push(Field { name: key.clone(), kind }),
                Some(PropertyType::Scalar(_)) => notes.push(format!(
                    "\"{name}\" is no name for a field, differs from another by case only, or is one of more than {LIST_FIELDS}: lists with it are refused; rename it with a map"
                )),
                Some(PropertyType::List(_)) => {
                    notes.push(format!("\"{name}\" is a list inside a list: lists with it are refused; map it to a String"));
                }
                None => {}
            }
        }
        fields
    }

    /// Notes how many values a property that is there already does not take.
    pub(super) fn compare(&self, property: &Property, notes: &mut Vec<String>) {
        if !property.rules.is_empty() {
            return;
        }
        let all = self.booleans + self.numbers() + self.strings() + self.lists + self.objects + self.others;
        let taken = match property.kind {
            PropertyType::Scalar(ScalarType::Boolean) => self.booleans,
            PropertyType::Scalar(ScalarType::Numeric) => self.integers,
            PropertyType::Scalar(ScalarType::Decimal) => self.numbers() - self.inexact,
            PropertyType::Scalar(ScalarType::DateTime) => self.times,
            PropertyType::Scalar(ScalarType::String) => self.strings(),
            PropertyType::List(_) => self.lists,
        };
        if taken < all {
            let (name, kind) = (&property.name, property.kind.name());
            notes.push(format!(
                "\"{name}\" is defined as {kind} and something else in {}: they are refused",
                rows(all - taken)
            ));
        }
    }

    fn numbers(&self) -> u64 {
        self.integers + self.fractions
    }

    fn strings(&self) -> u64 {
        self.times + self.texts
    }
}

/// A time that says where it was; a date alone could be anything.
fn has_offset(text: &str) -> bool {
    text.len() > "2024-02-29".len() && parse_instant(text, None).is_ok()
}

fn rows(count: u64) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{count} rows") }
}
