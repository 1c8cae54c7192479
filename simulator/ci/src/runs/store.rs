//! The files of the runs: reading them at any time, and writing those of one's own run.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;

use super::{Conclusion, LogRange, RUN_VERSION, Run};

/// How many runs of a repository are kept.
pub const KEPT: usize = 50;

/// How the name of a directory begins that is to become a run's.
const UNBORN: &str = ".new-";

/// What a run that nobody runs any more is said to have died of.
const ABANDONED: &str = "the program that ran it was killed";

/// Why runs cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RunsError {
    /// The file system refused.
    #[error("failed to {verb} {path}")]
    Io {
        /// `read`, `write` …
        verb: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file is not what this program writes.
    #[error("{path} is damaged ({problem}); remove the directory that holds it")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A newer program wrote it.
    #[error(
        "{path} was written by a newer devops-lab (version {found}, this program reads up to {RUN_VERSION})"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunsError {
    let path = path.to_owned();
    move |source| RunsError::Io { verb, path, source }
}

/// Names of the repositories that have runs, sorted.
///
/// # Errors
/// Where the directory cannot be read.
pub fn repositories(pipelines: &Path) -> Result<Vec<String>, RunsError> {
    let mut names = entries(pipelines)?;
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    Ok(names)
}

/// The runs of a repository, newest first.
///
/// # Errors
/// Where one cannot be read.
pub fn list(pipelines: &Path, repository: &str) -> Result<Vec<Run>, RunsError> {
    let numbers = numbers(&pipelines.join(repository))?;
    let mut runs = Vec::new();
    for number in numbers.into_iter().rev() {
        // A run may be removed while the others are read.
        runs.extend(load(pipelines, repository, number)?);
    }
    Ok(runs)
}

/// The run of this number.
///
/// # Errors
/// Where it cannot be read.
pub fn load(pipelines: &Path, repository: &str, number: u64) -> Result<Option<Run>, RunsError> {
    let dir = run_dir(pipelines, repository, number);
    let Some(mut run) = read(&dir.join("run.json"))? else {
        return Ok(None);
    };
    if !run.is_over() && is_abandoned(&dir) {
        // It may have ended between the two looks.
        match read(&dir.join("run.json"))? {
            Some(again) if again.is_over() => return Ok(Some(again)),
            Some(_) => abandon(&mut run),
            None => return Ok(None),
        }
    }
    Ok(Some(run))
}

/// The newest run of a repository.
///
/// # Errors
/// Where it cannot be read.
pub fn latest(pipelines: &Path, repository: &str) -> Result<Option<Run>, RunsError> {
    for number in numbers(&pipelines.join(repository))?.into_iter().rev() {
        if let Some(run) = load(pipelines, repository, number)? {
            return Ok(Some(run));
        }
    }
    Ok(None)
}

/// The runs for a commit, newest first. The commit may be shortened to seven digits or more.
///
/// # Errors
/// Where one cannot be read.
pub fn of_commit(pipelines: &Path, repository: &str, commit: &str) -> Result<Vec<Run>, RunsError> {
    let mut runs = list(pipelines, repository)?;
    runs.retain(|run| commit.len() >= 7 && run.commit.starts_with(commit));
    Ok(runs)
}

/// The newest run for a commit, which may be shortened to seven digits or more.
///
/// # Errors
/// Where one cannot be read.
pub fn latest_of_commit(
    pipelines: &Path,
    repository: &str,
    commit: &str,
) -> Result<Option<Run>, RunsError> {
    Ok(of_commit(pipelines, repository, commit)?.into_iter().next())
}

/// Where a run is kept.
#[must_use]
pub fn run_dir(pipelines: &Path, repository: &str, number: u64) -> PathBuf {
    pipelines.join(repository).join(number.to_string())
}

/// A part of a run's log, or all of it.
///
/// # Errors
/// Where it cannot be read.
pub fn log(pipelines: &Path, run: &Run, part: Option<LogRange>) -> Result<String, RunsError> {
    let path = run_dir(pipelines, &run.repository, run.number).join("log");
    let mut bytes = Vec::new();
    let read = |bytes: &mut Vec<u8>| {
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            opened => opened?,
        };
        match part {
            None => file.read_to_end(bytes),
            Some(LogRange { start, end }) => {
                file.seek(SeekFrom::Start(start))?;
                file.take(end.saturating_sub(start)).read_to_end(bytes)
            }
        }
    };
    read(&mut bytes).map_err(failed("read", &path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn entries(dir: &Path) -> Result<Vec<String>, RunsError> {
    let found = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(failed("read", dir))?,
    };
    Ok(found
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect())
}

/// Numbers of the runs in a repository's directory, ascending.
fn numbers(dir: &Path) -> Result<Vec<u64>, RunsError> {
    let names = entries(dir)?;
    let mut numbers: Vec<_> = names.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn read(path: &Path) -> Result<Option<Run>, RunsError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.map_err(failed("read", path))?,
    };
    let corrupt = |error: serde_json::Error| RunsError::Corrupt {
        path: path.to_owned(),
        problem: error.to_string(),
    };
    let Version { version } = serde_json::from_str(&text).map_err(corrupt)?;
    if version > RUN_VERSION {
        return Err(RunsError::Newer {
            path: path.to_owned(),
            found: version,
        });
    }
    serde_json::from_str(&text).map(Some).map_err(corrupt)
}

/// True where no process holds the run's lock. Readers share it for a moment, so that they do not
/// take each other for the runner.
fn is_abandoned(dir: &Path) -> bool {
    File::open(dir.join("lock")).is_ok_and(|file| file.try_lock_shared().is_ok())
}

/// Ends the record of a run whose process is gone.
fn abandon(run: &mut Run) {
    run.problem.get_or_insert_with(|| ABANDONED.to_owned());
    run.conclusion = Some(Conclusion::Cancelled);
    for job in run.jobs.iter_mut().filter(|job| job.conclusion.is_none()) {
        job.conclusion = Some(Conclusion::Cancelled);
        let open = job
            .steps
            .iter_mut()
            .filter(|step| step.conclusion.is_none());
        for step in open {
            step.conclusion = Some(match step.started {
                Some(_) => Conclusion::Cancelled,
                None => Conclusion::Skipped,
            });
        }
    }
    let last = run.jobs.iter().flat_map(|job| &job.steps);
    let last = last.filter_map(|step| step.ended.or(step.started)).max();
    run.ended = Some(last.unwrap_or(run.started));
}

/// The directory of a run that this process runs: nobody else writes in it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

/// Makes the directory of a new run and gives it the next number.
///
/// # Errors
/// Where the file system refuses.
pub(crate) fn create(pipelines: &Path, mut run: Run) -> Result<(Folder, Run), RunsError> {
    let repository = pipelines.join(&run.repository);
    private_dir(&repository)?;
    let _one_at_a_time = numbering(&repository)?;
    // Readers see the directory once it is complete and locked, never before.
    let made = tempfile::Builder::new()
        .prefix(UNBORN)
        .tempdir_in(&repository)
        .map_err(failed("create a directory in", &repository))?;
    let lock = lock_file(&made.path().join("lock"))?;
    lock.lock().map_err(failed("lock", made.path()))?;
    run.number = numbers(&repository)?.last().map_or(1, |last| last + 1);
    write(made.path(), &run)?;
    let path = repository.join(run.number.to_string());
    fs::rename(made.path(), &path).map_err(failed("create", &path))?;
    // What was made has moved; there is nothing left to remove.
    let _ = made.keep();
    Ok((Folder { path, _lock: lock }, run))
}

/// Takes over the directory of a run that is over, for a rerun. None where somebody runs it.
///
/// # Errors
/// Where the file system refuses.
pub(crate) fn reopen(pipelines: &Path, run: &Run) -> Result<Option<Folder>, RunsError> {
    let path = run_dir(pipelines, &run.repository, run.number);
    let lock = lock_file(&path.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(Folder { path, _lock: lock })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
    }
}

impl Folder {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the record.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub(crate) fn save(&self, run: &Run) -> Result<(), RunsError> {
        write(&self.path, run)
    }

    /// Begins an empty log.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub(crate) fn log(&self) -> Result<File, RunsError> {
        let path = self.path.join("log");
        File::create(&path).map_err(failed("create", &path))
    }
}

