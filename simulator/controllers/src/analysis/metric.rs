//! A metric's numbers and durations, read and checked.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use lab_api::analysis::{Metric, MetricProvider};
use lab_api::duration;
use regex::Regex;

/// Errors in a row that are forgiven where the metric does not say.
const CONSECUTIVE_ERROR_LIMIT: i32 = 4;
/// Providers that measure here.
const SUPPORTED: &[&str] = &["prometheus", "web", "job"];

/// What a metric says about when and how often, with the defaults put in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Schedule {
    /// Time between two measurements.
    pub interval: Option<Duration>,
    /// Time before the first one.
    pub initial_delay: Option<Duration>,
    /// Measurements after which the metric is done; `None`: it goes on until it is stopped.
    pub count: Option<i32>,
    /// Failures forgiven; `None` forgives all.
    pub failure_limit: Option<i32>,
    /// Inconclusive measurements forgiven.
    pub inconclusive_limit: i32,
    /// Errors in a row forgiven.
    pub consecutive_error_limit: i32,
    /// Successes in a row that are enough; 0 where that is not asked.
    pub consecutive_success_limit: i32,
}

/// What is wrong with a metric; where upstream has a message, it is upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// A number is none.
    #[error("{field} must be a number: {text:?}")]
    NotANumber {
        /// Name of the field.
        field: &'static str,
        /// What it says.
        text: String,
    },
    /// A limit is higher than the number of measurements.
    #[error("count must be >= {0}")]
    CountBelow(&'static str),
    /// Several measurements need a time between them.
    #[error("interval must be specified when count > 1")]
    NoInterval,
    /// A duration is none.
    #[error("invalid {field} string: {message}")]
    Duration {
        /// Name of the field.
        field: &'static str,
        /// What Go says of it.
        message: String,
    },
    /// A limit is below its least value.
    #[error("{field} must be >= {least}")]
    Negative {
        /// Name of the field.
        field: &'static str,
        /// Least value.
        least: i32,
    },
    /// Nothing to measure with.
    #[error("no provider specified")]
    NoProvider,
    /// Too much to measure with.
    #[error("multiple providers specified")]
    SeveralProviders,
    /// A provider that is not part of this product.
    #[error("provider {0:?} is not supported here: use prometheus, web or job")]
    Unsupported(&'static str),
    /// A field of a provider that is not part of this product.
    #[error("{0} is not supported here: remove it")]
    UnsupportedField(&'static str),
}

/// Reads a metric whose arguments are in place.
pub(super) fn schedule(metric: &Metric) -> Result<Schedule, MetricError> {
    let count = number(metric.count.as_ref(), "count")?;
    let failures = number(metric.failure_limit.as_ref(), "failureLimit")?.unwrap_or(0);
    let inconclusive =
        number(metric.inconclusive_limit.as_ref(), "inconclusiveLimit")?.unwrap_or(0);
    let errors = number(
        metric.consecutive_error_limit.as_ref(),
        "consecutiveErrorLimit",
    )?
    .unwrap_or(CONSECUTIVE_ERROR_LIMIT);
    let successes = number(
        metric.consecutive_success_limit.as_ref(),
        "consecutiveSuccessLimit",
    )?
    .unwrap_or(0);
    let interval = wait(metric.interval.as_deref(), "interval")?;
    let initial_delay = wait(metric.initial_delay.as_deref(), "startDelay")?;
    if let Some(count) = count.filter(|&count| count > 0) {
        if count < failures {
            return Err(MetricError::CountBelow("failureLimit"));
        }
        if count < inconclusive {
            return Err(MetricError::CountBelow("inconclusiveLimit"));
        }
        if count > 1 && interval.is_none() {
            return Err(MetricError::NoInterval);
        }
    }
    at_least(failures, "failureLimit", -1)?;
    at_least(inconclusive, "inconclusiveLimit", 0)?;
    at_least(errors, "consecutiveErrorLimit", 0)?;
    at_least(successes, "consecutiveSuccessLimit", 0)?;
    Ok(Schedule {
        interval,
        initial_delay,
        count: effective_count(count, interval),
        failure_limit: (failures >= 0).then_some(failures),
        inconclusive_limit: inconclusive,
        consecutive_error_limit: errors,
        consecutive_success_limit: successes,
    })
}

/// Without interval and count, one measurement; with an interval alone, without end.
fn effective_count(count: Option<i32>, interval: Option<Duration>) -> Option<i32> {
    match count.filter(|&count| count > 0) {
        Some(count) => Some(count),
        None if interval.is_none() => Some(1),
        None => None,
    }
}

/// Checks that a metric has one provider, and one that measures here.
pub(super) fn check_provider(provider: &MetricProvider) -> Result<(), MetricError> {
    match provider.names().as_slice() {
        [] => return Err(MetricError::NoProvider),
        [name] if SUPPORTED.contains(name) => {}
        [name] => return Err(MetricError::Unsupported(name)),
        _ => return Err(MetricError::SeveralProviders),
    }
    let prometheus = provider.prometheus.as_ref();
    let web = provider.web.as_ref();
    let unsupported = [
        (
            "provider.prometheus.authentication",
            prometheus.is_some_and(|it| is_set(it.authentication.as_ref())),
        ),
        (
            "provider.prometheus.rangeQuery",
            prometheus.is_some_and(|it| it.range_query.is_some()),
        ),
        (
            "provider.web.authentication",
            web.is_some_and(|it| is_set(it.authentication.as_ref())),
        ),
    ];
    match unsupported.into_iter().find(|(_, is_set)| *is_set) {
        Some((field, _)) => Err(MetricError::UnsupportedField(field)),
        None => Ok(()),
    }
}

/// True where a field says something: templates that were read from a real cluster carry empty
/// objects.
fn is_set(value: Option<&serde_json::Value>) -> bool {
    match value {
        None | Some(serde_json::Value::Null) => false,
        Some(serde_json::Value::Object(fields)) => fields.values().any(|value| is_set(Some(value))),
        Some(_) => true,
    }
}

/// Whether a rule of `dryRun` or `measurementRetention` is about a metric: the rule is a regular
/// expression found anywhere in its name, or `*` for all.
///
/// # Errors
/// Where it is no regular expression.
pub(super) fn rule_matches(rule: &str) -> Result<impl Fn(&str) -> bool + use<>, regex::Error> {
    let pattern = Regex::new(if rule == "*" { "" } else { rule })?;
    Ok(move |name: &str| pattern.is_match(name))
}

fn number(value: Option<&IntOrString>, field: &'static str) -> Result<Option<i32>, MetricError> {
    match value {
        None => Ok(None),
        Some(IntOrString::Int(number)) => Ok(Some(*number)),
        Some(IntOrString::String(text)) => match text.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(MetricError::NotANumber {
                field,
                text: text.clone(),
            }),
        },
    }
}

fn wait(text: Option<&str>, field: &'static str) -> Result<Option<Duration>, MetricError> {
    match text.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => duration::parse(text)
            .map(Some)
            .map_err(|error| MetricError::Duration {
                field,
                message: error.to_string(),
            }),
    }
}

