//! Entry points of the processes that engines start: a pod's shim, and the holder of a pod's
//! network.

use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};

/// Becomes the pod's program; returns only where that fails.
#[must_use]
pub fn shim(config: &Path) -> std::io::Error {
    lab_engine::process::shim_main(config)
}

/// Waits for TERM.
///
/// # Errors
/// Where signals cannot be listened to.
pub fn pause() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}
