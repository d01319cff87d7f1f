//! The events that everything is measured on: a shop's visitors, the same ones in every run.
//!
//! Four of the eight kinds of `benches/compare/gen.py`, in its proportions: page views with six properties, mails
//! opened, purchases and session starts. One person for 50 events; a few persons and items get most of them.

use std::fmt::Write;
use std::sync::Arc;

use arrow::json::ReaderBuilder;
use milepost::ids::PersonId;
use milepost::person::Identifier;
use milepost::person::IdentifierType;
use milepost::person::Person;
use milepost::schema::Columns;
use milepost::schema::Definition;
use milepost::schema::EventBatch;
use milepost::time::Day;
use milepost::time::MICROS_PER_DAY;
use milepost::time::MICROS_PER_MILLI;
use milepost::time::Micros;

/// 2026-06-01, a Monday.
pub(crate) const FIRST_DAY: Day = Day(20_605);
const SEED: u64 = 42;
const EVENTS_PER_PERSON: u64 = 50;
const ITEMS: u64 = 5_000;
/// A person's events within this time are one session.
const SESSION_MICROS: i64 = 1_800_000_000;

/// Each kind with its share of a thousand events.
const KINDS: [(&str, u64); 4] =
    [(PAGE_VIEW, 841), ("emailOpened", 84), ("itemPurchased", 40), ("sessionStarted", 35)];
const PAGE_VIEW: &str = "pageView";
const PAGES: [&str; 8] = ["", "shoes", "search", "cart", "checkout", "sale", "account", "help"];
const DEVICES: [&str; 7] = ["mobile", "mobile", "mobile", "desktop", "desktop", "tablet", "unknown"];
const BROWSERS: [&str; 6] = ["Chrome", "Chrome", "Chrome", "Safari", "Firefox", "Edge"];
const LANGUAGES: [&str; 6] = ["en-US", "en-US", "de-DE", "hr-HR", "fr-FR", "es-ES"];
const SOURCES: [(&str, &str); 4] =
    [("direct", "none"), ("google", "cpc"), ("facebook", "social"), ("newsletter", "email")];

/// One event, before it is given a form.
#[derive(Debug)]
pub(crate) struct Event {
    definition: &'static str,
    /// From 0, in the order of time.
    number: u64,
    /// From 0.
    person: u64,
    session: Option<i64>,
    at: Micros,
    /// The properties as the inside of a JSON object.
    properties: String,
}

/// So many events, evenly spread over so many days from [`FIRST_DAY`], in the order of time.
pub(crate) fn events(count: u64, days: i64) -> Vec<Event> {
    let mut random = Random(SEED);
    let persons = person_count(count);
    let step = days * MICROS_PER_DAY / i64::try_from(count).unwrap();
    (0..count)
        .map(|number| {
            let at = FIRST_DAY.start().0 + i64::try_from(number).unwrap() * step;
            let (person, definition) = (random.skewed(persons), random.kind());
            let session = (definition != "emailOpened").then_some(at / SESSION_MICROS);
            let properties = properties(&mut random, definition);
            Event { definition, number, person, session, at: Micros(at), properties }
        })
        .collect()
}

/// One person with so many events of each of three kinds, one kind after the other, as JSON lines.
pub(crate) fn busy(times: usize) -> String {
    let mut made = events(40_000, 1);
    let mut chosen: Vec<Event> = Vec::new();
    for kind in ["pageView", "sessionStarted", "emailOpened"] {
        let (of_kind, others) = made.into_iter().partition(|one| one.definition == kind);
        let of_kind: Vec<Event> = of_kind;
        chosen.extend(of_kind.into_iter().take(times));
        made = others;
    }
    for (at, event) in (0..).zip(&mut chosen) {
        event.person = 1;
        event.at = Micros(FIRST_DAY.start().0 + at * MICROS_PER_MILLI);
    }
    lines(&chosen)
}

pub(crate) fn person_count(events: u64) -> u64 {
    (events / EVENTS_PER_PERSON).max(1)
}

fn external_id(person: u64) -> String {
    format!("crm-{person}")
}

/// The persons of so many events, as a store knows them.
pub(crate) fn persons(events: u64) -> Vec<(Person, Vec<Identifier>)> {
    (0..person_count(events))
        .map(|person| {
            let external = external_id(person);
            let identifier =
                Identifier { kind: IdentifierType::ExternalId, id: external.clone(), sender: String::new() };
            let created = FIRST_DAY.start();
            (Person { id: person_id(person), external_id: Some(external), created }, vec![identifier])
        })
        .collect()
}

