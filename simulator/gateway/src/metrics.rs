//! Counters of requests, as Prometheus text. The names and their labels are an interface: checks,
//! alerts and AnalysisTemplates ask for them.
//!
//! | name | labels | what |
//! |---|---|---|
//! | `gateway_requests_total` | `route`, `rule`, `backend`, `code` | answers, counted at their end |
//! | `gateway_request_duration_seconds` | `route`, `rule`, `backend`, `le` | histogram: from the request's head to the end of the answer |
//! | `gateway_endpoint_requests_total` | `endpoint`, `pod`, `code` | answers of one pod |
//! | `gateway_endpoint_in_flight` | `endpoint`, `pod` | requests and connections that a pod has now |
//! | `gateway_endpoint_ejected` | `endpoint`, `pod` | 1 while a pod is left alone because it took no connection |
//! | `gateway_connections` | – | open connections of clients |
//!
//! `route` is `namespace/name`, `rule` its position there, `backend` the `namespace/name:port` of
//! a Service (one per version in a canary), `code` a class such as `5xx`, `endpoint` an
//! `address:port`, which several Services may share. What the load balancer answers by itself has an empty `backend`, and an empty
//! `route` where none matched.
//!
//! Rate, errors, latency and shares in PromQL:
//!
//! ```text
//! sum(rate(gateway_requests_total[1m]))
//! sum(rate(gateway_requests_total{backend="default/shop:80",code="5xx"}[1m]))
//!   / sum(rate(gateway_requests_total{backend="default/shop:80"}[1m]))
//! histogram_quantile(0.99, sum by (le) (rate(gateway_request_duration_seconds_bucket[1m])))
//! sum by (backend) (rate(gateway_requests_total{route="default/shop"}[1m]))
//!   / scalar(sum(rate(gateway_requests_total{route="default/shop"}[1m])))
//! sum by (pod) (rate(gateway_endpoint_requests_total{pod=~"shop-.*"}[1m]))
//! ```
//!
//! A series belongs to one rule and one backend, or to one endpoint, and lives as long as the
//! table names it, so the number of series is bounded by the configuration. Requests touch only
//! atomics.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;

use crate::plane::Endpoint;
use crate::table::Table;

/// Upper bounds of the latency histogram, in seconds: a service on this machine answers in the
/// first ones, a struggling one in the last.
const BOUNDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What a series is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Labels {
    /// `namespace/name` of the HTTPRoute; empty where none matched.
    route: String,
    /// Position of the rule; empty where none matched.
    rule: String,
    /// `namespace/name:port` of the Service; empty where the load balancer answered by itself.
    backend: String,
}

impl Labels {
    /// What the load balancer answers by itself under this rule.
    pub(crate) fn of_rule(route: &str, rule: usize) -> Self {
        Self::of_backend(route, rule, "")
    }

    /// What a backend answers under this rule.
    pub(crate) fn of_backend(route: &str, rule: usize, backend: &str) -> Self {
        Self {
            route: route.to_owned(),
            rule: rule.to_string(),
            backend: backend.to_owned(),
        }
    }
}

/// Answers by class of status.
#[derive(Debug, Default)]
pub(crate) struct Classes([AtomicU64; CLASSES.len()]);

impl Classes {
    /// Counts one answer.
    pub(crate) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.0[class].fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        CLASSES.into_iter().zip(counts)
    }
}

/// The counters of one series.
#[derive(Debug, Default)]
pub(crate) struct Series {
    classes: Classes,
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

impl Series {
    /// Counts one answer and the time until its end.
    pub(crate) fn record(&self, status: StatusCode, took: Duration) {
        self.classes.count(status);
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS
            .iter()
            .position(|bound| seconds <= *bound)
            .unwrap_or(BOUNDS.len());
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(micros, Ordering::Relaxed);
    }
}

/// All series of a load balancer.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    series: ArcSwap<HashMap<Labels, Arc<Series>>>,
    /// Answers to requests that no rule matched.
    pub(crate) unrouted: Series,
}

impl Metrics {
    /// The published series of these labels, or a new one.
    pub(crate) fn series(&self, labels: &Labels) -> Arc<Series> {
        self.series.load().get(labels).cloned().unwrap_or_default()
    }

    /// From now on these series, and only these, are shown.
    pub(crate) fn publish(&self, series: HashMap<Labels, Arc<Series>>) {
        self.series.store(Arc::new(series));
    }

