//! How the server reaches a node. The server defines what it needs; the composition root
//! supplies it, so that this crate never learns what a node is made of.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;

/// Requests that only the node of a pod can answer.
#[async_trait]
pub trait NodeConnection: Send + Sync {
    /// Output of a container, as it is written where `request.follow` is set.
    async fn container_logs(
        &self,
        node: &str,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<Bytes, NodeConnectionError>>, NodeConnectionError>;
}

/// Which part of which container's output.
/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#http-request-2>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container.
    pub container: String,
    /// Keep the stream open for new output.
    pub follow: bool,
    /// Only this many lines from the end.
    pub tail_lines: Option<u64>,
    /// Only what is at most this old, in seconds.
    pub since_seconds: Option<i64>,
    /// Only what was written from then on.
    pub since_time: Option<Timestamp>,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// Output of the container before its last restart.
    pub previous: bool,
    /// Stop after this many bytes.
    pub limit_bytes: Option<u64>,
}

/// Why a node did not answer.
#[derive(Debug, thiserror::Error)]
pub enum NodeConnectionError {
    /// The node cannot be reached.
    #[error("node {node:?} cannot be reached; see kubectl describe node {node}")]
    Unreachable {
        /// Its name.
        node: String,
        /// What the connection said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The node answered that the request makes no sense, in its own words.
    #[error("{0}")]
    Refused(String),
    /// The stream broke off.
    #[error("connection to node {node:?} was lost")]
    Lost {
        /// Its name.
        node: String,
        /// What the connection said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