fn at_least(value: i32, field: &'static str, least: i32) -> Result<(), MetricError> {
    if value < least {
        return Err(MetricError::Negative { field, least });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn metric(fields: Value) -> Metric {
        let mut metric = json!({"name": "m", "provider": {"web": {"url": "http://shop/"}}});
        for (key, value) in fields.as_object().unwrap() {
            metric[key] = value.clone();
        }
        serde_json::from_value(metric).unwrap()
    }

    #[track_caller]
    fn refused(fields: Value, expected: &str) {
        let metric = metric(fields);
        let found = schedule(&metric)
            .map(|_| ())
            .and_then(|()| check_provider(&metric.provider));
        assert_eq!(
            found.map_err(|error| error.to_string()),
            Err(expected.into())
        );
    }

    #[track_caller]
    fn counts(fields: Value, expected: Option<i32>) {
        assert_eq!(schedule(&metric(fields)).unwrap().count, expected);
    }

    #[test]
    fn without_an_interval_there_is_one_measurement_and_with_one_there_is_no_end() {
        counts(json!({}), Some(1));
        counts(json!({"interval": "1m"}), None);
        counts(json!({"interval": "1m", "count": 5}), Some(5));
        counts(json!({"interval": "1m", "count": "3"}), Some(3));
        counts(json!({"count": 1}), Some(1));
    }

    #[test]
    fn minus_one_forgives_all_failures() {
        let schedule = schedule(&metric(json!({"failureLimit": -1}))).unwrap();
        assert_eq!(schedule.failure_limit, None);
        assert_eq!(schedule.consecutive_error_limit, 4);
    }

    #[test]
    fn what_is_wrong_with_a_metric_is_said_as_upstream_says_it() {
        refused(
            json!({"count": 2}),
            "interval must be specified when count > 1",
        );
        refused(
            json!({"count": 2, "interval": "1s", "failureLimit": 3}),
            "count must be >= failureLimit",
        );
        refused(
            json!({"interval": "soon"}),
            "invalid interval string: time: invalid duration \"soon\"",
        );
        refused(json!({"failureLimit": -2}), "failureLimit must be >= -1");
        refused(
            json!({"inconclusiveLimit": -1}),
            "inconclusiveLimit must be >= 0",
        );
        refused(json!({"count": "many"}), "count must be a number: \"many\"");
        refused(json!({"provider": {}}), "no provider specified");
        refused(
            json!({"provider": {"datadog": {"query": "avg:x"}}}),
            "provider \"datadog\" is not supported here: use prometheus, web or job",
        );
        refused(
            json!({"provider": {"web": {"url": "u"}, "prometheus": {"query": "up"}}}),
            "multiple providers specified",
        );
        refused(
            json!({"provider": {"prometheus": {"query": "up", "rangeQuery": {"start": "now()"}}}}),
            "provider.prometheus.rangeQuery is not supported here: remove it",
        );
        assert_eq!(
            check_provider(
                &metric(json!({"provider": {"prometheus": {"query": "up", "authentication": {"sigv4": {}}}}}))
                    .provider
            ),
            Ok(())
        );
    }
}
