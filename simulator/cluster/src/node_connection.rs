//! How the API server reaches a node's agent for logs and use of resources: over HTTP at the address in the Node's
//! status, or directly where the agent lives in the same process.

use std::sync::OnceLock;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client};
use lab_apiserver::{LogRequest, NodeConnection, NodeConnectionError};
use lab_engine::LogOptions;
use lab_node::{AgentHandle, LogError, LogQuery, Summary};
use tokio::net::TcpStream;

/// Limit on connecting to a node: one that is cut off must not hold a student's terminal.
const CONNECT_LIMIT: std::time::Duration = std::time::Duration::from_secs(3);

/// Connections to the agents of a cluster's nodes.
pub(crate) struct Nodes {
    token: String,
    client: OnceLock<Client>,
    local: OnceLock<AgentHandle>,
}

type LogStream = BoxStream<'static, Result<Bytes, NodeConnectionError>>;

impl Nodes {
    pub(crate) fn new(token: String) -> Self {
        Self {
            token,
            client: OnceLock::new(),
            local: OnceLock::new(),
        }
    }

    /// Supplies the client that finds nodes; the API server it belongs to is made with `self`.
    pub(crate) fn set_client(&self, client: Client) {
        let _ = self.client.set(client);
    }

    /// Supplies the agent of the nodes that live in this process.
    pub(crate) fn set_local(&self, agent: AgentHandle) {
        let _ = self.local.set(agent);
    }

    async fn address(&self, node: &str) -> Result<String, NodeConnectionError> {
        let unknown = || {
            NodeConnectionError::Refused(format!(
                "node {node:?} has not said where its agent listens"
            ))
        };
        let client = self.client.get().ok_or_else(unknown)?;
        let found = Api::<Node>::all(client.clone())
            .get_opt(node)
            .await
            .map_err(|error| unreachable(node, error))?;
        let status = found.and_then(|node| node.status).ok_or_else(unknown)?;
        let port = status
            .daemon_endpoints
            .and_then(|endpoints| endpoints.kubelet_endpoint)
            .ok_or_else(unknown)?
            .port;
        let addresses = status.addresses.unwrap_or_default();
        let ip = addresses
            .into_iter()
            .find(|address| address.type_ == "InternalIP")
            .ok_or_else(unknown)?;
        Ok(format!("{}:{port}", ip.address))
    }

    /// The agent of the nodes that live in this process.
    pub(crate) fn local(&self) -> Option<&AgentHandle> {
        self.local.get()
    }

    /// What a node's pods use.
    pub(crate) async fn summary(&self, node: &str) -> Result<Summary, NodeConnectionError> {
        let stream = self.remote(node, "/stats/summary").await?;
        let parts: Vec<Bytes> = stream.try_collect().await?;
        serde_json::from_slice(&parts.concat()).map_err(|error| lost(node, error))
    }

    async fn remote(&self, node: &str, path: &str) -> Result<LogStream, NodeConnectionError> {
        let address = self.address(node).await?;
        let connect = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(&address)).await;
        let stream = connect
            .map_err(|error| unreachable(node, error))?
            .map_err(|error| unreachable(node, error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unreachable(node, error))?;
        tokio::spawn(connection);
        let request = http::Request::get(path)
            .header(http::header::HOST, &address)
            .header(
                http::header::AUTHORIZATION,
                format!("Bearer {}", self.token),
            )
            .body(Empty::<Bytes>::new())
            .map_err(|error| unreachable(node, error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| unreachable(node, error))?;
        let accepted = response.status().is_success();
        let body = response.into_body();
        if !accepted {
            let text = body
                .collect()
                .await
                .map_err(|error| lost(node, error))?
                .to_bytes();
            return Err(NodeConnectionError::Refused(
                String::from_utf8_lossy(&text).into_owned(),
            ));
        }
        let node = node.to_owned();
        // The sender lives as long as the stream: dropping it would end the connection.
        let stream = body.into_data_stream().map(move |part| {
            let _keep = &sender;
            part.map_err(|error| lost(&node, error))
        });
        Ok(stream.boxed())
    }
}

#[async_trait]
impl NodeConnection for Nodes {
    async fn container_logs(
        &self,
        node: &str,
        request: LogRequest,
    ) -> Result<LogStream, NodeConnectionError> {
        let limit = request.limit_bytes;
        let query = query_of(request);
        let stream = match self.local.get() {
            Some(agent) => {
                let name = node.to_owned();
                let stream = agent.logs(&query).await.map_err(|error| match error {
                    LogError::BadRequest(message) => NodeConnectionError::Refused(message),
                    error @ LogError::CutOff(_) => lost(node, error),
                    LogError::Engine(error) => lost(node, error),
                })?;
                stream
                    .map(move |part| part.map_err(|error| lost(&name, error)))
                    .boxed()
            }
            None => self.remote(node, &path_of(&query)).await?,
        };
        Ok(match limit {
            Some(limit) => cut(stream, limit),
            None => stream,
        })
    }
}

fn query_of(request: LogRequest) -> LogQuery {
    let LogRequest {
        namespace,
        pod,
        container,
        follow,
        tail_lines,
        since_seconds,
        since_time,
        timestamps,
        previous,
        ..
    } = request;
    let since =
        since_time.or_else(|| Some(Timestamp::now() - SignedDuration::from_secs(since_seconds?)));
    LogQuery {
        namespace,
        pod,
        container,
        previous,
        options: LogOptions {
            follow,
            tail_lines,
            since,
            timestamps,
        },
    }
}

fn path_of(query: &LogQuery) -> String {
    let LogQuery {
        namespace,
        pod,
        container,
        previous,
        options,
    } = query;
    let mut path = format!(
        "/containerLogs/{namespace}/{pod}/{container}?follow={}&previous={previous}&timestamps={}",
        options.follow, options.timestamps
    );
    if let Some(lines) = options.tail_lines {
        path.push_str(&format!("&tailLines={lines}"));
    }
    if let Some(since) = options.since {
        path.push_str(&format!("&since={since}"));
    }
    path
}

/// The first `limit` bytes of a stream.
fn cut(stream: LogStream, limit: u64) -> LogStream {
    let cut = stream.scan(limit, |left, part| {
        let part = part.map(|mut bytes| {
            bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            bytes
        });
        let length = part.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let more = (*left > 0).then_some(part);
        *left -= length.min(*left);
        futures::future::ready(more)
    });
    cut.boxed()
}

fn unreachable(
    node: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> NodeConnectionError {
    NodeConnectionError::Unreachable {
        node: node.to_owned(),
        source: source.into(),
    }
}

fn lost(
    node: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> NodeConnectionError {
    NodeConnectionError::Lost {
        node: node.to_owned(),
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_byte_limit_cuts_in_the_middle_of_a_part() {
        let parts = ["hello ", "world", "!"].map(|text| Ok(Bytes::from(text)));
        let limited = cut(futures::stream::iter(parts).boxed(), 8);
        let text: Vec<u8> = limited.map(|part| part.unwrap().to_vec()).concat().await;
        assert_eq!(text, b"hello wo");
    }
}
