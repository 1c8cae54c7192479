//! The process engine's parts: one process for control plane, registry and gateway, and one per
//! node, because a node must be able to die on its own with its pods.
//!
//! A process is known by its pid together with its start time, so that a recycled pid is never
//! taken for ours.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::plan::node_name;
use crate::ports;
use crate::provider::{Component, Progress, Provider, RunState};
use crate::record::{ClusterDir, Record, write_atomically};
use crate::roles::{self, CONFIG_VARIABLE, Role};

/// Name of the process that holds control plane, registry and gateway.
pub const CONTROL_PLANE: &str = "control-plane";
/// How long a process may take to end after TERM.
const STOP_LIMIT: Duration = Duration::from_secs(8);
/// Pause between two looks at a process that should end or begin.
const LOOK: Duration = Duration::from_millis(5);
/// How long the death of a process that was killed is waited for: it may have much memory to
/// give back, on a machine that is busy.
const DEATH_LIMIT: Duration = Duration::from_secs(10);
/// How long one answer of the API may take while it comes up.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// A disk with fewer free bytes is full for all practical purposes.
const FULL_DISK: u64 = 256 * 1024;
/// Environment variable that tells a process where to write down which one it is.
const IDENTITY_VARIABLE: &str = "DEVOPS_LAB_IDENTITY";
/// Lines of a log that a failure quotes.
const QUOTED_LINES: usize = 12;

/// Starts and ends the processes of one cluster.
pub struct ProcessProvider {
    record: Record,
    dir: ClusterDir,
    program: PathBuf,
}

/// What is remembered of a running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    pid: i32,
    /// In clock ticks since boot, from `/proc/PID/stat`.
    started: u64,
}

impl ProcessProvider {
    /// For the cluster of `record`; `program` is the executable that its processes run.
    #[must_use]
    pub fn new(record: Record, dir: ClusterDir, program: PathBuf) -> Self {
        Self {
            record,
            dir,
            program,
        }
    }

    /// Ends the processes of a cluster whose record cannot be read.
    ///
    /// # Errors
    /// Where one cannot be ended.
    pub async fn orphaned(dir: &ClusterDir) -> anyhow::Result<()> {
        for path in pid_files(dir) {
            end_process(&path).await?;
        }
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        let nodes = match self.record.engine {
            // Simulated nodes live inside the control plane's process.
            crate::config::EngineKind::Simulated => Vec::new(),
            crate::config::EngineKind::Docker | crate::config::EngineKind::Process => self
                .record
                .nodes
                .iter()
                .map(|index| node_name(*index))
                .collect(),
        };
        std::iter::once(CONTROL_PLANE.to_owned())
            .chain(nodes)
            .collect()
    }

    fn role(&self, name: &str) -> anyhow::Result<Role> {
        if name == CONTROL_PLANE {
            return Ok(roles::all_in_one(&self.record, &self.dir));
        }
        let index = self
            .record
            .nodes
            .iter()
            .find(|index| node_name(**index) == name);
        let index = index.with_context(|| {
            format!("cluster {:?} has no part called {name:?}", self.record.name)
        })?;
        Ok(roles::process_node(&self.record, &self.dir, *index))
    }

    fn pid_path(&self, name: &str) -> PathBuf {
        pid_path(&self.dir, name)
    }

    fn log_path(&self, name: &str) -> PathBuf {
        log_path(&self.dir, name)
    }

    fn identity(&self, name: &str) -> Option<Identity> {
        Identity::read(&self.pid_path(name))
    }

    fn spawn(&self, name: &str) -> anyhow::Result<Child> {
        let part = Part {
            dir: &self.dir,
            cluster: &self.record.name,
            name,
        };
        part.spawn(&self.program, &self.role(name)?)
    }

    /// Waits until processes that were killed a moment ago are dead: until then they are neither
    /// a part that runs, nor have they let go of its ports and files.
    async fn bury(&self) {
        let deadline = Instant::now() + DEATH_LIMIT;
        for name in self.names() {
            let path = self.pid_path(&name);
            while Identity::load(&path).is_some_and(|it| it.life() == Life::Ending)
                && Instant::now() < deadline
            {
                sleep(LOOK).await;
            }
        }
    }

    /// Refuses to start the control plane where another program has come to listen on one of the
    /// cluster's ports, which it keeps for its life.
    fn check_ports(&self) -> anyhow::Result<()> {
        let name = &self.record.name;
        match self
            .record
            .ports
            .all()
            .into_iter()
            .find(|(_, port)| !ports::is_free(*port))
        {
            None => Ok(()),
            Some((part, port)) => bail!(
                "port {port} for the {part} of cluster {name:?} is in use by another program, which `ss -ltnp 'sport = :{port}'` shows: end it, or take other ports with a new cluster (devops-lab delete --name {name}, then start)"
            ),
        }
    }

