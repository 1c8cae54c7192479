//! The file that progress is kept in: read, upgraded, changed under a lock, replaced as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{LabProgress, Progress};

/// Version of the file that this program writes; it reads every earlier one.
const VERSION: u32 = 2;

/// Why progress cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum ProgressError {
    /// The file system refused.
    #[error("failed to {verb} {path}")]
    Io {
        /// `read`, `lock` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file is not ours, or half a file.
    #[error("{path} is damaged; remove it to begin the labs anew (checks find again what is done)")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A newer program wrote it.
    #[error("{path} was written by a newer devops-lab (version {found}; this one reads {VERSION})")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// What every version of the file has.
#[derive(Deserialize)]
struct Header {
    version: u32,
}

/// Version 1: lab, then step, to when it held first.
#[derive(Deserialize)]
struct First {
    done: BTreeMap<String, BTreeMap<String, Timestamp>>,
}

/// Version 2.
#[derive(Serialize, Deserialize)]
struct Second {
    version: u32,
    labs: BTreeMap<String, LabProgress>,
}

impl Progress {
    /// Reads a file; where there is none, nothing has been done.
    ///
    /// # Errors
    /// Where it cannot be read or is damaged.
    pub fn load(path: &Path) -> Result<Self, ProgressError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed("read", path)(error)),
        };
        let damaged = |source| ProgressError::Damaged {
            path: path.to_owned(),
            source,
        };
        let Header { version } = serde_json::from_str(&text).map_err(damaged)?;
        match version {
            0 | 1 => serde_json::from_str(&text).map(upgrade).map_err(damaged),
            VERSION => serde_json::from_str(&text)
                .map(|Second { version: _, labs }| Self { labs })
                .map_err(damaged),
            found => Err(ProgressError::Newer {
                path: path.to_owned(),
                found,
            }),
        }
    }

    /// Changes what a file holds, and answers with all of it and with what `change` says. Of two
    /// programs at once one waits for the other, so neither loses what the other noted. The
    /// file is replaced as a whole, so that a crash leaves the old one or the new one.
    ///
    /// # Errors
    /// As [`Progress::load`], and where it cannot be locked or written.
    pub fn update<T>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> T,
    ) -> Result<(Self, T), ProgressError> {
        let _lock = lock(path).map_err(failed("lock", path))?;
        let before = Self::load(path)?;
        let mut progress = before.clone();
        let answer = change(&mut progress);
        if progress != before {
            write(path, &progress).map_err(failed("write", path))?;
        }
        Ok((progress, answer))
    }
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ProgressError {
    let path = path.to_owned();
    move |source| ProgressError::Io { verb, path, source }
}

/// The earliest of what was done stands for the beginning, which was not noted then.
fn upgrade(First { done }: First) -> Progress {
    let labs = done.into_iter().map(|(name, steps)| {
        let mut lab = LabProgress {
            begun: steps.values().min().copied(),
            ..LabProgress::default()
        };
        for (step, at) in steps {
            lab.steps.entry(step).or_default().done = Some(at);
        }
        (name, lab)
    });
    Progress {
        labs: labs.collect(),
    }
}

/// Held until the answer is dropped, or its process ends, whichever way.
fn lock(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path.with_extension("lock"))?;
    file.lock()?;
    Ok(file)
}

fn write(path: &Path, progress: &Progress) -> io::Result<()> {
    let content = serde_json::to_vec_pretty(&Second {
        version: VERSION,
        labs: progress.labs.clone(),
    })?;
    // The lock sees to it that nobody else writes it.
    let temporary = path.with_extension("new");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(&content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        match path.parent() {
            // Without it, a power cut may bring the old name back.
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    });
    if written.is_err() {
        // The error that led here is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}