fn person_id(person: u64) -> PersonId {
    PersonId(i64::try_from(person).unwrap() + 1)
}

/// The events as a sender writes them: JSON lines, properties beside the other fields.
pub(crate) fn lines<'a>(events: impl IntoIterator<Item = &'a Event>) -> String {
    let mut out = String::new();
    for event in events {
        write!(out, r#"{{"definitionId":"{}","eventId":"e{}""#, event.definition, event.number).unwrap();
        write!(out, r#","externalPersonId":"{}""#, external_id(event.person)).unwrap();
        event.write_session(&mut out);
        write!(out, r#","occurredTime":"{}""#, event.at.iso_millis().as_str()).unwrap();
        writeln!(out, ",{}}}", event.properties).unwrap();
    }
    out
}

/// The events as the check leaves them: columns, one batch for each of these definitions.
pub(crate) fn batches(events: &[Event], definitions: &[Arc<Definition>]) -> Vec<EventBatch> {
    definitions
        .iter()
        .map(|definition| {
            let mut rows = String::new();
            let mut count = 0;
            for event in events.iter().filter(|event| event.definition == definition.id.as_str()) {
                event.write_stored(&mut rows);
                count += 1;
            }
            let schema = Arc::clone(Columns::of(definition).file_schema());
            let mut reader =
                ReaderBuilder::new(schema).with_batch_size(count).build(rows.as_bytes()).unwrap();
            let rows = reader.next().unwrap().unwrap();
            assert!(reader.next().is_none(), "one batch holds all rows");
            EventBatch { definition: Arc::clone(definition), rows }
        })
        .collect()
}

/// The id of the event with this number, as [`lines`] and [`batches`] give it.
pub(crate) fn event_id(number: u64) -> String {
    format!("e{number}")
}

impl Event {
    fn write_session(&self, out: &mut String) {
        if let Some(session) = self.session {
            write!(out, r#","sessionId":"{}-{session}""#, self.person).unwrap();
        }
    }

    fn write_stored(&self, out: &mut String) {
        let (person, seq) = (person_id(self.person), self.number + 1);
        write!(out, r#"{{"personId":{person},"occurredTime":{},"seq":{seq}"#, self.at.0).unwrap();
        write!(out, r#","eventId":"{}","receivedTime":{}"#, event_id(self.number), self.at.0).unwrap();
        self.write_session(out);
        writeln!(out, ",{}}}", self.properties).unwrap();
    }
}

fn properties(random: &mut Random, definition: &str) -> String {
    match definition {
        PAGE_VIEW => {
            let page = match random.below(2) {
                0 => format!("item/{}", random.item()),
                _ => random.one_of(&PAGES).to_owned(),
            };
            let query = if random.below(10) < 7 { "" } else { "?utm_source=newsletter" };
            let title = if page.is_empty() { "home" } else { &page };
            let (device, browser) = (random.one_of(&DEVICES), random.one_of(&BROWSERS));
            let language = random.one_of(&LANGUAGES);
            format!(
                r#""url":"https://shop.example.com/{page}{query}","path":"/{page}","pageTitle":"{title} | Example Shop","deviceType":"{device}","browserName":"{browser}","browserLanguage":"{language}""#
            )
        }
        "emailOpened" => format!(r#""campaignName":"Communication name {}""#, random.below(120)),
        "itemPurchased" => {
            let item = random.item();
            let amount = 1 + random.skewed(9);
            let cents = 199 + item * 7_919 % 9_800;
            format!(
                r#""itemID":{item},"amount":{amount},"price":{},"profit":{}"#,
                decimal(cents),
                decimal(cents / 5)
            )
        }
        _ => {
            let ((source, medium), campaign) = (random.one_of(&SOURCES), random.below(40));
            let device = random.one_of(&DEVICES);
            format!(
                r#""sessionType":"Web","utm_source":"{source}","utm_medium":"{medium}","utm_campaign":"campaign-{campaign}","deviceType":"{device}""#
            )
        }
    }
}

fn decimal(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Below `end`, low numbers far more often than high ones.
    fn skewed(&mut self, end: u64) -> u64 {
        let within = self.below(end) + 1;
        self.below(within)
    }

    fn item(&mut self) -> u64 {
        self.skewed(ITEMS) + 1
    }

    fn kind(&mut self) -> &'static str {
        let mut left = self.below(KINDS.iter().map(|(_, share)| share).sum());
        for (kind, share) in KINDS {
            if left < share {
                return kind;
            }
            left -= share;
        }
        PAGE_VIEW
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        let index = self.below(values.len().try_into().unwrap());
        values[usize::try_from(index).unwrap()]
    }
}
