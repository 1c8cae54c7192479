//! What runs on this machine, from /proc.

use std::fs;
use std::path::Path;

/// A running process.
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Its arguments and environment, as one text.
    words: String,
}

impl Process {
    /// True where it works for the cluster whose directory and name these are.
    pub(crate) fn mentions(&self, dir: &Path, name: &str) -> bool {
        // A slash ends the name, or the cluster "a-1" would own the processes of "a-10".
        self.contains(&format!("{}/", dir.display()))
            || self.words.contains(&format!("DEVOPS_LAB_PART={name}/"))
    }

    /// True where an argument or a variable contains this.
    pub(crate) fn contains(&self, text: &str) -> bool {
        self.words.contains(text)
    }
}

/// Every process that can be looked into and is no zombie.
pub(crate) fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(look).collect()
}

fn look(pid: u32) -> Option<Process> {
    let text = |file: &str| {
        Some(String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}")).ok()?).into_owned())
    };
    // A process that has ended has neither arguments nor environment.
    let words = text("cmdline")? + &text("environ")?;
    (!words.is_empty()).then_some(Process { pid, words })
}

/// Ends processes without warning, all at once.
pub(crate) fn kill(pids: &[u32]) {
    let pids = pids
        .iter()
        .filter_map(|pid| rustix::process::Pid::from_raw(i32::try_from(*pid).ok()?));
    for pid in pids {
        // One that has ended meanwhile is as dead as wanted.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Presses Ctrl-C.
pub(crate) fn interrupt(pid: u32) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let pid = pid.expect("a process has a number");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
}
