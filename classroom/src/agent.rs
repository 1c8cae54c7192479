//! The student's side of the wire: joins, delivers what the outbox holds, fetches orders.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::outbox::{Membership, Outbox, OutboxError};
use crate::protocol::{BATCH_MAX, Batch, Join, Joined, Orders, Receipt};

/// How long one request may take, beside what it waits for on purpose.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a request for orders waits for some.
const WAIT: Duration = Duration::from_secs(25);
/// Pause between two looks at the outbox.
const LOOK: Duration = Duration::from_millis(500);
/// Most bytes of an answer.
const ANSWER_MAX: usize = 1 << 20;
/// Pauses after failures: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// Why the server was of no help.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It cannot be reached.
    #[error("the class server {server} cannot be reached: {problem}")]
    Unreachable {
        /// Its address.
        server: String,
        /// In words.
        problem: String,
    },
    /// It refused, and says why.
    #[error("the class server says: {message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// In its words.
        message: String,
    },
    /// Its answer makes no sense.
    #[error("the class server {server} does not answer like one: {problem}")]
    Nonsense {
        /// Its address.
        server: String,
        /// In words.
        problem: String,
    },
    /// What it said cannot be written down, or what is to be told not be read.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
}

/// A connection to a class server.
#[derive(Clone, Debug)]
pub struct Agent {
    server: String,
    token: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Agent {
    /// To the server of a class that she is in.
    #[must_use]
    pub fn of(membership: &Membership) -> Self {
        Self::new(&membership.server, &membership.token)
    }

    fn new(server: &str, token: &str) -> Self {
        Self {
            server: server.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Joins a class.
    ///
    /// # Errors
    /// Where the server is out of reach or refuses, for one because the code is wrong.
    pub async fn join(server: &str, join: &Join) -> Result<Joined, AgentError> {
        let agent = Self::new(server, "");
        agent
            .ask(Method::POST, "/api/join", Some(join), LIMIT)
            .await
    }

    /// Tells the server that she leaves; her token opens nothing afterwards.
    ///
    /// # Errors
    /// Where the server is out of reach or refuses.
    pub async fn leave(&self) -> Result<(), AgentError> {
        self.ask::<(), serde_json::Value>(Method::POST, "/api/leave", None, LIMIT)
            .await
            .map(drop)
    }

    /// Sends everything that the outbox holds; answers how many events are kept now.
    ///
    /// # Errors
    /// Where the server is out of reach or refuses; what was acknowledged before is noted.
    pub async fn deliver(&self, outbox: &Outbox) -> Result<usize, AgentError> {
        let mut delivered = 0;
        loop {
            let events = outbox.pending(BATCH_MAX)?;
            let Some(first) = events.first().map(|event| event.number) else {
                return Ok(delivered);
            };
            let count = events.len();
            let batch = Batch { events };
            let receipt: Receipt = self
                .ask(Method::POST, "/api/events", Some(&batch), LIMIT)
                .await?;
            if receipt.acknowledged < first {
                return Err(AgentError::Nonsense {
                    server: self.server.clone(),
                    problem: format!("event {first} was sent and not acknowledged"),
                });
            }
            outbox.acknowledge(receipt.acknowledged)?;
            delivered += count;
        }
    }

    /// Fetches the orders that are new, waiting a while for some where `wait`; takes them in.
    ///
    /// # Errors
    /// As [`Agent::deliver`].
    pub async fn orders(&self, outbox: &Outbox, wait: bool) -> Result<usize, AgentError> {
        let after = outbox.told()?.last;
        let wait = if wait { WAIT } else { Duration::ZERO };
        let path = format!("/api/orders?after={after}&wait={}", wait.as_secs());
        let orders: Orders = self
            .ask::<(), _>(Method::GET, &path, None, LIMIT + wait)
            .await?;
        let count = orders.orders.len();
        if count > 0 {
            outbox.take(orders.orders)?;
        }
        Ok(count)
    }

    /// Delivers and listens until it is told to end, or the server no longer knows the student.
    /// `ordered` is called after new orders were taken in.
    ///
    /// # Errors
    /// Where the server refuses for good, or the outbox cannot be used.
    pub async fn run(
        &self,
        outbox: &Outbox,
        end: &CancellationToken,
        mut ordered: impl FnMut(),
    ) -> Result<(), AgentError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let outcome = tokio::select! {
                outcome = self.orders(outbox, true) => outcome,
                outcome = self.deliver_always(outbox) => outcome,
                () = end.cancelled() => return Ok(()),
            };
            match outcome {
                Ok(orders) => {
                    if orders > 0 {
                        ordered();
                    }
                    pause = FIRST_PAUSE;
                    continue;
                }
                Err(AgentError::Refused { status, message })
                    if status == StatusCode::UNAUTHORIZED =>
                {
                    return Err(AgentError::Refused { status, message });
                }
                Err(AgentError::Outbox(error)) => return Err(error.into()),
                Err(error) => tracing::debug!(%error, "the class is told later"),
            }
            tokio::select! {
                () = sleep(pause) => pause = (pause * 2).min(LAST_PAUSE),
                () = end.cancelled() => return Ok(()),
            }
        }
    }

    /// Delivers what is pushed, as it is pushed; ends only where that fails.
    async fn deliver_always(&self, outbox: &Outbox) -> Result<usize, AgentError> {
        loop {
            self.deliver(outbox).await?;
            // A look at a small file; a watch on it would be one more thing that can fail.
            sleep(LOOK).await;
        }
    }

    async fn ask<B: Serialize, A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        limit: Duration,
    ) -> Result<A, AgentError> {
        let body = body.map(|body| serde_json::to_vec(body).unwrap_or_default());
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.server));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if !self.token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        }
        let request = request.body(Full::from(body.unwrap_or_default()));
        let request = request.map_err(|error| self.unreachable(&error))?;
        let exchange = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| self.unreachable(&root(&error)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
            let body = body.map_err(|error| self.unreachable(&error))?;
            Ok::<_, AgentError>((status, body.to_bytes()))
        };
        let (status, body) = match timeout(limit, exchange).await {
            Ok(answered) => answered?,
            Err(_) => {
                let problem = format!("no answer after {} s", limit.as_secs());
                return Err(self.unreachable(&problem));
            }
        };
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        // An answer without content is JSON's null.
        let body = if body.is_empty() { &b"null"[..] } else { &body };
        serde_json::from_slice(body).map_err(|error| AgentError::Nonsense {
            server: self.server.clone(),
            problem: error.to_string(),
        })
    }

    fn unreachable(&self, problem: &dyn std::fmt::Display) -> AgentError {
        AgentError::Unreachable {
            server: self.server.clone(),
            problem: problem.to_string(),
        }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> AgentError {
        #[derive(serde::Deserialize)]
        struct Said {
            message: String,
        }
        match serde_json::from_slice::<Said>(body) {
            Ok(Said { message }) => AgentError::Refused { status, message },
            Err(_) => AgentError::Nonsense {
                server: self.server.clone(),
                problem: format!("it answers {status}"),
            },
        }
    }
}

/// The innermost cause, which is the one that says something.
pub(crate) fn root(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
