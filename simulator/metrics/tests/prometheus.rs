//! The same samples, the same queries, the same answers: this crate beside Debian's Prometheus.
//!
//! `promtool` makes a database from an OpenMetrics file, and this crate reads the same file, so
//! both have the same samples at the same times. Prometheus 2 includes both ends of a range, and
//! so does this crate; with Prometheus 3 installed, the test would have to say otherwise.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use lab_context::Context;
use lab_metrics::exposition::{self, Format};
use lab_metrics::store::Sample;
use lab_metrics::{Labels, Metrics, MetricsConfig};
use serde_json::Value;
use tower::ServiceExt;

/// Begin of the samples; they last an hour.
const START: i64 = 1_700_000_100;
const STEP: i64 = 15;
const SAMPLES: i64 = 240;

/// An hour of a small shop: counters with restarts, gauges with noise, a histogram, a late pod,
/// one that ends early, and values that are no numbers.
fn samples() -> String {
    let mut text = String::new();
    let mut noise = 12345_u64;
    let mut next = || {
        noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(noise >> 40).unwrap()) / f64::from(1 << 24)
    };
    let at = |step: i64| START + step * STEP;
    writeln!(text, "# TYPE http_requests counter").unwrap();
    for (pod, version, restart) in [
        ("web-1", "1.0.0", 100),
        ("web-2", "1.0.0", 999),
        ("web-3", "2.0.0", 170),
    ] {
        for (code, rate) in [("200", 40.0), ("404", 3.0), ("500", 0.5)] {
            let mut count = 0.0;
            for step in 0..SAMPLES {
                count += (next() * rate * 2.0).floor();
                if step == restart {
                    count = 0.0;
                }
                let late = version == "2.0.0" && step < 60;
                let ended = pod == "web-2" && step > 150;
                if !late && !ended {
                    writeln!(text, "http_requests_total{{job=\"shop\",pod=\"{pod}\",version=\"{version}\",code=\"{code}\"}} {count} {}", at(step)).unwrap();
                }
            }
        }
    }
    writeln!(text, "# TYPE request_seconds histogram").unwrap();
    for pod in ["web-1", "web-2"] {
        let mut counts = [0.0_f64; 5];
        let mut sum = 0.0;
        let mut lines = vec![String::new(); 7];
        for step in 0..SAMPLES {
            for _ in 0..20 {
                let took = next() * next() * 1.4;
                sum += took;
                for (count, bound) in counts.iter_mut().zip([0.05, 0.1, 0.5, 1.0, f64::INFINITY]) {
                    if took <= bound {
                        *count += 1.0;
                    }
                }
            }
            for (line, (count, bound)) in lines
                .iter_mut()
                .zip(counts.iter().zip(["0.05", "0.1", "0.5", "1.0", "+Inf"]))
            {
                writeln!(line, "request_seconds_bucket{{job=\"shop\",pod=\"{pod}\",le=\"{bound}\"}} {count} {}", at(step)).unwrap();
            }
            writeln!(
                lines[5],
                "request_seconds_sum{{job=\"shop\",pod=\"{pod}\"}} {sum} {}",
                at(step)
            )
            .unwrap();
            writeln!(
                lines[6],
                "request_seconds_count{{job=\"shop\",pod=\"{pod}\"}} {} {}",
                counts[4],
                at(step)
            )
            .unwrap();
        }
        lines.iter().for_each(|line| text.push_str(line));
    }
    writeln!(text, "# TYPE memory_bytes gauge").unwrap();
    for (pod, base) in [
        ("web-1", 2e7),
        ("web-2", 3e7),
        ("web-3", 5e7),
        ("db-0", 4e8),
    ] {
        for step in 0..SAMPLES {
            let value = base * (1.0 + next() / 10.0);
            writeln!(
                text,
                "memory_bytes{{pod=\"{pod}\",node=\"node-{}\"}} {value} {}",
                base / 1e7,
                at(step)
            )
            .unwrap();
        }
    }
    writeln!(text, "# TYPE memory_limit_bytes gauge").unwrap();
    for (pod, limit) in [("web-1", 64e6), ("web-2", 64e6), ("db-0", 5e8)] {
        for step in 0..SAMPLES {
            writeln!(
                text,
                "memory_limit_bytes{{pod=\"{pod}\",team=\"red\"}} {limit} {}",
                at(step)
            )
            .unwrap();
        }
    }
    writeln!(text, "# TYPE temperature gauge").unwrap();
    for step in 0..SAMPLES {
        let value = match step {
            50 => "NaN".to_owned(),
            60 => "+Inf".to_owned(),
            _ => format!(
                "{}",
                f64::from(i32::try_from(step % 40).unwrap()) - 10.0 + next()
            ),
        };
        writeln!(text, "temperature{{room=\"x\"}} {value} {}", at(step)).unwrap();
    }
    writeln!(text, "# TYPE info gauge").unwrap();
    for (pod, version) in [("web-1", "1.0.0"), ("web-2", "1.0.0"), ("web-3", "2.0.0")] {
        for step in 0..SAMPLES {
            writeln!(
                text,
                "info{{pod=\"{pod}\",image=\"shop:{version}\"}} 1 {}",
                at(step)
            )
            .unwrap();
        }
    }
    text.push_str("# EOF\n");
    text
}

