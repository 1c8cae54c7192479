//! What a node process must do because it is process 1 of a PID namespace that its pods share.
//!
//! It adopts the orphans of every pod and must collect them when they end. And pods are its
//! neighbours there: they could read the daemon's socket through `/proc/1/root`, which is the
//! host's root, and send it signals. Both are measured and closed here.

use std::io;
use std::thread::JoinHandle;

use rustix::process::{DumpableBehavior, WaitOptions};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::iterator::{Handle, SignalsInfo};
use signal_hook::low_level::siginfo::Origin;
use tokio_util::sync::CancellationToken;

/// Closes `/proc/1` to the pods: without it, a pod as root opens the Docker socket through
/// `/proc/1/root` and has taken the machine. Call it before anything else.
///
/// # Errors
///
/// Where the kernel refuses; then no pod must be started.
pub fn protect_agent() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(
        DumpableBehavior::NotDumpable,
    )?)
}

/// Listens to signals on a thread of its own until it is dropped.
#[derive(Debug)]
pub struct SignalWatch {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl SignalWatch {
    /// Cancels `stop` at the first TERM or INT that comes from outside of the namespace, and
    /// collects orphans that end. As process 1 it must have no children of its own to wait
    /// for: they would be collected here.
    ///
    /// # Errors
    ///
    /// Where the handlers cannot be installed.
    pub fn start(stop: CancellationToken) -> io::Result<Self> {
        let is_init = std::process::id() == 1;
        let mut signals = SignalsInfo::<WithOrigin>::new([SIGTERM, SIGINT, SIGCHLD])?;
        let handle = signals.handle();
        let watch = move || {
            for origin in signals.forever() {
                match origin.signal {
                    SIGCHLD if is_init => collect_orphans(),
                    SIGCHLD => {}
                    _ if is_for_us(&origin, is_init) => stop.cancel(),
                    _ => tracing::warn!(?origin, "ignored a signal that a pod sent to its node"),
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(watch)?;
        Ok(Self {
            handle,
            thread: Some(thread),
        })
    }
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported already.
            let _ = thread.join();
        }
    }
}

/// A sender outside of the namespace (`docker stop`) has no number inside: it appears as 0.
/// Pods have one.
fn is_for_us(origin: &Origin, is_init: bool) -> bool {
    !is_init || origin.process.as_ref().is_none_or(|sender| sender.pid == 0)
}

fn collect_orphans() {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            // Nobody has ended, or nobody is left.
            Ok(None) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_is_not_init_obeys_any_sender() {
        let stop = CancellationToken::new();
        let _watch = SignalWatch::start(stop.clone()).unwrap();
        signal_hook::low_level::raise(SIGTERM).unwrap();
        stop.cancelled().await;
    }

    #[test]
    fn a_protected_process_says_so() {
        protect_agent().unwrap();
        assert_eq!(
            rustix::process::dumpable_behavior().unwrap(),
            DumpableBehavior::NotDumpable
        );
    }
}