fn private_dir(path: &Path) -> Result<(), RunsError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(failed("create", path))
}

/// Held by the one process that makes or removes directories of runs.
fn numbering(repository: &Path) -> Result<File, RunsError> {
    let path = repository.join(".lock");
    let lock = lock_file(&path)?;
    lock.lock().map_err(failed("lock", &path))?;
    Ok(lock)
}

fn lock_file(path: &Path) -> Result<File, RunsError> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    options.open(path).map_err(failed("open", path))
}

fn write(dir: &Path, run: &Run) -> Result<(), RunsError> {
    let path = dir.join("run.json");
    let save = || {
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        serde_json::to_writer_pretty(&mut file, run)?;
        file.flush()?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    save().map_err(failed("write", &path))
}

/// Removes the oldest runs beyond [`KEPT`], and ends the records of those whose process was
/// killed. Returns what was abandoned, for its processes and work directories to be removed.
///
/// # Errors
/// Where the file system refuses.
pub(crate) fn tidy(pipelines: &Path, repository: &str) -> Result<Vec<(Folder, Run)>, RunsError> {
    let dir = pipelines.join(repository);
    private_dir(&dir)?;
    let _one_at_a_time = numbering(&dir)?;
    let numbers = numbers(&dir)?;
    let beyond = numbers.len().saturating_sub(KEPT);
    let mut abandoned = Vec::new();
    for (at, number) in numbers.into_iter().enumerate() {
        let path = run_dir(pipelines, repository, number);
        let Some(mut run) = read(&path.join("run.json")).ok().flatten() else {
            continue;
        };
        let left_open = !run.is_over();
        if !left_open && at >= beyond {
            continue;
        }
        let Some(folder) = reopen(pipelines, &run)? else {
            continue;
        };
        if left_open {
            abandon(&mut run);
            folder.save(&run)?;
            abandoned.push((folder, run));
        } else {
            fs::remove_dir_all(&path).map_err(failed("remove", &path))?;
        }
    }
    for name in entries(&dir)?
        .iter()
        .filter(|name| name.starts_with(UNBORN))
    {
        // Whoever made it was killed at it, or it would have moved.
        let _ = fs::remove_dir_all(dir.join(name));
    }
    Ok(abandoned)
}

/// A moment for records; the only clock of the runs.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests;
