//! The teacher's side of the wire, for programs: what the dashboard's buttons do.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::timeout;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Most bytes of an answer: a large class, with everything that a dashboard shows.
const ANSWER_MAX: usize = 16 << 20;

/// Why the class server did not do what a teacher wished.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// It cannot be reached.
    #[error("no class server answers at {server}: {problem}")]
    Unreachable {
        /// Its address.
        server: String,
        /// In words.
        problem: String,
    },
    /// It refused, and says why.
    #[error("the class server says: {0}")]
    Refused(String),
}

/// A teacher who is logged in.
#[derive(Clone, Debug)]
pub struct Desk {
    server: String,
    cookie: String,
    csrf: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Desk {
    /// Logs in by the teachers' password.
    ///
    /// # Errors
    /// Where there is no server, or another password.
    pub async fn log_in(server: &str, password: &str, name: &str) -> Result<Self, DeskError> {
        let mut desk = Self {
            server: server.trim_end_matches('/').to_owned(),
            cookie: String::new(),
            csrf: String::new(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        };
        let body = json!({"password": password, "name": name});
        let (cookie, answer) = desk
            .ask(Method::POST, "/teacher/login", Some(&body))
            .await?;
        desk.cookie = cookie.unwrap_or_default();
        desk.csrf = answer["csrf"].as_str().unwrap_or_default().to_owned();
        Ok(desk)
    }

    /// Opens a lab, where only some are open, and leads the whole class to a step of it. Answers
    /// how many students there are.
    ///
    /// # Errors
    /// Where the server cannot be reached or refuses, as where it has no such step.
    pub async fn lead_to(&self, lab: &str, step: &str) -> Result<usize, DeskError> {
        let (_, class) = self.ask(Method::GET, "/teacher/api/class", None).await?;
        if let Some(mut open) = open_labs(&class)
            && !open.iter().any(|name| name == lab)
        {
            open.push(lab.to_owned());
            self.wish(&json!({"wish": "labs", "open": open})).await?;
        }
        self.wish(&json!({"wish": "point", "lab": lab, "step": step}))
            .await?;
        Ok(class["students"].as_array().map_or(0, Vec::len))
    }

    async fn wish(&self, wish: &Value) -> Result<(), DeskError> {
        self.ask(Method::POST, "/teacher/api/wish", Some(wish))
            .await
            .map(drop)
    }

    /// Answers with the cookie that was set, and the body.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Option<String>, Value), DeskError> {
        let unreachable = |problem: String| DeskError::Unreachable {
            server: self.server.clone(),
            problem,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server))
            .header(header::CONTENT_TYPE, "application/json");
        if !self.cookie.is_empty() {
            request = request
                .header(header::COOKIE, &self.cookie)
                .header("x-csrf", &self.csrf);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request
            .body(Full::from(body))
            .map_err(|error| unreachable(error.to_string()))?;
        let exchange = async {
            let answer = self.client.request(request).await;
            let (head, body) = answer
                .map_err(|error| unreachable(root(&error)))?
                .into_parts();
            let body = Limited::new(body, ANSWER_MAX).collect().await;
            let body = body.map_err(|error| unreachable(error.to_string()))?;
            Ok((head, body.to_bytes()))
        };
        let Ok(answered) = timeout(LIMIT, exchange).await else {
            return Err(unreachable(format!(
                "no answer after {} s",
                LIMIT.as_secs()
            )));
        };
        let (head, body) = answered?;
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        if head.status == StatusCode::OK || head.status == StatusCode::NO_CONTENT {
            let cookie = head.headers.get(header::SET_COOKIE);
            let cookie = cookie.and_then(|value| value.to_str().ok()?.split(';').next());
            return Ok((cookie.map(str::to_owned), value));
        }
        let message = value["message"].as_str();
        Err(DeskError::Refused(
            message.map_or_else(|| head.status.to_string(), str::to_owned),
        ))
    }
}

/// The labs that are open, where not all are.
fn open_labs(class: &Value) -> Option<Vec<String>> {
    let orders = class["orders"].as_array()?;
    let last = orders
        .iter()
        .rev()
        .find_map(|order| order["open"].as_array())?;
    let names: Vec<_> = last
        .iter()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    (!names.is_empty()).then_some(names)
}

/// The innermost cause, which is the one that says something.
fn root(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
