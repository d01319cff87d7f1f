//! `Ground`: what a question stands on: a session over one snapshot, the time it is asked at, and the zone of its days.

use crate::error::Error;
use crate::error::Result;
use crate::query::Session;
use crate::quote::literal;
use crate::quote::quoted;
use crate::time::Micros;
use crate::time::Zone;
use crate::time::parse_instant;
use crate::time::parse_zone;

/// What every question needs besides itself.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    pub session: &'a Session,
    pub now: Micros,
    /// The zone of days where the question names none.
    pub zone: Zone,
}

/// The time and the persons that a question is limited to, understood.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) zone: Zone,
    pub(crate) from: Option<Micros>,
    pub(crate) to: Option<Micros>,
    /// The moment as of which the question is asked, and whether events from then on are left out.
    pub(crate) as_of: Micros,
    pub(crate) until: Option<Micros>,
    segment: Option<String>,
}

/// The words of a request that make a [`Scope`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ScopeWords<'a> {
    pub(crate) from: Option<&'a str>,
    pub(crate) to: Option<&'a str>,
    pub(crate) as_of: Option<&'a str>,
    pub(crate) zone: Option<&'a str>,
    pub(crate) segment: Option<&'a str>,
}

impl Ground<'_> {
    pub(crate) fn scope(&self, words: ScopeWords<'_>) -> Result<Scope> {
        let zone = words.zone.map_or(Ok(self.zone), parse_zone)?;
        let at = |name: &str, text: Option<&str>| text.map(|text| moment(name, text, zone)).transpose();
        let (from, to) = (at("FROM", words.from)?, at("TO", words.to)?);
        if let (Some(from), Some(to)) = (from, to)
            && to <= from
        {
            return Err(Error::invalid(format!(
                "the range is empty: it ends at {to}, not after its start at {from}"
            )));
        }
        let until = at("AS OF", words.as_of)?;
        Ok(Scope {
            zone,
            from,
            to,
            as_of: until.unwrap_or(self.now),
            until,
            segment: words.segment.map(str::to_owned),
        })
    }
}

impl Scope {
    /// The end of the range that starts are counted in.
    pub(crate) fn end(&self) -> Option<Micros> {
        match (self.to, self.until) {
            (Some(to), Some(until)) => Some(to.min(until)),
            (to, until) => to.or(until),
        }
    }

    /// The condition that limits rows to the persons asked about.
    pub(crate) fn persons(&self) -> Option<String> {
        let name = self.segment.as_ref()?;
        Some(format!("\"personId\" IN (SELECT \"personId\" FROM segments.{})", quoted(name)))
    }
}

/// A moment that a person wrote: a date alone is its midnight in the zone.
pub(crate) fn moment(name: &str, text: &str, zone: Zone) -> Result<Micros> {
    parse_instant(text, Some(zone))
        .map_err(|fault| Error::invalid(format!("{name} is no time: \"{text}\" is {fault}")))
}

/// A moment as SQL writes it.
pub(crate) fn timestamp(at: Micros) -> String {
    format!("TIMESTAMP {}", literal(&at.to_string()))
}

/// The condition that a time lies from one moment up to, and without, another.
pub(crate) fn between(from: Option<Micros>, to: Option<Micros>) -> Option<String> {
    let parts = [
        from.map(|at| format!("\"occurredTime\" >= {}", timestamp(at))),
        to.map(|at| format!("\"occurredTime\" < {}", timestamp(at))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" AND "))
}
