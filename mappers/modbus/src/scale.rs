//! From the number in a register to the value in its unit, and back.
//!
//! `value = raw × scale + valueOffset`. Scales are nearly always decimal (0.1, 0.25), which a float cannot hold;
//! so they are kept as a fraction, and 219 × 0.1 is 21.9 and not 21.900000000000002.

/// The line between raw numbers and values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// The raw number is the value.
    Identity,
    /// `value = (raw × numerator + offset) / denominator`, exactly.
    Decimal {
        /// Never 0.
        numerator: i64,
        /// In units of the denominator.
        offset: i64,
        /// A power of ten.
        denominator: i64,
    },
    /// A line with no short decimal form.
    Float {
        /// Never 0.
        factor: f64,
        /// Added after the multiplication.
        offset: f64,
    },
}

/// 2^53: up to here every whole number has a float of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Scale {
    /// A factor and an offset; a factor of 0 means 1, as KubeEdge's manifests leave it out.
    pub fn new(factor: f64, offset: f64) -> Self {
        let factor = if factor == 0.0 { 1.0 } else { factor };
        if factor == 1.0 && offset == 0.0 {
            return Self::Identity;
        }
        let mut denominator = 1_i64;
        for _ in 0..=9 {
            #[expect(clippy::cast_precision_loss, reason = "at most 10^9")]
            let ten = denominator as f64;
            if let (Some(numerator), Some(offset)) = (whole(factor * ten), whole(offset * ten))
                && numerator != 0
            {
                return Self::Decimal { numerator, offset, denominator };
            }
            denominator *= 10;
        }
        Self::Float { factor, offset }
    }

    /// Value of an integer, rounded to the nearest float.
    #[expect(clippy::cast_precision_loss, reason = "asked for as a float")]
    pub fn integer_to_float(&self, raw: i128) -> f64 {
        match self {
            Self::Identity => raw as f64,
            Self::Decimal { numerator, offset, denominator } => {
                (raw * i128::from(*numerator) + i128::from(*offset)) as f64 / *denominator as f64
            }
            Self::Float { factor, offset } => raw as f64 * factor + offset,
        }
    }

    /// Value of an integer, rounded to the nearest integer; `None` if it is out of 64 bits.
    pub fn integer_to_integer(&self, raw: i128) -> Option<i64> {
        match self {
            Self::Identity => i64::try_from(raw).ok(),
            Self::Decimal { numerator, offset, denominator } => {
                let scaled = raw * i128::from(*numerator) + i128::from(*offset);
                i64::try_from(divide(scaled, i128::from(*denominator))).ok()
            }
            Self::Float { .. } => to_integer(self.integer_to_float(raw)),
        }
    }

    /// Value of a float.
    #[expect(clippy::cast_precision_loss, reason = "numerators are below 2^53")]
    pub fn float_to_float(&self, raw: f64) -> f64 {
        match self {
            Self::Identity => raw,
            Self::Decimal { numerator, offset, denominator } => {
                (raw * *numerator as f64 + *offset as f64) / *denominator as f64
            }
            Self::Float { factor, offset } => raw * factor + offset,
        }
    }

    /// The raw integer nearest to an integer value.
    pub fn raw_of_integer(&self, value: i64) -> Option<i128> {
        match self {
            Self::Identity => Some(i128::from(value)),
            Self::Decimal { numerator, offset, denominator } => {
                let scaled = i128::from(value) * i128::from(*denominator) - i128::from(*offset);
                Some(divide(scaled, i128::from(*numerator)))
            }
            #[expect(clippy::cast_precision_loss, reason = "the scale is a float itself")]
            Self::Float { .. } => self.raw_of_float(value as f64),
        }
    }

    /// The raw integer nearest to a float value; `None` if there is none.
    pub fn raw_of_float(&self, value: f64) -> Option<i128> {
        let raw = self.raw_float(value).round();
        // 2^64: no register type is wider.
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^65")]
        (raw.abs() <= 18_446_744_073_709_551_616.0).then_some(raw as i128)
    }

    /// The raw float of a value.
    #[expect(clippy::cast_precision_loss, reason = "numerators are below 2^53")]
    pub fn raw_float(&self, value: f64) -> f64 {
        match self {
            Self::Identity => value,
            Self::Decimal { numerator, offset, denominator } => {
                (value * *denominator as f64 - *offset as f64) / *numerator as f64
            }
            Self::Float { factor, offset } => (value - offset) / factor,
        }
    }
}

