//! HTTP that answers as a test tells it to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use lab_controllers::{HttpClient, HttpError, HttpRequest, HttpResponse};

/// A client whose answers a test writes down beforehand; clones share them.
#[derive(Clone, Default)]
pub struct ScriptedHttp {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    scripts: Vec<Script>,
    requests: Vec<HttpRequest>,
}

struct Script {
    part: String,
    answers: VecDeque<HttpResponse>,
}

impl ScriptedHttp {
    /// Nothing answers yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests whose URL contains `part` are answered with these, one after the other; the last
    /// one stays. A later call for the same part replaces the answers.
    pub fn answer(&self, part: &str, answers: impl IntoIterator<Item = HttpResponse>) {
        let answers = answers.into_iter().collect();
        let mut state = self.lock();
        state.scripts.retain(|script| script.part != part);
        state.scripts.push(Script {
            part: part.to_owned(),
            answers,
        });
    }

    /// Every request so far.
    #[must_use]
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.lock().requests.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpClient for ScriptedHttp {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpError>> {
        let mut state = self.lock();
        let url = request.url.clone();
        state.requests.push(request);
        let script = state
            .scripts
            .iter_mut()
            .find(|script| url.contains(&script.part));
        let answer = script.and_then(|script| match script.answers.len() {
            0 | 1 => script.answers.front().cloned(),
            _ => script.answers.pop_front(),
        });
        let answer = answer.ok_or_else(|| HttpError::Failed {
            url,
            reason: "connection refused".to_owned(),
        });
        std::future::ready(answer).boxed()
    }
}

/// An answer with a status and a text.
#[must_use]
pub fn text(status: u16, body: &str) -> HttpResponse {
    HttpResponse {
        status,
        headers: Vec::new(),
        body: body.as_bytes().to_vec(),
    }
}

/// Prometheus' answer to a query whose result is a vector of these samples.
#[must_use]
pub fn vector(samples: &[f64]) -> HttpResponse {
    let result: Vec<_> = samples
        .iter()
        .map(|sample| serde_json::json!({"metric": {}, "value": [0, sample.to_string()]}))
        .collect();
    let data = serde_json::json!({"resultType": "vector", "result": result});
    let body = serde_json::json!({"status": "success", "data": data});
    text(200, &body.to_string())
}