    /// Waits until the part answers, or quotes its log if it ends first.
    async fn await_ready(&self, name: &str, child: &mut Child) -> anyhow::Result<()> {
        if name != CONTROL_PLANE {
            return Ok(());
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        let client = crate::lifecycle::client(&self.record)?;
        loop {
            if let Some(status) = child.try_wait()? {
                bail!(
                    "the {name} of cluster {:?} ended ({status}):\n{}",
                    self.record.name,
                    self.last_words(name)
                );
            }
            // Without a limit, a stranger that listens and says nothing would hide the end above.
            if let Ok(Ok(_)) = tokio::time::timeout(ANSWER_LIMIT, client.apiserver_version()).await
            {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!(
                    "the {name} of cluster {:?} does not answer after 20 s:\n{}",
                    self.record.name,
                    self.last_words(name)
                );
            }
            sleep(LOOK).await;
        }
    }

    /// What a part said last, or why it could not even say anything.
    fn last_words(&self, name: &str) -> String {
        last_words(&self.dir, name)
    }

    async fn end(&self, name: &str) -> anyhow::Result<()> {
        end_process(&self.pid_path(name)).await
    }
}

/// A process of a cluster that is to be started.
pub(crate) struct Part<'a> {
    pub(crate) dir: &'a ClusterDir,
    pub(crate) cluster: &'a str,
    pub(crate) name: &'a str,
}

impl Part<'_> {
    /// Starts it in the background with its role, and writes down which process it is.
    pub(crate) fn spawn(&self, program: &Path, role: &Role) -> anyhow::Result<Child> {
        let role = serde_json::to_string(role)?;
        for part in ["run", "logs"] {
            let path = self.dir.join(part);
            let made = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path);
            made.with_context(|| format!("failed to create {}", path.display()))?;
        }
        let log = log_path(self.dir, self.name);
        let output = OpenOptions::new().create(true).append(true).open(&log);
        let output = output.with_context(|| format!("failed to open {}", log.display()))?;
        // The working directory must not keep a file system busy that the user wants to unmount.
        let mut child = Command::new(program)
            .args(["component", self.name])
            .env(CONFIG_VARIABLE, role)
            .env("DEVOPS_LAB_PART", format!("{}/{}", self.cluster, self.name))
            .env(IDENTITY_VARIABLE, pid_path(self.dir, self.name))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("failed to start {}", program.display()))?;
        if let Err(error) = self.remember(&child) {
            // Nobody would find it again to end it.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        Ok(child)
    }

    /// Writes down which process the part is.
    fn remember(&self, child: &Child) -> anyhow::Result<()> {
        let pid = i32::try_from(child.id()).context("process id out of range")?;
        write_identity(&pid_path(self.dir, self.name), pid)
    }
}

/// Where it is written down which process a part is.
pub(crate) fn pid_path(dir: &ClusterDir, name: &str) -> PathBuf {
    dir.join("run").join(format!("{name}.json"))
}

fn log_path(dir: &ClusterDir, name: &str) -> PathBuf {
    dir.join("logs").join(format!("{name}.log"))
}

/// The process id of a part that runs.
pub(crate) fn running(dir: &ClusterDir, name: &str) -> Option<i32> {
    Identity::read(&pid_path(dir, name)).map(|identity| identity.pid)
}

/// What a part said last, or why it could not even say anything.
pub(crate) fn last_words(dir: &ClusterDir, name: &str) -> String {
    let text = fs::read_to_string(log_path(dir, name)).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(QUOTED_LINES)..];
    let lines = tail
        .iter()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n");
    let free =
        rustix::fs::statvfs(dir.path()).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    match free {
        Ok(free) if free < FULL_DISK => format!(
            "{lines}\n  no space is left on the disk of {}: free some and start again",
            dir.path().display()
        ),
        _ => lines,
    }
}

