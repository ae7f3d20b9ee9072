//! Kubernetes quantities read as whole numbers: `2.7G`, `78700000`, `1Gi`.

/// What the schema accepts as a quantity; negative amounts make no sense anywhere in a run.
pub(crate) const PATTERN: &str =
    r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][0-9]{1,2})?$";

/// A quantity that is no whole number of at most 2⁶⁴ − 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a quantity.
    #[error(
        "{found:?} is no quantity, a number with an optional suffix (k, M, G, T, P, E, Ki, Mi, \
         Gi, Ti, Pi, Ei) is accepted, such as \"2.7G\""
    )]
    Malformed {
        /// What was given.
        found: String,
    },
    /// Between two whole numbers.
    #[error("{found:?} is no whole number, such as \"2.7G\" is")]
    Fractional {
        /// What was given.
        found: String,
    },
    /// More than 2⁶⁴ − 1.
    #[error("{found:?} is too large, at most {} is accepted", u64::MAX)]
    TooLarge {
        /// What was given.
        found: String,
    },
}

/// Reads a quantity exactly, without a detour over floats.
///
/// # Errors
/// When it is malformed, negative, not a whole number, or more than 2⁶⁴ − 1.
pub fn parse_quantity(text: &str) -> Result<u64, QuantityError> {
    let malformed = || QuantityError::Malformed {
        found: text.to_owned(),
    };
    let too_large = || QuantityError::TooLarge {
        found: text.to_owned(),
    };
    let number_end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(number_end);
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return Err(malformed()),
        Some((whole, fraction)) => (whole, fraction),
        None => (number, ""),
    };
    if whole.is_empty() || fraction.contains('.') {
        return Err(malformed());
    }
    let (multiplier, extra_divisor) = multiplier(suffix).ok_or_else(malformed)?;
    // Zeros at the end of the fraction say nothing; without them 1.50 needs no longer division.
    let fraction = fraction.trim_end_matches('0');
    let digits: u128 = format!("{whole}{fraction}")
        .parse()
        .map_err(|_| too_large())?;
    let divisor = u32::try_from(fraction.len())
        .ok()
        .and_then(|places| 10_u128.checked_pow(places))
        .and_then(|places| places.checked_mul(extra_divisor))
        .ok_or_else(|| QuantityError::Fractional {
            found: text.to_owned(),
        })?;
    let scaled = digits.checked_mul(multiplier).ok_or_else(too_large)?;
    if scaled % divisor != 0 {
        return Err(QuantityError::Fractional {
            found: text.to_owned(),
        });
    }
    u64::try_from(scaled / divisor).map_err(|_| too_large())
}

/// What a suffix multiplies by and divides by.
fn multiplier(suffix: &str) -> Option<(u128, u128)> {
    let decimal = |exponent: u32| Some((10_u128.pow(exponent), 1));
    let binary = |exponent: u32| Some((1_u128 << exponent, 1));
    match suffix {
        "m" => Some((1, 1000)),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let plain =
                (1..=2).contains(&exponent.len()) && exponent.bytes().all(|b| b.is_ascii_digit());
            // 10³⁸ is the largest power of ten in 128 bits; what is larger fits nowhere here.
            plain
                .then(|| exponent.parse().ok())
                .flatten()
                .filter(|e| *e <= 38)
                .and_then(decimal)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_exactly() {
        for (text, number) in [
            ("0", 0),
            ("78700000", 78_700_000),
            ("2.7G", 2_700_000_000),
            ("2.70G", 2_700_000_000),
            ("6.738415616G", 6_738_415_616),
            ("100k", 100_000),
            ("1Gi", 1_073_741_824),
            ("1.5Ki", 1536),
            ("3000m", 3),
            ("27e8", 2_700_000_000),
            ("2.7E9", 2_700_000_000),
            ("1E", 1_000_000_000_000_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_quantity(text), Ok(number), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_malformed() {
        for text in [
            "", "G", ".5G", "1.G", "1.2.3", "2.7B", "-1", "+1", "1e", "1e+3", "1 G", "2,7G", "1g",
        ] {
            let found = text.to_owned();
            assert_eq!(
                parse_quantity(text),
                Err(QuantityError::Malformed { found }),
                "{text}"
            );
        }
    }

    #[test]
    fn a_fraction_of_a_parameter_is_refused() {
        for text in ["1.5", "1m", "0.0001k", "2.7000000001G"] {
            let found = text.to_owned();
            assert_eq!(
                parse_quantity(text),
                Err(QuantityError::Fractional { found }),
                "{text}"
            );
        }
    }

    #[test]
    fn what_needs_more_than_64_bits_is_too_large() {
        for text in [
            "18446744073709551616",
            "100E",
            "1e30",
            "99999999999999999999999999999999999999999",
        ] {
            let found = text.to_owned();
            assert_eq!(
                parse_quantity(text),
                Err(QuantityError::TooLarge { found }),
                "{text}"
            );
        }
    }
}
