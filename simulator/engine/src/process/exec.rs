//! Running a command beside a container's own process: probes and hooks.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::container::Container;
use super::supervisor::{Launch, Output, OutputSink, Scope};
use super::{Shared, blocking};
use crate::{ContainerState, EngineError, ExecOutput};

/// As much output is kept, as the kubelet does for probes.
const MAX_OUTPUT_BYTES: usize = 10 << 10;

/// Keeps the beginning of the output; the rest is read and dropped, so that the command is not
/// held up.
#[derive(Debug, Default)]
struct Capture {
    output: Mutex<Vec<u8>>,
}

impl Capture {
    fn with_output<T>(&self, act: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        act(&mut self.output.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl OutputSink for Capture {
    fn write(&self, output: Output, bytes: &[u8]) {
        match output {
            Output::Stdout | Output::Stderr => self.with_output(|kept| {
                let room = MAX_OUTPUT_BYTES - kept.len();
                kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }),
        }
    }

    fn close(&self) {}
}

/// A file that is removed when it is no longer needed, however that comes about.
struct TemporaryFile<'a>(&'a Path);

impl Drop for TemporaryFile<'_> {
    fn drop(&mut self) {
        // It may have gone with the container's directory.
        let _ = fs::remove_file(self.0);
    }
}

/// Runs the command to its end, or kills it after `timeout`.
pub(super) async fn run(
    shared: Arc<Shared>,
    container: Arc<Container>,
    command: Vec<String>,
    timeout: Duration,
) -> Result<ExecOutput, EngineError> {
    let id = container.id().0;
    match container.state() {
        ContainerState::Running { .. } => {}
        ContainerState::Created | ContainerState::Exited { .. } => {
            return Err(EngineError::InvalidContainer(format!(
                "container {id} is not running"
            )));
        }
    }
    let (planned, words) = (Arc::clone(&container), command.clone());
    let spec = blocking("looking at the command's program", move || {
        Ok(planned.further_process(&words))
    })
    .await??;
    let name = format!("exec-{}.json", shared.context.suffix(8));
    let written = Arc::clone(&container);
    let config_path = blocking("writing the shim's configuration", move || {
        written.write_shim_config(&name, spec)
    })
    .await?;
    let _temporary = TemporaryFile(&config_path);
    let capture = Arc::new(Capture::default());
    let launch = Launch {
        shim: shared.shim.clone(),
        config_path: config_path.clone(),
        container: id,
        scope: Scope::Session,
        sink: Arc::clone(&capture) as _,
    };
    let launched = shared.supervisor.launch(launch).await;
    let process =
        launched.map_err(|error| EngineError::runtime(format!("running {command:?}"), error))?;
    let Ok(exit_code) = tokio::time::timeout(timeout, process.ended()).await else {
        process.kill();
        process.ended().await;
        return Err(EngineError::runtime(
            format!("command {command:?} timed out"),
            format!("it did not end within {timeout:?} and was killed"),
        ));
    };
    Ok(ExecOutput {
        exit_code,
        output: capture.with_output(std::mem::take),
    })
}
