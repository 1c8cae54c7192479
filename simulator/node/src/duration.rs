//! Durations as Kubernetes' components print them.

use std::time::Duration;

/// To the millisecond, in the form of Go: `62ms`, `1.5s`, `1m20s`, `5m0s`.
/// <https://pkg.go.dev/time#Duration.String>
pub(crate) fn text(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole == 0 {
        return match duration.as_millis() {
            0 => "0s".to_owned(),
            millis => format!("{millis}ms"),
        };
    }
    let seconds = fraction(whole % 60, duration.subsec_millis());
    match (whole / 3600, whole / 60 % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// Seconds with as many decimals as are needed.
fn fraction(seconds: u64, millis: u32) -> String {
    let decimals = format!("{millis:03}");
    match decimals.trim_end_matches('0') {
        "" => seconds.to_string(),
        decimals => format!("{seconds}.{decimals}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(millis: u64, expected: &str) {
        assert_eq!(text(Duration::from_millis(millis)), expected);
    }

    #[test]
    fn durations_read_as_in_kubernetes() {
        case(0, "0s");
        case(62, "62ms");
        case(1_113, "1.113s");
        case(1_500, "1.5s");
        case(10_000, "10s");
        case(60_000, "1m0s");
        case(80_000, "1m20s");
        case(300_000, "5m0s");
        case(3_723_050, "1h2m3.05s");
    }
}
