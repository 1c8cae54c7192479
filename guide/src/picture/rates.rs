//! What was measured: Prometheus' HTTP API is asked, which the cluster has, and every Prometheus.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use url::form_urlencoded;

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(2);
/// Most bytes of an answer.
const ANSWER_MAX: usize = 4 << 20;
/// What a chart shows, in seconds; `picture.js` has the same.
const SPAN: i64 = 300;
/// Between two points of what was before anybody looked, in seconds.
const STEP: i64 = 5;
/// Windows that rates are taken over: the first in which there is something. The load balancer of
/// this program is scraped every two seconds, others are seldom asked more often than every
/// fifteen.
const WINDOWS: [&str; 2] = ["10s", "1m"];

/// Rates of the load balancer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rates {
    /// Requests per second.
    pub requests: f64,
    /// Share of answers with a status of 500 and more, in per cent.
    pub errors: f64,
    /// Half of the answers came within this time, in seconds.
    pub p50: Option<f64>,
    /// 95 of 100 did.
    pub p95: Option<f64>,
    /// The last minutes.
    pub series: Series,
    /// By rule and backend.
    #[serde(skip)]
    pub(super) backends: Vec<BackendRate>,
    /// By pod.
    #[serde(skip)]
    pub(super) pods: Vec<(String, f64)>,
}

/// The last minutes, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Series {
    /// When, in seconds since 1970.
    pub at: VecDeque<i64>,
    /// Requests per second.
    pub requests: VecDeque<f64>,
    /// Share of errors, in per cent.
    pub errors: VecDeque<f64>,
    /// In seconds; none where nothing was asked.
    pub p50: VecDeque<Option<f64>>,
    /// In seconds.
    pub p95: VecDeque<Option<f64>>,
}

/// Requests per second to a backend.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BackendRate {
    /// `namespace/name` of the HTTPRoute.
    pub(super) route: String,
    /// Position of the rule.
    pub(super) rule: String,
    /// `namespace/name:port` of the Service.
    pub(super) backend: String,
    pub(super) rate: f64,
}

impl Series {
    fn push(&mut self, at: i64, rates: &Rates) {
        while self.at.front().is_some_and(|first| at - first > SPAN) {
            self.at.pop_front();
            self.requests.pop_front();
            self.errors.pop_front();
            self.p50.pop_front();
            self.p95.pop_front();
        }
        self.at.push_back(at);
        self.requests.push_back(round(rates.requests));
        self.errors.push_back(round(rates.errors));
        self.p50.push_back(rates.p50);
        self.p95.push_back(rates.p95);
    }
}

impl Rates {
    /// This moment, after those before.
    pub(super) fn after(mut self, before: &Self, now: Timestamp) -> Self {
        let mut series = before.series.clone();
        series.push(now.as_second(), &self);
        self.series = series;
        self
    }
}