/// The integer that `number` is, but for the last bits of its float.
fn whole(number: f64) -> Option<i64> {
    let nearest = number.round();
    let close = (number - nearest).abs() <= nearest.abs() * 1e-12;
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    (close && nearest.abs() <= EXACT).then_some(nearest as i64)
}

/// `number` as an integer, if it fits.
pub(crate) fn to_integer(number: f64) -> Option<i64> {
    let nearest = number.round();
    // -2^63 is a float, 2^63 - 1 is not.
    #[expect(clippy::cast_possible_truncation, reason = "within 64 bits")]
    (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0)
        .contains(&nearest)
        .then_some(nearest as i64)
}

/// Division rounded to the nearest, halves away from zero.
fn divide(dividend: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    if rest.abs() * 2 >= divisor.abs() {
        quotient + dividend.signum() * divisor.signum()
    } else {
        quotient
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimal_scales_give_decimal_values() {
        for (factor, offset, raw, value) in [
            (0.1, 0.0, 219, 21.9),
            (0.01, 0.0, 23_005, 230.05),
            (0.1, -40.0, 651, 25.1),
            (0.25, 0.0, 3, 0.75),
            (-0.5, 1.0, 4, -1.0),
            (100.0, 0.0, 7, 700.0),
            (0.0, 0.0, 7, 7.0),
        ] {
            let scale = Scale::new(factor, offset);
            assert_eq!(scale.integer_to_float(raw), value, "{scale:?}");
            assert_eq!(scale.raw_of_float(value), Some(raw), "{scale:?}");
        }
        assert!(matches!(Scale::new(1.0 / 3.0, 0.0), Scale::Float { .. }));
        assert!(matches!(Scale::new(1e-12, 0.0), Scale::Float { .. }));
    }

    #[test]
    fn integers_round_to_the_nearest() {
        let scale = Scale::new(0.1, 0.0);
        assert_eq!(scale.integer_to_integer(24), Some(2));
        assert_eq!(scale.integer_to_integer(25), Some(3));
        assert_eq!(scale.integer_to_integer(-25), Some(-3));
        let scale = Scale::new(10.0, 0.0);
        assert_eq!(scale.raw_of_integer(1_449), Some(145));
        assert_eq!(Scale::new(-10.0, 0.0).raw_of_integer(1_449), Some(-145));
    }

    proptest! {
        #[test]
        fn every_raw_number_is_found_again(
            raw in -(1i64 << 32)..1i64 << 32,
            factor in prop_oneof![Just(0.1), Just(0.05), Just(-0.001), Just(2.5), Just(60.0), 1e-3..1e3],
            offset in prop_oneof![Just(0.0), Just(-40.0), Just(273.15), -1e3..1e3],
        ) {
            let scale = Scale::new(factor, offset);
            let raw = i128::from(raw);
            prop_assert_eq!(scale.raw_of_float(scale.integer_to_float(raw)), Some(raw));
        }

        #[test]
        fn no_number_makes_scaling_panic(raw: i64, value: f64, factor: f64, offset: f64) {
            let scale = Scale::new(factor, offset);
            let _ = (scale.integer_to_float(raw.into()), scale.integer_to_integer(u64::MAX.into()));
            let _ = (scale.raw_of_float(value), scale.raw_of_integer(raw), scale.float_to_float(value));
        }
    }
}
