//! The custom and external metrics APIs over PromQL: what prometheus-adapter is on a real
//! cluster, with these rules instead of a configuration file.
//!
//! A metric's name says which series it is made from, over the last minute:
//!
//! | name | value |
//! |---|---|
//! | `x_total` | the rate per second of the counter `x_total` |
//! | `x` | the sum of the gauges `x`; where there is none, the rate of the counter `x_total` |
//! | `x_avg` | the mean of the histogram or summary `x`: rate of `x_sum` by rate of `x_count` |
//! | `x_p50`, `x_p90`, `x_p95`, `x_p99` | a percentile of the histogram `x` |
//!
//! The object says which of the series: a pod has `namespace` and `pod`, an HTTPRoute the load
//! balancer's `route="namespace/name"`, a Service its `backend="namespace/name:port"`, and
//! anything else `namespace` and its kind in lower case. An external metric has only its own
//! label selector.
//!
//! <https://github.com/kubernetes-sigs/prometheus-adapter/blob/master/docs/config.md>

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use lab_api::selector::{Requirement, Selector};
use lab_apiserver::{
    ExternalValue, Measured, ObjectQuestion, ObjectValue, SeriesSource, SourceError,
};
use lab_context::Context;
use lab_metrics::{Answer, Handle};

/// Over which time rates are taken, before the cluster's speed shortens it.
const WINDOW: Duration = Duration::from_secs(60);
/// A rate needs two samples of a scrape that is itself shortened.
const SHORTEST: Duration = Duration::from_secs(5);

/// One series at a moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Its value.
    pub(crate) value: f64,
}

/// Something that answers PromQL.
pub(crate) trait Queries: Send + Sync + 'static {
    /// The vector that a query gives at a moment; the error is for the user.
    fn instant(&self, query: &str, at: Timestamp) -> Result<Vec<Found>, String>;
}

impl Queries for Handle {
    fn instant(&self, query: &str, at: Timestamp) -> Result<Vec<Found>, String> {
        let answer = Self::instant(self, query, at).map_err(|error| error.to_string())?;
        let Answer::Vector(elements) = answer else {
            return Err(format!("{query} gives no vector"));
        };
        let found = elements.into_iter().map(|element| Found {
            labels: element
                .labels
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            value: element.value,
        });
        Ok(found.collect())
    }
}

/// The APIs' source.
pub(crate) struct Adapter<Q> {
    queries: Q,
    context: Context,
}

impl<Q: Queries> Adapter<Q> {
    pub(crate) fn new(queries: Q, context: Context) -> Self {
        Self { queries, context }
    }

    /// The first of a metric's queries that finds anything, and over which time.
    fn ask(
        &self,
        metric: &str,
        matchers: &[String],
        by: &str,
    ) -> Result<(Vec<Found>, Measured), SourceError> {
        let now = self.context.now();
        let window = self.context.scale(WINDOW).max(SHORTEST);
        for query in queries(metric, matchers, by, window)? {
            let mut found = self
                .queries
                .instant(&query.text, now)
                .map_err(SourceError::Failed)?;
            // A mean of nothing is not a number, and no reason to scale.
            found.retain(|one| one.value.is_finite());
            if !found.is_empty() {
                let measured = Measured {
                    value: 0.0,
                    time: now,
                    window: query.is_rate.then_some(window),
                };
                return Ok((found, measured));
            }
        }
        Err(SourceError::NotFound(format!(
            "no series for metric {metric:?}"
        )))
    }
}

#[async_trait]
impl<Q: Queries> SeriesSource for Adapter<Q> {
    async fn of_objects(&self, question: &ObjectQuestion) -> Result<Vec<ObjectValue>, SourceError> {
        if question.names.is_empty() {
            return Ok(Vec::new());
        }
        let place = Place::of(question);
        let mut matchers = place.matchers(question);
        matchers.extend(selected(&question.selector)?);
        let (found, measured) = self.ask(&question.metric, &matchers, place.label)?;
        let mut values: BTreeMap<&str, f64> = BTreeMap::new();
        for one in &found {
            let label = one.labels.get(place.label).map(String::as_str);
            if let Some(name) = label.and_then(|label| place.name_in(label, question)) {
                *values.entry(name).or_default() += one.value;
            }
        }
        let value = |(name, value): (&str, f64)| ObjectValue {
            name: name.to_owned(),
            measured: Measured { value, ..measured },
        };
        Ok(values.into_iter().map(value).collect())
    }

