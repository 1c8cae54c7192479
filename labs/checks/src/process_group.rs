//! A program as the leader of a process group of its own: at its end, at its time limit, and where
//! its caller gives up, what is left of the group is killed.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A program that runs, and everything that it started in the foreground.
#[derive(Debug)]
pub struct ProcessGroup {
    /// The leader.
    pub child: Child,
    rest: Rest,
}

impl ProcessGroup {
    /// Starts a program.
    ///
    /// # Errors
    /// The system's, where there is no such program or it cannot be run.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok());
        Ok(Self {
            child,
            rest: Rest(leader.and_then(Pid::from_raw)),
        })
    }

    /// Waits for the end of the leader, then kills what is left; none where it was killed at the
    /// limit.
    ///
    /// # Errors
    /// The system's, where nobody can be waited for.
    pub async fn wait(mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let status = timeout(limit, self.child.wait()).await;
        drop(self.rest);
        status.ok().transpose()
    }
}

/// Kills a process group when it is dropped.
#[derive(Debug)]
struct Rest(Option<Pid>);

impl Drop for Rest {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Where nobody is left, there is nothing to do.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}
