//! Reads a container's log back: the last lines, those since a moment, or everything that is
//! still to come.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use tokio::sync::watch;

use super::log_file::{LogFile, Written};
use crate::{EngineError, LogOptions};

/// How much is read, and given to the reader, at once.
const BLOCK_BYTES: usize = 64 << 10;

/// The log from where `options` say, as a stream.
pub(super) async fn read(
    log: &Arc<LogFile>,
    options: &LogOptions,
) -> Result<BoxStream<'static, Result<Bytes, EngineError>>, EngineError> {
    let (log, options) = (Arc::clone(log), options.clone());
    let reader = blocking(move || Reader::open(log, options)).await?;
    Ok(stream::try_unfold(reader, next_block).boxed())
}

async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, EngineError> {
    let done = tokio::task::spawn_blocking(act)
        .await
        .map_err(io::Error::other);
    done.and_then(|result| result)
        .map_err(|error| EngineError::runtime("reading a container's log", error))
}

/// The next text, waiting for it where the log is followed.
async fn next_block(mut reader: Reader) -> Result<Option<(Bytes, Reader)>, EngineError> {
    loop {
        // What was written before this look is found by the read after it, so that nothing is
        // missed between reading and waiting.
        let seen = *reader.news.borrow_and_update();
        let (text, back) = blocking(move || reader.read_block(&seen)).await?;
        reader = back;
        match text {
            Block::Text(text) => return Ok(Some((text, reader))),
            Block::End if seen.closed || !reader.options.follow => return Ok(None),
            // The log's owner is held by the reader, so the wait ends with news only.
            Block::End => reader
                .news
                .changed()
                .await
                .expect("the reader holds the log"),
        }
    }
}

enum Block {
    Text(Bytes),
    /// Nothing more at present.
    End,
}

struct Reader {
    log: Arc<LogFile>,
    news: watch::Receiver<Written>,
    options: LogOptions,
    /// The file being read, and how often the log had been set aside when it was begun.
    file: File,
    generation: u64,
    /// The beginning of an entry whose end is not read yet.
    rest: Vec<u8>,
    /// True where the next entry begins a line.
    at_line_start: bool,
}

impl Reader {
    fn open(log: Arc<LogFile>, options: LogOptions) -> io::Result<Self> {
        let news = log.written();
        let (file, generation) = loop {
            let generation = news.borrow().generation;
            let first = first_file(&log, generation, options.tail_lines)?;
            // Where the log was set aside in between, the wrong file may have been opened.
            if news.borrow().generation == generation {
                break first;
            }
        };
        Ok(Self {
            log,
            news,
            options,
            file,
            generation,
            rest: Vec::new(),
            at_line_start: true,
        })
    }

    /// Reads on until there is text for the reader, or the end of what was written by `seen`.
    fn read_block(mut self, seen: &Written) -> io::Result<(Block, Self)> {
        let mut buffer = vec![0; BLOCK_BYTES];
        loop {
            let length = self.file.read(&mut buffer)?;
            if length > 0 {
                self.rest.extend_from_slice(&buffer[..length]);
                let text = self.take_text();
                if !text.is_empty() {
                    return Ok((Block::Text(text.into()), self));
                }
            } else if self.generation < seen.generation {
                self.file = self.open_next(seen.generation)?;
            } else {
                return Ok((Block::End, self));
            }
        }
    }

    /// Opens the file after the present one. A reader that fell behind by more than one is led
    /// to the oldest that still exists.
    fn open_next(&mut self, present: u64) -> io::Result<File> {
        if self.generation + 1 < present {
            self.generation = present - 1;
            return File::open(self.log.old_path());
        }
        self.generation = present;
        File::open(self.log.path())
    }

    /// Turns the complete entries read so far into the text that was asked for.
    fn take_text(&mut self) -> Vec<u8> {
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let later = self.rest.split_off(end + 1);
        let complete = std::mem::replace(&mut self.rest, later);
        let mut text = Vec::with_capacity(complete.len());
        for entry in complete
            .split_inclusive(|byte| *byte == b'\n')
            .filter_map(Entry::parse)
        {
            if self
                .options
                .since
                .is_some_and(|since| entry.time() < Some(since))
            {
                continue;
            }
            if self.options.timestamps && self.at_line_start {
                text.extend_from_slice(entry.stamp.as_bytes());
                text.push(b' ');
            }
            text.extend_from_slice(entry.text);
            if entry.ends_line {
                text.push(b'\n');
            }
            self.at_line_start = entry.ends_line;
        }
        text
    }
}

/// Opens the file to begin with, at the place to begin at.
fn first_file(log: &LogFile, generation: u64, tail: Option<u64>) -> io::Result<(File, u64)> {
    let mut present = File::open(log.path())?;
    let older = File::open(log.old_path()).ok();
    let Some(tail) = tail else {
        // A log that was set aside is one generation older, and leads on to the present one.
        return Ok(older.map_or((present, generation), |older| {
            (older, generation.saturating_sub(1))
        }));
    };
    let missing = seek_to_tail(&mut present, tail)?;
    match older {
        Some(mut older) if missing > 0 && generation > 0 => {
            seek_to_tail(&mut older, missing)?;
            Ok((older, generation - 1))
        }
        Some(_) | None => Ok((present, generation)),
    }
}

