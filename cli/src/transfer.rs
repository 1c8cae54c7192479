//! The progress of bytes: how many, how fast, how long still. Silent where nobody sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lab_bundle::Watch;
use lab_classroom::download::Progress;
use tokio::signal::unix::{SignalKind, signal};

/// A bar on standard error.
pub(crate) struct Transfer {
    bar: ProgressBar,
    stop: Arc<AtomicBool>,
    /// What is said while everything is verified.
    verifies: String,
}

impl Transfer {
    /// A bar of so many bytes; 0 where nobody knows yet.
    pub(crate) fn new(what: &str, size: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr());
        let look = "  {msg} {bar:24} {bytes} / {total_bytes}  {bytes_per_sec}  {eta}";
        bar.set_style(
            ProgressStyle::with_template(look).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            bar,
            stop: Arc::default(),
            verifies: what.to_owned(),
        }
    }

    /// Says this while what has come is verified.
    pub(crate) fn then(mut self, verifies: &str) -> Self {
        verifies.clone_into(&mut self.verifies);
        self
    }

    /// Ends the work at Ctrl-C, in order.
    ///
    /// # Errors
    /// Where signals cannot be listened for.
    pub(crate) fn until_interrupted(self) -> anyhow::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let stop = Arc::clone(&self.stop);
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            stop.store(true, Ordering::Relaxed);
        });
        Ok(self)
    }

    /// How long it is after all.
    pub(crate) fn set_size(&self, size: u64) {
        self.bar.set_length(size);
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Watch for Transfer {
    fn passed(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Progress for Transfer {
    fn at(&self, have: u64, size: u64) {
        self.bar.set_length(size);
        self.bar.set_position(have);
        // What came in an earlier run says nothing about the speed of this one.
        self.bar.reset_eta();
    }

    fn again(&self, problem: &str) {
        let text = format!("  {problem} …");
        if self.bar.is_hidden() {
            crate::output::note(text);
        } else {
            self.bar.println(text);
        }
    }

    fn verifying(&self, size: u64) {
        self.bar.set_message(self.verifies.clone());
        self.bar.set_length(size);
        self.bar.set_position(0);
        self.bar.reset_eta();
    }
}
