//! Stopping a run before its end: by Ctrl-C, by a closed terminal, by a newer run, or because its
//! cluster is deleted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How often the ways to be cancelled that send no signal are looked at. Ctrl-C is immediate.
const LOOK: Duration = Duration::from_millis(200);

/// How long steps that run although the run was cancelled may take together.
const LAST_WORDS: Duration = Duration::from_secs(60);

/// File in a run's directory that asks it to stop; it says why.
const REQUEST: &str = "cancel";

/// Whether to stop.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    asked: CancellationToken,
    now: CancellationToken,
    why: Arc<Mutex<Option<String>>>,
}

impl Cancel {
    /// One that listens to SIGINT, SIGTERM and SIGHUP, and, with `parent`, for the death of the
    /// process that started this one: a git that is gone can send no signal.
    ///
    /// # Errors
    /// Where signals cannot be listened to.
    pub fn listening(parent: bool) -> io::Result<Self> {
        let cancel = Self::default();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let listener = cancel.clone();
        let before = rustix::process::getppid();
        tokio::spawn(async move {
            loop {
                let why = tokio::select! {
                    _ = interrupt.recv() => "Ctrl-C",
                    _ = terminate.recv() => "it was told to end",
                    _ = hang_up.recv() => "the terminal was closed",
                    () = tokio::time::sleep(LOOK) => {
                        if parent && rustix::process::getppid() != before {
                            listener.ask("the git push ended");
                        }
                        continue;
                    }
                };
                if listener.is_asked() {
                    listener.now.cancel();
                }
                listener.ask(why);
            }
        });
        Ok(cancel)
    }

    /// Asks to stop. The first reason is kept.
    pub(crate) fn ask(&self, why: &str) {
        if self.asked.is_cancelled() {
            return;
        }
        let mut reason = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        reason.get_or_insert_with(|| why.to_owned());
        drop(reason);
        self.asked.cancel();
        let now = self.now.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LAST_WORDS).await;
            now.cancel();
        });
    }

    /// True once somebody asked.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }

    /// Why.
    pub(crate) fn why(&self) -> Option<String> {
        self.why
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What ends a step: the first request, or, where it runs in spite of that one, the last.
    pub(crate) fn token(&self) -> CancellationToken {
        if self.is_asked() {
            self.now.clone()
        } else {
            self.asked.clone()
        }
    }

    /// Ends once somebody asked.
    pub(crate) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// What ends even the steps that run although the run was cancelled.
    pub(crate) fn hurry(&self) -> &CancellationToken {
        &self.now
    }

    /// Looks at a run's directory until it is dropped: for a request, and whether it is there.
    pub(crate) fn watch(&self, dir: &Path) -> tokio_util::task::AbortOnDropHandle<()> {
        let cancel = self.clone();
        let (lock, request) = (dir.join("lock"), dir.join(REQUEST));
        tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                if let Ok(why) = fs::read_to_string(&request) {
                    cancel.ask(&why);
                } else if !lock.exists() {
                    cancel.ask("its cluster was deleted");
                    cancel.now.cancel();
                }
                tokio::time::sleep(LOOK).await;
            }
        }))
    }
}

/// Asks the run in this directory to stop.
///
/// # Errors
/// Where the file system refuses.
pub(crate) fn request(dir: &Path, why: &str) -> io::Result<()> {
    fs::write(dir.join(REQUEST), why)
}

/// Forgets a request, before a run begins again.
pub(crate) fn forget(dir: &Path) {
    let path: PathBuf = dir.join(REQUEST);
    // Mostly there is none.
    let _ = fs::remove_file(path);
}
