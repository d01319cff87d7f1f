//! `Clock`: times of rows that come in order, many of them in the same second, as text.

use crate::time::Micros;

const MICROS_PER_SECOND: i64 = 1_000_000;
/// What stands behind the second: milliseconds, and the zone.
const TAIL: &str = "000+0000";

/// The second that it showed last.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    second: Option<i64>,
    /// Up to the point before the milliseconds.
    text: Vec<u8>,
}

impl Clock {
    /// Appends what [`Micros::export_form`] gives.
    pub(crate) fn write(&mut self, time: Micros, out: &mut Vec<u8>) {
        let second = time.0.div_euclid(MICROS_PER_SECOND);
        if self.second != Some(second) {
            let form = time.export_form();
            self.text.clear();
            self.text.extend_from_slice(&form.as_bytes()[..form.as_bytes().len() - TAIL.len()]);
            self.second = Some(second);
        }
        out.extend_from_slice(&self.text);
        let millis = time.0.rem_euclid(MICROS_PER_SECOND) / 1_000;
        let digit = |of: i64| b'0' + u8::try_from(of % 10).unwrap_or(0);
        out.extend([digit(millis / 100), digit(millis / 10), digit(millis)]);
        out.extend_from_slice(&TAIL.as_bytes()[3..]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_shows_what_the_calendar_does(
            times in prop::collection::vec(prop_oneof![-2_000_000_i64..4_000_000, -60_000_000_000_000_000_i64..200_000_000_000_000_000], 1..20),
        ) {
            let mut clock = Clock::default();
            for time in times.into_iter().map(Micros) {
                let mut out = b"> ".to_vec();
                clock.write(time, &mut out);
                prop_assert_eq!(String::from_utf8(out).unwrap(), format!("> {}", time.export_form()));
            }
        }
    }
}
