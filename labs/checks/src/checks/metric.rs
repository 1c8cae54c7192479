//! K021: what the metrics say.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json};

use super::{CheckDef, CheckInput, read, schema, start_with};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::expression::{Scope, accepts_causes, bounded, or_cause};
use crate::fact::Fact;
use crate::lab::Cause;
use crate::outcome::{Evidence, Outcome};
use crate::readers::prometheus::{Prometheus, Series};

const NAME: &str = "metric";
/// How many values evidence shows.
const SHOWN: usize = 6;

pub(super) const DEF: CheckDef = CheckDef {
    code: "K021",
    name: NAME,
    help: "The PromQL `query`, evaluated now by the cluster's metrics, has at least `atLeastSeries` series in its \
        answer (1 by default), and every value in it is as `is` says: an operator (`==`, `!=`, `<`, `<=`, `>`, \
        `>=`) and a number, such as `\">= 3\"`. `causes` are conditions over `value`, the first value that is not \
        (else the first there is), and `values`, all of them.",
    schema: schema::<With>,
    accepts: accept,
    run: |context, input| start_with(NAME, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    query: String,
    #[schemars(with = "String")]
    is: Comparison,
    #[serde(default = "one")]
    at_least_series: usize,
}

fn one() -> usize {
    1
}

/// `>= 3`.
#[derive(Clone, Debug, PartialEq)]
struct Comparison {
    text: String,
    operator: Operator,
    number: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// The longer ones first: `>` is the beginning of `>=`.
const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::Unequal),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl FromStr for Comparison {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no comparison: write an operator (==, !=, <, <=, >, >=) and a number"
            )
        };
        let trimmed = text.trim();
        let operator = OPERATORS
            .iter()
            .find_map(|(sign, operator)| Some((*operator, trimmed.strip_prefix(sign)?)));
        let (operator, number) = operator.ok_or_else(wrong)?;
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        if number.is_nan() {
            return Err(wrong());
        }
        Ok(Self {
            text: trimmed.to_owned(),
            operator,
            number,
        })
    }
}

