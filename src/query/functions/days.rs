//! `local_day`, `day_start` and `time_bucket`: days and buckets of a zone in SQL, over [`crate::time::zones`].

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::AsArray;
use arrow::array::Date32Array;
use arrow::array::TimestampMicrosecondArray;
use arrow::datatypes::DataType;
use arrow::datatypes::Date32Type;
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::DataFusionError;
use datafusion::common::Result;
use datafusion::common::ScalarValue;
use datafusion::common::plan_err;
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::DocSection;
use datafusion::logical_expr::Documentation;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::ScalarFunctionArgs;
use datafusion::logical_expr::ScalarUDFImpl;
use datafusion::logical_expr::Signature;
use datafusion::logical_expr::Volatility;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use hashbrown::HashMap;

use crate::error::Error;
use crate::query::layout::time_type;
use crate::time::Day;
use crate::time::MICROS_PER_DAY;
use crate::time::Micros;
use crate::time::Zone;
use crate::time::parse_zone;
use crate::time::zones;
use crate::time::zones::Width;

/// A quarter of an hour, the finest step in which most buckets start.
const SLOT: i64 = 900_000_000;

/// Which of the functions it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    LocalDay,
    DayStart,
    TimeBucket,
}

/// One of the functions of days and zones.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ZoneFunction {
    kind: Kind,
    signature: Signature,
    documentation: Documentation,
}

impl ZoneFunction {
    pub(crate) fn new(kind: Kind) -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { kind, signature, documentation: documentation(kind) }
    }
}

fn documentation(kind: Kind) -> Documentation {
    let zone = "The name of a time zone, such as 'Europe/Zagreb'; a constant.";
    let section = DocSection { include: true, label: "Days and zones", description: None };
    match kind {
        Kind::LocalDay => Documentation::builder(
            section,
            "The day that a calendar in the zone shows at a moment. A condition on it opens only the files of that day.",
            "local_day(time, zone)",
        )
        .with_argument("time", "A moment.")
        .with_argument("zone", zone)
        .with_sql_example(
            "SELECT local_day(occurredTime, 'Europe/Zagreb') AS d, COUNT(*) FROM pageView GROUP BY d ORDER BY d",
        ),
        Kind::DayStart => Documentation::builder(
            section,
            "The first moment of a day in the zone: its midnight or, where clocks skip midnight, the moment after.",
            "day_start(date, zone)",
        )
        .with_argument("date", "A date.")
        .with_argument("zone", zone)
        .with_sql_example("SELECT day_start(DATE '2025-04-25', 'Africa/Cairo')"),
        Kind::TimeBucket => Documentation::builder(
            section,
            "The start of the bucket that a moment falls into, on the clock of the zone: weeks start on Monday, a day \
             may have 23 or 25 hours, and an hour that the clock shows twice is two buckets.",
            "time_bucket(width, time, zone)",
        )
        .with_argument(
            "width",
            "'15 minutes', 'hour', '6 hours', 'day', 'week', 'month', 'quarter' or 'year'; a constant.",
        )
        .with_argument("time", "A moment.")
        .with_argument("zone", zone)
        .with_sql_example("SELECT time_bucket('1 hour', occurredTime, 'Europe/Berlin') AS h, COUNT(*) FROM events GROUP BY h"),
    }
    .build()
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// A text argument that must be the same for every row.
fn constant<'a>(argument: &'a ColumnarValue, what: &str) -> Result<&'a str> {
    match argument {
        ColumnarValue::Scalar(value) if value.try_as_str().flatten().is_some() => {
            Ok(value.try_as_str().flatten().unwrap_or_default())
        }
        _ => Err(external(Error::invalid(format!("the {what} must be a constant text")))),
    }
}

fn zone_of(argument: &ColumnarValue) -> Result<Zone> {
    parse_zone(constant(argument, "zone")?).map_err(external)
}

