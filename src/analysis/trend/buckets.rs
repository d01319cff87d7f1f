//! The buckets of a chart: every one from the first to the last, none missing, none doubled, whatever the clocks do.

use crate::error::Error;
use crate::error::Result;
use crate::time::Micros;
use crate::time::Zone;
use crate::time::zones;
use crate::time::zones::Width;

/// A chart with more points is none.
const MOST: usize = 100_000;

/// The starts of all buckets that hold a moment of `from` up to, and without, `to`.
pub(crate) fn buckets(from: Micros, to: Micros, width: Width, zone: Zone) -> Result<Vec<Micros>> {
    let mut starts = Vec::new();
    let mut next = start_of(from, width, zone)?;
    while next < to {
        if starts.len() == MOST {
            return Err(Error::invalid(format!(
                "from {from} to {to} there are more than {MOST} buckets; take wider ones (PER …) or a shorter range"
            )));
        }
        starts.push(next);
        next = end_of(next, width, zone)?;
    }
    Ok(starts)
}

fn start_of(at: Micros, width: Width, zone: Zone) -> Result<Micros> {
    zones::bucket_start(at, width, zone)
        .ok_or_else(|| Error::invalid(format!("{at} is outside of the years that the calendar knows")))
}

/// The first moment after the bucket that starts at `start`.
pub(crate) fn end_of(start: Micros, width: Width, zone: Zone) -> Result<Micros> {
    const HOUR: i64 = 3_600_000_000;
    const DAY: i64 = 24 * HOUR;
    let (usual, longest) = match width {
        Width::Minutes(minutes) => (i64::from(minutes) * 60_000_000, 3 * HOUR),
        Width::Hours(hours) => (i64::from(hours) * HOUR, (i64::from(hours) + 25) * HOUR),
        Width::Day => (DAY, 3 * DAY),
        Width::Week => (7 * DAY, 9 * DAY),
        Width::Month => (31 * DAY, 33 * DAY),
        Width::Quarter => (92 * DAY, 94 * DAY),
        Width::Year => (365 * DAY, 368 * DAY),
    };
    let usual = Micros(start.0 + usual);
    if start_of(usual, width, zone)? == usual && start_of(Micros(usual.0 - 1), width, zone)? == start {
        return Ok(usual);
    }
    // Buckets follow each other: search for the moment at which this one is over.
    let (mut inside, mut after) = (start.0, start.0 + longest);
    while after - inside > 1 {
        let middle = inside + (after - inside) / 2;
        if start_of(Micros(middle), width, zone)? <= start { inside = middle } else { after = middle }
    }
    Ok(Micros(after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::parse_instant;
    use crate::time::parse_zone;

    fn at(text: &str) -> Micros {
        parse_instant(text, None).unwrap()
    }

    #[test]
    fn br27_a_day_of_25_hours_has_25_points_and_one_of_23_has_23() {
        let berlin = parse_zone("Europe/Berlin").unwrap();
        let hours =
            |from: &str, to: &str| buckets(at(from), at(to), Width::Minutes(60), berlin).unwrap().len();
        assert_eq!(hours("2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z"), 25);
        assert_eq!(hours("2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z"), 23);
    }

    #[test]
    fn br27_cairo_has_three_days_around_the_missing_midnight() {
        let cairo = parse_zone("Africa/Cairo").unwrap();
        let days =
            buckets(at("2025-04-23T22:00:00Z"), at("2025-04-26T21:00:00Z"), Width::Day, cairo).unwrap();
        assert_eq!(days, ["2025-04-23T22:00:00Z", "2025-04-24T22:00:00Z", "2025-04-25T21:00:00Z"].map(at));
    }

    #[test]
    fn a_range_with_too_many_buckets_is_refused() {
        let fault = buckets(Micros(0), at("2026-01-01T00:00:00Z"), Width::Minutes(1), Zone::UTC).unwrap_err();
        assert!(fault.to_string().contains("take wider ones"), "{fault}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn no_bucket_is_missing_and_none_doubled(
            second in 1_700_000_000i64..1_740_000_000, hours in 1i64..2_000, which in 0usize..6, zone in 0usize..4,
        ) {
            let zone = ["Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Africa/Cairo"][zone];
            let zone = parse_zone(zone).unwrap();
            let widths = [Width::Minutes(30), Width::Minutes(60), Width::Hours(6), Width::Day, Width::Week, Width::Month];
            let width = widths[which];
            let (from, to) = (Micros(second * 1_000_000), Micros((second + hours * 3_600) * 1_000_000));
            let found = buckets(from, to, width, zone).unwrap();
            let mut twin: Vec<Micros> = (from.0..to.0)
                .step_by(600_000_000)
                .map(|at| zones::bucket_start(Micros(at), width, zone).unwrap())
                .collect();
            twin.sort_unstable();
            twin.dedup();
            // The twin looks every ten minutes only, so it may miss what starts in the last ones.
            prop_assert!(found.starts_with(&twin) && found.len() <= twin.len() + 1);
            prop_assert!(found.is_sorted_by(|one, next| one < next));
        }
    }
}
