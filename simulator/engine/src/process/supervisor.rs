//! The parent of all container processes of a node: starts them, carries their output to the
//! logs, and takes note of their end.
//!
//! Everything here runs on one thread of its own. Linux sends the parent-death signal when the
//! *thread* that started a process ends, not when its whole process does; a worker of a thread
//! pool may end at any time and would take its containers along. This thread lives exactly as
//! long as the engine.
//!
//! The end of a process is noticed through a pidfd instead of by waiting for it, because a
//! process that has ended but was not waited for keeps its number: in that moment everything
//! else in its session can be killed without fear of hitting a stranger.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{PidfdFlags, Signal};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, Interest};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::group::{self, Leader};
use super::{proc_files, shim};

/// Read from a container's pipe at once. Every container has two such buffers for life.
const PIPE_BUFFER_BYTES: usize = 8 << 10;

/// How long output may still arrive after a container has ended. Only a process that has left
/// the container's session and cleared its environment can hold the pipe open that long.
const DRAIN: Duration = Duration::from_secs(1);

/// Where a container's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Where a process's output goes.
pub(super) trait OutputSink: Send + Sync + 'static {
    /// Takes what came, in whatever pieces.
    fn write(&self, output: Output, bytes: &[u8]);
    /// Nothing more will come.
    fn close(&self);
}

/// What dies when the process ends.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    /// The process is a container's first: everything of the container.
    Container(String),
    /// The process was added to a container: its own session only.
    Session,
}

/// A process to start.
pub(super) struct Launch {
    /// Our own executable.
    pub(super) shim: PathBuf,
    /// What it is to become.
    pub(super) config_path: PathBuf,
    /// The container it belongs to.
    pub(super) container: String,
    /// What dies with it.
    pub(super) scope: Scope,
    /// Takes its output.
    pub(super) sink: Arc<dyn OutputSink>,
}

/// A process that was started; the handle outlives it.
#[derive(Clone, Debug)]
pub(super) struct Process {
    /// Who it is.
    pub(super) leader: Leader,
    pidfd: Arc<OwnedFd>,
    ended: watch::Receiver<Option<i32>>,
}

/// The thread that is the parent of the containers.
#[derive(Debug)]
pub(super) struct Supervisor {
    handle: tokio::runtime::Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Supervisor {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (handle, tasks, stop) = (
            runtime.handle().clone(),
            TaskTracker::new(),
            CancellationToken::new(),
        );
        let (all_done, stopped) = (tasks.clone(), stop.clone());
        let run = move || {
            runtime.block_on(async {
                stopped.cancelled().await;
                all_done.close();
                all_done.wait().await;
            });
        };
        let thread = std::thread::Builder::new()
            .name("pod-parent".into())
            .spawn(run)?;
        Ok(Self {
            handle,
            tasks,
            stop,
            thread: Some(thread),
        })
    }

    /// Starts a process. Its output is in the sink, and the sink is closed, before its end is
    /// known.
    pub(super) async fn launch(&self, launch: Launch) -> io::Result<Process> {
        let (started, answer) = oneshot::channel();
        let stop = self.stop.clone();
        self.spawn(async move {
            match Running::spawn(&launch) {
                Ok((running, process)) => {
                    // The caller may have gone; the process lives on without it.
                    let _ = started.send(Ok(process));
                    running.supervise(&launch, &stop).await;
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        });
        answer
            .await
            .map_err(|_| io::Error::other("the engine is shutting down"))?
    }

    /// Runs a task on the thread, for as long as the engine lives.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if !self.stop.is_cancelled() {
            self.tasks.spawn_on(task, &self.handle);
        }
    }

    /// Is cancelled when the engine goes.
    pub(super) fn stopped(&self) -> CancellationToken {
        self.stop.clone()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && std::thread::current().id() != thread.thread().id()
        {
            // A panic on the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Process {
    /// Sends a signal to the process alone. One that has ended gets nothing.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
    }

    /// Kills everything that its end would kill.
    pub(super) fn kill(&self) {
        // Its end, once noticed, brings the rest of the scope down.
        self.signal(Signal::KILL);
    }

    /// Waits for the end; the exit code is 128 + n after signal n.
    pub(super) async fn ended(&self) -> i32 {
        let mut ended = self.ended.clone();
        // The supervisor tells the end of every process, even when it is itself stopped.
        let code = ended
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|code| *code);
        code.unwrap_or(128 + Signal::KILL.as_raw())
    }

