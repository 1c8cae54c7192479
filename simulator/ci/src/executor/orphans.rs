//! What a job leaves running: found by a variable that everything inherits which a job starts,
//! as GitHub's runner finds it.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// The variable.
pub(super) const VARIABLE: &str = "RUNNER_TRACKING_ID";

/// How often it is looked for again: what is found may have started another in the meantime.
const ROUNDS: usize = 10;

/// Kills every process of this machine that carries the id. Returns how many.
pub(super) fn kill(id: &str) -> usize {
    let mut count = 0;
    for _ in 0..ROUNDS {
        let found = carriers(id);
        if found.is_empty() {
            break;
        }
        for pid in found {
            // It may have ended by itself.
            count += usize::from(kill_process(pid, Signal::KILL).is_ok());
        }
    }
    count
}

fn carriers(id: &str) -> Vec<Pid> {
    let wanted = format!("{VARIABLE}={id}");
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| u32::try_from(*pid) != Ok(own))
        .filter(|pid| {
            // Processes of others cannot be read, and those that have ended are empty.
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| variable == wanted.as_bytes())
        })
        .filter_map(Pid::from_raw)
        .collect()
}