impl ScalarUDFImpl for ZoneFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::LocalDay => "local_day",
            Kind::DayStart => "day_start",
            Kind::TimeBucket => "time_bucket",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let wanted = match self.kind {
            Kind::LocalDay => vec![time_type(), DataType::Utf8View],
            Kind::DayStart => vec![DataType::Date32, DataType::Utf8View],
            Kind::TimeBucket => vec![DataType::Utf8View, time_type(), DataType::Utf8View],
        };
        if given.len() != wanted.len() {
            return plan_err!("{} is written {}", self.name(), self.documentation.syntax_example);
        }
        let fits = |given: &DataType, wanted: &DataType| match wanted {
            DataType::Utf8View => given.is_string() || given.is_null(),
            _ => given.is_temporal() || given.is_string() || given.is_null(),
        };
        if !given.iter().zip(&wanted).all(|(given, wanted)| fits(given, wanted)) {
            return plan_err!("{} is written {}", self.name(), self.documentation.syntax_example);
        }
        Ok(wanted)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(if self.kind == Kind::LocalDay { DataType::Date32 } else { time_type() })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_constant = args.args.iter().all(|one| matches!(one, ColumnarValue::Scalar(_)));
        let array: ArrayRef = match (self.kind, args.args.as_slice()) {
            (Kind::LocalDay, [time, zone]) => {
                let days = DaysOf { zone: zone_of(zone)?, known: HashMap::new() };
                local_days(&time.to_array(args.number_rows)?, days)
            }
            (Kind::DayStart, [date, zone]) => {
                let zone = zone_of(zone)?;
                let dates = date.to_array(args.number_rows)?;
                let starts = dates.as_primitive::<Date32Type>().iter();
                let starts = starts.map(|day| zones::day_start(Day(day?), zone).map(|at| at.0));
                Arc::new(starts.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            (Kind::TimeBucket, [width, time, zone]) => {
                let width = Width::parse(constant(width, "width")?).map_err(external)?;
                let times = time.to_array(args.number_rows)?;
                buckets(&times, width, zone_of(zone)?)
            }
            _ => return plan_err!("{} is written {}", self.name(), self.documentation.syntax_example),
        };
        if all_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?));
        }
        Ok(ColumnarValue::Array(array))
    }

    /// A day is a range of moments, so that a condition on the day of a time becomes one on the time, which prunes.
    fn preimage(&self, args: &[Expr], day: &Expr, _info: &SimplifyContext) -> Result<PreimageResult> {
        let (
            Kind::LocalDay,
            [time, Expr::Literal(zone, _)],
            Expr::Literal(ScalarValue::Date32(Some(day)), _),
        ) = (self.kind, args, day)
        else {
            return Ok(PreimageResult::None);
        };
        let Some(zone) = zone.try_as_str().flatten().and_then(|name| parse_zone(name).ok()) else {
            return Ok(PreimageResult::None);
        };
        let (day, next) = (Day(*day), Day(day.saturating_add(1)));
        let bounds = (zones::day_start(day, zone), zones::day_start(next, zone));
        let (Some(start), Some(end)) = bounds else { return Ok(PreimageResult::None) };
        if !zones::is_one_stretch(day, zone) || start >= end {
            return Ok(PreimageResult::None);
        }
        let scalar = |at: Micros| ScalarValue::TimestampMicrosecond(Some(at.0), Some("UTC".into()));
        let interval = Box::new(Interval::try_new(scalar(start), scalar(end))?);
        Ok(PreimageResult::Range { expr: time.clone(), interval })
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// The days of a zone, with the offset of each UTC day that has only one remembered.
struct DaysOf {
    zone: Zone,
    known: HashMap<i64, Option<i64>>,
}

impl DaysOf {
    fn day(&mut self, moment: Micros) -> Option<i32> {
        let utc_day = moment.0.div_euclid(MICROS_PER_DAY);
        let zone = self.zone;
        let offset = *self.known.entry(utc_day).or_insert_with(|| {
            let start = Micros(utc_day * MICROS_PER_DAY);
            let first = zones::offset_at(start, zone)?;
            let last = zones::offset_at(Micros(start.0 + MICROS_PER_DAY - 1), zone)?;
            (first == last).then_some(i64::from(first) * 1_000_000)
        });
        match offset {
            Some(offset) => i32::try_from((moment.0 + offset).div_euclid(MICROS_PER_DAY)).ok(),
            None => zones::local_day(moment, zone).map(|day| day.0),
        }
    }
}

fn local_days(times: &ArrayRef, mut days: DaysOf) -> ArrayRef {
    let times = times.as_primitive::<TimestampMicrosecondType>().iter();
    Arc::new(times.map(|at| days.day(Micros(at?))).collect::<Date32Array>())
}

fn buckets(times: &ArrayRef, width: Width, zone: Zone) -> ArrayRef {
    // Buckets follow each other, so where the first and the last moment of a slot are in one, all between are.
    let mut known: HashMap<i64, Option<i64>> = HashMap::new();
    let start_of = |at: i64| zones::bucket_start(Micros(at), width, zone).map(|start| start.0);
    let starts = times.as_primitive::<TimestampMicrosecondType>().iter().map(|at| {
        let at = at?;
        let slot = at.div_euclid(SLOT);
        let whole = *known.entry(slot).or_insert_with(|| {
            let (first, last) = (start_of(slot * SLOT)?, start_of(slot * SLOT + SLOT - 1)?);
            (first == last).then_some(first)
        });
        whole.or_else(|| start_of(at))
    });
    Arc::new(starts.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}
