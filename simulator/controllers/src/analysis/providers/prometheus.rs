//! Measurements by a PromQL query.
//!
//! <https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries>

use lab_api::analysis::PrometheusMetric;
use serde::Deserialize;
use url::Url;

use super::{Measured, get, headers, seconds};
use crate::analysis::expr::Value;
use crate::http::HttpClient;

/// Seconds that a query may take where the metric does not say.
const TIMEOUT: u64 = 30;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status: String,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: serde_json::Value,
}

#[derive(Deserialize)]
struct Sample {
    value: (f64, String),
}

/// Asks the query and reads the answer.
pub(super) async fn measure(
    metric: &PrometheusMetric,
    namespace: &str,
    http: &dyn HttpClient,
) -> Result<Measured, String> {
    let mut request = get(url(metric)?, namespace, seconds(metric.timeout, TIMEOUT));
    request.headers = headers(metric.headers.as_deref());
    request.insecure = metric.insecure.unwrap_or(false);
    let response = http
        .send(request)
        .await
        .map_err(|error| error.to_string())?;
    let answer: Answer = match serde_json::from_slice(&response.body) {
        Ok(answer) => answer,
        Err(_) if !(200..300).contains(&response.status) => {
            return Err(format!("server_error: server error: {}", response.status));
        }
        Err(error) => return Err(format!("bad_response: {error}")),
    };
    read(answer)
}

fn url(metric: &PrometheusMetric) -> Result<String, String> {
    let address = metric.address.as_deref().unwrap_or_default();
    if address.is_empty() {
        return Err("prometheus address is not configured".to_owned());
    }
    if metric.timeout.is_some_and(|seconds| seconds < 0) {
        return Err("prometheus timeout should not be negative".to_owned());
    }
    let url = Url::parse(address)
        .ok()
        .filter(Url::has_host)
        .ok_or_else(|| format!("prometheus address is not is url format: {address:?}"))?;
    let base = url.as_str().trim_end_matches('/');
    let query = metric.query.as_deref().unwrap_or_default();
    let pairs = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("query", query)
        .finish();
    Ok(format!("{base}/api/v1/query?{pairs}"))
}

fn read(answer: Answer) -> Result<Measured, String> {
    let Some(data) = answer.data.filter(|_| answer.status == "success") else {
        return Err(format!("{}: {}", answer.error_type, answer.error));
    };
    let unreadable = |error: serde_json::Error| format!("bad_response: {error}");
    let (value, result) = match data.result_type.as_str() {
        "scalar" => {
            let (_, text): (f64, String) =
                serde_json::from_value(data.result).map_err(unreadable)?;
            let number = number(&text)?;
            (plain(number), Value::Float(number))
        }
        "vector" => {
            let samples: Vec<Sample> = serde_json::from_value(data.result).map_err(unreadable)?;
            let numbers = samples
                .iter()
                .map(|sample| number(&sample.value.1))
                .collect::<Result<Vec<_>, _>>()?;
            let texts: Vec<String> = numbers.iter().copied().map(plain).collect();
            let items = numbers.into_iter().map(Value::Float).collect();
            (format!("[{}]", texts.join(",")), Value::List(items))
        }
        _ => return Err("Prometheus metric type not supported".to_owned()),
    };
    let warnings: Vec<String> = answer
        .warnings
        .iter()
        .map(|warning| format!("{warning:?}"))
        .collect();
    let metadata =
        (!warnings.is_empty()).then(|| [("warnings".to_owned(), warnings.join(", "))].into());
    Ok(Measured {
        value,
        result,
        metadata,
    })
}

/// Rust reads Prometheus' `NaN`, `+Inf` and `-Inf` too.
fn number(text: &str) -> Result<f64, String> {
    text.parse()
        .map_err(|_| format!("bad_response: {text:?} is no number"))
}

/// A sample's value as Prometheus writes it: never with an exponent.
fn plain(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    #[track_caller]
    fn case(answer: Json, expected: Result<&str, &str>) {
        let found = read(serde_json::from_value(answer).unwrap());
        let found = found.map(|measured| format!("{} {}", measured.value, measured.result));
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn scalars_become_numbers_and_vectors_become_lists() {
        let data = |kind: &str, result: Json| json!({"status": "success", "data": {"resultType": kind, "result": result}});
        case(data("scalar", json!([1.0, "0.25"])), Ok("0.25 0.25"));
        case(data("vector", json!([])), Ok("[] []"));
        case(
            data(
                "vector",
                json!([{"metric": {}, "value": [1.5, "1"]}, {"metric": {}, "value": [1.5, "NaN"]}]),
            ),
            Ok("[1,NaN] [1 NaN]"),
        );
        case(data("scalar", json!([1, "+Inf"])), Ok("+Inf +Inf"));
        case(
            data("matrix", json!([])),
            Err("Prometheus metric type not supported"),
        );
        case(
            json!({"status": "error", "errorType": "bad_data", "error": "parse error"}),
            Err("bad_data: parse error"),
        );
    }

    #[test]
    fn the_query_is_sent_in_the_url() {
        let metric = |address: &str| PrometheusMetric {
            address: Some(address.to_owned()),
            query: Some("sum(rate(x{a=\"b\"}[1m]))".to_owned()),
            ..PrometheusMetric::default()
        };
        assert_eq!(
            url(&metric("http://prometheus.monitoring.svc:9090/")).unwrap(),
            "http://prometheus.monitoring.svc:9090/api/v1/query?query=sum%28rate%28x%7Ba%3D%22b%22%7D%5B1m%5D%29%29"
        );
        assert_eq!(
            url(&metric("prometheus")).unwrap_err(),
            "prometheus address is not is url format: \"prometheus\""
        );
        assert_eq!(
            url(&metric("")).unwrap_err(),
            "prometheus address is not configured"
        );
    }
}
