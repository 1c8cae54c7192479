//! The files of a record: their names, their first line, and their lines.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{Entry, RecordError, Run, VERSION};

/// Longest line that is read: a second with all its backends is a few KiB.
const LINE_BYTES: usize = 1 << 20;

/// The path of the file with this number.
pub(super) fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.jsonl"))
}

/// Numbers of the files there are, ascending. A directory that is missing has none.
pub(super) fn numbers(dir: &Path) -> Result<Vec<u64>, RecordError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(RecordError::Io {
                verb: "read",
                path: dir.to_owned(),
                source,
            });
        }
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut numbers: Vec<u64> = names
        .filter_map(|name| name.to_str()?.strip_suffix(".jsonl")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads the whole lines of a file from a position on.
pub(super) struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    /// Where the next line begins.
    pub(super) position: u64,
}

impl Lines {
    /// `None` where the file is gone: the writer removes the oldest.
    pub(super) fn open(path: &Path, position: u64) -> Result<Option<Self>, RecordError> {
        let opened = File::open(path).and_then(|mut file| {
            file.seek(SeekFrom::Start(position))?;
            Ok(file)
        });
        match opened {
            Ok(file) => Ok(Some(Self {
                path: path.to_owned(),
                file: BufReader::new(file),
                position,
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RecordError::Io {
                verb: "open",
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// The next entry. A line without its end is not there yet, or never will be: `None`. A line
    /// that says nothing to this program is passed over.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, RecordError> {
        loop {
            let mut line = Vec::new();
            let read =
                io::Read::take(&mut self.file, LINE_BYTES as u64).read_until(b'\n', &mut line);
            let read = read.map_err(|source| RecordError::Io {
                verb: "read",
                path: self.path.clone(),
                source,
            })?;
            if line.last() != Some(&b'\n') && read < LINE_BYTES {
                return Ok(None);
            }
            self.position += read as u64;
            match serde_json::from_slice(&line) {
                Ok(Entry::Run(run)) => return self.check(run).map(|run| Some(Entry::Run(run))),
                Ok(entry) => return Ok(Some(entry)),
                Err(_) => self.refuse_newer(&line)?,
            }
        }
    }

    fn check(&self, run: Run) -> Result<Run, RecordError> {
        if run.version > VERSION {
            return Err(self.newer(run.version));
        }
        Ok(run)
    }

    /// A newer program's first line may hold what this one cannot read, but it says its version.
    fn refuse_newer(&self, line: &[u8]) -> Result<(), RecordError> {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
        let version = line["run"]["version"].as_u64();
        match version.and_then(|version| u32::try_from(version).ok()) {
            Some(version) if version > VERSION => Err(self.newer(version)),
            Some(_) | None => Ok(()),
        }
    }

    fn newer(&self, found: u32) -> RecordError {
        RecordError::Newer {
            path: self.path.clone(),
            found,
        }
    }
}

/// The run that a file belongs to; `None` where the file is gone or nothing is in it yet.
pub(super) fn run_of(path: &Path) -> Result<Option<Run>, RecordError> {
    let Some(mut lines) = Lines::open(path, 0)? else {
        return Ok(None);
    };
    match lines.next()? {
        None => Ok(None),
        Some(Entry::Run(run)) => Ok(Some(run)),
        Some(_) => Err(RecordError::Damaged {
            path: path.to_owned(),
        }),
    }
}
