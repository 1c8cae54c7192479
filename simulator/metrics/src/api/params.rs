//! Parameters of a request, from the query and from a form.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{Method, header};
use jiff::Timestamp;
use lab_api::monitoring::duration_ms;

use super::Refusal;

/// Longest form, in bytes.
const LONGEST: usize = 256 << 10;

/// Name and value of every parameter.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Those of a request; of GET from its query, of POST from its form as well.
    ///
    /// # Errors
    /// Where another method is used, or the form is too long.
    pub(super) async fn of(request: Request) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let mut pairs = pairs(parts.uri.query().unwrap_or_default().as_bytes());
        match parts.method {
            Method::GET | Method::HEAD => {}
            Method::POST => {
                let type_ = parts.headers.get(header::CONTENT_TYPE);
                let type_ = type_.and_then(|value| value.to_str().ok()).unwrap_or("");
                if type_.starts_with("application/x-www-form-urlencoded") {
                    let form = to_bytes(body, LONGEST).await.map_err(|_| {
                        Refusal::BadData(format!("the form is longer than {LONGEST} bytes"))
                    })?;
                    pairs.extend(self::pairs(&form));
                }
            }
            other => {
                return Err(Refusal::BadData(format!(
                    "{other} is not allowed, only GET and POST"
                )));
            }
        }
        Ok(Self(pairs))
    }

    /// Every value of a parameter.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.0.iter().filter(move |(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter, if it is not empty.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.first(name)
            .ok_or_else(|| Refusal::BadData(format!("invalid parameter {name:?}: it is missing")))
    }

    /// A moment: Unix seconds or RFC 3339.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, Refusal> {
        let Some(text) = self.first(name) else {
            return Ok(None);
        };
        time(text).map(Some).ok_or_else(|| {
            Refusal::BadData(format!(
                "invalid parameter {name:?}: cannot parse {text:?} to a valid timestamp"
            ))
        })
    }

    /// Milliseconds: a number of seconds, or a duration such as `30s`.
    pub(super) fn duration(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.first(name) else {
            return Ok(None);
        };
        duration(text).map(Some).ok_or_else(|| {
            Refusal::BadData(format!(
                "invalid parameter {name:?}: cannot parse {text:?} to a valid duration"
            ))
        })
    }
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).into_owned().collect()
}

fn milliseconds(text: &str) -> Option<i64> {
    let seconds: f64 = text.parse().ok()?;
    if !seconds.is_finite() || seconds.abs() > 1e12 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    Some((seconds * 1000.0).round() as i64)
}

pub(super) fn time(text: &str) -> Option<Timestamp> {
    match milliseconds(text) {
        Some(ms) => Timestamp::from_millisecond(ms).ok(),
        None => text.parse().ok(),
    }
}

pub(super) fn duration(text: &str) -> Option<i64> {
    milliseconds(text).or_else(|| duration_ms(text))
}
