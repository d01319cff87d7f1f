//! One row of JSON read in one pass: which definition, who, when, and the properties, as checked values.
//!
//! The keys may come in any order. Properties stand in `properties`, or flat beside the other keys as in export
//! files; never both. When a property comes before `definitionId`, the rest of the row is looked through for it once.
//! A row that spells its time `occuredTime` comes from an export, where `identifier`, `occurredTime` and `properties`
//! are left to properties of these names: they are read as such if the definition has them.

use std::borrow::Cow;

use hashbrown::HashMap;

use crate::error::did_you_mean;
use crate::ids::EVENT_ID_CHARS;
use crate::ids::PersonId;
use crate::ids::is_event_id;
use crate::ingest::column::Slot;
use crate::ingest::json::Kind;
use crate::ingest::json::Scanner;
use crate::ingest::keys::bad_id;
use crate::ingest::keys::fits;
use crate::ingest::keys::identifier_rule;
use crate::ingest::keys::optional_text;
use crate::ingest::keys::required_text;
use crate::ingest::keys::wrong;
use crate::ingest::plan::Plan;
use crate::ingest::report::Code;
use crate::ingest::report::Refusal;
use crate::ingest::validate::Values;
use crate::ingest::validate::broken;
use crate::ingest::validate::shorten;
use crate::ingest::validate::shown;
use crate::ingest::validate::time_code;
use crate::ingest::validate::twice;
use crate::ingest::who::GivenIdentifier;
use crate::ingest::who::Who;
use crate::ingest::who::identifier;
use crate::ingest::who::person_id;
use crate::time::Micros;
use crate::time::from_epoch_millis;
use crate::time::parse_instant;

type Checked<T> = Result<T, Box<Refusal>>;

/// What a row says beside its properties.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// The place of the definition among the plans.
    pub plan: usize,
    pub who: Who<'a>,
    pub occurred: Micros,
    pub event_id: Option<Cow<'a, str>>,
    pub session_id: Option<Cow<'a, str>>,
}

/// Where the properties of a row stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Open,
    Nested,
    Flat,
}

/// What has been read of a row so far.
#[derive(Debug, Default)]
struct Parts<'a> {
    definition: Option<Cow<'a, str>>,
    event_id: Option<Cow<'a, str>>,
    session_id: Option<Cow<'a, str>>,
    occurred: Option<Micros>,
    person_id: Option<PersonId>,
    external_id: Option<Cow<'a, str>>,
    identifier: Option<GivenIdentifier<'a>>,
    /// One bit for each key of a row.
    seen: u16,
    /// The time is spelled as only exports spell it.
    exported: bool,
}

/// The ids that rows may name.
#[derive(Debug)]
pub(crate) struct Names {
    /// With the place of each among the plans.
    pub definitions: HashMap<String, usize>,
    pub templates: Vec<String>,
}

impl Names {
    #[cold]
    fn unknown(&self, id: &str) -> Box<Refusal> {
        let (code, message) = if self.templates.iter().any(|template| template == id) {
            let message = format!(
                "\"{id}\" is a template and takes no events; CREATE EVENT FROM TEMPLATE {id} makes a definition of it"
            );
            (Code::TemplateDefinition, message)
        } else {
            let known = self.definitions.keys().chain(&self.templates);
            let hint = did_you_mean(id, known.map(String::as_str));
            (Code::UnknownDefinition, format!("no event is defined as \"{}\"{hint}", shorten(id)))
        };
        let mut refusal = Refusal::new(code, message).about("definitionId");
        refusal.found = Some(shorten(id));
        refusal
    }
}

/// Reads rows; keeps the buffers that one row after the other uses.
#[derive(Debug)]
pub(crate) struct RowReader<'p, 'a> {
    plans: &'p [Plan],
    names: &'p Names,
    values: Values,
    lenient: bool,
    /// The definition of the row before this one, which is often this one's too.
    last_plan: usize,
    /// For each plan: after which property comes which. Element 0 is for the first of a row.
    follow: Vec<Vec<usize>>,
    /// For each plan and property: the number of the row that gave it last.
    given: Vec<Vec<u64>>,
    count: u64,
    /// The values of the row's properties, in the order of the definition.
    pub slots: Vec<Slot<'a>>,
    /// The fields of the objects in the row's list.
    pub items: Vec<Slot<'a>>,
}

