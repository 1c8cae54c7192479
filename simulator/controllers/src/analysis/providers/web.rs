//! Measurements by an HTTP request.

use lab_api::analysis::WebMetric;

use super::{JsonPath, Measured, get, headers, seconds};
use crate::analysis::expr::Value;
use crate::http::HttpClient;

/// Seconds that a request may take where the metric does not say.
const TIMEOUT: u64 = 10;

/// Sends the request and reads the answer.
pub(super) async fn measure(
    metric: &WebMetric,
    namespace: &str,
    http: &dyn HttpClient,
) -> Result<Measured, String> {
    let path = JsonPath::parse(metric.json_path.as_deref().unwrap_or_default())
        .map_err(|error| error.to_string())?;
    let timeout = seconds(metric.timeout_seconds, TIMEOUT);
    let mut request = get(metric.url.clone(), namespace, timeout);
    request.headers = headers(metric.headers.as_deref());
    request.insecure = metric.insecure.unwrap_or(false);
    request.method = method(metric)?.to_owned();
    request.body = body(metric)?;
    let typed = |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-type");
    if metric.json_body.is_some() && !request.headers.iter().any(typed) {
        let json = ("Content-Type".to_owned(), "application/json".to_owned());
        request.headers.push(json);
    }
    let response = http
        .send(request)
        .await
        .map_err(|error| error.to_string())?;
    if !(200..300).contains(&response.status) {
        return Err(format!(
            "received non 2xx response code: {}",
            response.status
        ));
    }
    read(&response.body, &path)
}

fn method(metric: &WebMetric) -> Result<&str, String> {
    match metric.method.as_deref() {
        None | Some("") => Ok("GET"),
        Some(method @ ("GET" | "POST" | "PUT")) => Ok(method),
        Some(method) => Err(format!(
            "method {method:?} is not supported: use GET, POST or PUT"
        )),
    }
}

fn body(metric: &WebMetric) -> Result<Vec<u8>, String> {
    match (metric.body.as_deref(), &metric.json_body) {
        (None | Some(""), None) => Ok(Vec::new()),
        (Some(_), None) if method(metric)? == "GET" => {
            Err("Body can only be used with POST or PUT WebMetric Method types".to_owned())
        }
        (None | Some(""), Some(_)) if method(metric)? == "GET" => {
            Err("JSONBody can only be used with POST or PUT WebMetric Method types".to_owned())
        }
        (Some(text), None) => Ok(text.as_bytes().to_vec()),
        (None | Some(""), Some(json)) => Ok(json.to_string().into_bytes()),
        (Some(_), Some(_)) => {
            Err("use either Body or JSONBody; both cannot exists for WebMetric payload".to_owned())
        }
    }
}

/// What is not JSON is a text.
fn read(body: &[u8], path: &JsonPath) -> Result<Measured, String> {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) else {
        let text = String::from_utf8_lossy(body).into_owned();
        return Ok(Measured {
            value: text.clone(),
            result: Value::Text(text),
            metadata: None,
        });
    };
    let found = path
        .find(&json)
        .map_err(|error| format!("Could not find JSONPath in body: {error}"))?;
    let first = found
        .first()
        .ok_or("result of web metric produced no value")?;
    Ok(Measured {
        value: first.to_string(),
        result: Value::from((*first).clone()),
        metadata: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn case(body: &str, path: &str, expected: Result<&str, &str>) {
        let found = read(body.as_bytes(), &JsonPath::parse(path).unwrap());
        let found = found.map(|measured| measured.value);
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn a_part_of_the_answer_or_all_of_it_is_the_result() {
        case("{\"ok\": true}", "", Ok("{\"ok\":true}"));
        case("{\"data\": {\"ok\": true}}", "{$.data.ok}", Ok("true"));
        case("OK", "{$.data.ok}", Ok("OK"));
        case(
            "[]",
            "{$[*]}",
            Err("result of web metric produced no value"),
        );
        case(
            "{}",
            "{$.data}",
            Err("Could not find JSONPath in body: data is not found"),
        );
    }

    #[test]
    fn only_requests_that_carry_a_body_may_have_one() {
        let metric = |method: &str| WebMetric {
            method: Some(method.to_owned()),
            json_body: Some(json!({"a": 1})),
            ..WebMetric::default()
        };
        assert_eq!(body(&metric("POST")).unwrap(), b"{\"a\":1}");
        assert!(body(&metric("GET")).unwrap_err().starts_with("JSONBody"));
        assert!(body(&metric("DELETE")).unwrap_err().contains("DELETE"));
    }
}
