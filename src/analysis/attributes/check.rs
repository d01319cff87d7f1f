//! Which computed attributes are allowed: names, properties that fit their function, periods, conditions that stand still.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::ast::visit_expressions;
use datafusion::sql::sqlparser::dialect::DuckDbDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::analysis::attributes::AggregatePeriod;
use crate::analysis::attributes::AggregateRequest;
use crate::analysis::attributes::Computation;
use crate::analysis::attributes::ComputedAttribute;
use crate::analysis::attributes::Function;
use crate::analysis::attributes::ScoreRule;
use crate::analysis::attributes::formula;
use crate::analysis::attributes::kept::select;
use crate::analysis::attributes::names_in;
use crate::analysis::attributes::score;
use crate::analysis::attributes::stretch::Stretch;
use crate::analysis::events::Events;
use crate::analysis::events::in_condition;
use crate::analysis::ground::Ground;
use crate::error::Error;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::query::ComputedKind;
use crate::schema::Definition;
use crate::schema::EXTERNAL_PERSON_ID;
use crate::schema::OCCURRED_TIME;
use crate::schema::PERSON_ID;
use crate::schema::PropertyType;
use crate::schema::Registry;
use crate::value::ScalarType;

/// The most characters of a name; those of a custom attribute have as many.
const NAME_CHARS: usize = 256;
const DESCRIPTION_CHARS: usize = 2_000;
/// The days that may be looked back on.
const DAYS: [u32; 5] = [7, 14, 30, 60, 90];
/// The most points of a rule, up or down.
const MOST_POINTS: i32 = 1_000_000;
const MOST_RULES: usize = 100;

/// Functions whose answer changes while nothing else does.
const MOVING: [&str; 9] = [
    "now",
    "current_date",
    "current_time",
    "current_timestamp",
    "today",
    "random",
    "rand",
    "uuid",
    "localtimestamp",
];

/// # Errors
/// `Invalid` with the rule that the name breaks.
fn check_name(name: &str) -> Result<()> {
    if name.trim().is_empty() || name.chars().count() > NAME_CHARS || name.contains(['{', '}', '[', ']']) {
        return Err(Error::invalid(format!(
            "the name of a computed attribute has 1 to {NAME_CHARS} characters without {{}}[], found \"{name}\""
        )));
    }
    Ok(())
}

impl ComputedAttribute {
    /// What the values are; the events and the columns of `persons` are those of the ground's session.
    ///
    /// # Errors
    /// `Invalid` or `NotFound` with what is wrong about the definition.
    pub async fn check(&self, registry: &Registry, ground: &Ground) -> Result<ComputedKind> {
        check_name(&self.name)?;
        if self.description.chars().count() > DESCRIPTION_CHARS {
            return Err(Error::invalid(format!("a description has at most {DESCRIPTION_CHARS} characters")));
        }
        match &self.of {
            Computation::Aggregate(request) => request.check(registry, ground).await,
            Computation::Formula(text) => {
                formula::names(text)?;
                formula::kind(text, ground).await
            }
            Computation::Score(rules) => check_rules(rules, registry, ground).await,
        }
    }

    /// Whether it asks for an attribute of `persons`.
    pub fn uses(&self, name: &str) -> bool {
        match &self.of {
            Computation::Aggregate(_) => false,
            Computation::Formula(text) => names_in(text, name),
            Computation::Score(rules) => rules.iter().any(|rule| {
                let texts = score::parts(&rule.when).map(|(_, texts)| texts).unwrap_or_default();
                texts.iter().any(|text| names_in(text, name))
            }),
        }
    }
}

impl AggregateRequest {
    async fn check(&self, registry: &Registry, ground: &Ground) -> Result<ComputedKind> {
        let definition = definition(&self.event, registry)?;
        let kind = self.kind(definition)?;
        match &self.period {
            AggregatePeriod::LastDays(days) if !DAYS.contains(days) => {
                return Err(Error::invalid(format!(
                    "an aggregate looks back on the last 7, 14, 30, 60 or 90 days, not {days}; SINCE {days} DAYS BEFORE \
                     TODAY takes any number, and counts today"
                )));
            }
            AggregatePeriod::LastDays(_) | AggregatePeriod::Lifetime | AggregatePeriod::Last24Hours => {}
            AggregatePeriod::Since(date) if chrono::NaiveDate::parse_from_str(date, "%Y-%m-%d").is_err() => {
                return Err(Error::invalid(format!(
                    "SINCE is followed by a date such as '2026-06-01', found \"{date}\""
                )));
            }
            AggregatePeriod::Since(_) | AggregatePeriod::DaysBeforeToday(_) => {}
        }
        Stretch::of_period(&self.period, ground.now, ground.zone)?;
        check_filter(&self.events())?;
        let sql = select(&self.wanted())?;
        ground.plan(&sql).await.map_err(|error| in_condition(&self.event, error))?;
        Ok(kind)
    }

