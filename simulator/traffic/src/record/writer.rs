//! Appending to the record.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::segment::{numbers, path_of, run_of};
use super::{Entry, RecordError, Run, VERSION};
use crate::plan::Plan;

/// A file that has reached this size is followed by another.
const SEGMENT_BYTES: u64 = 4 << 20;
/// Files kept. Together 64 MiB: a day of traffic, or three hundred thousand failures.
const SEGMENTS: usize = 16;

/// The one writer of a record.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    run: Run,
    number: u64,
    file: File,
    written: u64,
    segment_bytes: u64,
    /// Held until the writer is dropped or its process ends, whichever way.
    _lock: File,
}

impl Writer {
    /// Begins a new run in `dir`, which is made where it is missing.
    ///
    /// # Errors
    /// Where another process writes there, or the file system refuses.
    pub fn begin(dir: &Path, plan: Plan, started: Timestamp) -> Result<Self, RecordError> {
        Self::with_segments_of(SEGMENT_BYTES, dir, plan, started)
    }

    pub(super) fn with_segments_of(
        segment_bytes: u64,
        dir: &Path,
        plan: Plan,
        started: Timestamp,
    ) -> Result<Self, RecordError> {
        let failed = |verb, path: &Path| {
            let path = path.to_owned();
            move |source| RecordError::Io { verb, path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed("create", dir))?;
        let lock_path = dir.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(RecordError::Locked {
                    dir: dir.to_owned(),
                });
            }
            Err(fs::TryLockError::Error(source)) => return Err(failed("lock", &lock_path)(source)),
        }
        let there = numbers(dir)?;
        let number = there.last().map_or(1, |last| last + 1);
        let last_run = there.iter().rev().find_map(|number| {
            let run = run_of(&path_of(dir, *number)).ok()??;
            Some(run.run)
        });
        let run = Run {
            version: VERSION,
            run: last_run.map_or(1, |last| last + 1),
            started,
            plan,
        };
        let path = path_of(dir, number);
        let file = create(&path).map_err(failed("create", &path))?;
        let mut writer = Self {
            dir: dir.to_owned(),
            run,
            number,
            file,
            written: 0,
            segment_bytes,
            _lock: lock,
        };
        writer.open_segment()?;
        Ok(writer)
    }

    /// The run that is written.
    #[must_use]
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Appends entries with one write.
    ///
    /// # Errors
    /// Where the file system refuses: a full disk, above all.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), RecordError> {
        if entries.is_empty() {
            return Ok(());
        }
        if self.written >= self.segment_bytes {
            self.rotate()?;
        }
        let mut text = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut text, entry).expect("entries are plain JSON");
            text.push(b'\n');
        }
        self.file
            .write_all(&text)
            .map_err(|source| self.io("write", source))?;
        self.written += text.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), RecordError> {
        self.number += 1;
        let path = path_of(&self.dir, self.number);
        self.file = create(&path).map_err(|source| self.io("create", source))?;
        self.written = 0;
        self.open_segment()
    }

    /// Writes the first line, and removes the files that are too many.
    fn open_segment(&mut self) -> Result<(), RecordError> {
        let first = Entry::Run(self.run.clone());
        self.append(&[first])?;
        let there = numbers(&self.dir)?;
        let surplus = there.len().saturating_sub(SEGMENTS);
        for number in &there[..surplus] {
            let path = path_of(&self.dir, *number);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(RecordError::Io {
                        verb: "remove",
                        path,
                        source: error,
                    });
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn io(&self, verb: &'static str, source: io::Error) -> RecordError {
        RecordError::Io {
            verb,
            path: path_of(&self.dir, self.number),
            source,
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}
