//! `concurrency`: of the runs of a group one runs, one waits, and whoever waited before gives up.
//! <https://docs.github.com/en/actions/how-tos/write-workflows/choose-when-workflows-run/control-workflow-concurrency>

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::cancel::{self, Cancel};
use crate::runs::run_dir;

/// Pause between two looks at a group that another run holds.
const PAUSE: Duration = Duration::from_millis(100);

/// A place in a group; given back when it is dropped, or its process dies.
#[derive(Debug)]
pub(super) struct Turn {
    _lock: File,
}

/// A group of a repository's runs.
pub(super) struct Group<'a> {
    pub(super) pipelines: &'a std::path::Path,
    pub(super) repository: &'a str,
    pub(super) name: &'a str,
}

impl Group<'_> {
    /// A file of the group. Its name may hold anything, so its digest stands for it.
    fn file(&self, kind: &str) -> PathBuf {
        let digest = Sha256::digest(self.name.to_lowercase());
        let digest: String = digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.pipelines
            .join(self.repository)
            .join(format!(".group-{digest}-{kind}"))
    }

    fn number(&self, kind: &str) -> Option<u64> {
        fs::read_to_string(self.file(kind))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Waits until no other run of the group runs. `waits` is called with the number of the one
    /// that does, if we have to wait. `None` where the run was cancelled meanwhile.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub(super) async fn enter(
        &self,
        number: u64,
        cancel_others: bool,
        cancel: &Cancel,
        mut waits: impl FnMut(Option<u64>),
    ) -> io::Result<Option<Turn>> {
        let path = self.file("lock");
        let lock = OpenOptions::new().create(true).append(true).open(&path)?;
        let mut waiting = false;
        while !cancel.is_asked() {
            match lock.try_lock() {
                Ok(()) => {
                    fs::write(self.file("running"), number.to_string())?;
                    if self.number("waiting") == Some(number) {
                        fs::remove_file(self.file("waiting"))?;
                    }
                    return Ok(Some(Turn { _lock: lock }));
                }
                Err(TryLockError::WouldBlock) if !waiting => {
                    waiting = true;
                    let running = self.number("running");
                    waits(running);
                    self.displace(number, cancel_others.then_some(running).flatten())?;
                }
                Err(TryLockError::WouldBlock) => {
                    tokio::select! {
                        () = tokio::time::sleep(PAUSE) => {}
                        () = cancel.asked() => {}
                    }
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Takes the place of whoever waits, and ends the one that runs, where that is wanted.
    fn displace(&self, number: u64, running: Option<u64>) -> io::Result<()> {
        let waiting = self.number("waiting");
        fs::write(self.file("waiting"), number.to_string())?;
        let why = format!("run {number} of the group {} came after it", self.name);
        for other in [waiting, running]
            .into_iter()
            .flatten()
            .filter(|other| *other != number)
        {
            let dir = run_dir(self.pipelines, self.repository, other);
            // One that has ended meanwhile needs no telling.
            if dir.exists() {
                cancel::request(&dir, &why)?;
            }
        }
        Ok(())
    }
}
