//! A number as it is written in JSON, and what it is exactly: nothing is rounded without saying so.

/// The text of a number, and its value when it is written as an integer of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number<'a> {
    pub text: &'a str,
    /// Written without fraction and exponent.
    pub plain: bool,
    integer: Option<i64>,
}

/// Why a number is no Decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalFault {
    /// An integer that 64 bits of floating point cannot hold exactly.
    Inexact,
    /// Greater than any floating point number.
    NotFinite,
}

impl<'a> Number<'a> {
    /// Reads a number from the start of a text: the number, or what was expected; and at which byte the reading
    /// stopped.
    #[inline]
    pub(crate) fn read(text: &'a str) -> (Result<Self, &'static str>, usize) {
        let bytes = text.as_bytes();
        let negative = bytes.first() == Some(&b'-');
        let start = usize::from(negative);
        let mut at = start;
        let mut value: u64 = 0;
        while let Some(digit) = bytes.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)
        {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            at += 1;
        }
        if at == start {
            return (Err("a digit"), at);
        }
        if bytes[start] == b'0' && at > start + 1 {
            return (Err("no digit after a leading zero"), start + 1);
        }
        // 19 digits always fit 64 bits without a sign; 20 and more never fit a signed one.
        let integer = if at - start > 19 {
            None
        } else if negative {
            0i64.checked_sub_unsigned(value)
        } else {
            i64::try_from(value).ok()
        };
        let plain = !matches!(bytes.get(at), Some(b'.' | b'e' | b'E'));
        if plain {
            return (Ok(Self { text: &text[..at], plain, integer }), at);
        }
        let (end, fault) = fraction_and_exponent(bytes, at);
        match fault {
            Some(expected) => (Err(expected), end),
            None => (Ok(Self { text: &text[..end], plain, integer: None }), end),
        }
    }

    /// The value, if it is an integer of 64 bits, however it is written: `3`, `3.0` and `30e-1` are 3.
    #[inline]
    pub fn to_i64(self) -> Option<i64> {
        if self.plain { self.integer } else { integral(self.text) }
    }

    /// The nearest floating point number; an integer written as such must be met exactly.
    #[inline]
    pub fn to_f64(self) -> Result<f64, DecimalFault> {
        const EXACT: u64 = 1 << 53;
        if let Some(integer) = self.integer.filter(|integer| *integer != 0 && integer.unsigned_abs() <= EXACT)
        {
            #[expect(clippy::cast_precision_loss, reason = "integers of 53 bits are exact")]
            return Ok(integer as f64);
        }
        let value: f64 = self.text.parse().unwrap_or(f64::NAN);
        if !value.is_finite() {
            return Err(DecimalFault::NotFinite);
        }
        // Without digits after the point, a float prints every digit of its integer.
        if self.plain && value != 0.0 && format!("{value:.0}") != self.text {
            return Err(DecimalFault::Inexact);
        }
        Ok(value)
    }
}

/// Where `.digits` and `e+digits` end, or where they go wrong and what was expected there.
fn fraction_and_exponent(bytes: &[u8], mut at: usize) -> (usize, Option<&'static str>) {
    let digits = |from: usize| from + bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if bytes.get(at) == Some(&b'.') {
        let end = digits(at + 1);
        if end == at + 1 {
            return (end, Some("a digit after the point"));
        }
        at = end;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let end = digits(at + 1 + sign);
        if end == at + 1 + sign {
            return (end, Some("a digit in the exponent"));
        }
        at = end;
    }
    (at, None)
}

