//! Answers in Prometheus' own JSON.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::json_seconds;
use crate::eval::{Answer, format_value, seconds};
use crate::labels::Labels;
use crate::rules::{ActiveAlert, AlertState, AlertingView, GroupView, RuleView};
use crate::scrape::TargetView;
use crate::store::{Sample, Series};

/// A label set.
pub(super) fn labels(labels: &Labels) -> Value {
    let pairs = labels
        .iter()
        .map(|(name, value)| (name.to_owned(), json!(value)));
    Value::Object(pairs.collect::<Map<_, _>>())
}

fn sample(sample: &Sample) -> Value {
    json!([json_seconds(sample.at), format_value(sample.value)])
}

/// A series of several samples.
pub(super) fn matrix(series: &Series) -> Value {
    let values: Vec<_> = series.samples.iter().map(sample).collect();
    json!({"metric": labels(&series.labels), "values": values})
}

/// `data` of an instant query.
pub(super) fn instant(answer: &Answer, at: Timestamp) -> Value {
    let at = at.as_millisecond();
    match answer {
        Answer::Scalar(value) => {
            json!({"resultType": "scalar", "result": sample(&Sample { at, value: *value })})
        }
        Answer::Text(text) => {
            json!({"resultType": "string", "result": [json_seconds(at), text]})
        }
        Answer::Vector(elements) => {
            let result = elements.iter().map(|element| {
                let value = element.value;
                json!({"metric": labels(&element.labels), "value": sample(&Sample { at, value })})
            });
            json!({"resultType": "vector", "result": result.collect::<Vec<_>>()})
        }
        Answer::Matrix(series) => {
            let result: Vec<_> = series.iter().map(matrix).collect();
            json!({"resultType": "matrix", "result": result})
        }
    }
}

fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |at| at.to_string())
}

/// A target.
pub(super) fn target(view: &TargetView) -> Value {
    let url = view.target.source.url();
    json!({
        "discoveredLabels": labels(&view.target.labels),
        "labels": labels(&view.target.labels),
        "scrapePool": view.target.pool,
        "scrapeUrl": url,
        "globalUrl": url,
        "lastError": view.last_error,
        "lastScrape": time(view.last_scrape),
        "lastScrapeDuration": view.took.as_secs_f64(),
        "lastSamplesScraped": view.samples,
        "health": view.health.as_str(),
        "scrapeInterval": duration(view.target.interval.as_secs_f64()),
        "scrapeTimeout": duration(view.target.timeout.as_secs_f64()),
    })
}

fn duration(seconds: f64) -> String {
    format!("{seconds}s")
}

/// An alert.
pub(super) fn alert(alert: &ActiveAlert) -> Value {
    let active = Timestamp::from_millisecond(alert.active_at).ok();
    json!({
        "labels": labels(&alert.labels),
        "annotations": alert.annotations,
        "state": alert.state.as_str(),
        "activeAt": time(active),
        "value": format_value(alert.value),
    })
}

/// A group of rules; only of one kind (`alert` or `record`) where it is named.
pub(super) fn group(group: &GroupView, kind: Option<&str>) -> Value {
    let rules = group.rules.iter().filter(|rule| match kind {
        Some("alert") => rule.alert.is_some(),
        Some("record") => rule.alert.is_none(),
        _ => true,
    });
    let rules: Vec<_> = rules.map(rule).collect();
    json!({
        "name": group.name,
        "file": group.file,
        "interval": seconds(group.interval_ms),
        "limit": 0,
        "rules": rules,
    })
}

fn rule(rule: &RuleView) -> Value {
    let health = match (&rule.last_error, rule.evaluated) {
        (Some(_), _) => "err",
        (None, Some(_)) => "ok",
        (None, None) => "unknown",
    };
    let mut told = json!({
        "name": rule.name,
        "query": rule.query,
        "labels": rule.labels,
        "health": health,
        "lastError": rule.last_error.clone().unwrap_or_default(),
        "lastEvaluation": time(rule.evaluated),
        "evaluationTime": 0,
        "type": "recording",
    });
    if let Some(AlertingView {
        hold_ms,
        keep_ms,
        annotations,
        alerts,
    }) = &rule.alert
    {
        let any = |state| alerts.iter().any(|alert| alert.state == state);
        let state = if any(AlertState::Firing) {
            "firing"
        } else if any(AlertState::Pending) {
            "pending"
        } else {
            "inactive"
        };
        told["type"] = json!("alerting");
        told["state"] = json!(state);
        told["duration"] = json!(seconds(*hold_ms));
        told["keepFiringFor"] = json!(seconds(*keep_ms));
        told["annotations"] = json!(annotations);
        told["alerts"] = alerts.iter().map(alert).collect();
    }
    told
}