    async fn external(
        &self,
        _namespace: &str,
        metric: &str,
        selector: &Selector,
    ) -> Result<Vec<ExternalValue>, SourceError> {
        let (found, measured) = self.ask(metric, &selected(selector)?, "")?;
        let value = |one: Found| ExternalValue {
            labels: one.labels,
            measured: Measured {
                value: one.value,
                ..measured
            },
        };
        Ok(found.into_iter().map(value).collect())
    }
}

/// Which label of a series names the object, and how.
struct Place {
    label: &'static str,
    form: Form,
}

enum Form {
    /// The name alone; the namespace has its own label.
    Name,
    /// `namespace/name`.
    Qualified,
    /// `namespace/name:port`.
    WithPort,
}

impl Place {
    fn of(question: &ObjectQuestion) -> Self {
        let (label, form) = match question.resource.as_str() {
            "pods" => ("pod", Form::Name),
            "nodes" => ("node", Form::Name),
            "namespaces" => ("namespace", Form::Name),
            "deployments" => ("deployment", Form::Name),
            "replicasets" => ("replicaset", Form::Name),
            "rollouts" => ("rollout", Form::Name),
            "jobs" => ("job_name", Form::Name),
            "gateways" => ("gateway", Form::Qualified),
            "httproutes" | "grpcroutes" => ("route", Form::Qualified),
            "services" => ("backend", Form::WithPort),
            _ => ("object", Form::Name),
        };
        Self { label, form }
    }

    fn matchers(&self, question: &ObjectQuestion) -> Vec<String> {
        let namespace = &question.namespace;
        let names = alternatives(&question.names);
        let label = self.label;
        match self.form {
            Form::Name if namespace.is_empty() => vec![format!("{label}=~\"{names}\"")],
            Form::Name => vec![
                format!("namespace={namespace:?}"),
                format!("{label}=~\"{names}\""),
            ],
            Form::Qualified => vec![format!("{label}=~\"{namespace}/({names})\"")],
            Form::WithPort => vec![format!("{label}=~\"{namespace}/({names}):.*\"")],
        }
    }

    /// The object that a label's value names.
    fn name_in<'a>(&self, label: &'a str, question: &ObjectQuestion) -> Option<&'a str> {
        match self.form {
            Form::Name => Some(label),
            Form::Qualified => label.strip_prefix(&format!("{}/", question.namespace)),
            Form::WithPort => {
                let qualified = label.rsplit_once(':')?.0;
                qualified.strip_prefix(&format!("{}/", question.namespace))
            }
        }
    }
}

/// A regular expression for any of these, which names of Kubernetes need little escaping for;
/// the backslash is itself escaped in the query's text.
fn alternatives(names: &[String]) -> String {
    let escaped: Vec<String> = names.iter().map(|name| escape(name)).collect();
    escaped.join("|")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\\\\\"),
            c if c.is_alphanumeric() || "-_/: ".contains(c) => escaped.push(c),
            c => {
                escaped.push_str("\\\\");
                escaped.push(c);
            }
        }
    }
    escaped
}

/// A label selector as matchers.
fn selected(selector: &Selector) -> Result<Vec<String>, SourceError> {
    let matcher = |requirement: &Requirement| match requirement {
        Requirement::In(label, values) => Ok(format!("{label}=~\"{}\"", alternatives(values))),
        Requirement::NotIn(label, values) => Ok(format!("{label}!~\"{}\"", alternatives(values))),
        Requirement::Exists(label) => Ok(format!("{label}!=\"\"")),
        Requirement::DoesNotExist(label) => Ok(format!("{label}=\"\"")),
        Requirement::Greater(label, _) | Requirement::Less(label, _) => {
            Err(SourceError::BadQuestion(format!(
                "series cannot be selected by comparing the label {label:?} as a number"
            )))
        }
    };
    selector.requirements().iter().map(matcher).collect()
}