    /// Prometheus text; `table` has the endpoints, `connections` are those of clients.
    pub(crate) fn render(&self, table: &Table, connections: usize) -> String {
        let series = self.series.load();
        let mut lines: Vec<(String, &Series)> = series
            .iter()
            .map(|(labels, series)| (pairs(labels), &**series))
            .collect();
        lines.push((pairs(&Labels::default()), &self.unrouted));
        lines.sort_by(|one, other| one.0.cmp(&other.0));
        let mut text = String::new();
        requests(&mut text, &lines).expect("a string takes every write");
        durations(&mut text, &lines).expect("a string takes every write");
        endpoints(&mut text, table).expect("a string takes every write");
        let head = "# HELP gateway_connections Open connections of clients.\n# TYPE gateway_connections gauge";
        writeln!(text, "{head}\ngateway_connections {connections}")
            .expect("a string takes every write");
        text
    }
}

/// Names of objects hold no character that would need escaping.
fn pairs(labels: &Labels) -> String {
    let Labels {
        route,
        rule,
        backend,
    } = labels;
    format!("route=\"{route}\",rule=\"{rule}\",backend=\"{backend}\"")
}

fn requests(text: &mut String, lines: &[(String, &Series)]) -> std::fmt::Result {
    writeln!(
        text,
        "# HELP gateway_requests_total Requests answered, by class of status."
    )?;
    writeln!(text, "# TYPE gateway_requests_total counter")?;
    for (labels, series) in lines {
        for (class, count) in series.classes.counts() {
            writeln!(
                text,
                "gateway_requests_total{{{labels},code=\"{class}\"}} {count}"
            )?;
        }
    }
    Ok(())
}

fn durations(text: &mut String, lines: &[(String, &Series)]) -> std::fmt::Result {
    let name = "gateway_request_duration_seconds";
    writeln!(
        text,
        "# HELP {name} Time from the request's head to the end of the response."
    )?;
    writeln!(text, "# TYPE {name} histogram")?;
    for (labels, series) in lines {
        let mut count = 0;
        let bounds = BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, bucket) in bounds.zip(&series.buckets) {
            count += bucket.load(Ordering::Relaxed);
            writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
        }
        let sum = Duration::from_micros(series.sum_us.load(Ordering::Relaxed)).as_secs_f64();
        writeln!(text, "{name}_sum{{{labels}}} {sum}")?;
        writeln!(text, "{name}_count{{{labels}}} {count}")?;
    }
    Ok(())
}

fn endpoints(text: &mut String, table: &Table) -> std::fmt::Result {
    // Several Services may have an endpoint, whose counters are the same for all.
    let lines: BTreeMap<String, &Endpoint> = table
        .endpoints()
        .map(|endpoint| (place(endpoint), &**endpoint))
        .collect();
    let name = "gateway_endpoint_requests_total";
    writeln!(
        text,
        "# HELP {name} Answers of one pod, by class of status."
    )?;
    writeln!(text, "# TYPE {name} counter")?;
    for (labels, endpoint) in &lines {
        for (class, count) in endpoint.answers.counts() {
            writeln!(text, "{name}{{{labels},code=\"{class}\"}} {count}")?;
        }
    }
    let gauges = [
        (
            "gateway_endpoint_in_flight",
            "Requests and connections that a pod has.",
        ),
        (
            "gateway_endpoint_ejected",
            "1 while a pod is left alone because it took no connection.",
        ),
    ];
    for (name, help) in gauges {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge")?;
        for (labels, endpoint) in &lines {
            let value = match name {
                "gateway_endpoint_in_flight" => endpoint.load(),
                _ => usize::from(endpoint.is_ejected()),
            };
            writeln!(text, "{name}{{{labels}}} {value}")?;
        }
    }
    Ok(())
}

fn place(endpoint: &Endpoint) -> String {
    let Endpoint { address, pod, .. } = endpoint;
    format!("endpoint=\"{address}\",pod=\"{pod}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_class_and_by_time() {
        let metrics = Metrics::default();
        let labels = Labels::of_backend("default/hello", 0, "default/hello:80");
        let series = metrics.series(&labels);
        metrics.publish(HashMap::from([(labels.clone(), Arc::clone(&series))]));
        series.record(StatusCode::OK, Duration::from_millis(2));
        series.record(StatusCode::NOT_FOUND, Duration::from_millis(700));
        metrics
            .series(&labels)
            .record(StatusCode::OK, Duration::from_secs(20));

        let text = metrics.render(&Table::default(), 0);
        let labels = "route=\"default/hello\",rule=\"0\",backend=\"default/hello:80\"";
        for line in [
            format!("gateway_requests_total{{{labels},code=\"2xx\"}} 2"),
            format!("gateway_requests_total{{{labels},code=\"4xx\"}} 1"),
            format!("gateway_request_duration_seconds_bucket{{{labels},le=\"0.001\"}} 0"),
            format!("gateway_request_duration_seconds_bucket{{{labels},le=\"0.0025\"}} 1"),
            format!("gateway_request_duration_seconds_bucket{{{labels},le=\"1\"}} 2"),
            format!("gateway_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 3"),
            format!("gateway_request_duration_seconds_count{{{labels}}} 3"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
