//! Commands inside running containers.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use futures::StreamExt;

use super::{Shared, errors};
use crate::{ContainerId, EngineError, ExecOutput};

/// As much output as the kubelet keeps of a probe.
const OUTPUT_LIMIT: usize = 10 * 1024;
/// The exit code may lag behind the end of the output.
const EXIT_CODE_TRIES: u32 = 50;
const EXIT_CODE_PAUSE: Duration = Duration::from_millis(10);

impl Shared {
    /// A command that outlives its timeout goes on running: the daemon has no verb to end it,
    /// and dockershim, long Kubernetes' own way to Docker, left it running likewise.
    pub(super) async fn exec(
        &self,
        container: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> Result<ExecOutput, EngineError> {
        match tokio::time::timeout(timeout, self.run_exec(container, command)).await {
            Ok(result) => result,
            Err(elapsed) => Err(EngineError::runtime(
                format!("command {command:?} timed out after {timeout:?}"),
                elapsed,
            )),
        }
    }

    async fn run_exec(
        &self,
        container: &ContainerId,
        command: &[String],
    ) -> Result<ExecOutput, EngineError> {
        let failed =
            |error| EngineError::runtime(format!("running {command:?} in a container"), error);
        let request = ExecConfig {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let exec = self
            .docker
            .create_exec(&container.0, request)
            .await
            .map_err(|error| match errors::status_code(&error) {
                Some(404) => EngineError::NotFound(format!("container {}", container.0)),
                Some(409) => {
                    EngineError::InvalidContainer(format!("container {} does not run", container.0))
                }

                _ => failed(error),
            })?;
        let output = match self
            .docker
            .start_exec(&exec.id, None)
            .await
            .map_err(failed)?
        {
            StartExecResults::Attached { mut output, .. } => {
                let mut kept = Vec::new();
                while let Some(chunk) = output.next().await {
                    keep(&mut kept, chunk.map_err(failed)?);
                }
                kept
            }
            StartExecResults::Detached => Vec::new(),
        };
        Ok(ExecOutput {
            exit_code: self.exit_code(&exec.id).await?,
            output,
        })
    }

    async fn exit_code(&self, exec: &str) -> Result<i32, EngineError> {
        for _ in 0..EXIT_CODE_TRIES {
            let seen = self
                .docker
                .inspect_exec(exec)
                .await
                .map_err(|error| EngineError::runtime("asking how a command ended", error))?;
            if let (Some(false), Some(code)) = (seen.running, seen.exit_code) {
                return Ok(i32::try_from(code).unwrap_or(i32::MAX));
            }
            tokio::time::sleep(EXIT_CODE_PAUSE).await;
        }
        Err(EngineError::runtime(
            "asking how a command ended",
            "its output ended, but Docker does not say with which code",
        ))
    }
}

/// Reads on past the limit, so that a talkative command does not block on a full pipe.
fn keep(kept: &mut Vec<u8>, chunk: LogOutput) {
    let chunk = chunk.into_bytes();
    let room = OUTPUT_LIMIT.saturating_sub(kept.len());
    kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
}