/// What is asked of both.
const QUERIES: &[&str] = &[
    "http_requests_total",
    "http_requests_total{code=\"500\"}",
    "http_requests_total{code!=\"200\",pod=~\"web-[12]\"}",
    "http_requests_total{code!~\"2..|4..\"}",
    "{__name__=~\"memory_.*\",pod=\"web-1\"}",
    "http_requests_total offset 10m",
    "http_requests_total offset -5m",
    "http_requests_total @ 1700001000",
    "sum(http_requests_total @ end()) - sum(http_requests_total @ start())",
    "rate(http_requests_total[5m])",
    "rate(http_requests_total[1m])",
    "rate(http_requests_total[20s])",
    "rate(http_requests_total[5m] offset 7m)",
    "rate(http_requests_total[2m] @ 1700001807)",
    "irate(http_requests_total[2m])",
    "idelta(memory_bytes[2m])",
    "increase(http_requests_total{code=\"200\"}[10m])",
    "delta(temperature[5m])",
    "deriv(memory_bytes[10m])",
    "predict_linear(memory_bytes[10m], 3600)",
    "holt_winters(memory_bytes[10m], 0.3, 0.6)",
    "changes(http_requests_total{code=\"500\"}[10m])",
    "resets(http_requests_total[1h])",
    "avg_over_time(memory_bytes[5m])",
    "sum_over_time(temperature[5m])",
    "min_over_time(temperature[10m])",
    "max_over_time(memory_bytes[10m])",
    "count_over_time(http_requests_total[5m])",
    "stddev_over_time(memory_bytes[5m])",
    "stdvar_over_time(temperature[3m])",
    "quantile_over_time(0.9, memory_bytes[10m])",
    "last_over_time(memory_bytes[5m])",
    "present_over_time(http_requests_total{pod=\"web-3\"}[5m])",
    "absent_over_time(nothing{job=\"x\"}[5m])",
    "sum(rate(http_requests_total[5m]))",
    "sum by (code) (rate(http_requests_total[5m]))",
    "sum without (pod, version) (rate(http_requests_total[5m]))",
    "avg by (pod) (memory_bytes)",
    "max(memory_bytes) / min(memory_bytes)",
    "count by (version) (http_requests_total)",
    "group by (pod) (memory_bytes)",
    "stddev(memory_bytes)",
    "stdvar by (node) (memory_bytes)",
    "quantile(0.75, memory_bytes)",
    "quantile by (code) (0.5, http_requests_total)",
    "topk(2, memory_bytes)",
    "bottomk(1, memory_bytes)",
    "topk by (code) (1, http_requests_total)",
    "count_values(\"value\", info)",
    "count_values by (pod) (\"limit\", memory_limit_bytes)",
    "histogram_quantile(0.95, rate(request_seconds_bucket[5m]))",
    "histogram_quantile(0.5, sum by (le) (rate(request_seconds_bucket[5m])))",
    "histogram_quantile(0.99, request_seconds_bucket)",
    "histogram_quantile(1.5, request_seconds_bucket)",
    "rate(request_seconds_sum[5m]) / rate(request_seconds_count[5m])",
    "sum by (pod) (rate(http_requests_total{code=~\"5..\"}[5m])) / sum by (pod) (rate(http_requests_total[5m]))",
    "memory_bytes / on(pod) memory_limit_bytes",
    "memory_bytes / ignoring(node, team) memory_limit_bytes",
    "memory_bytes * on(pod) group_left(image) info",
    "info * on(pod) group_right(image) http_requests_total",
    "http_requests_total / on(pod) group_left memory_limit_bytes",
    "memory_bytes > 3e7",
    "memory_bytes > bool 3e7",
    "3e7 < memory_bytes",
    "memory_bytes >= on(pod) memory_limit_bytes / 2",
    "memory_bytes == bool on(pod) memory_limit_bytes",
    "memory_bytes and on(pod) info",
    "memory_bytes unless on(pod) info",
    "memory_limit_bytes or on(pod) memory_bytes",
    "-temperature + 2 ^ 3 ^ 2 % 5",
    "temperature % 3",
    // 2.42 forgets to take the name away from atan2, which later versions do.
    "(temperature atan2 2) + 0",
    "absent(nothing{job=\"x\",pod=~\"y\"})",
    "absent(sum(nothing))",
    "absent(memory_bytes)",
    "clamp(temperature, -5, 5)",
    "clamp_min(temperature, 0)",
    "clamp_max(temperature, 0)",
    "round(temperature)",
    "round(temperature, 0.25)",
    "abs(temperature)",
    "ceil(temperature)",
    "floor(temperature)",
    "sgn(temperature)",
    "exp(temperature)",
    "ln(memory_bytes)",
    "log2(memory_bytes)",
    "log10(memory_bytes)",
    "sqrt(memory_bytes)",
    "sin(temperature) + cos(temperature) + tan(temperature)",
    "deg(temperature) - rad(temperature)",
    "label_replace(memory_bytes, \"kind\", \"$1\", \"pod\", \"(.*)-[0-9]+\")",
    "label_replace(memory_bytes, \"pod\", \"\", \"node\", \"node-2\")",
    "label_join(memory_bytes, \"place\", \"/\", \"node\", \"pod\")",
    "scalar(sum(memory_bytes))",
    "scalar(memory_bytes)",
    "vector(1)",
    "time()",
    "timestamp(memory_bytes)",
    "timestamp(memory_bytes + 1)",
    "hour() + minute() * 100",
    "day_of_week(vector(1700000000)) + day_of_month(vector(1700000000)) + day_of_year(vector(1700000000))",
    "days_in_month(vector(1709210000)) + month(vector(1709210000)) + year(vector(1709210000))",
    "sort(memory_bytes)",
    "sort_desc(memory_bytes)",
    "max_over_time(rate(http_requests_total{code=\"200\"}[1m])[10m:1m])",
    "avg_over_time(sum(memory_bytes)[10m:])",
    "rate(sum by (pod) (http_requests_total)[5m:30s] offset 2m)",
    "sum_over_time(vector(1)[5m:45s])",
    "max_over_time(deriv(memory_bytes[2m])[5m:1m] @ 1700002000)",
    "1 + 2 * 3 - 4 / 5",
    "1 > bool 2",
    "pi()",
    "\"text\"",
    "memory_bytes[1m]",
    "temperature[5m] offset 1m",
];