/// Ends the process of a pid file with TERM, at last with KILL, and removes the file.
pub(crate) async fn end_process(path: &Path) -> anyhow::Result<()> {
    // One that is dying already is waited for too: it holds its ports and files until it is gone.
    if let Some(identity) = Identity::load(path) {
        identity.signal(Signal::TERM);
        let deadline = Instant::now() + STOP_LIMIT;
        while identity.life() != Life::Gone {
            if Instant::now() >= deadline {
                identity.signal(Signal::KILL);
                break;
            }
            sleep(LOOK).await;
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Every pid file of a cluster, whether its record knows the part or not.
fn pid_files(dir: &ClusterDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("run"))
        .into_iter()
        .flatten()
        .flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect()
}

fn write_identity(path: &Path, pid: i32) -> anyhow::Result<()> {
    let started = Stat::of(pid).map_or(0, |stat| stat.started);
    let identity = serde_json::to_vec(&Identity { pid, started })?;
    write_atomically(path, &identity, 0o600)
        .with_context(|| format!("failed to write {}", path.display()))
}

/// Writes down that this process is the part it was started as. Whoever started it does so too,
/// but may be killed before.
///
/// # Errors
/// Where the file cannot be written.
pub(crate) fn register() -> anyhow::Result<()> {
    match std::env::var_os(IDENTITY_VARIABLE) {
        Some(path) => write_identity(Path::new(&path), std::process::id().cast_signed()),
        None => Ok(()),
    }
}

/// How far a process has come in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// It runs.
    Running,
    /// It was killed, or ends by itself, and is not gone yet.
    Ending,
    /// There is no such process (any more).
    Gone,
}

impl Identity {
    fn load(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// The process of a pid file, if it still runs.
    fn read(path: &Path) -> Option<Self> {
        Self::load(path).filter(|identity| identity.life() == Life::Running)
    }

    fn life(self) -> Life {
        match Stat::of(self.pid) {
            Some(stat) if stat.started == self.started && stat.ending => Life::Ending,
            Some(stat) if stat.started == self.started => Life::Running,
            Some(_) | None => Life::Gone,
        }
    }

    fn signal(self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid)
            && self.life() == Life::Running
        {
            let _ = kill_process(pid, signal);
        }
    }
}

/// What `/proc/PID/stat` says. <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    /// When the process started, in clock ticks since boot.
    started: u64,
    /// SIGKILL awaits it, or it is on its way out.
    ending: bool,
}

impl Stat {
    /// `None` for a process that is gone or a zombie.
    fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        /// PF_EXITING of the kernel's `sched.h`, in the field `flags`.
        const EXITING: u64 = 0x4;
        /// SIGKILL in the bitmap of pending signals.
        const KILLED: u64 = 1 << (9 - 1);
        // The command's name is in parentheses and may contain anything, so fields count from
        // the last one; the first behind it is number 3 of the manual.
        let fields: Vec<_> = text.get(text.rfind(')')? + 2..)?.split(' ').collect();
        let number = |field: usize| fields.get(field - 3)?.trim_end().parse::<u64>().ok();
        // The first thread of a killed process may be a zombie while others still hold its
        // sockets and files.
        let zombie = fields.first() == Some(&"Z");
        if zombie && number(20)? <= 1 {
            return None;
        }
        Some(Self {
            started: number(22)?,
            ending: zombie || number(9)? & EXITING != 0 || number(31)? & KILLED != 0,
        })
    }
}

#[async_trait]
impl Provider for ProcessProvider {
    async fn up(&self, progress: &dyn Progress) -> anyhow::Result<Vec<String>> {
        self.bury().await;
        let missing: Vec<_> = self
            .names()
            .into_iter()
            .filter(|name| self.identity(name).is_none())
            .collect();
        if missing.iter().any(|name| name == CONTROL_PLANE) {
            self.check_ports()?;
        }
        let began = Instant::now();
        let mut children = Vec::new();
        for name in &missing {
            progress.begin(name);
            children.push((name, self.spawn(name)?));
        }
        for (name, child) in &mut children {
            self.await_ready(name, child).await?;
            progress.done(name, began.elapsed(), &format!("process {}", child.id()));
        }
        Ok(missing)
    }

    async fn stop(&self) -> anyhow::Result<()> {
        // Nodes first: they still can report while the API is there.
        let control = self.pid_path(CONTROL_PLANE);
        let nodes: Vec<_> = pid_files(&self.dir)
            .into_iter()
            .filter(|path| *path != control)
            .collect();
        for ended in futures::future::join_all(nodes.iter().map(|path| end_process(path))).await {
            ended?;
        }
        end_process(&control).await
    }

    async fn delete(&self) -> anyhow::Result<()> {
        self.stop().await
    }

    async fn components(&self) -> anyhow::Result<Vec<Component>> {
        let component = |name: String| {
            let identity = self.identity(&name);
            Component {
                state: if identity.is_some() {
                    RunState::Running
                } else {
                    RunState::Stopped
                },
                handle: identity
                    .map_or_else(String::new, |identity| format!("process {}", identity.pid)),
                name,
            }
        };
        Ok(self.names().into_iter().map(component).collect())
    }

    async fn start_component(&self, name: &str) -> anyhow::Result<()> {
        if self.identity(name).is_some() {
            return Ok(());
        }
        let mut child = self.spawn(name)?;
        self.await_ready(name, &mut child).await
    }

