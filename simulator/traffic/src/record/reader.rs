//! Reading the record, whether or not it is being written.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::segment::{Lines, numbers, path_of, run_of};
use super::{Entry, RecordError, Run};
use crate::outcome::Failure;
use crate::second::Second;
use crate::summary::Summary;

/// A record that can be read as often as one likes. Nothing of it is kept in memory.
#[derive(Clone, Debug)]
pub struct Record {
    dir: PathBuf,
    latest: Run,
}

impl Record {
    /// Opens the record in `dir`.
    ///
    /// # Errors
    /// Where nothing was recorded, or it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, RecordError> {
        for number in numbers(dir)?.into_iter().rev() {
            // A writer that was killed at its start may leave a file without a line.
            if let Some(latest) = run_of(&path_of(dir, number))? {
                return Ok(Self {
                    dir: dir.to_owned(),
                    latest,
                });
            }
        }
        Err(RecordError::Empty {
            dir: dir.to_owned(),
        })
    }

    /// The run that began last when the record was opened.
    #[must_use]
    pub fn latest(&self) -> &Run {
        &self.latest
    }

    /// Everything that is recorded, oldest first. Every file begins with the run that it belongs
    /// to, so a long run is named more than once.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn entries(
        &self,
    ) -> Result<impl Iterator<Item = Result<Entry, RecordError>> + use<>, RecordError> {
        Ok(Entries {
            dir: self.dir.clone(),
            ahead: numbers(&self.dir)?.into(),
            lines: None,
        })
    }

    /// The seconds and failures from one moment to another, oldest first; without moments, of
    /// the latest run.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn between(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<impl Iterator<Item = Result<Entry, RecordError>> + use<>, RecordError> {
        let only = (from.is_none() && to.is_none()).then_some(self.latest.run);
        let mut run = 0;
        Ok(self.entries()?.filter(move |entry| {
            let Ok(entry) = entry else {
                return true;
            };
            if let Entry::Run(begun) = entry {
                run = begun.run;
            }
            let at = entry.second();
            only.is_none_or(|only| only == run)
                && from.is_none_or(|from| from.as_second() <= at)
                && to.is_none_or(|to| at <= to.as_second())
        }))
    }

    /// The seconds from one moment to another; without moments, of the latest run.
    ///
    /// # Errors
    /// Where the record cannot be read.
    pub fn seconds(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Vec<Second>, RecordError> {
        let seconds = self.between(from, to)?.filter_map(|entry| match entry {
            Ok(Entry::Second(second)) => Some(Ok(second)),
            Ok(Entry::Run(_) | Entry::Failure(_) | Entry::End(_)) => None,
            Err(error) => Some(Err(error)),
        });
        seconds.collect()
    }

    /// The failures from one moment to another, at most `limit`; without moments, of the latest
    /// run.
    ///
    /// # Errors
    /// Where the record cannot be read.
    pub fn failures(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<Failure>, RecordError> {
        let failures = self.between(from, to)?.filter_map(|entry| match entry {
            Ok(Entry::Failure(failure)) => Some(Ok(failure)),
            Ok(Entry::Run(_) | Entry::Second(_) | Entry::End(_)) => None,
            Err(error) => Some(Err(error)),
        });
        failures.take(limit).collect()
    }

    /// What happened from one moment to another; without moments, in the latest run.
    ///
    /// # Errors
    /// Where the record cannot be read.
    pub fn summary(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Summary, RecordError> {
        let mut summary = Summary::default();
        for entry in self.between(from, to)? {
            summary.add(&entry?);
        }
        Ok(summary)
    }

    /// The share of requests that succeeded from one moment to another, 0 to 1; `None` where
    /// there was no request.
    ///
    /// # Errors
    /// Where the record cannot be read.
    pub fn availability(&self, from: Timestamp, to: Timestamp) -> Result<Option<f64>, RecordError> {
        let summary = self.summary(Some(from), Some(to))?;
        Ok(summary.availability())
    }
}

struct Entries {
    dir: PathBuf,
    ahead: std::collections::VecDeque<u64>,
    lines: Option<Lines>,
}

impl Entries {
    fn advance(&mut self) -> Result<Option<Entry>, RecordError> {
        loop {
            if let Some(lines) = &mut self.lines
                && let Some(entry) = lines.next()?
            {
                return Ok(Some(entry));
            }
            let Some(number) = self.ahead.pop_front() else {
                return Ok(None);
            };
            self.lines = Lines::open(&path_of(&self.dir, number), 0)?;
        }
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.advance().transpose();
        if matches!(entry, Some(Err(_))) {
            // What cannot be read now will not be readable the next moment.
            self.ahead.clear();
            self.lines = None;
        }
        entry
    }
}

/// Reads a record as it grows.
#[derive(Debug)]
pub struct Follower {
    dir: PathBuf,
    number: u64,
    position: u64,
}

impl Follower {
    /// Follows the record in `dir` from the beginning of its latest run.
    ///
    /// # Errors
    /// Where nothing was recorded, or it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, RecordError> {
        let latest = Record::open(dir)?.latest.run;
        for number in numbers(dir)? {
            if run_of(&path_of(dir, number))?.is_some_and(|run| run.run == latest) {
                return Ok(Self {
                    dir: dir.to_owned(),
                    number,
                    position: 0,
                });
            }
        }
        Err(RecordError::Empty {
            dir: dir.to_owned(),
        })
    }

    /// What came since the last call, at most `limit` entries; nothing where nothing came.
    ///
    /// # Errors
    /// Where the record cannot be read.
    pub fn read(&mut self, limit: usize) -> Result<Vec<Entry>, RecordError> {
        let mut entries = Vec::new();
        while entries.len() < limit {
            // Looked for before the file is read to its end: what is written to it between the
            // two is then not passed over.
            let following = numbers(&self.dir)?
                .into_iter()
                .find(|number| *number > self.number);
            if let Some(mut lines) = Lines::open(&path_of(&self.dir, self.number), self.position)? {
                while entries.len() < limit
                    && let Some(entry) = lines.next()?
                {
                    entries.push(entry);
                }
                self.position = lines.position;
            }
            match following {
                Some(number) if entries.len() < limit => {
                    self.number = number;
                    self.position = 0;
                }
                Some(_) | None => break,
            }
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;
    use crate::neighbourhood::Neighbourhood;
    use crate::outcome::{Backend, Cause};
    use crate::plan::{Plan, Target};
    use crate::record::{End, Ending, Writer};

    fn plan() -> Plan {
        let (target, _) =
            Target::parse("http://127.0.0.1:8080", &Neighbourhood::loopback()).unwrap();
        Plan::new(target)
    }

    fn moment(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + second).unwrap()
    }

    fn second(at: i64, requests: u64, failed: u64) -> Entry {
        Entry::Second(Second {
            at: moment(at).as_second(),
            requests,
            failed,
            ..Second::default()
        })
    }

    fn failure(at: i64) -> Entry {
        Entry::Failure(Failure {
            at: moment(at),
            cause: Cause::Status,
            status: Some(503),
            words: "no ready endpoints".into(),
            took_ms: 1.5,
            backend: Backend::default(),
            path: "/".into(),
            user: 1,
        })
    }

    #[test]
    fn what_was_written_is_read_by_run_and_by_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::begin(dir.path(), plan(), moment(0)).unwrap();
        writer
            .append(&[second(1, 10, 0), failure(2), second(2, 10, 1)])
            .unwrap();
        let end = Entry::End(End {
            at: moment(3),
            reason: Ending::Stopped,
        });
        writer.append(std::slice::from_ref(&end)).unwrap();
        drop(writer);
        let mut writer = Writer::begin(dir.path(), plan(), moment(10)).unwrap();
        writer.append(&[second(11, 20, 0)]).unwrap();

        let record = Record::open(dir.path()).unwrap();
        assert_eq!(
            (record.latest().run, record.latest().started),
            (2, moment(10))
        );
        assert_eq!(record.entries().unwrap().count(), 7);
        assert_eq!(record.seconds(None, None).unwrap().len(), 1);
        let (from, to) = (moment(1), moment(2));
        assert_eq!(record.availability(from, to).unwrap(), Some(0.95));
        assert_eq!(record.availability(moment(5), moment(6)).unwrap(), None);
        let failures = record.failures(Some(from), Some(to), 10).unwrap();
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].words, "no ready endpoints");
    }

    #[test]
    fn a_line_cut_off_by_a_kill_is_not_read_and_does_not_hide_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::begin(dir.path(), plan(), moment(0)).unwrap();
        writer.append(&[second(1, 10, 0)]).unwrap();
        drop(writer);
        let path = path_of(dir.path(), 1);
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"surprise\":1}\n{\"second\":{\"at\":17")
            .unwrap();
        let record = Record::open(dir.path()).unwrap();
        assert_eq!(record.seconds(None, None).unwrap().len(), 1);
        let mut writer = Writer::begin(dir.path(), plan(), moment(5)).unwrap();
        writer.append(&[second(6, 10, 0)]).unwrap();
        assert_eq!(record.entries().unwrap().filter(Result::is_ok).count(), 4);
    }

    #[test]
    fn there_is_one_writer_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::begin(dir.path(), plan(), moment(0)).unwrap();
        let second = Writer::begin(dir.path(), plan(), moment(0));
        assert!(matches!(second, Err(RecordError::Locked { .. })));
        drop(writer);
        Writer::begin(dir.path(), plan(), moment(0)).unwrap();
    }

    #[test]
    fn a_record_is_bounded_and_a_follower_misses_nothing_of_what_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::with_segments_of(2048, dir.path(), plan(), moment(0)).unwrap();
        let mut follower = Follower::open(dir.path()).unwrap();
        let mut seen = Vec::new();
        for at in 1..=2000 {
            writer.append(&[second(at, 1, 0), failure(at)]).unwrap();
            if at % 7 == 0 {
                let entries = follower.read(1000).unwrap();
                seen.extend(entries.into_iter().filter_map(|entry| match entry {
                    Entry::Second(second) => Some(second.at - moment(0).as_second()),
                    Entry::Run(_) | Entry::Failure(_) | Entry::End(_) => None,
                }));
            }
        }
        assert_eq!(seen, (1..=1995).collect::<Vec<_>>());
        let kept = fs::read_dir(dir.path()).unwrap().flatten();
        let bytes: u64 = kept.map(|entry| entry.metadata().unwrap().len()).sum();
        assert!(bytes < 16 * 4096, "{bytes} bytes are kept");
        let record = Record::open(dir.path()).unwrap();
        assert_eq!(
            record.seconds(None, None).unwrap().last().unwrap().at,
            moment(2000).as_second()
        );
    }

    #[test]
    fn a_newer_record_is_told_from_a_damaged_one_and_from_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            Record::open(dir.path()),
            Err(RecordError::Empty { .. })
        ));
        fs::write(path_of(dir.path(), 1), "").unwrap();
        assert!(matches!(
            Record::open(dir.path()),
            Err(RecordError::Empty { .. })
        ));
        fs::write(
            path_of(dir.path(), 2),
            "{\"run\":{\"version\":9,\"x\":1}}\n",
        )
        .unwrap();
        let newer = Record::open(dir.path());
        assert!(
            matches!(newer, Err(RecordError::Newer { found: 9, .. })),
            "{newer:?}"
        );
        fs::write(
            path_of(dir.path(), 2),
            "{\"end\":{\"at\":\"2026-01-01T00:00:00Z\",\"reason\":\"stopped\"}}\n",
        )
        .unwrap();
        assert!(matches!(
            Record::open(dir.path()),
            Err(RecordError::Damaged { .. })
        ));
    }
}