/// Both refuse these.
const REFUSED: &[&str] = &[
    "sum(",
    "rate(memory_bytes)",
    "memory_bytes[5m] + 1",
    "1 > 2",
    "{pod=~\".*\"}",
    "nosuchfunction(memory_bytes)",
    "memory_bytes * on(pod) http_requests_total",
    "abs({pod=\"web-1\"})",
    "label_replace(label_replace(memory_bytes, \"pod\", \"x\", \"pod\", \".*\"), \"node\", \"\", \"node\", \".*\")",
    "topk(memory_bytes)",
];

fn offered(program: &str) -> bool {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let there = command.status().is_ok_and(|status| status.success());
    if !there {
        assert!(
            std::env::var_os("CI").is_none(),
            "this test needs {program}"
        );
        let _ = writeln!(std::io::stderr(), "skipped: this machine lacks {program}");
    }
    there
}

/// A Prometheus that ends with the test.
struct Prometheus {
    child: Child,
    port: u16,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    #[expect(
        clippy::disallowed_methods,
        reason = "another program becomes ready in its own time"
    )]
    fn start(directory: &Path, text: &str) -> Self {
        let file = directory.join("samples.txt");
        std::fs::write(&file, text).unwrap();
        let data = directory.join("data");
        let made = Command::new("promtool")
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .args([&file, &data])
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let config = directory.join("prometheus.yml");
        std::fs::write(&config, "global:\n  evaluation_interval: 15s\n").unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg("--storage.tsdb.retention.time=100y")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let prometheus = Self { child, port };
        for _ in 0..1200 {
            if prometheus
                .get("/-/ready")
                .is_some_and(|(status, _)| status == 200)
            {
                return prometheus;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("prometheus does not become ready");
    }

    fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }
}

fn ours(text: &str) -> axum::Router {
    let metrics = Metrics::new(MetricsConfig::default(), Context::system(1.0));
    let mut read = exposition::parse(text, Format::OpenMetrics)
        .unwrap()
        .samples;
    read.sort_by_key(|sample| sample.at);
    for sample in read {
        let at = sample.at.unwrap();
        let value = sample.value;
        let kept = metrics
            .handle()
            .store()
            .append(&Labels::new(sample.labels), Sample { at, value });
        kept.unwrap();
    }
    metrics.router()
}