    /// What its session uses.
    pub(super) fn usage(&self) -> crate::ContainerStats {
        let leader = self.leader.pid;
        let used = group::usage_by_session(&HashSet::from([leader]));
        used.get(&leader).copied().unwrap_or_default()
    }
}

/// The supervisor's side of a process.
struct Running {
    child: Child,
    leader: Leader,
    exit: AsyncFd<Arc<OwnedFd>>,
    scope: Scope,
    ended: watch::Sender<Option<i32>>,
}

impl Running {
    fn spawn(launch: &Launch) -> io::Result<(Self, Process)> {
        let mut command = Command::new(&launch.shim);
        command.arg(shim::SUBCOMMAND).arg(&launch.config_path);
        // Nothing of the node's own environment reaches a container, and the marker is there
        // from the first moment.
        command.env_clear().env(shim::MARKER, &launch.container);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        match readable(&child) {
            Ok(exit) => Ok(Self::adopt(child, exit, launch.scope.clone())),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    fn adopt(child: Child, exit: AsyncFd<Arc<OwnedFd>>, scope: Scope) -> (Self, Process) {
        let (sender, ended) = watch::channel(None);
        let pidfd = Arc::clone(exit.get_ref());
        let leader = Leader::note(child.id());
        let process = Process {
            leader: leader.clone(),
            pidfd,
            ended,
        };
        (
            Self {
                child,
                leader,
                exit,
                scope,
                ended: sender,
            },
            process,
        )
    }

    async fn supervise(mut self, launch: &Launch, stop: &CancellationToken) {
        let stdout = self
            .child
            .stdout
            .take()
            .map(tokio::process::ChildStdout::from_std);
        let stderr = self
            .child
            .stderr
            .take()
            .map(tokio::process::ChildStderr::from_std);
        let pumps = async {
            tokio::join!(
                pump(stdout, Output::Stdout, &*launch.sink),
                pump(stderr, Output::Stderr, &*launch.sink)
            )
        };
        let mut pumps = std::pin::pin!(pumps);
        let mut drained = false;
        loop {
            tokio::select! {
                _ = &mut pumps, if !drained => drained = true,
                _ = self.exit.readable() => break,
                () = stop.cancelled() => {
                    // Fails only where it has just ended.
                    let _ = self.child.kill();
                    let _ = self.exit.readable().await;
                    break;
                }
            }
        }
        self.kill_scope();
        if !drained {
            // What the pipe holds at the end is read; who still holds it open is not waited for.
            let _ = tokio::time::timeout(DRAIN, pumps).await;
        }
        launch.sink.close();
        let code = self
            .child
            .wait()
            .map_or(128 + Signal::KILL.as_raw(), exit_code);
        self.ended.send_replace(Some(code));
    }

    fn kill_scope(&self) {
        let container = match &self.scope {
            Scope::Container(id) => Some(id.as_str()),
            Scope::Session => None,
        };
        group::kill_session(&self.leader, container);
    }
}

/// A descriptor of the process that becomes readable when it ends.
#[expect(
    deprecated,
    reason = "the new form is unsafe to call; the descriptor is owned and shared, so it stays open"
)]
fn readable(child: &Child) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    let pid =
        proc_files::as_pid(child.id()).ok_or_else(|| io::Error::other("a child without a pid"))?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    AsyncFd::with_interest(Arc::new(pidfd), Interest::READABLE)
}

async fn pump(
    from: Option<io::Result<impl AsyncRead + Unpin>>,
    output: Output,
    sink: &dyn OutputSink,
) {
    let Some(Ok(mut from)) = from else { return };
    let mut buffer = vec![0; PIPE_BUFFER_BYTES];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        sink.write(output, &buffer[..length]);
    }
}

/// 128 + n after signal n, as shells and Kubernetes have it.
fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wait_status: i32, expected: i32) {
        assert_eq!(exit_code(ExitStatus::from_raw(wait_status)), expected);
    }

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        check(0, 0);
        check(3 << 8, 3);
        check(9, 137);
        check(15, 143);
    }
}
