//! Reads what the kernel says about processes in `/proc`.
//! <https://man7.org/linux/man-pages/man5/proc.5.html>

use std::fs;

use rustix::process::Pid;

/// One line of `/proc/PID/stat`, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// The process.
    pub(super) pid: u32,
    /// The session it belongs to: the pid of the process that made it.
    pub(super) session: u32,
    /// When it started, in clock ticks since boot.
    pub(super) start_ticks: u64,
    /// CPU time used so far, in clock ticks.
    pub(super) cpu_ticks: u64,
    /// True where it has ended and waits for its parent to take note.
    pub(super) zombie: bool,
}

/// The state of one process; `None` where it is gone.
pub(super) fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Every process that this user may look at.
pub(super) fn all() -> impl Iterator<Item = Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?))
}

/// The value of a setting in the environment that the process was started with.
pub(super) fn env(pid: u32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut settings = environment
        .split(|byte| *byte == 0)
        .filter_map(|setting| str::from_utf8(setting).ok());
    settings.find_map(|setting| Some(setting.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

/// Memory in bytes that is the process's own: what it holds less what it shares with files.
/// The program text is left out on purpose: a group of containers of one image shares it, and
/// the kernel would not charge it to each of them either.
pub(super) fn own_memory(pid: u32) -> u64 {
    let pages = fs::read_to_string(format!("/proc/{pid}/statm"))
        .ok()
        .and_then(|line| parse_statm(&line));
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Memory in bytes that the process answers for: its own, and its part of what it shares with
/// others (proportional set size). <https://docs.kernel.org/filesystems/proc.html>
pub(super) fn proportional_memory(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    let pss = rollup.and_then(|rollup| parse_rollup(&rollup));
    pss.unwrap_or_else(|| own_memory(pid))
}

/// Names this boot of the machine: pids and start times mean nothing after the next one.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// A pid for system calls; `None` for what cannot be one.
pub(super) fn as_pid(pid: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(pid).ok()?)
}

fn parse_stat(line: &str) -> Option<Stat> {
    let pid = line.split_once(' ')?.0.parse().ok()?;
    // The name stands in parentheses and may itself hold spaces and parentheses.
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        pid,
        session: u32::try_from(number(6)?).ok()?,
        start_ticks: number(22)?,
        cpu_ticks: number(14)? + number(15)?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}

fn parse_statm(line: &str) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(resident.saturating_sub(shared))
}

fn parse_rollup(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let kilobytes = lines.find_map(|line| line.strip_prefix("Pss:")?.strip_suffix("kB"))?;
    Some(kilobytes.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line =
            "42 (my (odd) name) S 1 42 40 0 -1 4194560 1 0 0 0 7 5 0 0 20 0 1 0 987654 1000 100";
        let expected = Stat {
            pid: 42,
            session: 40,
            start_ticks: 987_654,
            cpu_ticks: 12,
            zombie: false,
        };
        assert_eq!(parse_stat(line), Some(expected));
        assert_eq!(parse_stat("42 (cut"), None);
    }

    #[test]
    fn memory_of_files_is_not_the_processs_own() {
        assert_eq!(parse_statm("9000 300 100 5 0 80 0"), Some(200));
    }

    #[test]
    fn a_process_answers_for_its_part_of_what_is_shared() {
        let text = "Rss:  900 kB\nPss:                 123 kB\nPss_Dirty:   7 kB\n";
        assert_eq!(parse_rollup(text), Some(123 * 1024));
        let me = std::process::id();
        assert!(proportional_memory(me) > 0);
    }

    #[test]
    fn this_process_is_among_all() {
        let me = std::process::id();
        assert!(all().any(|stat| stat.pid == me));
        assert!(own_memory(me) > 0);
    }
}
