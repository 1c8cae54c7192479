//! Writes the output of one container to its log, in the format of the Container Runtime
//! Interface: `TIME stdout|stderr P|F TEXT`, where `P` marks a part of a line too long for one
//! entry and `F` the last (or only) part.
//! <https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md>

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use lab_context::Context;
use tokio::sync::watch;

use super::supervisor::{Output, OutputSink};

/// A log is set aside when it has grown to this size; the one set aside before is dropped.
const ROTATE_AT_BYTES: u64 = 10 << 20;

/// Longer lines are split, as containerd does.
const MAX_TEXT_BYTES: usize = 16 << 10;

/// How far a log has been written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// How often the log was set aside.
    pub(super) generation: u64,
    /// Bytes in the present file.
    pub(super) bytes: u64,
    /// True where nothing more will come.
    pub(super) closed: bool,
}

/// The log of one run of a container.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    context: Context,
    rotate_at: u64,
    writer: Mutex<Writer>,
    written: watch::Sender<Written>,
}

#[derive(Debug, Default)]
struct Writer {
    file: Option<File>,
    /// What came since the last line break, per stream.
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    broken: bool,
}

impl LogFile {
    /// A log that will be written from the start, at this path; its directory must exist.
    pub(super) fn create(path: PathBuf, context: Context) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let writer = Writer {
            file: Some(file),
            ..Writer::default()
        };
        Ok(Self {
            path,
            context,
            rotate_at: ROTATE_AT_BYTES,
            writer: Mutex::new(writer),
            written: watch::Sender::default(),
        })
    }

    /// A log of an earlier life of the node, to which nothing will be added.
    pub(super) fn finished(path: PathBuf, context: Context) -> Self {
        let bytes = fs::metadata(&path).map_or(0, |file| file.len());
        let generation = u64::from(old_path(&path).exists());
        let written = watch::Sender::new(Written {
            closed: true,
            bytes,
            generation,
        });
        Self {
            path,
            context,
            rotate_at: ROTATE_AT_BYTES,
            writer: Mutex::default(),
            written,
        }
    }

    /// Follows the writing.
    pub(super) fn written(&self) -> watch::Receiver<Written> {
        self.written.subscribe()
    }

    /// The present file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that was set aside last.
    pub(super) fn old_path(&self) -> PathBuf {
        old_path(&self.path)
    }

    /// Deletes the log; followers end.
    pub(super) fn remove(&self) {
        self.with_writer(|writer| writer.file = None);
        self.written.send_modify(|written| written.closed = true);
        // What is not there needs no removal.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(self.old_path());
    }

    fn with_writer(&self, act: impl FnOnce(&mut Writer)) {
        act(&mut self.writer.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Writes whole entries. A full disk costs the container its log, never its life.
    fn append(&self, writer: &mut Writer, entries: &[u8]) {
        let Some(file) = writer.file.as_mut().filter(|_| !entries.is_empty()) else {
            return;
        };
        if let Err(error) = file.write_all(entries) {
            if !writer.broken {
                tracing::warn!(path = %self.path.display(), %error, "output of a container is lost");
            }
            writer.broken = true;
            return;
        }
        writer.broken = false;
        self.written
            .send_modify(|written| written.bytes += entries.len() as u64);
        if self.written.borrow().bytes >= self.rotate_at {
            self.rotate(writer);
        }
    }

    fn rotate(&self, writer: &mut Writer) {
        let fresh = fs::rename(&self.path, self.old_path()).and_then(|()| File::create(&self.path));
        match fresh {
            Ok(file) => {
                writer.file = Some(file);
                self.written.send_modify(|written| {
                    *written = Written {
                        generation: written.generation + 1,
                        bytes: 0,
                        closed: written.closed,
                    };
                });
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "a log could not be set aside")
            }
        }
    }
}

fn old_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

impl OutputSink for LogFile {
    fn write(&self, output: Output, bytes: &[u8]) {
        let now = self.context.now();
        self.with_writer(|writer| {
            let rest = writer.rest(output);
            rest.extend_from_slice(bytes);
            let entries = take_entries(rest, output, now);
            self.append(writer, &entries);
        });
    }

