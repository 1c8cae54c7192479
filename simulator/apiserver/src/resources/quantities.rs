//! Quantities as the server reads and writes them: refused with Go's messages, and in
//! canonical form (`0.5` is `500m`, `1024Mi` is `1Gi`).
//!
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

use lab_api::quantity::{parse_nanos, parse_units};

const NANOS: i128 = 1_000_000_000;
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// Decimal suffixes from 10⁻⁹ up, in steps of 1000.
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
/// Letters that may stand in a suffix; any other is a format error rather than an unknown
/// suffix, as in `resource.ParseQuantity`.
const SUFFIX_LETTERS: &str = "eEinumkKMGTP";

/// Says why `text` is no quantity.
pub(super) fn check(text: &str) -> Result<(), String> {
    let Err(error) = parse_nanos(text) else {
        return Ok(());
    };
    let number = text.trim_start_matches(['+', '-']);
    let split = number
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(number.len());
    let (digits, suffix) = number.split_at(split);
    let readable = digits.parse::<f64>().is_ok();
    if readable && suffix.chars().all(|c| SUFFIX_LETTERS.contains(c)) {
        Err("unable to parse quantity's suffix".to_owned())
    } else {
        Err(error.to_string())
    }
}

/// `text` with the largest suffix that needs no fraction; unreadable text is returned as it is.
pub(super) fn canonical(text: &str) -> String {
    let Ok(nanos) = parse_nanos(text) else {
        return text.to_owned();
    };
    let small = nanos.abs() < 1024 * NANOS;
    match form(text) {
        Form::Binary if !small => binary(parse_units(text).unwrap_or_default()),
        Form::Exponent => exponent(nanos),
        Form::Binary | Form::Decimal => decimal(nanos),
    }
}

enum Form {
    Binary,
    Decimal,
    Exponent,
}

fn form(text: &str) -> Form {
    if text.ends_with('i') {
        Form::Binary
    } else if text.contains(['e', 'E']) && !text.ends_with('E') {
        Form::Exponent
    } else {
        Form::Decimal
    }
}

/// Divides by `base` as often as it goes without a remainder, `limit` times at most.
fn shrink(mut value: i128, base: i128, limit: usize) -> (i128, usize) {
    let mut times = 0;
    while value != 0 && value % base == 0 && times < limit {
        value /= base;
        times += 1;
    }
    (value, times)
}

fn binary(units: i128) -> String {
    let (value, times) = shrink(units, 1024, BINARY.len() - 1);
    format!("{value}{}", BINARY[times])
}

fn decimal(nanos: i128) -> String {
    if nanos == 0 {
        return "0".to_owned();
    }
    let (value, times) = shrink(nanos, 1000, DECIMAL.len() - 1);
    format!("{value}{}", DECIMAL[times])
}

fn exponent(nanos: i128) -> String {
    let (value, times) = shrink(nanos, 1000, DECIMAL.len() - 1);
    match i32::try_from(times).map_or(0, |times| times * 3 - 9) {
        _ if nanos == 0 => "0".to_owned(),
        0 => value.to_string(),
        power => format!("{value}e{power}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(text: &str, expected: &str) {
        assert_eq!(canonical(text), expected, "{text}");
    }

    #[test]
    fn quantities_are_written_in_canonical_form() {
        case("1", "1");
        case("0.5", "500m");
        case("1000m", "1");
        case("1500", "1500");
        case("1000", "1k");
        case("1024Mi", "1Gi");
        case("1.5Gi", "1536Mi");
        case("0.5Ki", "512");
        case("1e3", "1e3");
        case("12E6", "12e6");
        case("0", "0");
        case("-0.5", "-500m");
        case("100M", "100M");
        case("0.1m", "100u");
    }

    #[test]
    fn a_bad_quantity_says_what_is_wrong() {
        let format = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
        assert_eq!(check("12Mi"), Ok(()));
        assert_eq!(
            check("12mi"),
            Err("unable to parse quantity's suffix".into())
        );
        assert_eq!(check("12Mb"), Err(format.into()));
        assert_eq!(check("lots"), Err(format.into()));
    }
}
