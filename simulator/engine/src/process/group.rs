//! All processes of one container together: finding them, killing them, adding up what they
//! use.
//!
//! A container's first process leads a session, which its children stay in; one that leaves
//! (a daemon) still carries the container's marker in its environment. Without namespaces a
//! process can escape both by intention, but not by accident.

use std::collections::{HashMap, HashSet};

use rustix::process::Signal;

use super::proc_files::{self, Stat};
use super::shim::MARKER;
use crate::ContainerStats;

/// How often the list of processes is read again while killing, so that one that multiplies is
/// caught too.
const KILL_ROUNDS: u32 = 8;

/// The first process of a container, such that it cannot be mistaken for a later process with
/// the same number.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Leader {
    /// Its pid, which is also the number of its session.
    pub(super) pid: u32,
    /// When it started, in clock ticks since boot.
    pub(super) start_ticks: u64,
    /// The boot of the machine in which this is so.
    pub(super) boot_id: String,
}

impl Leader {
    /// Notes who the process with this pid is, while it certainly is the one that is meant.
    pub(super) fn note(pid: u32) -> Self {
        let start_ticks = proc_files::stat(pid).map_or(0, |stat| stat.start_ticks);
        Self {
            pid,
            start_ticks,
            boot_id: proc_files::boot_id(),
        }
    }

    fn is(&self, stat: &Stat) -> bool {
        self.pid == stat.pid
            && self.start_ticks == stat.start_ticks
            && self.boot_id == proc_files::boot_id()
    }
}

/// Kills the session of `leader`, of whose end nobody has taken note yet (or its number could
/// be another's), and every process that carries the marker of `container`, where one is named.
pub(super) fn kill_session(leader: &Leader, container: Option<&str>) {
    let marked = |pid| container.is_some() && proc_files::env(pid, MARKER).as_deref() == container;
    kill_where(|stat| {
        // What is older cannot be the leader's; to look into its environment takes longest.
        let younger = stat.start_ticks >= leader.start_ticks;
        younger && (stat.session == leader.pid || marked(stat.pid))
    });
}

/// Kills what an earlier life of the node has left of these containers; never a stranger that
/// has got the same pid since.
pub(super) fn kill_leftovers(containers: &HashSet<String>, leaders: &[Leader]) {
    let marked = |pid| proc_files::env(pid, MARKER).is_some_and(|id| containers.contains(&id));
    kill_where(|stat| leaders.iter().any(|leader| leader.is(stat)) || marked(stat.pid));
}

fn kill_where(belongs: impl Fn(&Stat) -> bool) {
    for _ in 0..KILL_ROUNDS {
        let members: Vec<Stat> = proc_files::all()
            .filter(|stat| !stat.zombie && belongs(stat))
            .collect();
        if members.is_empty() {
            return;
        }
        for member in members {
            if let Some(pid) = proc_files::as_pid(member.pid) {
                // Fails only for one that has just ended.
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Sends a signal to every process of these leaders' sessions. Their leaders must be alive, or
/// their numbers could be another's.
pub(super) fn signal_sessions(leaders: &HashSet<u32>, signal: Signal) {
    for stat in proc_files::all().filter(|stat| leaders.contains(&stat.session)) {
        if let Some(pid) = proc_files::as_pid(stat.pid) {
            // Fails only for one that has just ended.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

/// Bytes of memory used by the sessions of these leaders.
pub(super) fn memory_by_session(leaders: &HashSet<u32>) -> HashMap<u32, u64> {
    let mut sessions = HashMap::new();
    for stat in proc_files::all().filter(|stat| leaders.contains(&stat.session)) {
        *sessions.entry(stat.session).or_default() += proc_files::own_memory(stat.pid);
    }
    sessions
}

/// What the sessions of these leaders use, from one look at the list of processes.
pub(super) fn usage_by_session(leaders: &HashSet<u32>) -> HashMap<u32, ContainerStats> {
    let nanos_per_tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    let mut sessions: HashMap<u32, ContainerStats> = HashMap::new();
    for stat in proc_files::all().filter(|stat| leaders.contains(&stat.session)) {
        let used = sessions.entry(stat.session).or_default();
        used.cpu_nanos += stat.cpu_ticks.saturating_mul(nanos_per_tick);
        used.memory_bytes += proc_files::proportional_memory(stat.pid);
    }
    sessions
}
