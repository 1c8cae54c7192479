//! `HEALTHCHECK`, which is recorded as Docker records it; in a cluster, probes do its work.
//!
//! <https://docs.docker.com/reference/dockerfile/#healthcheck>

use super::Problem;
use crate::spec::Healthcheck;

const FORM: &str = "HEALTHCHECK [--interval=30s] [--timeout=30s] [--start-period=0s] [--retries=3] CMD command, or HEALTHCHECK NONE";

/// What stands after the word.
pub(super) fn parse(rest: &str) -> Result<Healthcheck, Problem> {
    let form = || Problem::Form {
        instruction: "HEALTHCHECK",
        form: FORM,
    };
    let mut check = Healthcheck::default();
    let mut rest = rest.trim();
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        option(&mut check, flag)?;
        rest = after.trim_start();
    }
    let (word, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    match word.to_ascii_uppercase().as_str() {
        "NONE" if command.is_empty() => check.test = vec!["NONE".to_owned()],
        "CMD" if command.starts_with('[') => {
            let words: Vec<String> = serde_json::from_str(command).map_err(|_| Problem::List {
                example: r#"HEALTHCHECK CMD ["program", "argument"]"#,
            })?;
            check.test = std::iter::once("CMD".to_owned()).chain(words).collect();
        }
        "CMD" if !command.is_empty() => {
            check.test = vec!["CMD-SHELL".to_owned(), command.to_owned()];
        }
        _ => return Err(form()),
    }
    Ok(check)
}

fn option(check: &mut Healthcheck, flag: &str) -> Result<(), Problem> {
    let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
    let wrong = |expected| Problem::Value {
        value: value.to_owned(),
        expected,
    };
    let time = || nanoseconds(value).ok_or_else(|| wrong("a time, such as 30s or 1m30s"));
    match name {
        "interval" => check.interval = time()?,
        "timeout" => check.timeout = time()?,
        "start-period" => check.start_period = time()?,
        "start-interval" => check.start_interval = time()?,
        "retries" => {
            check.retries = value.parse().map_err(|_| wrong("a number of 0 or more"))?;
        }
        _ => {
            return Err(Problem::Flag {
                instruction: "HEALTHCHECK",
                flag: format!("--{name}"),
            });
        }
    }
    Ok(())
}

/// A time as Go writes it: numbers with units, one after the other.
fn nanoseconds(text: &str) -> Option<u64> {
    const UNITS: [(&str, f64); 6] = [
        ("ns", 1.0),
        ("us", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("m", 60e9),
        ("h", 3600e9),
    ];
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let letters = rest[digits..]
            .find(|it: char| !it.is_ascii_alphabetic())
            .map_or(rest.len(), |end| digits + end);
        let unit = &rest[digits..letters];
        total += number * UNITS.iter().find(|(name, _)| *name == unit)?.1;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then_some(total).map(whole)
}

/// A number of nanoseconds that fits, cut off at its decimal point.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the conversion saturates, and no digit is below zero"
)]
fn whole(nanoseconds: f64) -> u64 {
    nanoseconds as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_recorded_with_its_times() {
        let check = parse("--interval=1m30s --timeout=500ms --retries=2 CMD curl -f x").unwrap();
        assert_eq!(check.test, ["CMD-SHELL", "curl -f x"]);
        assert_eq!(
            (check.interval, check.timeout),
            (90_000_000_000, 500_000_000)
        );
        assert_eq!(check.retries, 2);
        assert_eq!(
            parse("CMD [\"/x\", \"y\"]").unwrap().test,
            ["CMD", "/x", "y"]
        );
        assert_eq!(parse("none").unwrap().test, ["NONE"]);
    }

    #[test]
    fn a_wrong_check_is_refused() {
        for rest in [
            "",
            "CMD",
            "NONE x",
            "--interval=5 CMD x",
            "--what=1 CMD x",
            "--retries=-1 CMD x",
        ] {
            assert!(parse(rest).is_err(), "{rest}");
        }
    }
}
