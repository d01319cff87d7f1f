//! `Series`: one line of a chart: a measure of some events.

use serde::Deserialize;
use serde::Serialize;

use crate::analysis::events::Events;
use crate::analysis::events::condition;
use crate::error::Error;
use crate::error::Result;

/// One line of a chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// What the column is called; by default what it measures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default)]
    pub measure: Measure,
    /// The expression in SQL that is added up, averaged and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Of a percentile: from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<f64>,
    pub events: Events,
}

/// What is measured of the events of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    #[default]
    Count,
    /// Different persons.
    Persons,
    Sum,
    Avg,
    Min,
    Max,
    Percentile,
    /// Events a person, of the persons with any.
    CountPerPerson,
    /// The sum a person, of the persons with any event.
    SumPerPerson,
}

impl Series {
    /// The name of the column.
    pub(crate) fn heading(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let (said, value) = (self.events.said(), self.value.as_deref().unwrap_or_default());
        match self.measure {
            Measure::Count => said.to_owned(),
            Measure::Persons => format!("persons of {said}"),
            Measure::Sum => format!("sum({value}) of {said}"),
            Measure::Avg => format!("avg({value}) of {said}"),
            Measure::Min => format!("min({value}) of {said}"),
            Measure::Max => format!("max({value}) of {said}"),
            Measure::Percentile => {
                format!("p{}({value}) of {said}", (self.at.unwrap_or_default() * 1e6).round() / 1e4)
            }
            Measure::CountPerPerson => format!("{said} per person"),
            Measure::SumPerPerson => format!("sum({value}) of {said} per person"),
        }
    }

    /// The aggregate in SQL, as a decimal.
    pub(crate) fn aggregate(&self) -> Result<String> {
        let value = || match &self.value {
            Some(value) => condition(value),
            None => Err(Error::invalid(format!("the series {} needs a value to work on", self.heading()))),
        };
        let inner = match self.measure {
            Measure::Count => "COUNT(*)".to_owned(),
            Measure::Persons => "COUNT(DISTINCT \"personId\")".to_owned(),
            Measure::Sum => format!("SUM({})", value()?),
            Measure::Avg => format!("AVG({})", value()?),
            Measure::Min => format!("MIN({})", value()?),
            Measure::Max => format!("MAX({})", value()?),
            Measure::Percentile => {
                let at = self.at.filter(|at| (0.0..=1.0).contains(at));
                let at =
                    at.ok_or_else(|| Error::invalid("a percentile is a number from 0 to 1, such as 0.95"))?;
                format!("PERCENTILE_CONT({at:?}) WITHIN GROUP (ORDER BY {})", value()?)
            }
            Measure::CountPerPerson => {
                return Ok("CAST(COUNT(*) AS DOUBLE) / COUNT(DISTINCT \"personId\")".to_owned());
            }
            Measure::SumPerPerson => {
                return Ok(format!("CAST(SUM({}) AS DOUBLE) / COUNT(DISTINCT \"personId\")", value()?));
            }
        };
        Ok(format!("CAST({inner} AS DOUBLE)"))
    }

    /// Whether a bucket without events has the value 0, and not none.
    pub(crate) fn is_zero_without_events(&self) -> bool {
        matches!(self.measure, Measure::Count | Measure::Persons | Measure::Sum)
    }

    /// Whether all its values are whole numbers.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.measure, Measure::Count | Measure::Persons)
    }
}