    async fn stop_component(&self, name: &str) -> anyhow::Result<()> {
        self.role(name)?;
        self.end(name).await
    }

    async fn kill_component(&self, name: &str) -> anyhow::Result<()> {
        self.role(name)?;
        let identity = self.identity(name);
        identity
            .with_context(|| format!("{name} does not run"))?
            .signal(Signal::KILL);
        Ok(())
    }

    async fn remove_node(&self, name: &str) -> anyhow::Result<()> {
        self.end(name).await?;
        let path = self.dir.join("nodes").join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("failed to remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    async fn logs(
        &self,
        name: &str,
        tail: Option<u64>,
        follow: bool,
    ) -> anyhow::Result<BoxStream<'static, anyhow::Result<Bytes>>> {
        // Control plane, registry and gateway are one process here, with one log.
        let name = if matches!(name, "gateway" | "registry") {
            CONTROL_PLANE
        } else {
            name
        };
        self.role(name)?;
        let path = self.log_path(name);
        let (text, end) =
            last_of(&path, tail).with_context(|| format!("failed to read {}", path.display()))?;
        let first = futures::stream::once(async move { Ok(text) });
        if follow {
            Ok(first.chain(followed(path, end)).boxed())
        } else {
            Ok(first.boxed())
        }
    }
}

fn last_of(path: &Path, tail: Option<u64>) -> std::io::Result<(Bytes, u64)> {
    let content = fs::read(path)?;
    let end = content.len() as u64;
    let Some(tail) = tail else {
        return Ok((content.into(), end));
    };
    let keep = usize::try_from(tail).unwrap_or(usize::MAX);
    let body = content.strip_suffix(b"\n").unwrap_or(&content);
    let breaks = body
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at + 1);
    let from = if keep == 0 {
        content.len()
    } else {
        breaks.take(keep).nth(keep - 1).unwrap_or(0)
    };
    Ok((Bytes::copy_from_slice(&content[from..]), end))
}

/// What is appended to a file from `position` on, looked for a few times a second.
fn followed(
    path: PathBuf,
    position: u64,
) -> impl futures::Stream<Item = anyhow::Result<Bytes>> + Send + 'static {
    futures::stream::unfold((path, position), |(path, position)| async move {
        loop {
            sleep(Duration::from_millis(200)).await;
            match appended(&path, position) {
                Ok(more) if more.is_empty() => {}
                Ok(more) => {
                    let position = position + more.len() as u64;
                    return Some((Ok(more), (path, position)));
                }
                Err(error) => return Some((Err(error.into()), (path, position))),
            }
        }
    })
}

fn appended(path: &Path, position: u64) -> std::io::Result<Bytes> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = fs::File::open(path)?;
    file.seek(SeekFrom::Start(position))?;
    let mut more = Vec::new();
    file.read_to_end(&mut more)?;
    Ok(more.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recycled_pid_is_not_taken_for_ours() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let started = Stat::of(pid).unwrap().started;
        assert_eq!(Identity { pid, started }.life(), Life::Running);
        let recycled = Identity {
            pid,
            started: started + 1,
        };
        assert_eq!(recycled.life(), Life::Gone);
    }

    #[track_caller]
    fn case(state: &str, threads: u64, flags: u64, pending: u64, expected: Option<bool>) {
        let before = "1 2 2 0 -1";
        let between = format!("0 0 0 0 0 0 0 0 20 0 {threads} 0 4711 1 1 1 1 1 1 1 1");
        let text =
            format!("7 (a (odd) name) {state} {before} {flags} {between} {pending} 0 0 0 0\n");
        let stat = Stat::parse(&text);
        assert_eq!(stat.map(|stat| stat.ending), expected, "{text}");
        assert_eq!(stat.map(|stat| stat.started), expected.map(|_| 4711));
    }

    #[test]
    fn a_process_that_was_killed_does_not_count_as_running() {
        case("S", 9, 0x40_0000, 0, Some(false));
        case("R", 9, 0x40_0000, 1 << 8, Some(true));
        case("D", 9, 0x40_0004, 0, Some(true));
        case("S", 9, 0x40_0000, 1 << 14, Some(false));
        case("Z", 2, 0x40_000c, 0, Some(true));
        case("Z", 1, 0x40_000c, 0, None);
    }

    #[test]
    fn the_last_lines_of_a_log_are_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "one\ntwo\nthree\n").unwrap();
        let tail = |count| String::from_utf8(last_of(&path, count).unwrap().0.to_vec()).unwrap();
        assert_eq!(tail(Some(2)), "two\nthree\n");
        assert_eq!(tail(Some(9)), "one\ntwo\nthree\n");
        assert_eq!(tail(Some(0)), "");
        assert_eq!(tail(None), "one\ntwo\nthree\n");
    }
}