    /// What the values are, if the property suits the function.
    fn kind(&self, definition: &Definition) -> Result<ComputedKind> {
        let function = self.function.name();
        let Some(name) = &self.property else {
            return match self.function {
                Function::Count => Ok(ComputedKind::Integer),
                Function::Exists => Ok(ComputedKind::Boolean),
                _ => Err(Error::invalid(format!("{function} is of a property: {function}(property)"))),
            };
        };
        if matches!(self.function, Function::Count | Function::Exists) {
            return Err(Error::invalid(format!(
                "{function} is about events and takes no property; COUNT(DISTINCT {name}) counts its values"
            )));
        }
        let scalar = if name == OCCURRED_TIME {
            ScalarType::DateTime
        } else {
            match definition.property(name).map(|property| &property.kind) {
                Some(PropertyType::Scalar(kind)) => *kind,
                Some(PropertyType::List(_)) => {
                    return Err(Error::invalid(format!(
                        "{name} of {} is a List, of which nothing is computed",
                        definition.id
                    )));
                }
                None => {
                    let known = definition.properties.iter().map(|one| one.name.as_str());
                    let hint = did_you_mean(name, known.chain([OCCURRED_TIME]));
                    return Err(Error::not_found(format!(
                        "{} has no property \"{name}\"{hint}",
                        definition.id
                    )));
                }
            }
        };
        let fits = match self.function {
            Function::Sum | Function::Average => matches!(scalar, ScalarType::Numeric | ScalarType::Decimal),
            Function::Min | Function::Max => {
                matches!(scalar, ScalarType::Numeric | ScalarType::Decimal | ScalarType::DateTime)
            }
            _ => true,
        };
        if !fits {
            let of = match self.function {
                Function::Sum | Function::Average => "of a Numeric or Decimal property",
                _ => "of a Numeric, Decimal or DateTime property, or of occurredTime",
            };
            return Err(Error::invalid(format!(
                "{function} is {of}; {name} of {} is a {}",
                definition.id,
                scalar.name()
            )));
        }
        Ok(match (self.function, scalar) {
            (Function::Average, _) => ComputedKind::Decimal,
            (Function::CountDistinct, _) => ComputedKind::Integer,
            (Function::Sum, ScalarType::Numeric) => ComputedKind::IntegerSum,
            (_, ScalarType::Numeric) => ComputedKind::Integer,
            (_, ScalarType::Decimal) => ComputedKind::Decimal,
            (_, ScalarType::String) => ComputedKind::String,
            (_, ScalarType::Boolean) => ComputedKind::Boolean,
            (_, ScalarType::DateTime) => ComputedKind::DateTime,
        })
    }
}

impl Function {
    /// As SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "COUNT",
            Self::Exists => "EXISTS",
            Self::Sum => "SUM",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::Average => "AVG",
            Self::CountDistinct => "COUNT DISTINCT",
            Self::First => "FIRST",
            Self::Last => "LAST",
            Self::MostCommon => "MOST COMMON",
        }
    }
}

fn definition<'a>(event: &str, registry: &'a Registry) -> Result<&'a Definition> {
    registry.get(event).map(|found| found.as_ref())
}

async fn check_rules(rules: &[ScoreRule], registry: &Registry, ground: &Ground) -> Result<ComputedKind> {
    if rules.is_empty() || rules.len() > MOST_RULES {
        return Err(Error::invalid(format!("a score has 1 to {MOST_RULES} rules, found {}", rules.len())));
    }
    for rule in rules {
        if rule.points.abs() > MOST_POINTS || rule.points == 0 {
            return Err(Error::invalid(format!(
                "a rule gives up to {MOST_POINTS} points or takes as many, and not none; found {}",
                rule.points
            )));
        }
        let (dids, texts) = score::parts(&rule.when)?;
        for did in dids {
            definition(&did.events.event, registry)?;
            check_filter(&did.events)?;
            Stretch::of_window(&did.time, ground.now, ground.zone)?;
            let sql = select(&score::wanted(did))?;
            ground.plan(&sql).await.map_err(|error| in_condition(did.events.said(), error))?;
        }
        for text in texts {
            let said = |error| in_condition("persons", error);
            let spelled = crate::analysis::events::condition(text).map_err(said)?;
            let sql = format!("SELECT \"personId\" FROM persons WHERE {spelled}");
            ground.plan(&sql).await.map_err(said)?;
        }
    }
    Ok(ComputedKind::Integer)
}

/// The condition on the events is about their properties alone, and holds of an event for good.
fn check_filter(events: &Events) -> Result<()> {
    let Some(text) = events.condition()? else { return Ok(()) };
    let parsed =
        Parser::new(&DuckDbDialect {}).try_with_sql(&text).and_then(|mut parser| parser.parse_expr());
    let Ok(parsed) = parsed else { return Ok(()) };
    let fault = visit_expressions(&parsed, |one| match one {
        Expr::Identifier(name) if [PERSON_ID, EXTERNAL_PERSON_ID].contains(&name.value.as_str()) => {
            ControlFlow::Break(format!("{} is no property; who a person is may change", name.value))
        }
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
            ControlFlow::Break("it has no SELECT in it".to_owned())
        }
        Expr::Function(function) => {
            let name = function.name.to_string();
            if MOVING.iter().any(|moving| name.eq_ignore_ascii_case(moving)) {
                ControlFlow::Break(format!("{name}() changes with time; the period says which time counts"))
            } else {
                ControlFlow::Continue(())
            }
        }
        _ => ControlFlow::Continue(()),
    });
    match fault {
        ControlFlow::Break(why) => Err(Error::invalid(format!(
            "the condition \"{text}\" is on the properties of {}: {why}",
            events.said()
        ))),
        ControlFlow::Continue(()) => Ok(()),
    }
}
