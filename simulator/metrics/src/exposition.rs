//! Reads what targets expose: Prometheus text 0.0.4, and what OpenMetrics has in common with it.
//!
//! Sizes are bounded, for a target may be anything. Exemplars are skipped.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use crate::labels::{NAME, is_label_name, is_metric_name};

/// Longest exposition, in bytes.
pub const LONGEST: usize = 4 << 20;
/// Most samples of one exposition.
pub const MOST_SAMPLES: usize = 10_000;
/// Most labels of one sample.
const MOST_LABELS: usize = 64;
/// Longest name, in bytes.
const LONGEST_NAME: usize = 256;
/// Longest value of a label, in bytes.
const LONGEST_VALUE: usize = 2048;

/// Which of the two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text; times in milliseconds.
    Text,
    /// OpenMetrics text; times in seconds.
    OpenMetrics,
}

impl Format {
    /// From a response's `Content-Type`.
    #[must_use]
    pub fn of(content_type: &str) -> Self {
        if content_type
            .trim_start()
            .starts_with("application/openmetrics-text")
        {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }
}

/// A sample as it was exposed.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposed {
    /// Name and value of its labels, the metric's name among them.
    pub labels: Vec<(String, String)>,
    /// Its value.
    pub value: f64,
    /// Its time in milliseconds since 1970, where it names one.
    pub at: Option<i64>,
}

/// What a metric is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The metric.
    pub metric: String,
    /// `counter`, `gauge`, `histogram` …; empty where it was not said.
    pub kind: String,
    /// For people.
    pub help: String,
    /// `seconds`, `bytes` …
    pub unit: String,
}

/// An exposition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition {
    /// In the order of the text.
    pub samples: Vec<Exposed>,
    /// In the order of the text.
    pub metadata: Vec<Metadata>,
}

/// Why a text cannot be read, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct Malformed {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

/// Reads an exposition.
///
/// # Errors
/// At the first line that cannot be read: half of a target's metrics would mislead.
pub fn parse(text: &str, format: Format) -> Result<Exposition, Malformed> {
    let mut found = Exposition::default();
    let mut ended = false;
    for (index, line) in text.lines().enumerate() {
        let refuse = |problem: String| Malformed {
            line: index + 1,
            problem,
        };
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if ended {
            return Err(refuse("something follows # EOF".to_owned()));
        }
        if let Some(comment) = line.strip_prefix('#') {
            ended = format == Format::OpenMetrics && comment.trim() == "EOF";
            remark(comment.trim_start(), &mut found.metadata);
            continue;
        }
        if found.samples.len() >= MOST_SAMPLES {
            return Err(refuse(format!(
                "there are more than {MOST_SAMPLES} samples"
            )));
        }
        found.samples.push(sample(line, format).map_err(refuse)?);
    }
    if format == Format::OpenMetrics && !ended {
        return Err(Malformed {
            line: text.lines().count().max(1),
            problem: "the text does not end with # EOF".to_owned(),
        });
    }
    Ok(found)
}

fn remark(comment: &str, metadata: &mut Vec<Metadata>) {
    let mut words = comment.splitn(3, [' ', '\t']);
    let (Some(word), Some(metric)) = (words.next(), words.next()) else {
        return;
    };
    let text = words.next().unwrap_or_default().trim();
    if !["HELP", "TYPE", "UNIT"].contains(&word) || metric.len() > LONGEST_NAME {
        return;
    }
    if metadata.last().is_none_or(|last| last.metric != metric) {
        metadata.push(Metadata {
            metric: metric.to_owned(),
            ..Metadata::default()
        });
    }
    let Some(last) = metadata.last_mut() else {
        return;
    };
    match word {
        "HELP" => last.help = unescape(text.get(..LONGEST_VALUE).unwrap_or(text)),
        "TYPE" => text.clone_into(&mut last.kind),
        _ => text.clone_into(&mut last.unit),
    }
}

fn unescape(help: &str) -> String {
    help.replace("\\n", "\n").replace("\\\\", "\\")
}

fn sample(line: &str, format: Format) -> Result<Exposed, String> {
    let end = line
        .find(|c: char| c == '{' || c.is_whitespace())
        .ok_or_else(|| format!("{line:?} has no value"))?;
    let name = &line[..end];
    let mut labels = Vec::with_capacity(4);
    if !name.is_empty() {
        if !is_metric_name(name) || name.len() > LONGEST_NAME {
            return Err(format!("{name:?} is not a metric's name"));
        }
        labels.push((NAME.to_owned(), name.to_owned()));
    }
    let mut rest = line[end..].trim_start();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = label_pairs(inner, &mut labels)?.trim_start();
    }
    if labels.first().is_none_or(|(first, _)| first != NAME) {
        return Err("a sample has no name".to_owned());
    }
    // An exemplar follows a `#` of its own.
    let rest = match (format, rest.find(" # ")) {
        (Format::OpenMetrics, Some(exemplar)) => &rest[..exemplar],
        _ => rest,
    };
    let mut words = rest.split_whitespace();
    let value = words.next().ok_or("the value is missing")?;
    let value = number(value).ok_or_else(|| format!("{value:?} is not a number"))?;
    let at = words.next().map(|time| moment(time, format)).transpose()?;
    if let Some(more) = words.next() {
        return Err(format!("{more:?} after the sample"));
    }
    Ok(Exposed { labels, value, at })
}

fn number(text: &str) -> Option<f64> {
    // Rust reads "infinity" and signs of NaN as Go does.
    text.parse().ok()
}

