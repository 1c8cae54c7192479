//! Functions of the calendar, all in UTC.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// A part of the date or time of day that a value (Unix seconds) means.
pub(super) fn part(function: &str, value: f64) -> f64 {
    let Some(date) = date(value) else {
        return f64::NAN;
    };
    f64::from(match function {
        "minute" => i16::from(date.minute()),
        "hour" => i16::from(date.hour()),
        "day_of_week" => i16::from(date.weekday().to_sunday_zero_offset()),
        "day_of_month" => i16::from(date.day()),
        "day_of_year" => date.day_of_year(),
        "days_in_month" => i16::from(date.days_in_month()),
        "month" => i16::from(date.month()),
        "year" => date.year(),
        other => unreachable!("{other} is no function of time"),
    })
}

fn date(value: f64) -> Option<DateTime> {
    if !value.is_finite() {
        return None;
    }
    // A cast from a double saturates, and what is out of range has no date.
    #[expect(clippy::cast_possible_truncation, reason = "saturates, as wanted")]
    let second = value as i64;
    let timestamp = Timestamp::from_second(second).ok()?;
    Some(Offset::UTC.to_datetime(timestamp))
}