#[derive(Debug, PartialEq)]
struct Query {
    text: String,
    is_rate: bool,
}

/// The queries that a metric's name may mean, the likeliest first.
fn queries(
    metric: &str,
    matchers: &[String],
    by: &str,
    window: Duration,
) -> Result<Vec<Query>, SourceError> {
    if !is_metric_name(metric) {
        return Err(SourceError::BadQuestion(format!(
            "{metric:?} is not the name of a metric: letters, digits, '_' and ':'"
        )));
    }
    let matchers = matchers.join(",");
    let window = format!("{}ms", window.as_millis());
    let by = |more: &str| match (by, more) {
        ("", "") => String::new(),
        ("", more) => format!(" by ({more})"),
        (by, "") => format!(" by ({by})"),
        (by, more) => format!(" by ({by},{more})"),
    };
    let rate = |series: &str, more: &str| {
        format!("sum{} (rate({series}{{{matchers}}}[{window}]))", by(more))
    };
    let a_rate = |text| Query {
        text,
        is_rate: true,
    };
    let mut all = Vec::new();
    if let Some(base) = metric.strip_suffix("_avg") {
        let (sum, count) = (format!("{base}_sum"), format!("{base}_count"));
        all.push(a_rate(format!("{} / {}", rate(&sum, ""), rate(&count, ""))));
    }
    for (suffix, quantile) in [("_p50", 0.5), ("_p90", 0.9), ("_p95", 0.95), ("_p99", 0.99)] {
        if let Some(base) = metric.strip_suffix(suffix) {
            let buckets = rate(&format!("{base}_bucket"), "le");
            all.push(a_rate(format!("histogram_quantile({quantile}, {buckets})")));
        }
    }
    if metric.ends_with("_total") {
        all.push(a_rate(rate(metric, "")));
        return Ok(all);
    }
    all.push(Query {
        text: format!("sum{} ({metric}{{{matchers}}})", by("")),
        is_rate: false,
    });
    all.push(a_rate(rate(&format!("{metric}_total"), "")));
    Ok(all)
}