/// The integer that a number with fraction or exponent is, computed from its digits.
#[cold]
fn integral(text: &str) -> Option<i64> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let exponent: i64 = exponent.parse().ok()?;
    let trimmed = i64::try_from(digits.len() - significant.len()).ok()?;
    let scale = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(trimmed)?;
    let zeros = usize::try_from(scale).ok().filter(|zeros| significant.len() + zeros <= 19)?;
    let sign = if negative { "-" } else { "" };
    format!("{sign}{significant}{}", "0".repeat(zeros)).parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number<'_> {
        let (number, length) = Number::read(text);
        assert_eq!(length, text.len(), "{text}");
        number.unwrap()
    }

    #[test]
    fn br20_integers_stay_exact_to_the_last_digit() {
        for exact in [9_007_199_254_740_993, i64::MAX, i64::MIN, 0, -1] {
            assert_eq!(number(&exact.to_string()).to_i64(), Some(exact));
        }
        assert_eq!(number("9223372036854775808").to_i64(), None);
        assert_eq!(number("-9223372036854775809").to_i64(), None);
        assert_eq!(number("99999999999999999999").to_i64(), None);
        assert_eq!(number("18446744073709551617").to_i64(), None);
    }

    #[test]
    fn an_integer_may_be_written_with_a_point_or_an_exponent() {
        for (text, value) in [
            ("3.0", Some(3)),
            ("-0.0", Some(0)),
            ("30e-1", Some(3)),
            ("1.5e1", Some(15)),
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("9.223372036854775807E18", Some(i64::MAX)),
            ("-922337203685477580.8e1", Some(i64::MIN)),
            ("0e999999999999999999999", Some(0)),
            ("1.5", None),
            ("9.223372036854775808e18", None),
            ("1e19", None),
            ("1e-1", None),
            ("1e99999999999999999999", None),
        ] {
            assert_eq!(number(text).to_i64(), value, "{text}");
        }
    }

    #[test]
    fn a_decimal_is_the_nearest_float_and_an_integer_must_be_met_exactly() {
        assert_eq!(number("0.0033208349999999998").to_f64(), Ok(0.003_320_835));
        assert_eq!(number("9007199254740992").to_f64(), Ok(9_007_199_254_740_992.0));
        assert_eq!(number("9007199254740993").to_f64(), Err(DecimalFault::Inexact));
        assert_eq!(number("-9007199254740993").to_f64(), Err(DecimalFault::Inexact));
        assert_eq!(number("9223372036854775807").to_f64(), Err(DecimalFault::Inexact));
        assert_eq!(number("9223372036854775808").to_f64(), Ok(9_223_372_036_854_775_808.0));
        assert_eq!(number("100000000000000000000000").to_f64(), Err(DecimalFault::Inexact));
        assert_eq!(number("100000000000000000000").to_f64(), Ok(1e20));
        assert_eq!(number("1e400").to_f64(), Err(DecimalFault::NotFinite));
        assert_eq!(number(&"9".repeat(400)).to_f64(), Err(DecimalFault::NotFinite));
        assert!(number("-0").to_f64().unwrap().is_sign_negative());
        assert!(number("-0.0").to_f64().unwrap().is_sign_negative());
    }

    proptest! {
        #[test]
        fn an_integer_is_a_decimal_exactly_if_the_float_gives_it_back(value in any::<i128>(), shift in 0u32..127) {
            let value = value >> shift;
            #[expect(clippy::cast_precision_loss, reason = "the loss is what is tested")]
            #[expect(clippy::cast_possible_truncation, reason = "a float of this size is an integer")]
            let exact = value as f64 as i128 == value && value != i128::MAX;
            prop_assert_eq!(number(&value.to_string()).to_f64().is_ok(), exact);
        }

        #[test]
        fn shifted_points_leave_the_integer(value in any::<i64>(), places in 0usize..19) {
            let digits = format!("{:020}", value.unsigned_abs());
            let sign = if value < 0 { "-" } else { "" };
            let (whole, fraction) = digits.split_at(20 - places.max(1));
            let whole = whole.trim_start_matches('0');
            let whole = if whole.is_empty() { "0" } else { whole };
            let text = format!("{sign}{whole}.{fraction}e{}", places.max(1));
            prop_assert_eq!(number(&text).to_i64(), Some(value), "{}", text);
        }
    }
}
