//! Prometheus' HTTP API, as checks ask it: only reading.
//! <https://prometheus.io/docs/prometheus/latest/querying/api/>

use jiff::Timestamp;
use serde_json::Value;

use crate::diagnosis::Diagnosis;
use crate::readers::http::{Answer, Http};

/// One series of an answer, with its samples; an instant query gives one each.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    /// Its labels, the name among them.
    pub(crate) labels: Value,
    /// When, and which value.
    pub(crate) samples: Vec<(Timestamp, f64)>,
}

/// The server at an address such as `http://127.0.0.1:9090`.
#[derive(Clone)]
pub(crate) struct Prometheus<'a> {
    http: Http,
    url: &'a str,
}

impl<'a> Prometheus<'a> {
    pub(crate) fn new(url: &'a str) -> Self {
        Self {
            http: Http::new(),
            url,
        }
    }

    /// Evaluates a query now.
    pub(crate) async fn query(&self, query: &str) -> Result<Vec<Series>, Diagnosis> {
        let path = format!("/api/v1/query?query={}", encoded(query));
        let data = self.ask(&path, query).await?;
        series(&data).ok_or_else(|| self.strange("an answer without a result"))
    }

    /// The rules that are alerts, as the server tells of them.
    pub(crate) async fn alerts(&self) -> Result<Vec<Value>, Diagnosis> {
        let data = self.ask("/api/v1/rules?type=alert", "rules").await?;
        let groups = data["groups"].as_array();
        let groups = groups.ok_or_else(|| self.strange("an answer without groups"))?;
        let rules = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().into_iter().flatten());
        Ok(rules
            .filter(|rule| rule["type"] == "alerting")
            .cloned()
            .collect())
    }

    async fn ask(&self, path: &str, query: &str) -> Result<Value, Diagnosis> {
        let url = format!("{}{path}", self.url);
        let answer = self.http.get(&url, &[]).await;
        let answer = answer.map_err(|problem| self.strange(&problem))?;
        self.data(&answer, query)
    }

    /// The data of an answer, or why there is none: the query is at fault, or the server.
    fn data(&self, answer: &Answer, query: &str) -> Result<Value, Diagnosis> {
        let body: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| self.strange(&format!("{}: {}", answer.status, answer.excerpt())))?;
        match (body["status"].as_str(), answer.status) {
            (Some("success"), 200) => Ok(body["data"].clone()),
            // 422: it can be read, and cannot be evaluated.
            (Some("error"), 400 | 422) => Err(Diagnosis::MetricRefused {
                query: query.to_owned(),
                message: body["error"].as_str().unwrap_or_default().to_owned(),
            }),
            (Some(_) | None, status) => {
                Err(self.strange(&format!("{status}: {}", answer.excerpt())))
            }
        }
    }

    fn strange(&self, problem: &str) -> Diagnosis {
        Diagnosis::MetricsNotAnswering {
            url: self.url.to_owned(),
            problem: problem.to_owned(),
        }
    }
}

/// The series of a vector, a matrix or a scalar.
fn series(data: &Value) -> Option<Vec<Series>> {
    let result = &data["result"];
    if data["resultType"] == "scalar" {
        return Some(vec![Series {
            labels: Value::Object(serde_json::Map::new()),
            samples: vec![sample(result)?],
        }]);
    }
    result
        .as_array()?
        .iter()
        .map(|one| {
            let samples = match one["values"].as_array() {
                Some(values) => values.iter().map(sample).collect::<Option<Vec<_>>>()?,
                None => vec![sample(&one["value"])?],
            };
            Some(Series {
                labels: one["metric"].clone(),
                samples,
            })
        })
        .collect()
}

/// `[1795830966.807, "1"]`.
fn sample(value: &Value) -> Option<(Timestamp, f64)> {
    let seconds = value[0].as_f64()?;
    let at = Timestamp::from_millisecond((seconds * 1000.0) as i64).ok()?;
    let text = value[1].as_str()?;
    let number = match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().ok()?,
    };
    Some((at, number))
}

/// A query as it goes into a URL.
fn encoded(query: &str) -> String {
    let mut text = String::with_capacity(query.len() * 2);
    for byte in query.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte))
            }
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            headers: http::HeaderMap::new(),
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn every_kind_of_result_is_read() {
        let read = |data: Value| {
            let series = series(&data).unwrap();
            series
                .iter()
                .flat_map(|one| one.samples.iter().map(|(_, value)| *value))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            read(json!({"resultType": "scalar", "result": [1.5, "3"]})),
            [3.0]
        );
        let vector = json!({"resultType": "vector", "result": [
            {"metric": {"a": "b"}, "value": [1, "0.5"]}, {"metric": {}, "value": [1, "+Inf"]}]});
        assert_eq!(read(vector), [0.5, f64::INFINITY]);
        let matrix = json!({"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "1"], [2, "2"]]}]});
        assert_eq!(read(matrix), [1.0, 2.0]);
        assert_eq!(series(&json!({"resultType": "string"})), None);
    }

    #[test]
    fn a_query_that_is_refused_is_told_from_a_server_that_is_none() {
        let server = Prometheus::new("http://127.0.0.1:9090");
        let id = |status, body: &str| server.data(&answer(status, body), "up{").unwrap_err().id();
        assert_eq!(
            id(
                400,
                r#"{"status":"error","errorType":"bad_data","error":"parse error"}"#
            ),
            "metric-refused"
        );
        assert_eq!(
            id(
                422,
                r#"{"status":"error","errorType":"execution","error":"many-to-many"}"#
            ),
            "metric-refused"
        );
        assert_eq!(
            id(
                503,
                r#"{"status":"error","errorType":"unavailable","error":"busy"}"#
            ),
            "metrics-not-answering"
        );
        assert_eq!(
            id(200, "<html>somebody else</html>"),
            "metrics-not-answering"
        );
        assert_eq!(id(200, "{}"), "metrics-not-answering");
    }

    #[test]
    fn a_query_is_one_parameter() {
        assert_eq!(
            encoded("a{b=\"c d\"} & é"),
            "a%7Bb%3D%22c%20d%22%7D%20%26%20%C3%A9"
        );
    }
}
