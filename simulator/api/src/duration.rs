//! Durations as Go writes them: `30s`, `1m30s`, `1.5h`, `500ms`.
//!
//! <https://pkg.go.dev/time#ParseDuration>

use std::time::Duration;

/// Nanoseconds of each unit, longer spellings first.
const UNITS: &[(&str, f64)] = &[
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Longest duration that Go can hold, in nanoseconds.
const LONGEST: f64 = 9.223_372_036_854_775e18;

/// Why a text is no duration; the message is Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("time: {0}")]
pub struct DurationError(String);

/// Reads a duration.
///
/// # Errors
/// Where the text is no duration, or one below zero: nothing here waits backwards.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let invalid = || DurationError(format!("invalid duration {text:?}"));
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.starts_with('-') {
        return Err(DurationError(format!("negative duration {text:?}")));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = &rest[..letters];
        if unit.is_empty() {
            let message = format!("missing unit in duration {text:?}");
            return Err(DurationError(message));
        }
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| DurationError(format!("unknown unit {unit:?} in duration {text:?}")))?;
        nanoseconds += number * factor;
        rest = &rest[letters..];
    }
    if nanoseconds > LONGEST {
        return Err(invalid());
    }
    Ok(Duration::from_secs_f64(nanoseconds / 1e9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, expected: Result<u64, &str>) {
        let found = parse(text).map(|duration| u64::try_from(duration.as_millis()).unwrap());
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        reads("30s", Ok(30_000));
        reads("1m30s", Ok(90_000));
        reads("1.5h", Ok(5_400_000));
        reads("500ms", Ok(500));
        reads("0", Ok(0));
        reads("0s", Ok(0));
        reads("", Err("time: invalid duration \"\""));
        reads("30", Err("time: missing unit in duration \"30\""));
        reads("3 s", Err("time: unknown unit \" s\" in duration \"3 s\""));
        reads("1d", Err("time: unknown unit \"d\" in duration \"1d\""));
        reads("s", Err("time: invalid duration \"s\""));
        reads("-1s", Err("time: negative duration \"-1s\""));
    }
}