async fn ask(router: &axum::Router, path: &str) -> (u16, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 64 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The answer with its series in order, each with times and values.
fn canonical(body: &str) -> (String, BTreeMap<String, Vec<(f64, String)>>) {
    let answer: Value = serde_json::from_str(body).unwrap();
    let kind = answer["data"]["resultType"]
        .as_str()
        .unwrap_or("none")
        .to_owned();
    let result = &answer["data"]["result"];
    let pair = |pair: &Value| {
        (
            pair[0].as_f64().unwrap(),
            pair[1].as_str().unwrap().to_owned(),
        )
    };
    let mut found = BTreeMap::new();
    if kind == "scalar" || kind == "string" {
        found.insert(String::new(), vec![pair(result)]);
        return (kind, found);
    }
    for series in result.as_array().into_iter().flatten() {
        let labels: BTreeMap<String, String> =
            serde_json::from_value(series["metric"].clone()).unwrap();
        let values = match series["values"].as_array() {
            Some(values) => values.iter().map(pair).collect(),
            None => vec![pair(&series["value"])],
        };
        found.insert(format!("{labels:?}"), values);
    }
    (kind, found)
}

fn same(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let (Ok(one), Ok(other)) = (one.parse::<f64>(), other.parse::<f64>()) else {
        return false;
    };
    (one - other).abs() <= 1e-9 * one.abs().max(other.abs()).max(1.0)
}

/// What differs between two answers.
fn difference(theirs: &str, ours: &str) -> Option<String> {
    let ((kind, theirs), (our_kind, ours)) = (canonical(theirs), canonical(ours));
    if kind != our_kind {
        return Some(format!("{kind} is {our_kind} here"));
    }
    let (labels, our_labels): (Vec<_>, Vec<_>) = (theirs.keys().collect(), ours.keys().collect());
    if labels != our_labels {
        return Some(format!("series {labels:?} are {our_labels:?} here"));
    }
    for (labels, values) in &theirs {
        let our = &ours[labels];
        if values.len() != our.len() {
            return Some(format!(
                "{labels} has {} values, and {} here",
                values.len(),
                our.len()
            ));
        }
        for (one, other) in values.iter().zip(our) {
            if (one.0 - other.0).abs() > 1e-9 || !same(&one.1, &other.1) {
                return Some(format!("{labels}: {one:?} is {other:?} here"));
            }
        }
    }
    None
}

fn encoded(query: &str) -> String {
    url::form_urlencoded::byte_serialize(query.as_bytes()).collect()
}

#[tokio::test]
async fn prometheus_gives_the_same_answers() {
    if !offered("prometheus") || !offered("promtool") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let text = samples();
    let prometheus = Prometheus::start(directory.path(), &text);
    let ours = ours(&text);
    let (mut compared, mut filled, mut wrong) = (0, 0, Vec::new());
    let mut compare = async |path: String, query: &str| {
        let (their_status, theirs) = prometheus.get(&path).unwrap();
        let (our_status, answer) = ask(&ours, &path).await;
        compared += 1;
        if their_status != 200 || our_status != 200 {
            wrong.push(format!(
                "{query}: {their_status} {theirs} is {our_status} {answer} here"
            ));
        } else if let Some(difference) = difference(&theirs, &answer) {
            wrong.push(format!("{query} ({path}): {difference}"));
        } else if !canonical(&theirs).1.is_empty() {
            filled += 1;
        }
    };
    for query in QUERIES {
        let encoded = encoded(query);
        // On a sample, between samples, early, and after some series ended.
        for at in [
            "1700001900",
            "1700002003.5",
            "1700000160",
            "1700003000",
            "1700003690",
        ] {
            compare(format!("/api/v1/query?query={encoded}&time={at}"), query).await;
        }
        let ranged = !query.ends_with("[1m]")
            && !query.starts_with("temperature[")
            && !query.starts_with('"');
        if ranged {
            let range = format!(
                "/api/v1/query_range?query={encoded}&start=1700000000&end=1700003900&step=37"
            );
            compare(range, query).await;
        }
    }
    for query in REFUSED {
        let path = format!("/api/v1/query?query={}&time=1700001900", encoded(query));
        let (their_status, theirs) = prometheus.get(&path).unwrap();
        let (our_status, answer) = ask(&ours, &path).await;
        let kind = |body: &str| serde_json::from_str::<Value>(body).unwrap()["errorType"].clone();
        if their_status == 200 || their_status != our_status || kind(&theirs) != kind(&answer) {
            wrong.push(format!(
                "{query}: {their_status} {theirs} is {our_status} {answer} here"
            ));
        }
    }
    let _ = writeln!(
        std::io::stderr(),
        "{} queries, {compared} answers compared, {filled} of them not empty",
        QUERIES.len()
    );
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(filled * 10 > compared * 8, "{filled} of {compared}");
}
