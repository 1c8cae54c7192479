//! Texts of alerts: `{{ $value }}`, `{{ $labels.x }}`, with the commonest functions.
//!
//! A subset of Go's templates, as <https://prometheus.io/docs/prometheus/latest/configuration/template_reference/>
//! has them; what is outside it is said in the text, as Prometheus says it.

use crate::eval::format_value;
use crate::labels::Labels;

/// Writes a text for an alert's value and labels.
pub(super) fn expand(template: &str, value: f64, labels: &Labels) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some(begin) = rest.find("{{") {
        text.push_str(&rest[..begin]);
        let Some(length) = rest[begin..].find("}}") else {
            return format!("{text}<error expanding template: \"{{{{\" is not closed>");
        };
        let inner = rest[begin + 2..begin + length].trim_matches(['-', ' ', '\t', '\n']);
        match expression(inner, value, labels) {
            Some(part) => text.push_str(&part),
            None => {
                text.push_str("<error expanding template: {{ ");
                text.push_str(inner);
                text.push_str(" }} is not supported here>");
            }
        }
        rest = &rest[begin + length + 2..];
    }
    text.push_str(rest);
    text
}

/// What stands at one place of a pipeline.
enum Term {
    Number(f64),
    Text(String),
}

impl Term {
    fn text(self) -> String {
        match self {
            Self::Number(number) => format_value(number),
            Self::Text(text) => text,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

fn expression(inner: &str, value: f64, labels: &Labels) -> Option<String> {
    let mut stages = inner.split('|').map(str::trim);
    let first = stages.next()?;
    let mut term = call(first, value, labels)?;
    for stage in stages {
        term = apply(stage, term)?;
    }
    Some(term.text())
}

/// `$value`, `$labels.x`, or a function with one of these: `humanize $value`.
fn call(stage: &str, value: f64, labels: &Labels) -> Option<Term> {
    match stage {
        "$value" | ".Value" => return Some(Term::Number(value)),
        "$labels" | ".Labels" => return Some(Term::Text(labels.to_string())),
        _ => {}
    }
    let label = stage
        .strip_prefix("$labels.")
        .or_else(|| stage.strip_prefix(".Labels."));
    if let Some(label) = label.filter(|label| crate::labels::is_label_name(label)) {
        return Some(Term::Text(labels.get(label).to_owned()));
    }
    if let Some(quoted) = stage
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
    {
        return (!quoted.contains('"')).then(|| Term::Text(quoted.to_owned()));
    }
    let (function, argument) = stage.rsplit_once(' ')?;
    apply(function.trim(), call(argument, value, labels)?)
}

fn apply(function: &str, term: Term) -> Option<Term> {
    if let Some(format) = function.strip_prefix("printf ") {
        let format = format.trim().strip_prefix('"')?.strip_suffix('"')?;
        return printf(format, term).map(Term::Text);
    }
    Some(Term::Text(match function {
        "humanize" => humanize(term.number()?),
        "humanize1024" => humanize1024(term.number()?),
        "humanizePercentage" => format!("{}%", significant(term.number()? * 100.0)),
        "humanizeDuration" => humanize_duration(term.number()?),
        "toUpper" => term.text().to_uppercase(),
        "toLower" => term.text().to_lowercase(),
        "title" => {
            let text = term.text();
            let mut letters = text.chars();
            let first = letters.next().map(|c| c.to_uppercase().to_string());
            first.unwrap_or_default() + letters.as_str()
        }
        _ => return None,
    }))
}

/// `%f`, `%.2f`, `%s`, `%v`, `%d`, `%g` and `%%`, with one argument.
fn printf(format: &str, term: Term) -> Option<String> {
    let at = format.replace("%%", "\u{0}\u{0}").find('%')?;
    let verb = format[at + 1..].find(|c: char| c.is_ascii_alphabetic())? + at + 1;
    let flags = &format[at + 1..verb];
    let digits = match flags.strip_prefix('.') {
        Some(digits) => Some(digits.parse::<usize>().ok()?.min(20)),
        None if flags.is_empty() => None,
        None => return None,
    };
    let text = match (&format[verb..=verb], digits) {
        ("f", digits) => format!("{:.*}", digits.unwrap_or(6), term.number()?),
        ("d", None) => format!("{:.0}", term.number()?),
        ("g", None) => format_value(term.number()?),
        ("s" | "v", None) => term.text(),
        _ => return None,
    };
    let (before, after) = (&format[..at], &format[verb + 1..]);
    Some(format!("{before}{text}{after}").replace("%%", "%"))
}

/// Four significant digits, as Go's `%.4g`.
fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format_value(value);
    }
    let magnitude = value.abs().log10().floor();
    let digits = (3.0 - magnitude).clamp(0.0, 20.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped above"
    )]
    let text = format!("{value:.*}", digits as usize);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn humanize(value: f64) -> String {
    scaled(
        value,
        1000.0,
        &["k", "M", "G", "T", "P", "E", "Z", "Y"],
        &["m", "u", "n", "p", "f", "a", "z", "y"],
    )
}

fn humanize1024(value: f64) -> String {
    scaled(
        value,
        1024.0,
        &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"],
        &[],
    )
}

fn scaled(mut value: f64, base: f64, above: &[&str], below: &[&str]) -> String {
    if value == 0.0 || !value.is_finite() {
        return significant(value);
    }
    let mut prefix = "";
    if value.abs() >= 1.0 {
        for unit in above {
            if value.abs() < base {
                break;
            }
            prefix = unit;
            value /= base;
        }
    } else {
        for unit in below {
            if value.abs() >= 1.0 {
                break;
            }
            prefix = unit;
            value *= base;
        }
    }
    format!("{}{prefix}", significant(value))
}

fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return significant(seconds);
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let length = seconds.abs();
    if length < 1.0 {
        return scaled(seconds, 1000.0, &[], &["m", "u", "n"]) + "s";
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive, and whole seconds are wanted"
    )]
    let whole = length as u64;
    let (days, hours) = (whole / 86_400, whole / 3600 % 24);
    let (minutes, rest) = (whole / 60 % 60, whole % 60);
    if days > 0 {
        format!("{sign}{days}d {hours}h {minutes}m {rest}s")
    } else if hours > 0 {
        format!("{sign}{hours}h {minutes}m {rest}s")
    } else if minutes > 0 {
        format!("{sign}{minutes}m {rest}s")
    } else {
        format!("{}s", significant(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commonest_templates_are_written_as_prometheus_writes_them() {
        let labels = Labels::new([("pod", "web-1"), ("ns", "shop")]);
        for (template, value, expected) in [
            ("plain", 1.0, "plain"),
            (
                "{{ $labels.pod }} is at {{ $value }}",
                0.25,
                "web-1 is at 0.25",
            ),
            ("{{$labels.missing}}!", 0.0, "!"),
            ("{{ .Labels.ns }}={{ .Value }}", 3.0, "shop=3"),
            ("{{ $value | humanizePercentage }}", 0.1234, "12.34%"),
            ("{{ humanizePercentage $value }}", 0.5, "50%"),
            ("{{ $value | humanize }}", 1_234_567.0, "1.235M"),
            ("{{ $value | humanize }}", 0.00123, "1.23m"),
            ("{{ $value | humanize1024 }}B", 2_097_152.0, "2MiB"),
            ("{{ $value | humanizeDuration }}", 3_725.0, "1h 2m 5s"),
            ("{{ $value | humanizeDuration }}", 0.25, "250ms"),
            ("{{ printf \"%.2f\" $value }} %", 12.345, "12.35 %"),
            ("{{ $value | printf \"%.1f%%\" }}", 12.34, "12.3%"),
            (
                "{{ range . }}",
                0.0,
                "<error expanding template: {{ range . }} is not supported here>",
            ),
            (
                "{{ $value",
                0.0,
                "<error expanding template: \"{{\" is not closed>",
            ),
        ] {
            assert_eq!(expand(template, value, &labels), expected, "{template}");
        }
    }
}
