//! Resource quantities: `500m`, `1.5`, `128Mi`.
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Why a quantity cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)]
pub struct ParseQuantityError;

/// The value in thousandths of the unit, rounded up: `500m` → 500, `1` → 1000.
pub fn parse_millis(text: &str) -> Result<i128, ParseQuantityError> {
    parse_scaled(text, 1000)
}

/// The value in whole units, rounded up: `128Mi` → 134217728.
pub fn parse_units(text: &str) -> Result<i128, ParseQuantityError> {
    parse_scaled(text, 1)
}

/// The value in billionths of the unit, rounded up; no quantity is more precise than that.
pub fn parse_nanos(text: &str) -> Result<i128, ParseQuantityError> {
    parse_scaled(text, 1_000_000_000)
}

/// CPU in thousandths of a core; 0 when absent or unreadable (validation refuses the latter).
#[must_use]
pub fn cpu_millis(quantity: Option<&Quantity>) -> u64 {
    quantity
        .and_then(|q| parse_millis(&q.0).ok())
        .map_or(0, clamp)
}

/// Memory in bytes; 0 when absent or unreadable (validation refuses the latter).
#[must_use]
pub fn memory_bytes(quantity: Option<&Quantity>) -> u64 {
    quantity
        .and_then(|q| parse_units(&q.0).ok())
        .map_or(0, clamp)
}

fn clamp(value: i128) -> u64 {
    u64::try_from(value.max(0)).unwrap_or(u64::MAX)
}

/// `value × scale`, rounded away from zero as Kubernetes rounds.
fn parse_scaled(text: &str, scale: i128) -> Result<i128, ParseQuantityError> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-'))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(ParseQuantityError);
    }
    let (numerator, denominator) = multiplier(suffix)?;
    let mantissa: i128 = format!("{whole}{fraction}")
        .parse()
        .map_err(|_| ParseQuantityError)?;
    let ten = 10_i128.checked_pow(u32::try_from(fraction.len()).map_err(|_| ParseQuantityError)?);
    let below = ten
        .and_then(|ten| ten.checked_mul(denominator))
        .ok_or(ParseQuantityError)?;
    let above = mantissa
        .checked_mul(numerator)
        .and_then(|v| v.checked_mul(scale))
        .ok_or(ParseQuantityError)?;
    let rounded = above / below + i128::from(above % below != 0);
    Ok(if negative { -rounded } else { rounded })
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn multiplier(suffix: &str) -> Result<(i128, i128), ParseQuantityError> {
    let pair = match suffix {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (1_000_000_000, 1),
        "T" => (1_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => return power_of_ten(exponent),
    };
    Ok(pair)
}

fn power_of_ten(suffix: &str) -> Result<(i128, i128), ParseQuantityError> {
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(ParseQuantityError)?;
    let exponent: i32 = exponent.parse().map_err(|_| ParseQuantityError)?;
    let power = 10_i128
        .checked_pow(exponent.unsigned_abs())
        .ok_or(ParseQuantityError)?;
    Ok(if exponent < 0 { (1, power) } else { (power, 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(text: &str, millis: Option<i128>) {
        assert_eq!(parse_millis(text).ok(), millis, "{text}");
    }

    #[test]
    fn quantities_read_as_kubernetes_reads_them() {
        case("500m", Some(500));
        case("1", Some(1000));
        case("1.5", Some(1500));
        case("0.1m", Some(1));
        case(".5", Some(500));
        case("1e3", Some(1_000_000));
        case("1E", Some(1_000_000_000_000_000_000_000));
        case("-1", Some(-1000));
        case("2Ki", Some(2_048_000));
        case("", None);
        case("abc", None);
        case("1.2.3", None);
        case("1Xi", None);
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(memory_bytes(Some(&Quantity("128Mi".into()))), 134_217_728);
        assert_eq!(memory_bytes(None), 0);
    }
}
