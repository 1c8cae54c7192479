//! What a container uses.
//!
//! The daemon needs about a second per answer (measured on 20.10: 951 ms), while the agent
//! sees its pods' processes in its own `/proc`, because they share its PID namespace: there it
//! costs microseconds. The daemon is asked only where `/proc` shows nothing.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use bollard::query_parameters::StatsOptions;
use futures::StreamExt;

use super::{Shared, errors};
use crate::{ContainerId, ContainerStats, EngineError};

impl Shared {
    pub(super) async fn stats(
        &self,
        container: &ContainerId,
    ) -> Result<ContainerStats, EngineError> {
        let id = container.0.clone();
        let seen = tokio::task::spawn_blocking(move || from_proc(Path::new("/proc"), &id))
            .await
            .map_err(|error| EngineError::runtime("reading /proc", error))?;
        match seen {
            Some(stats) => Ok(stats),
            None => self.ask_daemon(container).await,
        }
    }

    /// The same for several containers, from one look at `/proc`; the daemon is asked about all
    /// that are not seen there at once.
    pub(super) async fn list_stats(
        &self,
        containers: &[ContainerId],
    ) -> Result<HashMap<ContainerId, ContainerStats>, EngineError> {
        let ids: Vec<String> = containers.iter().map(|id| id.0.clone()).collect();
        let mut all = tokio::task::spawn_blocking(move || all_from_proc(Path::new("/proc"), &ids))
            .await
            .map_err(|error| EngineError::runtime("reading /proc", error))?;
        let unseen: Vec<&ContainerId> = containers
            .iter()
            .filter(|id| !all.contains_key(id))
            .collect();
        let asked = unseen
            .into_iter()
            .map(async |id| (id, self.ask_daemon(id).await));
        for (id, answer) in futures::future::join_all(asked).await {
            match answer {
                Ok(stats) => {
                    all.insert(id.clone(), stats);
                }
                Err(EngineError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    async fn ask_daemon(&self, container: &ContainerId) -> Result<ContainerStats, EngineError> {
        let options = StatsOptions {
            stream: false,
            one_shot: true,
        };
        let answer = std::pin::pin!(self.docker.stats(&container.0, Some(options)))
            .next()
            .await;
        let stats = match answer {
            Some(Ok(stats)) => stats,
            Some(Err(error)) if !errors::is_missing(&error) => {
                return Err(EngineError::runtime(
                    "asking Docker what a container uses",
                    error,
                ));
            }
            Some(Err(_)) | None => {
                return Err(EngineError::NotFound(format!("container {}", container.0)));
            }
        };
        let cpu = stats
            .cpu_stats
            .and_then(|cpu| cpu.cpu_usage)
            .and_then(|usage| usage.total_usage);
        let memory = stats.memory_stats.and_then(|memory| memory.usage);
        Ok(ContainerStats {
            cpu_nanos: cpu.unwrap_or_default(),
            memory_bytes: memory.unwrap_or_default(),
        })
    }
}

/// Adds up the processes whose control group names the container; `None` where there are none.
fn from_proc(proc: &Path, container: &str) -> Option<ContainerStats> {
    let all = all_from_proc(proc, &[container.to_owned()]);
    all.into_values().next()
}

/// The same for several containers.
fn all_from_proc(proc: &Path, containers: &[String]) -> HashMap<ContainerId, ContainerStats> {
    let mut all: HashMap<ContainerId, ContainerStats> = HashMap::new();
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        let is_process = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.parse::<u32>().is_ok());
        if !is_process {
            continue;
        }
        // A process may end between two reads; it then counts for nothing.
        if let Some((container, used)) = of_process(&entry.path(), containers) {
            let total = all.entry(ContainerId(container)).or_default();
            total.cpu_nanos += used.cpu_nanos;
            total.memory_bytes += used.memory_bytes;
        }
    }
    all
}

fn of_process(process: &Path, containers: &[String]) -> Option<(String, ContainerStats)> {
    let cgroup = fs::read_to_string(process.join("cgroup")).ok()?;
    let container = containers.iter().find(|id| cgroup.contains(id.as_str()))?;
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let statm = fs::read_to_string(process.join("statm")).ok()?;
    let used = ContainerStats {
        cpu_nanos: cpu_nanos(&stat)?,
        memory_bytes: resident_bytes(&statm)?,
    };
    Some((container.clone(), used))
}

/// User and system time of the process and of its children that have ended.
/// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>
fn cpu_nanos(stat: &str) -> Option<u64> {
    const NANOS: u64 = 1_000_000_000;
    // The command in parentheses may hold anything, parentheses and spaces included. After it
    // comes field 3; utime, stime, cutime and cstime are fields 14 to 17.
    let (_, rest) = stat.rsplit_once(')')?;
    let times: Vec<u64> = rest
        .split_whitespace()
        .skip(11)
        .take(4)
        .map(|ticks| ticks.parse().unwrap_or(0))
        .collect();
    let ticks: u64 = (times.len() == 4).then(|| times.iter().sum())?;
    Some(ticks * (NANOS / rustix::param::clock_ticks_per_second()))
}

/// The second number of `statm` counts resident pages.
fn resident_bytes(statm: &str) -> Option<u64> {
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "17 (odd ) name) S 1 17 17 0 -1 4194560 120 0 0 0 3 2 1 4 20 0 1 0 900 1000 250";

    fn process(proc: &Path, pid: u32, container: &str) {
        let directory = proc.join(pid.to_string());
        fs::create_dir(&directory).unwrap();
        fs::write(
            directory.join("cgroup"),
            format!("9:memory:/docker/{container}\n"),
        )
        .unwrap();
        fs::write(directory.join("stat"), STAT).unwrap();
        fs::write(directory.join("statm"), "900 10 5 1 0 20 0").unwrap();
    }

    #[test]
    fn the_processes_of_one_container_are_added_up() {
        let proc = tempfile::tempdir().unwrap();
        process(proc.path(), 17, "aaa");
        process(proc.path(), 18, "aaa");
        process(proc.path(), 19, "bbb");
        fs::create_dir(proc.path().join("net")).unwrap();
        let used = from_proc(proc.path(), "aaa").expect("two processes");
        let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second();
        assert_eq!(used.cpu_nanos, 2 * 10 * tick);
        assert_eq!(
            used.memory_bytes,
            2 * 10 * rustix::param::page_size() as u64
        );
        assert!(from_proc(proc.path(), "ccc").is_none());
    }
}