fn is_metric_name(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars.next();
    first.is_some_and(|c| c.is_ascii_alphabetic() || "_:".contains(c))
        && chars.all(|c| c.is_ascii_alphanumeric() || "_:".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Answers one query, and notes what it was asked.
    struct Fake {
        answers: BTreeMap<&'static str, Vec<Found>>,
        asked: Mutex<Vec<String>>,
    }

    impl Queries for std::sync::Arc<Fake> {
        fn instant(&self, query: &str, _at: Timestamp) -> Result<Vec<Found>, String> {
            self.asked.lock().unwrap().push(query.to_owned());
            Ok(self.answers.get(query).cloned().unwrap_or_default())
        }
    }

    fn fake(query: &'static str, series: &[(&str, &str, f64)]) -> std::sync::Arc<Fake> {
        let found = series.iter().map(|(label, name, value)| Found {
            labels: BTreeMap::from([((*label).to_owned(), (*name).to_owned())]),
            value: *value,
        });
        std::sync::Arc::new(Fake {
            answers: BTreeMap::from([(query, found.collect())]),
            asked: Mutex::default(),
        })
    }

    fn question(resource: &str, names: &[&str], metric: &str, selector: &str) -> ObjectQuestion {
        ObjectQuestion {
            namespace: "shop".into(),
            group: String::new(),
            resource: resource.into(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            metric: metric.into(),
            selector: Selector::parse(selector).unwrap(),
        }
    }

    async fn values(fake: std::sync::Arc<Fake>, question: &ObjectQuestion) -> Vec<(String, f64)> {
        let asked = std::sync::Arc::clone(&fake);
        let adapter = Adapter::new(fake, Context::system(1.0));
        let answer = adapter.of_objects(question).await;
        let answer = answer.unwrap_or_else(|error| panic!("{error}: {:?}", asked.asked));
        answer
            .into_iter()
            .map(|one| (one.name, one.measured.value))
            .collect()
    }

    #[tokio::test]
    async fn a_counter_of_pods_is_a_rate_under_both_its_names() {
        let query =
            r#"sum by (pod) (rate(hits_total{namespace="shop",pod=~"a|b",verb=~"GET"}[60000ms]))"#;
        for metric in ["hits", "hits_total"] {
            let fake = fake(query, &[("pod", "a", 2.5), ("pod", "b", 4.0)]);
            let found = values(fake, &question("pods", &["a", "b"], metric, "verb=GET")).await;
            assert_eq!(found, [("a".to_owned(), 2.5), ("b".to_owned(), 4.0)]);
        }
    }

    #[tokio::test]
    async fn a_gauge_is_summed() {
        let query = r#"sum by (pod) (queue{namespace="shop",pod=~"a"})"#;
        let fake = fake(query, &[("pod", "a", 7.0)]);
        let found = values(fake, &question("pods", &["a"], "queue", "")).await;
        assert_eq!(found, [("a".to_owned(), 7.0)]);
    }

    #[tokio::test]
    async fn latency_at_the_load_balancer_is_that_of_a_route_or_a_service() {
        let mean = r#"sum by (route) (rate(gateway_request_duration_seconds_sum{route=~"shop/(web)"}[60000ms])) / sum by (route) (rate(gateway_request_duration_seconds_count{route=~"shop/(web)"}[60000ms]))"#;
        let series = [("route", "shop/web", 3.5)];
        let asked = question(
            "httproutes",
            &["web"],
            "gateway_request_duration_seconds_avg",
            "",
        );
        assert_eq!(
            values(fake(mean, &series), &asked).await,
            [("web".to_owned(), 3.5)]
        );

        let p95 = r#"histogram_quantile(0.95, sum by (backend,le) (rate(gateway_request_duration_seconds_bucket{backend=~"shop/(web):.*"}[60000ms])))"#;
        let series = [("backend", "shop/web:80", 0.2)];
        let asked = question(
            "services",
            &["web"],
            "gateway_request_duration_seconds_p95",
            "",
        );
        assert_eq!(
            values(fake(p95, &series), &asked).await,
            [("web".to_owned(), 0.2)]
        );
    }

    #[tokio::test]
    async fn an_external_metric_is_chosen_by_its_labels_alone() {
        let query = r#"sum (jobs{queue=~"mail"})"#;
        let adapter = Adapter::new(fake(query, &[("x", "y", 30.0)]), Context::system(1.0));
        let selector = Selector::parse("queue=mail").unwrap();
        let found = adapter.external("shop", "jobs", &selector).await.unwrap();
        assert_eq!(found[0].measured.value, 30.0);
        let missing = adapter.external("shop", "nothing", &selector).await;
        assert!(matches!(missing, Err(SourceError::NotFound(_))));
        let bad = adapter.external("shop", "a-b", &selector).await;
        assert!(matches!(bad, Err(SourceError::BadQuestion(_))));
    }

    #[test]
    fn every_query_is_promql() {
        let handle = Handle::new(15_000);
        let selector = Selector::parse("a=b,c in (d,e.f),g!=h,i,!j").unwrap();
        for (resource, metric) in [
            ("pods", "hits"),
            ("pods", "hits_total"),
            ("services", "x_seconds_avg"),
            ("httproutes", "x_seconds_p95"),
        ] {
            let asked = question(resource, &["a", "b"], metric, "");
            let place = Place::of(&asked);
            let mut matchers = place.matchers(&asked);
            matchers.extend(selected(&selector).unwrap());
            for by in [place.label, ""] {
                for query in queries(metric, &matchers, by, WINDOW).unwrap() {
                    let answer = Queries::instant(&handle, &query.text, Timestamp::UNIX_EPOCH);
                    assert_eq!(answer, Ok(Vec::new()), "{}", query.text);
                }
            }
        }
    }

    #[test]
    fn what_a_name_holds_cannot_change_the_query() {
        assert_eq!(escape("a.b"), r"a\\.b");
        assert_eq!(escape("a\"} or up"), "a\\\"\\\\} or up");
    }
}
