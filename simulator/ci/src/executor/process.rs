//! One process of a step: its output line by line, its end, and its end by force.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until, timeout};

use crate::cancel::Cancel;

/// Longest line that is kept in one piece.
const LINE_MAX: usize = 64 << 10;

/// How often an output hears that time goes by.
const TICK: Duration = Duration::from_secs(1);

/// How long output may stay away after the process ended, before what still holds the pipe is
/// taken for a background process, and how long it may go on in all.
const SILENCE: Duration = Duration::from_millis(200);
const DRAIN: Duration = Duration::from_secs(2);

/// What a process is told when it must end, and how long it may then take.
const LADDER: &[(Signal, Duration)] = &[
    (Signal::INT, Duration::from_secs(2)),
    (Signal::TERM, Duration::from_secs(2)),
    (Signal::KILL, Duration::from_secs(3600)),
];

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By a signal that was not ours.
    Signal(i32),
    /// It took too long.
    TimedOut,
    /// The run was cancelled.
    Cancelled,
}

/// What reads a process's output.
pub(super) trait Output {
    /// The next line, without its end.
    fn line(&mut self, line: &str);
    /// Another second has gone by.
    fn tick(&mut self) {}
}

/// Runs a command in a process group of its own until it ends, `limit` has passed or the run is
/// cancelled. What it leaves in the background goes on.
///
/// # Errors
/// Where it cannot be started.
pub(super) async fn run(
    mut command: Command,
    limit: Option<Instant>,
    cancel: &Cancel,
    output: &mut dyn Output,
) -> io::Result<Ended> {
    let (reader, writer) = io::pipe()?;
    // Both streams share a pipe, so that their lines keep their order.
    command.stdout(writer.try_clone()?).stderr(writer);
    command.process_group(0).kill_on_drop(true);
    let token = cancel.token();
    let mut child = command.spawn()?;
    // The pipe ends when nobody can write to it any more, and this could.
    drop(command);
    let mut lines = Lines {
        pipe: pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?,
        buffer: Vec::new(),
        open: true,
    };
    let mut force = Force::new(&child);
    let mut tick = tokio::time::interval(TICK);
    tick.tick().await;
    let status = loop {
        tokio::select! {
            biased;
            () = token.cancelled(), if force.why.is_none() => force.begin(Ended::Cancelled),
            () = cancel.hurry().cancelled(), if force.why.is_some() && !force.is_last() => force.last(),
            () = sleep_until(limit.unwrap_or_else(far)), if limit.is_some() && force.why.is_none() => {
                force.begin(Ended::TimedOut);
            }
            () = sleep_until(force.until), if force.why.is_some() => force.next(),
            read = lines.read(output), if lines.open => lines.open = read,
            status = child.wait() => break status?,
            _ = tick.tick() => output.tick(),
        }
    };
    if force.why.is_some() {
        // Those that it started were told as well, but may not have listened.
        force.last();
    }
    lines.drain(output).await;
    if let Some(why) = force.why {
        return Ok(why);
    }
    Ok(match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, signal) => Ended::Signal(signal.unwrap_or_default()),
    })
}

/// A moment that does not come.
fn far() -> Instant {
    Instant::now() + Duration::from_secs(365 * 24 * 3600)
}

/// Ends a process group, ever more firmly.
struct Force {
    group: Option<Pid>,
    why: Option<Ended>,
    step: usize,
    until: Instant,
}

impl Force {
    fn new(child: &Child) -> Self {
        // A process id is positive and far below the limit of its type.
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            group: id.and_then(Pid::from_raw),
            why: None,
            step: 0,
            until: Instant::now(),
        }
    }

    fn begin(&mut self, why: Ended) {
        self.why = Some(why);
        self.signal();
    }

    fn next(&mut self) {
        self.step = (self.step + 1).min(LADDER.len() - 1);
        self.signal();
    }

    fn last(&mut self) {
        self.step = LADDER.len() - 1;
        self.signal();
    }

    fn is_last(&self) -> bool {
        self.step == LADDER.len() - 1
    }

    fn signal(&mut self) {
        let (signal, patience) = LADDER[self.step];
        if let Some(group) = self.group {
            // A group that is gone needs no signal.
            let _ = kill_process_group(group, signal);
        }
        self.until = Instant::now() + patience;
    }
}

struct Lines {
    pipe: pipe::Receiver,
    buffer: Vec<u8>,
    open: bool,
}

impl Lines {
    /// Reads once and hands on what is complete. False at the end.
    async fn read(&mut self, output: &mut dyn Output) -> bool {
        let more = matches!(self.pipe.read_buf(&mut self.buffer).await, Ok(count) if count > 0);
        self.hand_on(output, !more);
        more
    }

    fn hand_on(&mut self, output: &mut dyn Output, at_end: bool) {
        let mut from = 0;
        while let Some(length) = self.buffer[from..].iter().position(|byte| *byte == b'\n') {
            output.line(&String::from_utf8_lossy(&self.buffer[from..from + length]));
            from += length + 1;
        }
        self.buffer.drain(..from);
        if self.buffer.len() >= LINE_MAX || at_end && !self.buffer.is_empty() {
            output.line(&String::from_utf8_lossy(&self.buffer));
            self.buffer.clear();
        }
    }

    /// What was written before the process ended.
    async fn drain(mut self, output: &mut dyn Output) {
        let until = Instant::now() + DRAIN;
        while self.open && Instant::now() < until {
            match timeout(SILENCE, self.read(output)).await {
                Ok(more) => self.open = more,
                Err(_) => break,
            }
        }
        self.hand_on(output, true);
        if self.open {
            // A background process that writes into a closed pipe would die of it.
            tokio::spawn(async move {
                let mut rest = tokio::io::sink();
                let _ = tokio::io::copy(&mut self.pipe, &mut rest).await;
            });
        }
    }
}
