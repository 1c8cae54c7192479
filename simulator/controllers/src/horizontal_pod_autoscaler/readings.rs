//! What the autoscaler reads, from the metrics APIs of Kubernetes: the same requests as on a
//! real cluster, whoever answers them.
//!
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#support-for-metrics-apis>

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{CrossVersionObjectReference, MetricIdentifier};
use kube::Client;
use lab_api::quantity::parse_millis;
use serde_json::Value;

use super::pods::{Sample, Samples};

/// Reads metrics of one namespace.
pub(super) struct Reader<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a str,
}

impl Reader<'_> {
    /// The use of a resource by each pod, or by one container of each.
    pub(super) async fn resource(
        &self,
        resource: &str,
        selector: &str,
        container: Option<&str>,
    ) -> Result<Samples, String> {
        let path = format!(
            "/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods?{}",
            self.namespace,
            query(&[("labelSelector", selector)])
        );
        let list = self.get(&path).await.map_err(|error| {
            format!("unable to fetch metrics from resource metrics API: {error}")
        })?;
        let items = items(&list);
        if items.is_empty() {
            return Err("no metrics returned from resource metrics API".to_owned());
        }
        let samples = items
            .iter()
            .filter_map(|item| sample(item, resource, container));
        Ok(samples.collect())
    }

    /// A metric of each pod.
    pub(super) async fn pods(
        &self,
        metric: &MetricIdentifier,
        selector: &str,
    ) -> Result<Samples, String> {
        let labels = metric_selector(metric);
        let path = format!(
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/{}/pods/*/{}?{}",
            self.namespace,
            encode(&metric.name),
            query(&[
                ("labelSelector", selector),
                ("metricLabelSelector", &labels)
            ])
        );
        let list = self.custom(&path).await?;
        let items = items(&list);
        if items.is_empty() {
            return Err("no metrics returned from custom metrics API".to_owned());
        }
        let samples = items.iter().filter_map(|item| {
            let name = item["describedObject"]["name"].as_str()?.to_owned();
            let sample = Sample {
                milli: milli(&item["value"])?,
                time: time(item),
                window: Duration::from_secs(item["windowSeconds"].as_u64().unwrap_or(0)),
            };
            Some((name, sample))
        });
        Ok(samples.collect())
    }

    /// A metric of one object, in thousandths; `plural` is that of its kind, with its group.
    pub(super) async fn object(
        &self,
        metric: &MetricIdentifier,
        plural: &str,
        object: &CrossVersionObjectReference,
    ) -> Result<i64, String> {
        let labels = metric_selector(metric);
        let place = if plural == "namespaces" {
            format!("namespaces/{}/metrics", object.name)
        } else {
            format!("namespaces/{}/{plural}/{}", self.namespace, object.name)
        };
        let path = format!(
            "/apis/custom.metrics.k8s.io/v1beta2/{place}/{}?{}",
            encode(&metric.name),
            query(&[("metricLabelSelector", &labels)])
        );
        let list = self.custom(&path).await?;
        let value = items(&list).first().and_then(|item| milli(&item["value"]));
        value.ok_or_else(|| "no metrics returned from custom metrics API".to_owned())
    }

    /// The sum of a metric that belongs to no object, in thousandths.
    pub(super) async fn external(&self, metric: &MetricIdentifier) -> Result<i64, String> {
        let path = format!(
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/{}/{}?{}",
            self.namespace,
            encode(&metric.name),
            query(&[("labelSelector", &metric_selector(metric))])
        );
        let list = self.get(&path).await.map_err(|error| {
            format!("unable to fetch metrics from external metrics API: {error}")
        })?;
        let values: Vec<i64> = items(&list)
            .iter()
            .filter_map(|item| milli(&item["value"]))
            .collect();
        if values.is_empty() {
            return Err("no metrics returned from external metrics API".to_owned());
        }
        Ok(values.iter().sum())
    }

    async fn custom(&self, path: &str) -> Result<Value, String> {
        let answer = self.get(path).await;
        answer.map_err(|error| format!("unable to fetch metrics from custom metrics API: {error}"))
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        let request = http::Request::get(path)
            .body(Vec::new())
            .map_err(|error| error.to_string())?;
        self.client
            .request(request)
            .await
            .map_err(|error: kube::Error| match error {
                kube::Error::Api(status) => status.message.clone(),
                other => other.to_string(),
            })
    }
}

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

fn milli(value: &Value) -> Option<i64> {
    i64::try_from(parse_millis(value.as_str()?).ok()?).ok()
}

fn time(item: &Value) -> Timestamp {
    let text = item["timestamp"].as_str();
    text.and_then(|text| text.parse().ok())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The use of one pod; `None` where a container does not say, since half a pod would look idle.
fn sample(item: &Value, resource: &str, container: Option<&str>) -> Option<(String, Sample)> {
    let containers = item["containers"].as_array()?;
    let mut wanted = containers
        .iter()
        .filter(|one| container.is_none_or(|name| one["name"] == name))
        .peekable();
    wanted.peek()?;
    let sum = wanted
        .map(|one| milli(&one["usage"][resource]))
        .sum::<Option<i64>>()?;
    let sample = Sample {
        milli: sum,
        time: time(item),
        window: window(item["window"].as_str().unwrap_or_default()),
    };
    Some((item["metadata"]["name"].as_str()?.to_owned(), sample))
}

/// Reads a Go duration of minutes, seconds and milliseconds.
fn window(text: &str) -> Duration {
    let mut rest = text;
    let mut seconds = 0.0;
    while let Some(unit) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let (number, tail) = rest.split_at(unit);
        let end = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let factor = match &tail[..end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => 0.0,
        };
        seconds += number.parse().unwrap_or(0.0) * factor;
        rest = &tail[end..];
    }
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// A metric's own selector as a query has it.
fn metric_selector(metric: &MetricIdentifier) -> String {
    let Some(selector) = &metric.selector else {
        return String::new();
    };
    let equal = selector.match_labels.iter().flatten();
    let equal = equal.map(|(key, value)| format!("{key}={value}"));
    let expressions = selector
        .match_expressions
        .iter()
        .flatten()
        .map(|expression| {
            let (key, values) = (&expression.key, expression.values.iter().flatten());
            let values = values.cloned().collect::<Vec<_>>().join(",");
            match expression.operator.as_str() {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "DoesNotExist" => format!("!{key}"),
                _ => key.clone(),
            }
        });
    equal.chain(expressions).collect::<Vec<_>>().join(",")
}

fn query(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    let pairs = pairs.map(|(name, value)| format!("{name}={}", encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Percent-encodes everything that could mean something in a path or a query.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_of_go_are_read() {
        let case = |text, millis| assert_eq!(window(text), Duration::from_millis(millis), "{text}");
        case("15s", 15_000);
        case("14.052s", 14_052);
        case("1m15s", 75_000);
        case("500ms", 500);
        case("", 0);
    }

    #[test]
    fn a_pod_uses_what_its_containers_use() {
        let item = json!({"metadata": {"name": "web"}, "timestamp": "2026-01-01T00:00:00Z", "window": "15s",
            "containers": [{"name": "a", "usage": {"cpu": "250m", "memory": "1Ki"}}, {"name": "b", "usage": {"cpu": "1"}}]});
        let of = |resource, container| sample(&item, resource, container).map(|(_, s)| s.milli);
        assert_eq!(of("cpu", None), Some(1250));
        assert_eq!(of("cpu", Some("b")), Some(1000));
        assert_eq!(of("cpu", Some("c")), None);
        assert_eq!(of("memory", None), None);
        assert_eq!(of("memory", Some("a")), Some(1_024_000));
    }

    #[test]
    fn a_selector_is_safe_in_a_query() {
        let metric: MetricIdentifier = serde_json::from_value(json!({"name": "hits", "selector": {
            "matchLabels": {"path": "/a"},
            "matchExpressions": [{"key": "verb", "operator": "In", "values": ["GET", "PUT"]}]}}))
        .unwrap();
        let text = metric_selector(&metric);
        assert_eq!(text, "path=/a,verb in (GET,PUT)");
        assert_eq!(
            query(&[("labelSelector", &text), ("empty", "")]),
            "labelSelector=path%3D%2Fa%2Cverb%20in%20%28GET%2CPUT%29"
        );
    }
}