    fn close(&self) {
        let now = self.context.now();
        self.with_writer(|writer| {
            for output in [Output::Stdout, Output::Stderr] {
                let rest = std::mem::take(writer.rest(output));
                if !rest.is_empty() {
                    let mut entry = Vec::new();
                    push_entry(&mut entry, output, now, "F", &rest);
                    self.append(writer, &entry);
                }
            }
            writer.file = None;
        });
        self.written.send_modify(|written| written.closed = true);
    }
}

impl Writer {
    fn rest(&mut self, output: Output) -> &mut Vec<u8> {
        match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        }
    }
}

/// Takes the complete lines off `pending`, and parts of a line that has grown too long.
fn take_entries(pending: &mut Vec<u8>, output: Output, now: Timestamp) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut from = 0;
    while from < pending.len() {
        let window = &pending[from..pending.len().min(from + MAX_TEXT_BYTES + 1)];
        match window.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                push_entry(&mut entries, output, now, "F", &window[..end]);
                from += end + 1;
            }
            None if window.len() > MAX_TEXT_BYTES => {
                push_entry(&mut entries, output, now, "P", &window[..MAX_TEXT_BYTES]);
                from += MAX_TEXT_BYTES;
            }
            None => break,
        }
    }
    pending.drain(..from);
    entries
}

fn push_entry(entries: &mut Vec<u8>, output: Output, now: Timestamp, tag: &str, text: &[u8]) {
    let stream = match output {
        Output::Stdout => "stdout",
        Output::Stderr => "stderr",
    };
    entries.extend_from_slice(format!("{now:.9} {stream} {tag} ").as_bytes());
    entries.extend_from_slice(text);
    entries.push(b'\n');
}

#[cfg(test)]
impl LogFile {
    /// Sets the log aside sooner.
    pub(super) fn rotating_at(mut self, bytes: u64) -> Self {
        self.rotate_at = bytes;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(chunks: &[(Output, &[u8])], expected: &[(&str, usize)]) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = LogFile::create(dir.path().join("web-0.log"), Context::system(1.0)).unwrap();
        for (output, bytes) in chunks {
            log.write(*output, bytes);
        }
        log.close();
        let text = fs::read_to_string(log.path()).unwrap();
        let entries: Vec<(&str, usize)> = text
            .lines()
            .map(|line| line.split_once(' ').expect("a time").1)
            .map(|entry| (&entry[..8], entry.len() - 9))
            .collect();
        assert_eq!(entries, expected);
        assert_eq!(log.written().borrow().bytes, text.len() as u64);
    }

    #[test]
    fn each_line_becomes_one_entry_however_it_arrives() {
        check(
            &[
                (Output::Stdout, b"on"),
                (Output::Stderr, b"oops\n"),
                (Output::Stdout, b"e\ntwo\nlast"),
                (Output::Stdout, b""),
            ],
            &[
                ("stderr F", 4),
                ("stdout F", 3),
                ("stdout F", 3),
                ("stdout F", 4),
            ],
        );
    }

    #[test]
    fn a_very_long_line_is_split() {
        let long = vec![b'x'; MAX_TEXT_BYTES + 10];
        check(
            &[(Output::Stdout, &long), (Output::Stdout, b"\n")],
            &[("stdout P", MAX_TEXT_BYTES), ("stdout F", 10)],
        );
        check(
            &[
                (Output::Stdout, &long[..MAX_TEXT_BYTES]),
                (Output::Stdout, b"\n"),
            ],
            &[("stdout F", MAX_TEXT_BYTES)],
        );
    }

    #[test]
    fn a_log_that_has_grown_is_set_aside_once() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = LogFile::create(dir.path().join("web-0.log"), Context::system(1.0))
            .unwrap()
            .rotating_at(100);
        for n in 0..100 {
            log.write(Output::Stdout, format!("line {n}\n").as_bytes());
        }
        log.close();
        assert!(fs::metadata(log.path()).unwrap().len() < 200);
        assert!(fs::metadata(log.old_path()).unwrap().len() < 200);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        log.remove();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