/// Goes to the start of the last `lines` lines and says how many of them the file lacks.
fn seek_to_tail(file: &mut File, lines: u64) -> io::Result<u64> {
    let mut position = file.seek(SeekFrom::End(0))?;
    let mut missing = lines;
    // The line break at the very end closes the last line, it begins none.
    let mut at_end = true;
    if lines == 0 {
        return Ok(0);
    }
    while position > 0 {
        let length = position.min(BLOCK_BYTES as u64);
        position -= length;
        file.seek(SeekFrom::Start(position))?;
        let mut block = Vec::new();
        file.take(length).read_to_end(&mut block)?;
        for (index, _) in block
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
            if std::mem::take(&mut at_end) {
                continue;
            }
            missing -= 1;
            if missing == 0 {
                file.seek(SeekFrom::Start(position + index as u64 + 1))?;
                return Ok(0);
            }
        }
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(if at_end { missing } else { missing - 1 })
}

/// One line of the log file.
struct Entry<'a> {
    stamp: &'a str,
    ends_line: bool,
    text: &'a [u8],
}

impl<'a> Entry<'a> {
    /// `None` for a line that is no entry, such as the trace of a power cut.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.strip_suffix(b"\n")?.splitn(4, |byte| *byte == b' ');
        let (stamp, _stream, tag, text) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            stamp: str::from_utf8(stamp).ok()?,
            ends_line: tag == b"F",
            text,
        })
    }

    fn time(&self) -> Option<Timestamp> {
        self.stamp.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::supervisor::{Output, OutputSink};
    use super::*;
    use futures::TryStreamExt;
    use lab_context::Context;

    struct Sample {
        _dir: tempfile::TempDir,
        log: Arc<LogFile>,
    }

    fn empty(rotate_at: u64) -> Sample {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("web-0.log");
        let log = LogFile::create(path, Context::simulated(1, 1.0))
            .expect("a log")
            .rotating_at(rotate_at);
        Sample {
            _dir: dir,
            log: Arc::new(log),
        }
    }

    async fn all(log: &Arc<LogFile>, options: &LogOptions) -> String {
        let blocks: Vec<Bytes> = read(log, options)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        String::from_utf8(blocks.concat()).unwrap()
    }

    fn tail(lines: u64) -> LogOptions {
        LogOptions {
            tail_lines: Some(lines),
            ..LogOptions::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lines_come_back_as_they_were_written() {
        let sample = empty(1 << 20);
        let long = "x".repeat(40_000);
        sample.log.write(
            Output::Stdout,
            format!("one\n\n  two \n{long}\nno end").as_bytes(),
        );
        sample.log.close();
        assert_eq!(
            all(&sample.log, &LogOptions::default()).await,
            format!("one\n\n  two \n{long}\nno end\n")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_tail_reaches_back_into_the_log_that_was_set_aside() {
        let sample = empty(400);
        for n in 0..12 {
            sample
                .log
                .write(Output::Stdout, format!("line {n}\n").as_bytes());
        }
        assert_eq!(
            sample.log.written().borrow().generation,
            1,
            "the log was set aside once"
        );
        assert_eq!(all(&sample.log, &tail(0)).await, "");
        assert_eq!(all(&sample.log, &tail(1)).await, "line 11\n");
        assert_eq!(
            all(&sample.log, &tail(4)).await,
            "line 8\nline 9\nline 10\nline 11\n"
        );
        assert_eq!(
            all(&sample.log, &tail(12)).await,
            all(&sample.log, &LogOptions::default()).await
        );
        assert_eq!(all(&sample.log, &tail(99)).await.lines().count(), 12);
    }

    #[tokio::test(start_paused = true)]
    async fn lines_since_a_moment_carry_their_time_where_asked() {
        let sample = empty(1 << 20);
        sample.log.write(Output::Stdout, b"early\n");
        tokio::time::advance(Duration::from_secs(60)).await;
        sample.log.write(Output::Stderr, b"late\n");
        let since = Some("2026-01-01T00:00:30Z".parse().unwrap());
        let options = LogOptions {
            since,
            timestamps: true,
            ..LogOptions::default()
        };
        assert_eq!(
            all(&sample.log, &options).await,
            "2026-01-01T00:01:00.000000000Z late\n"
        );
    }

    #[tokio::test]
    async fn a_follower_gets_every_line_once_and_ends_with_the_container() {
        let sample = empty(2_000);
        let log = Arc::clone(&sample.log);
        let options = LogOptions {
            follow: true,
            ..LogOptions::default()
        };
        let mut follower = read(&log, &options).await.unwrap();
        let mut text = Vec::new();
        for n in 0..200 {
            sample
                .log
                .write(Output::Stdout, format!("line {n}\n").as_bytes());
            text.extend_from_slice(
                &follower
                    .try_next()
                    .await
                    .unwrap()
                    .expect("the line just written"),
            );
        }
        sample.log.close();
        assert!(
            follower.try_next().await.unwrap().is_none(),
            "the container has ended"
        );
        let expected: String = (0..200).map(|n| format!("line {n}\n")).collect();
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
