//! What is kept and shown of a run while it goes on. Nothing gets out of here unmasked.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use crate::cancel::Cancel;
use crate::console::{Console, printable};
use crate::mask::Masks;
use crate::runs::{Conclusion, Folder, Job, LogRange, Run, RunsError, Step};

/// Bytes that are kept of a run's output.
const LOG_MAX: u64 = 10 << 20;

/// Said where the log ends before the output does.
const CUT: &str = "[the rest is not kept: a log holds 10 MB]\n";

/// The record, the log and the console of a run.
pub(super) struct Recorder<'a> {
    pub(super) folder: Folder,
    pub(super) run: Run,
    console: &'a mut Console,
    pub(super) masks: Masks,
    cancel: &'a Cancel,
    log: File,
    written: u64,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(
        folder: Folder,
        run: Run,
        console: &'a mut Console,
        masks: Masks,
        cancel: &'a Cancel,
    ) -> Result<Self, RunsError> {
        Ok(Self {
            log: folder.log()?,
            folder,
            run,
            console,
            masks,
            cancel,
            written: 0,
        })
    }

    /// Writes the record. Where that is not possible, the directory is gone or the disk full, and
    /// there is no use in going on.
    pub(super) fn save(&mut self) {
        // What a step is called may be the beginning of its script, with whatever stands in it.
        for job in &mut self.run.jobs {
            let steps = job.steps.iter_mut().map(|step| &mut step.name);
            for name in steps.chain([&mut job.name]) {
                *name = self.masks.apply(name);
            }
        }
        if let Err(error) = self.folder.save(&self.run) {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let why = format!("{error}: {}", cause.unwrap_or_default());
            self.cancel.ask(&why);
        }
    }

    /// A job of the record.
    pub(super) fn job(&mut self, index: usize) -> &mut Job {
        &mut self.run.jobs[index]
    }

    /// A step of the record.
    pub(super) fn step(&mut self, job: usize, step: usize) -> &mut Step {
        &mut self.run.jobs[job].steps[step]
    }

    /// Where the log ends now.
    pub(super) fn position(&self) -> u64 {
        self.written
    }

    /// The log since a position.
    pub(super) fn since(&self, start: u64) -> Option<LogRange> {
        let end = self.written;
        (end > start).then_some(LogRange { start, end })
    }

    /// A line of a step, for the log only. Returns it as it may be shown.
    pub(super) fn keep(&mut self, line: &str) -> String {
        let text = self.masks.apply(&printable(line));
        let length = text.len() as u64 + 1;
        let cut = CUT.len() as u64;
        if self.written + length + cut <= LOG_MAX {
            self.append(&text);
            self.append("\n");
        } else if self.written + cut <= LOG_MAX {
            self.append(CUT);
            // Whatever is shorter must not come after it.
            self.written = LOG_MAX;
        }
        text
    }

    fn append(&mut self, text: &str) {
        match self.log.write_all(text.as_bytes()) {
            Ok(()) => self.written += text.len() as u64,
            Err(error) => self
                .cancel
                .ask(&format!("its log cannot be written: {error}")),
        }
    }

    /// How something ended, masked.
    pub(super) fn ended(
        &mut self,
        indent: usize,
        how: Conclusion,
        name: &str,
        time: Option<Duration>,
    ) {
        let name = self.masks.apply(name);
        self.console.ended(indent, how, &name, time);
    }

    /// A heading with a rule, after an empty line.
    pub(super) fn heading(&mut self, text: &str) {
        self.console.blank();
        self.console.heading(&self.masks.apply(text));
    }

    /// A line for the student, masked.
    pub(super) fn say(&mut self, indent: usize, line: &str) {
        let text = format!("{}{}", " ".repeat(indent), self.masks.apply(line));
        self.console.line(text.trim_end());
        if self.console.is_broken() {
            self.cancel.ask("nobody reads its output any more");
        }
    }
}
