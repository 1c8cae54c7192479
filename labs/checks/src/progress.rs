//! Which steps have been done, kept in a file.
//!
//! A step counts as done once its checks held together; it stays done when a later step changes
//! what it checked.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lab::{Lab, Step};
use crate::library::Labs;

/// Version of the file that this program writes and reads.
const VERSION: u32 = 1;

/// The steps that have been done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    version: u32,
    /// Lab, then step, to when it held first.
    done: BTreeMap<String, BTreeMap<String, Timestamp>>,
}

/// Why progress cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum ProgressError {
    /// The file system refused.
    #[error("failed to {verb} {path}")]
    Io {
        /// `read` or `write`.
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

impl Progress {
    /// Reads a file; where there is none, nothing has been done.
    ///
    /// # Errors
    /// Where it cannot be read or is damaged.
    pub fn load(path: &Path) -> Result<Self, ProgressError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => {
                return Err(ProgressError::Io {
                    verb: "read",
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let progress: Self =
            serde_json::from_str(&text).map_err(|source| ProgressError::Damaged {
                path: path.to_owned(),
                source,
            })?;
        if progress.version > VERSION {
            return Err(ProgressError::Newer {
                path: path.to_owned(),
                found: progress.version,
            });
        }
        Ok(progress)
    }

    /// Notes in a file that a step held at `now`, and answers with all that has been done. What
    /// was done stays done, at its first time. The file is replaced as a whole, so that a
    /// crash leaves the old one or the new one.
    ///
    /// # Errors
    /// As [`Progress::load`], and where it cannot be written.
    pub fn record(
        path: &Path,
        lab: &str,
        step: &str,
        now: Timestamp,
    ) -> Result<Self, ProgressError> {
        let mut progress = Self::load(path)?;
        progress.version = VERSION;
        progress
            .done
            .entry(lab.to_owned())
            .or_default()
            .entry(step.to_owned())
            .or_insert(now);
        write(path, &progress).map_err(|source| ProgressError::Io {
            verb: "write",
            path: path.to_owned(),
            source,
        })?;
        Ok(progress)
    }

    /// True where the step has held once.
    #[must_use]
    pub fn is_done(&self, lab: &str, step: &str) -> bool {
        self.done
            .get(lab)
            .is_some_and(|steps| steps.contains_key(step))
    }

    /// How many steps of a lab are done. Steps that the lab no longer has do not count.
    #[must_use]
    pub fn done_of(&self, lab: &Lab) -> usize {
        lab.steps
            .iter()
            .filter(|step| self.is_done(&lab.name, &step.id))
            .count()
    }

    /// The first step that is not done yet; none where all labs are done.
    #[must_use]
    pub fn next_step<'a>(&self, labs: &'a Labs) -> Option<(&'a Lab, &'a Step)> {
        labs.iter()
            .find_map(|lab| Some((lab, self.next_step_of(lab)?)))
    }

    /// The first step of a lab that is not done yet.
    #[must_use]
    pub fn next_step_of<'a>(&self, lab: &'a Lab) -> Option<&'a Step> {
        lab.steps
            .iter()
            .find(|step| !self.is_done(&lab.name, &step.id))
    }
}

fn write(path: &Path, progress: &Progress) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    // Two checks at once must not write into one temporary file.
    let temporary = path.with_extension(format!("{}.new", std::process::id()));
    let written = fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(&serde_json::to_vec_pretty(progress)?)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    if written.is_err() {
        // The error that led here is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_is_done_is_kept_with_its_first_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labs/progress.json");
        assert_eq!(Progress::load(&path).unwrap(), Progress::default());
        Progress::record(&path, "lab", "look", at(1)).unwrap();
        let progress = Progress::record(&path, "lab", "look", at(2)).unwrap();
        assert_eq!(progress.done["lab"]["look"], at(1));
        assert_eq!(Progress::load(&path).unwrap(), progress);
        let files: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(files.len(), 1, "a temporary file is left");
    }

    #[test]
    fn the_next_step_is_the_first_that_is_not_done() {
        let labs = Labs::embedded().unwrap();
        let lab = labs.get("deploy-three-replicas").unwrap();
        let mut progress = Progress::default();
        assert_eq!(progress.next_step_of(lab), lab.steps.first());
        let steps = lab
            .steps
            .iter()
            .map(|step| (step.id.clone(), at(0)))
            .chain([("gone".to_owned(), at(0))]);
        progress.done.insert(lab.name.clone(), steps.collect());
        assert_eq!(progress.next_step_of(lab), None);
        assert_eq!(progress.done_of(lab), lab.steps.len());
    }

    #[test]
    fn a_damaged_or_newer_file_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("progress.json");
        fs::write(&path, "{").unwrap();
        assert!(matches!(
            Progress::load(&path),
            Err(ProgressError::Damaged { .. })
        ));
        fs::write(&path, r#"{"version": 9, "done": {}}"#).unwrap();
        assert!(matches!(
            Progress::load(&path),
            Err(ProgressError::Newer { found: 9, .. })
        ));
    }
}