fn moment(text: &str, format: Format) -> Result<i64, String> {
    let wrong = || format!("{text:?} is not a time");
    match format {
        Format::Text => text.parse().map_err(|_| wrong()),
        Format::OpenMetrics => {
            let seconds: f64 = text.parse().map_err(|_| wrong())?;
            if !seconds.is_finite() || seconds.abs() > 1e15 {
                return Err(wrong());
            }
            #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
            Ok((seconds * 1000.0).round() as i64)
        }
    }
}

/// Reads `a="b",c="d"}`; answers what follows.
fn label_pairs<'a>(
    mut rest: &'a str,
    labels: &mut Vec<(String, String)>,
) -> Result<&'a str, String> {
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Ok(after);
        }
        let equals = rest.find('=').ok_or("labels do not end with }")?;
        let name = rest[..equals].trim_end();
        if !is_label_name(name) || name.len() > LONGEST_NAME {
            return Err(format!("{name:?} is not a label's name"));
        }
        if labels.iter().any(|(known, _)| known == name) {
            return Err(format!("label {name:?} is given twice"));
        }
        if labels.len() >= MOST_LABELS {
            return Err(format!("there are more than {MOST_LABELS} labels"));
        }
        let quoted = rest[equals + 1..].trim_start();
        let quoted = quoted
            .strip_prefix('"')
            .ok_or_else(|| format!("the value of label {name:?} is not quoted"))?;
        let (value, after) =
            value(quoted).ok_or_else(|| format!("the value of label {name:?} does not end"))?;
        if value.len() > LONGEST_VALUE {
            return Err(format!(
                "the value of label {name:?} is longer than {LONGEST_VALUE} bytes"
            ));
        }
        labels.push((name.to_owned(), value));
        rest = after.trim_start();
        if let Some(after) = rest.strip_prefix(',') {
            rest = after;
        } else if !rest.starts_with('}') {
            return Err(format!("after label {name:?}, expected \",\" or \"}}\""));
        }
    }
}

/// A value up to its closing quote, and what follows.
fn value(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                escaped @ ('\\' | '"') => value.push(escaped),
                other => {
                    value.push('\\');
                    value.push(other);
                }
            },
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, f64, Option<i64>)> {
        let found = parse(text, Format::Text).unwrap();
        let samples = found.samples.into_iter();
        samples
            .map(|sample| {
                let labels = crate::labels::Labels::new(sample.labels);
                (labels.to_string(), sample.value, sample.at)
            })
            .collect()
    }

    #[track_caller]
    fn refused(text: &str, line: usize, said: &str) {
        let error = parse(text, Format::Text).unwrap_err();
        assert_eq!(error.line, line, "{error}");
        assert!(error.problem.contains(said), "{error}");
    }

    #[test]
    fn samples_are_read_with_labels_values_and_times() {
        let text = "# HELP http_requests_total Requests.\n# TYPE http_requests_total counter\n\
            http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n\
            # a remark\n\n\
            path{ p = \"C:\\\\DIR\\\\\\\"x\\\"\\n\" , } 1.458255915e9\n\
            no_labels 12.47\nup{} +Inf\ndown NaN\nlow -Inf -3982045\n";
        let found = read(text);
        let expected = [
            (
                r#"http_requests_total{code="200", method="post"}"#,
                1027.0,
                Some(1_395_066_363_000),
            ),
            (r#"path{p="C:\\DIR\\\"x\"\n"}"#, 1_458_255_915.0, None),
            ("no_labels", 12.47, None),
            ("up", f64::INFINITY, None),
            ("down", f64::NAN, None),
            ("low", f64::NEG_INFINITY, Some(-3_982_045)),
        ];
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found.0, expected.0);
            assert_eq!(found.1.is_nan(), expected.1.is_nan());
            assert!(found.1.is_nan() || found.1 == expected.1);
            assert_eq!(found.2, expected.2);
        }
        let metadata = parse(text, Format::Text).unwrap().metadata;
        assert_eq!(metadata.len(), 1);
        assert_eq!(metadata[0].kind, "counter");
        assert_eq!(metadata[0].help, "Requests.");
    }

    #[test]
    fn openmetrics_has_seconds_exemplars_and_an_end() {
        let text =
            "# TYPE a counter\na_total{x=\"1\"} 5 1520879607.789 # {trace=\"y\"} 0.67\n# EOF\n";
        let found = parse(text, Format::OpenMetrics).unwrap();
        assert_eq!(found.samples[0].at, Some(1_520_879_607_789));
        assert_eq!(found.samples[0].value, 5.0);
        let cut = parse("a 1\n", Format::OpenMetrics).unwrap_err();
        assert!(cut.problem.contains("# EOF"), "{cut}");
        assert_eq!(
            Format::of("application/openmetrics-text; version=1.0.0"),
            Format::OpenMetrics
        );
        assert_eq!(Format::of("text/plain; version=0.0.4"), Format::Text);
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_line() {
        refused("up 1\nup{a=\"b} 1\n", 2, "does not end");
        refused("<html>\n", 1, "has no value");
        refused("9up 1\n", 1, "not a metric's name");
        refused("up one\n", 1, "not a number");
        refused("up\n", 1, "has no value");
        refused("up{}\n", 1, "value is missing");
        refused("up{a=b} 1\n", 1, "not quoted");
        refused("up{a=\"1\" b=\"2\"} 1\n", 1, "expected \",\"");
        refused("up{a=\"1\",a=\"2\"} 1\n", 1, "given twice");
        refused("up 1 2 3\n", 1, "after the sample");
        refused("up 1 soon\n", 1, "not a time");
        refused("{a=\"b\"} 1\n", 1, "no name");
        let long = format!("up{{a=\"{}\"}} 1\n", "x".repeat(3000));
        refused(&long, 1, "longer than");
        refused(&"up 1\n".repeat(10_001), 10_001, "more than 10000");
    }
}