impl<'de> Deserialize<'de> for Comparison {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl Comparison {
    /// No comparison holds for what is not a number.
    fn holds(&self, value: f64) -> bool {
        let number = self.number;
        match self.operator {
            Operator::Equal => value == number,
            Operator::Unequal => !value.is_nan() && value != number,
            Operator::Less => value < number,
            Operator::AtMost => value <= number,
            Operator::Greater => value > number,
            Operator::AtLeast => value >= number,
        }
    }
}

fn accept(input: &CheckInput) -> Result<(), String> {
    let with: With = read(&input.with)?;
    if with.query.trim().is_empty() {
        return Err("`query` is empty".to_owned());
    }
    if with.at_least_series == 0 {
        return Err(
            "`atLeastSeries` must be 1 or more: anything is true of every value of none".to_owned(),
        );
    }
    accepts_causes(&input.causes, &["value", "values"])
}

async fn run(context: CheckContext, with: With, input: CheckInput) -> Result<Outcome, Diagnosis> {
    let series = Prometheus::new(&context.addresses.metrics)
        .query(&with.query)
        .await?;
    bounded(NAME, move || judge(&with, &series, &input.causes)).await
}

fn judge(with: &With, series: &[Series], causes: &[Cause]) -> Outcome {
    let values: Vec<(&Series, f64)> = series
        .iter()
        .filter_map(|one| Some((one, one.samples.last()?.1)))
        .collect();
    let off = values.iter().find(|(_, value)| !with.is.holds(*value));
    let mut shown: Vec<_> = values
        .iter()
        .take(SHOWN)
        .map(|(_, value)| value.to_string())
        .collect();
    if values.len() > SHOWN {
        shown.push("…".to_owned());
    }
    let evidence = Evidence {
        expected: Fact::MetricWanted {
            query: with.query.clone(),
            is: with.is.text.clone(),
        },
        observed: Fact::Metric {
            query: with.query.clone(),
            values: if shown.is_empty() {
                "–".to_owned()
            } else {
                shown.join(", ")
            },
        },
        since: None,
    };
    let found = if values.len() < with.at_least_series.max(1) {
        Err(Diagnosis::MetricEmpty {
            query: with.query.clone(),
            expected: with.at_least_series.to_string(),
            found: values.len().to_string(),
        })
    } else if let Some((series, value)) = off {
        Err(Diagnosis::MetricDiffers {
            query: with.query.clone(),
            expected: with.is.text.clone(),
            found: value.to_string(),
            series: series.labels.to_string(),
        })
    } else {
        Ok(())
    };
    let all: Vec<Value> = values.iter().map(|(_, value)| json!(value)).collect();
    let scope = Scope::default().with("values", json!(all));
    let scope = match off.or(values.first()) {
        Some((_, value)) => scope.with("value", json!(value)),
        None => scope,
    };
    Outcome::of(
        evidence,
        found.map_err(|diagnosis| or_cause(diagnosis, causes, &scope)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Text;

    fn series(values: &[f64]) -> Vec<Series> {
        let one = |value: &f64| Series {
            labels: json!({"pod": "hello-1"}),
            samples: vec![(jiff::Timestamp::UNIX_EPOCH, *value)],
        };
        values.iter().map(one).collect()
    }

    #[track_caller]
    fn case(expected: Option<&str>, is: &str, values: &[f64]) {
        let with = serde_json::from_value(json!({"query": "up", "is": is, "atLeastSeries": 2}));
        let outcome = judge(&with.unwrap(), &series(values), &[]);
        assert_eq!(
            outcome.diagnosis().map(Diagnosis::id),
            expected,
            "{is} {values:?}"
        );
    }

    #[test]
    fn every_value_must_be_as_asked() {
        case(None, ">= 3", &[3.0, 4.0]);
        case(None, "==1", &[1.0, 1.0]);
        case(None, " < 0.5 ", &[0.1, f64::NEG_INFINITY]);
        case(None, "!= 0", &[1.0, 2.0]);
        case(Some("metric-differs"), ">= 3", &[3.0, 2.9]);
        case(Some("metric-differs"), "> 3", &[3.0, 4.0]);
        case(Some("metric-differs"), "== 1", &[1.0, 0.0]);
        case(Some("metric-differs"), "<= 1", &[1.0, 1.1]);
    }

    #[test]
    fn nothing_and_no_number_do_not_pass() {
        case(Some("metric-empty"), ">= 3", &[]);
        case(Some("metric-empty"), ">= 3", &[3.0]);
        for is in [">= 3", "< 3", "!= 3"] {
            case(Some("metric-differs"), is, &[f64::NAN, f64::NAN]);
        }
    }

    #[test]
    fn a_lab_names_its_own_causes_over_the_value() {
        let cause = Cause {
            id: "half".to_owned(),
            when: Some("value > 1.0 && size(values) == 2".to_owned()),
            text: Text::default(),
            look: None,
        };
        let with = serde_json::from_value(json!({"query": "up", "is": ">= 3"})).unwrap();
        let name = |values: &[f64]| {
            let outcome = judge(&with, &series(values), std::slice::from_ref(&cause));
            outcome
                .diagnosis()
                .map(|diagnosis| diagnosis.name().to_owned())
        };
        assert_eq!(name(&[3.0, 2.5]).as_deref(), Some("half"));
        assert_eq!(name(&[3.0, 0.5]).as_deref(), Some("metric-differs"));
        assert_eq!(name(&[]).as_deref(), Some("metric-empty"));
    }

    #[test]
    fn faults_of_the_author_are_told() {
        let problem = |with: Value| {
            let input = CheckInput {
                with,
                ..CheckInput::default()
            };
            accept(&input).unwrap_err()
        };
        assert!(problem(json!({"query": " ", "is": "> 1"})).contains("query"));
        for is in ["3", "=> 3", ">= three", "> NaN", ""] {
            assert!(
                problem(json!({"query": "up", "is": is})).contains("comparison"),
                "{is}"
            );
        }
        assert!(
            problem(json!({"query": "up", "is": "> 1", "atLeastSeries": 0}))
                .contains("atLeastSeries")
        );
    }
}