/// Two decimals: what is drawn, and no news where nothing moved.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Asks a Prometheus.
#[derive(Clone, Debug)]
pub(super) struct Prometheus {
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Prometheus {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// What is measured now; none where nobody answers.
    pub(super) async fn rates(&self) -> Option<Rates> {
        for window in WINDOWS {
            let requests = format!(
                "sum by (route, rule, backend, code) (rate(gateway_requests_total[{window}]))"
            );
            let requests = self.query(&requests).await?;
            if requests.is_empty() {
                continue;
            }
            let quantile = |q: &str| {
                format!(
                    "histogram_quantile({q}, sum by (le) (rate(gateway_request_duration_seconds_bucket[{window}])))"
                )
            };
            let pods = format!("sum by (pod) (rate(gateway_endpoint_requests_total[{window}]))");
            let (p50, p95) = (quantile("0.5"), quantile("0.95"));
            let (pods, p50, p95) =
                futures::join!(self.query(&pods), self.query(&p50), self.query(&p95));
            return Some(rates(&requests, &pods?, &p50?, &p95?));
        }
        Some(Rates::default())
    }

    /// The minutes before `now`; none where nobody answers.
    pub(super) async fn history(&self, now: Timestamp) -> Option<Series> {
        let end = now.as_second();
        // The window that shows more, where it shows anything.
        for window in WINDOWS {
            let all = format!("sum(rate(gateway_requests_total[{window}]))");
            let bad = format!("sum(rate(gateway_requests_total{{code=\"5xx\"}}[{window}]))");
            let quantile = |q: &str| {
                format!(
                    "histogram_quantile({q}, sum by (le) (rate(gateway_request_duration_seconds_bucket[{window}])))"
                )
            };
            let (p50, p95) = (quantile("0.5"), quantile("0.95"));
            let all = self.range(&all, end).await?;
            if all.is_empty() {
                continue;
            }
            let (bad, p50, p95) = futures::join!(
                self.range(&bad, end),
                self.range(&p50, end),
                self.range(&p95, end)
            );
            return Some(history(&all, &bad?, &p50?, &p95?));
        }
        Some(Series::default())
    }

    async fn range(&self, query: &str, end: i64) -> Option<BTreeMap<i64, f64>> {
        let pairs = [
            ("query", query.to_owned()),
            ("start", (end - SPAN).to_string()),
            ("end", end.to_string()),
            ("step", STEP.to_string()),
        ];
        points(&self.ask("query_range", &pairs).await?)
    }

    async fn query(&self, query: &str) -> Option<Vec<Sample>> {
        samples(&self.ask("query", &[("query", query.to_owned())]).await?)
    }

    async fn ask(&self, what: &str, pairs: &[(&str, String)]) -> Option<Value> {
        let body: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        let request = Request::post(format!("{}/api/v1/{what}", self.url))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(body))
            .ok()?;
        let answer = timeout(LIMIT, self.client.request(request))
            .await
            .ok()?
            .ok()?;
        if answer.status() != StatusCode::OK {
            tracing::debug!(status = %answer.status(), ?pairs, "the metrics do not answer");
            return None;
        }
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect();
        let body = timeout(LIMIT, body).await.ok()?.ok()?.to_bytes();
        serde_json::from_slice(&body).ok()
    }
}

/// The points of a range of one series, by second.
fn points(answer: &Value) -> Option<BTreeMap<i64, f64>> {
    let result = answer.pointer("/data/result")?.as_array()?;
    let values = result.iter().filter_map(|it| it.get("values")?.as_array());
    let point = |it: &Value| {
        let at = it.get(0)?.as_f64()?;
        let value = it.get(1)?.as_str()?.parse().ok()?;
        // Whole seconds were asked for.
        Some((at.round() as i64, value))
    };
    Some(values.flatten().filter_map(point).collect())
}

/// The course of the last minutes.
fn history(
    all: &BTreeMap<i64, f64>,
    bad: &BTreeMap<i64, f64>,
    p50: &BTreeMap<i64, f64>,
    p95: &BTreeMap<i64, f64>,
) -> Series {
    let mut series = Series::default();
    for (at, requests) in all {
        let bad = bad.get(at).copied().unwrap_or_default();
        let quantile = |of: &BTreeMap<i64, f64>| of.get(at).copied().filter(|it| it.is_finite());
        let rates = Rates {
            requests: *requests,
            errors: if *requests > 0.0 {
                100.0 * bad / requests
            } else {
                0.0
            },
            p50: quantile(p50),
            p95: quantile(p95),
            ..Rates::default()
        };
        series.push(*at, &rates);
    }
    series
}

/// A value and its labels.
#[derive(Clone, Debug)]
struct Sample {
    labels: Value,
    value: f64,
}

