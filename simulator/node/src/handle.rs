//! Answers for the logs and the use of this agent's pods, over HTTP or in-process.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Pod;
use lab_engine::{ContainerStatus, EngineError, LogOptions, SandboxStatus};

use crate::agent::Shared;
use crate::stats;
use crate::summary::Summary;

/// Reads what the agent's containers wrote and what they use; cheap to clone.
#[derive(Clone)]
pub struct AgentHandle {
    shared: Arc<Shared>,
}

/// Which log to read.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container.
    pub container: String,
    /// True for the run before the present one.
    pub previous: bool,
    /// Which part.
    pub options: LogOptions,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The pod or container is unknown, or has not started; the text is for the user.
    #[error("{0}")]
    BadRequest(String),
    /// The node is cut off from the control plane.
    #[error("node {0} does not answer: it is cut off from the control plane")]
    CutOff(String),
    /// The engine failed.
    #[error("the engine could not read the log")]
    Engine(#[source] EngineError),
}

impl AgentHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The log as a stream; it stays open where `follow` is set and the container runs.
    ///
    /// # Errors
    /// In the API server's words where the container has no log to give.
    pub async fn logs(
        &self,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, LogError> {
        let LogQuery {
            namespace,
            pod: name,
            container,
            previous,
            options,
        } = query;
        let entry = self.shared.find(namespace, name).ok_or_else(|| {
            LogError::BadRequest(format!(
                "pod \"{name}\" in namespace \"{namespace}\" is not running on this node"
            ))
        })?;
        let pod = entry.pod();
        if self.shared.is_cut_off(&pod) {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
            return Err(LogError::CutOff(node.unwrap_or_default()));
        }
        let sandbox = self.sandbox(&entry.uid).await.map_err(LogError::Engine)?;
        let run = sandbox
            .as_ref()
            .and_then(|sandbox| select(sandbox, container, *previous));
        let Some(run) = run else {
            return Err(LogError::BadRequest(no_log(
                &pod, name, container, *previous,
            )));
        };
        self.shared
            .engine
            .logs(&run.id, options)
            .await
            .map_err(LogError::Engine)
    }

    /// What the agent's pods use now, of one namespace or of all. CPU is a rate over the time
    /// since the question before, so a container appears with the second one (or with the first
    /// where it has only just started).
    ///
    /// # Errors
    /// Where the engine cannot say what it runs.
    pub async fn summary(&self, namespace: Option<&str>) -> Result<Summary, EngineError> {
        stats::summary(&self.shared, namespace).await
    }

    async fn sandbox(&self, uid: &str) -> Result<Option<SandboxStatus>, EngineError> {
        let sandboxes = self.shared.engine.list_sandboxes().await?;
        Ok(sandboxes
            .into_iter()
            .find(|sandbox| sandbox.config.uid == uid))
    }
}

/// The latest run of a container, or the one before it.
fn select<'a>(
    sandbox: &'a SandboxStatus,
    container: &str,
    previous: bool,
) -> Option<&'a ContainerStatus> {
    let mut runs: Vec<_> = sandbox
        .containers
        .iter()
        .filter(|run| run.name == container)
        .collect();
    runs.sort_by_key(|run| std::cmp::Reverse(run.attempt));
    // While the next start is held back, the run that ended is itself the previous one.
    let waiting = runs
        .first()
        .is_some_and(|run| matches!(run.state, lab_engine::ContainerState::Exited { .. }));
    let skip = usize::from(previous && !(waiting && runs.len() == 1));
    runs.into_iter().nth(skip)
}

fn no_log(pod: &Pod, name: &str, container: &str, previous: bool) -> String {
    if previous {
        return format!(
            "previous terminated container \"{container}\" in pod \"{name}\" not found"
        );
    }
    let status = pod.status.as_ref();
    let statuses = status.iter().flat_map(|status| {
        status
            .container_statuses
            .iter()
            .flatten()
            .chain(status.init_container_statuses.iter().flatten())
    });
    let waiting = statuses
        .filter(|status| status.name == container)
        .find_map(|status| status.state.as_ref()?.waiting.as_ref()?.reason.clone());
    match waiting.as_deref() {
        Some("ErrImagePull" | "ImagePullBackOff") => format!(
            "container \"{container}\" in pod \"{name}\" is waiting to start: trying and failing to pull image"
        ),
        Some(reason) => {
            format!("container \"{container}\" in pod \"{name}\" is waiting to start: {reason}")
        }
        None => format!("container \"{container}\" in pod \"{name}\" is not available"),
    }
}
