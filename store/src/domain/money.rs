//! How much? Whole cents, so that 0.1 + 0.2 is 0.3.

use std::fmt;

/// An amount in hundredths of the currency unit.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Cents(i64);

impl Cents {
    /// Largest price a product may have: 99999999.99, as `DECIMAL(10,2)`.
    pub const MAX_PRICE: Self = Self(9_999_999_999);
    /// Largest total an order may have: 9999999999.99, as `DECIMAL(12,2)`.
    pub const MAX_TOTAL: Self = Self(999_999_999_999);

    /// Wraps a number of cents.
    pub const fn new(cents: i64) -> Self {
        Self(cents)
    }

    /// The plain number of cents, for statements.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// Reads a decimal number (`5`, `5.55`, `1.5e3`), rounding half away from zero.
    ///
    /// `None` when the text is no number or does not fit. Reading text rather than a float keeps
    /// 1.005 at 1.01, which no binary fraction can do.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: Vec<i64> = whole
            .bytes()
            .chain(fraction.bytes())
            .map(|it| it.is_ascii_digit().then(|| i64::from(it - b'0')))
            .collect::<Option<_>>()?;
        if digits.is_empty() {
            return None;
        }
        // How many of the digits stand before the point once the value is counted in cents.
        let point = i64::try_from(whole.len()).ok()? + i64::from(exponent) + 2;
        let mut cents: i64 = 0;
        for position in 0..point {
            let digit = usize::try_from(position).ok().and_then(|it| digits.get(it));
            if cents == 0 && digit.is_none() {
                break;
            }
            cents = cents.checked_mul(10)?.checked_add(*digit.unwrap_or(&0))?;
        }
        let next = usize::try_from(point).ok().and_then(|it| digits.get(it));
        if next.is_some_and(|it| 5 <= *it) {
            cents = cents.checked_add(1)?;
        }
        Some(Self(if negative { -cents } else { cents }))
    }

    /// This amount, `quantity` times; `None` when it does not fit.
    pub const fn times(self, quantity: i64) -> Option<Self> {
        match self.0.checked_mul(quantity) {
            Some(cents) => Some(Self(cents)),
            None => None,
        }
    }

    /// The sum of two amounts; `None` when it does not fit.
    pub const fn plus(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(cents) => Some(Self(cents)),
            None => None,
        }
    }
}

/// The shortest decimal form with at least one place: `59.5`, `100.0`, `1999.99`.
impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (units, cents) = (self.0.unsigned_abs() / 100, self.0.unsigned_abs() % 100);
        if cents % 10 == 0 {
            write!(f, "{sign}{units}.{}", cents / 10)
        } else {
            write!(f, "{sign}{units}.{cents:02}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cents;

    #[track_caller]
    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(Cents::parse(text), expected.map(Cents::new), "{text}");
    }

    #[test]
    fn numbers_are_rounded_to_cents_half_away_from_zero() {
        check("5.55", Some(555));
        check("1.005", Some(101));
        check("-1.005", Some(-101));
        check("0.004", Some(0));
        check("0.005", Some(1));
        check("2.675", Some(268));
        check("100", Some(10_000));
        check("99999999.99", Some(9_999_999_999));
    }

    #[test]
    fn exponents_move_the_point() {
        check("1.5e3", Some(150_000));
        check("1e-2", Some(1));
        check("5e-3", Some(1));
        check("4e-3", Some(0));
        check("1e-9", Some(0));
        check("1e300", None);
        check("0e300", Some(0));
    }

    #[test]
    fn what_is_no_number_has_no_amount() {
        for text in ["", ".", "-", "abc", "1.2.3", "1e", "+5", "1 0"] {
            check(text, None);
        }
    }

    #[test]
    fn amounts_print_with_one_or_two_decimals() {
        for (cents, text) in
            [(5950, "59.5"), (10_000, "100.0"), (199_999, "1999.99"), (5, "0.05"), (-150, "-1.5")]
        {
            assert_eq!(Cents::new(cents).to_string(), text);
        }
    }

    #[test]
    fn three_times_19_99_is_exact() {
        assert_eq!(Cents::new(1999).times(3), Some(Cents::new(5997)));
        assert_eq!(Cents::new(i64::MAX).times(2), None);
        assert_eq!(Cents::new(i64::MAX).plus(Cents::new(1)), None);
    }
}