impl Sample {
    fn label(&self, name: &str) -> &str {
        self.labels
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// The samples of an instant vector.
fn samples(answer: &Value) -> Option<Vec<Sample>> {
    let result = answer.pointer("/data/result")?.as_array()?;
    let sample = |it: &Value| {
        Some(Sample {
            labels: it.get("metric")?.clone(),
            value: it.pointer("/value/1")?.as_str()?.parse().ok()?,
        })
    };
    Some(result.iter().filter_map(sample).collect())
}

fn rates(requests: &[Sample], pods: &[Sample], p50: &[Sample], p95: &[Sample]) -> Rates {
    let all: f64 = requests.iter().map(|sample| sample.value).sum();
    let bad = requests
        .iter()
        .filter(|sample| sample.label("code") == "5xx");
    let bad: f64 = bad.map(|sample| sample.value).sum();
    let quantile = |samples: &[Sample]| {
        let value = samples.first()?.value;
        value.is_finite().then(|| (value * 1e5).round() / 1e5)
    };
    let mut backends: Vec<BackendRate> = Vec::new();
    for sample in requests.iter().filter(|sample| sample.value > 0.0) {
        let (route, rule) = (sample.label("route"), sample.label("rule"));
        let backend = sample.label("backend");
        let known = backends
            .iter_mut()
            .find(|it| it.route == route && it.rule == rule && it.backend == backend);
        match known {
            Some(known) => known.rate += sample.value,
            None => backends.push(BackendRate {
                route: route.to_owned(),
                rule: rule.to_owned(),
                backend: backend.to_owned(),
                rate: sample.value,
            }),
        }
    }
    let pods = pods.iter().filter(|sample| sample.value > 0.0);
    Rates {
        requests: round(all),
        errors: if all > 0.0 {
            round(100.0 * bad / all)
        } else {
            0.0
        },
        p50: quantile(p50),
        p95: quantile(p95),
        series: Series::default(),
        backends,
        pods: pods
            .map(|sample| (sample.label("pod").to_owned(), sample.value))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(labels: Value, value: f64) -> Sample {
        Sample { labels, value }
    }

    #[test]
    fn errors_are_a_share_of_all_and_rates_of_one_backend_are_added_up() {
        let of = |backend: &str, code: &str, value: f64| {
            let labels =
                json!({"route": "default/shop", "rule": "0", "backend": backend, "code": code});
            sample(labels, value)
        };
        let requests = [
            of("default/shop:80", "2xx", 6.0),
            of("default/shop:80", "5xx", 2.0),
            of("default/next:80", "2xx", 2.0),
            of("default/next:80", "4xx", 0.0),
        ];
        let pods = [
            sample(json!({"pod": "a"}), 8.0),
            sample(json!({"pod": "b"}), 0.0),
        ];
        let found = rates(
            &requests,
            &pods,
            &[sample(json!({}), 0.0012345)],
            &[sample(json!({}), f64::NAN)],
        );
        assert_eq!((found.requests, found.errors), (10.0, 20.0));
        assert_eq!((found.p50, found.p95), (Some(0.00123), None));
        let seen: Vec<_> = found
            .backends
            .iter()
            .map(|it| (it.backend.as_str(), it.rate))
            .collect();
        assert_eq!(seen, [("default/shop:80", 8.0), ("default/next:80", 2.0)]);
        assert_eq!(found.pods, [("a".to_owned(), 8.0)]);
    }

    #[test]
    fn the_last_minutes_stay_as_long_as_the_chart_is() {
        let mut rates = Rates::default();
        for second in 0..SPAN + 10 {
            let now = Timestamp::from_second(second).unwrap();
            rates = Rates::default().after(&rates, now);
        }
        assert_eq!((rates.series.at[0], rates.series.at.len()), (9, 301));
        assert_eq!(rates.series.p95.len(), 301);
    }

    #[test]
    fn what_was_before_anybody_looked_is_there_too() {
        let of = |values: Value| {
            points(&json!({"data": {"result": [{"metric": {}, "values": values}]}})).unwrap()
        };
        let all = of(json!([[100, "10"], [105, "0"], [110, "4"]]));
        let bad = of(json!([[110, "1"]]));
        let p95 = of(json!([[100, "0.25"], [105, "NaN"]]));
        let series = history(&all, &bad, &BTreeMap::new(), &p95);
        assert_eq!(series.at, [100, 105, 110]);
        assert_eq!(series.errors, [0.0, 0.0, 25.0]);
        assert_eq!(series.p95, [Some(0.25), None, None]);
        assert_eq!(series.p50, [None, None, None]);
    }
}