impl<'p, 'a> RowReader<'p, 'a> {
    pub(crate) fn new(plans: &'p [Plan], names: &'p Names, values: Values, lenient: bool) -> Self {
        Self {
            plans,
            names,
            values,
            lenient,
            last_plan: 0,
            follow: vec![Vec::new(); plans.len()],
            given: vec![Vec::new(); plans.len()],
            count: 0,
            slots: Vec::new(),
            items: Vec::new(),
        }
    }

    /// Reads one row; afterwards `slots` and `items` hold its properties, one slot for each of the definition.
    pub(crate) fn read(&mut self, text: &'a str) -> Checked<Row<'a>> {
        self.count += 1;
        self.slots.clear();
        self.items.clear();
        let mut plan = None;
        self.parts(text, &mut plan).map_err(|mut refusal| {
            refusal.definition = plan.map(|plan: usize| self.plans[plan].definition.id.to_string());
            refusal
        })
    }

    fn parts(&mut self, text: &'a str, plan: &mut Option<usize>) -> Checked<Row<'a>> {
        let mut scanner = Scanner::new(text, self.lenient);
        if scanner.kind().map_err(broken)? != Kind::Object {
            let found = shown(&mut scanner)?;
            let message = format!("a row must be a JSON object, found {found}");
            return Err(Refusal::new(Code::InvalidJson, message).because("a JSON object", &found));
        }
        scanner.object().map_err(broken)?;
        let (mut first, mut form, mut last) = (true, Form::Open, 0);
        let mut parts = Parts::default();
        while let Some(key) = scanner.key(&mut first).map_err(broken)? {
            let own = form != Form::Nested && parts.exported && self.is_property(*plan, &key);
            match &*key {
                "definitionId" => {
                    parts.once(0, &key)?;
                    let id = required_text(&mut scanner, &key)?;
                    if plan.is_none() {
                        *plan = Some(self.find_plan(&id)?);
                    }
                    parts.definition = Some(id);
                }
                "eventId" => {
                    parts.once(1, &key)?;
                    parts.event_id = optional_text(&mut scanner, &key)?;
                }
                "sessionId" => {
                    parts.once(2, &key)?;
                    parts.session_id = optional_text(&mut scanner, &key)?;
                }
                "personId" => {
                    parts.once(3, &key)?;
                    parts.person_id = person_id(&mut scanner, &key)?;
                }
                "externalPersonId" => {
                    parts.once(4, &key)?;
                    parts.external_id = optional_text(&mut scanner, &key)?;
                }
                "identifier" if !own => {
                    parts.once(5, &key)?;
                    parts.identifier = identifier(&mut scanner)?;
                }
                "occurredTime" | "occuredTime" if !own => {
                    parts.once(6, &key)?;
                    parts.exported |= key == "occuredTime";
                    parts.occurred = Some(self.occurred(&mut scanner, &key)?);
                }
                "properties" if !own => {
                    parts.once(7, &key)?;
                    if form == Form::Flat {
                        return Err(mixed(&key));
                    }
                    form = Form::Nested;
                    let at = self.plan_of(*plan, &scanner)?;
                    *plan = Some(at);
                    self.nested(&mut scanner, at)?;
                }
                _ => {
                    if form == Form::Nested {
                        return Err(mixed(&key));
                    }
                    let at = self.plan_of(*plan, &scanner)?;
                    if form == Form::Open {
                        self.begin(at);
                    }
                    *plan = Some(at);
                    form = Form::Flat;
                    last = self.property(&mut scanner, at, &key, last, true)?;
                }
            }
        }
        scanner.end().map_err(broken)?;
        let Some(at) = *plan else { return Err(missing("definitionId")) };
        if form == Form::Open {
            self.begin(at);
        }
        self.complete(at)?;
        parts.finish(at)
    }

    /// Empties the slots for a row of a definition.
    fn begin(&mut self, plan: usize) {
        let properties = self.plans[plan].properties.len();
        self.slots.resize_with(properties, Slot::default);
        if self.follow[plan].is_empty() {
            self.follow[plan] = (0..=properties).collect();
            self.given[plan] = vec![0; properties];
        }
    }

    /// Whether a key that exports leave to properties names one here. They write `occuredTime` before all properties.
    fn is_property(&self, plan: Option<usize>, key: &str) -> bool {
        matches!(key, "identifier" | "occurredTime" | "properties")
            && plan.is_some_and(|plan| self.plans[plan].find_nested(key).is_some())
    }

    fn find_plan(&mut self, id: &str) -> Checked<usize> {
        let guess = self.plans.get(self.last_plan).is_some_and(|plan| plan.definition.id.as_str() == id);
        if !guess {
            let Some(&at) = self.names.definitions.get(id) else { return Err(self.names.unknown(id)) };
            self.last_plan = at;
        }
        self.plans[self.last_plan].takes_events()?;
        Ok(self.last_plan)
    }

    /// The plan that is known already, or that the rest of the row names.
    fn plan_of(&mut self, known: Option<usize>, scanner: &Scanner<'a>) -> Checked<usize> {
        match known {
            Some(plan) => Ok(plan),
            None => self.look_ahead(*scanner),
        }
    }

    #[cold]
    fn look_ahead(&mut self, mut ahead: Scanner<'a>) -> Checked<usize> {
        let mut first = false;
        ahead.skip().map_err(broken)?;
        while let Some(key) = ahead.key(&mut first).map_err(broken)? {
            if key == "definitionId" {
                let id = required_text(&mut ahead, &key)?;
                return self.find_plan(&id);
            }
            ahead.skip().map_err(broken)?;
        }
        Err(missing("definitionId"))
    }

    fn nested(&mut self, scanner: &mut Scanner<'a>, plan: usize) -> Checked<()> {
        self.begin(plan);
        match scanner.kind().map_err(broken)? {
            Kind::Null => return scanner.null().map_err(broken),
            Kind::Object => scanner.object().map_err(broken)?,
            _ => return Err(wrong(scanner, "properties", "an object or null")?),
        }
        let (mut first, mut last) = (true, 0);
        while let Some(key) = scanner.key(&mut first).map_err(broken)? {
            last = self.property(scanner, plan, &key, last, false)?;
        }
        Ok(())
    }

    /// Reads the value of a property; gives where to look up what follows it.
    #[inline]
    fn property(
        &mut self,
        scanner: &mut Scanner<'a>,
        at: usize,
        key: &str,
        last: usize,
        flat: bool,
    ) -> Checked<usize> {
        let plan = &self.plans[at];
        let guess = self.follow[at][last];
        let place = if plan.properties.get(guess).is_some_and(|property| property.name == key) {
            guess
        } else {
            // Flat, the keys of a row come here only when they name a property.
            let found = if flat { plan.find_flat(key) } else { None };
            let found = found.or_else(|| plan.find_nested(key));
            let Some(found) = found else { return Err(plan.unknown(key)) };
            self.follow[at][last] = found;
            found
        };
        if std::mem::replace(&mut self.given[at][place], self.count) == self.count {
            return Err(twice(key));
        }
        self.slots[place] = self.values.property(scanner, plan, &plan.properties[place], &mut self.items)?;
        Ok(place + 1)
    }

    /// Fills in defaults and looks for what must be there.
    #[inline]
    fn complete(&mut self, at: usize) -> Checked<()> {
        let plan = &self.plans[at];
        for default in &plan.defaults {
            let when = matches!(&self.slots[default.when.0], Slot::Text(text) if **text == *default.when.1);
            let given = default.unless.iter().any(|place| !self.slots[*place].is_null());
            if when && !given && self.slots[default.property].is_null() {
                self.slots[default.property] = Slot::Text(Cow::Owned(default.value.clone()));
            }
        }
        match plan.required.iter().find(|place| self.slots[**place].is_null()) {
            None => Ok(()),
            Some(place) => {
                let property = &plan.properties[*place];
                let message = format!("\"{}\" needs the property \"{}\"", plan.definition.id, property.name);
                let mut refusal = Refusal::new(Code::MissingProperty, message).about(&property.name);
                refusal.expected = Some(property.kind.name().to_owned());
                Err(refusal)
            }
        }
    }

    fn occurred(&self, scanner: &mut Scanner<'a>, key: &str) -> Checked<Micros> {
        const EXPECTED: &str = "an ISO 8601 time in a string, or milliseconds since 1970";
        let (moment, found) = match scanner.kind().map_err(broken)? {
            Kind::Text => {
                let text = scanner.text().map_err(broken)?;
                match parse_instant(&text, self.values.zone) {
                    Ok(moment) => return Ok(moment),
                    Err(fault) => (fault, format!("the string \"{}\"", shorten(&text))),
                }
            }
            Kind::Number => {
                let number = scanner.number().map_err(broken)?;
                let found = format!("the number {}", shorten(number.text));
                let Some(millis) = number.to_i64() else {
                    let message = format!("\"{key}\" must be {EXPECTED}, found {found}");
                    return Err(Refusal::new(Code::InvalidTime, message)
                        .about(key)
                        .because(EXPECTED, &found));
                };
                match from_epoch_millis(millis) {
                    Ok(moment) => return Ok(moment),
                    Err(fault) => (fault, found),
                }
            }
            _ => return Err(wrong(scanner, key, EXPECTED)?),
        };
        let message = format!("\"{key}\" must be {EXPECTED}, found {found}: {moment}");
        Err(Refusal::new(time_code(moment), message).about(key).because(EXPECTED, &found))
    }
}

impl<'a> Parts<'a> {
    #[inline]
    fn once(&mut self, bit: u32, key: &str) -> Checked<()> {
        let mask = 1 << bit;
        if self.seen & mask != 0 {
            let refusal = twice(key);
            return Err(if bit == 6 { both_spellings(refusal) } else { refusal });
        }
        self.seen |= mask;
        Ok(())
    }

    fn finish(self, plan: usize) -> Checked<Row<'a>> {
        if self.definition.is_none() {
            return Err(missing("definitionId"));
        }
        let Some(occurred) = self.occurred else { return Err(missing("occurredTime")) };
        if let Some(id) = self.event_id.as_deref().filter(|id| !is_event_id(id)) {
            let expected = format!("1 to {EVENT_ID_CHARS} of A-Z, a-z, 0-9, _ and -");
            return Err(bad_id(Code::InvalidEventId, "eventId", &expected, id));
        }
        if let Some(id) = self.session_id.as_deref().filter(|id| !fits(id)) {
            return Err(bad_id(Code::InvalidSessionId, "sessionId", &identifier_rule(), id));
        }
        let who = Who::of(self.person_id, self.external_id, self.identifier)?;
        Ok(Row { plan, who, occurred, event_id: self.event_id, session_id: self.session_id })
    }
}

#[cold]
fn both_spellings(mut refusal: Box<Refusal>) -> Box<Refusal> {
    "\"occurredTime\" is given twice; it may be spelled \"occuredTime\", but only once"
        .clone_into(&mut refusal.message);
    refusal
}

#[cold]
fn missing(key: &str) -> Box<Refusal> {
    Refusal::new(Code::MissingField, format!("a row needs \"{key}\"")).about(key)
}

#[cold]
fn mixed(key: &str) -> Box<Refusal> {
    let message = format!(
        "\"{key}\" is unknown here: properties stand in \"properties\" or beside it, never in both places"
    );
    Refusal::new(Code::UnknownKey, message).about(key)
}
