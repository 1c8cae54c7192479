//! What on this machine may get in the way of a class, and how to mend it.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;

use serde::Serialize;
use tokio::process::Command;

use crate::config::PortPreferences;
use crate::ports;
use crate::record::Home;

/// Free space below which a class runs into trouble, in MiB.
const DISK_WANTED_MIB: u64 = 1024;
/// Available memory below which a class runs into trouble, in MiB.
const MEMORY_WANTED_MIB: u64 = 512;
/// Open files below which a cluster of many pods runs into trouble.
const FILES_WANTED: u64 = 1024;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// It works, with less comfort.
    Warning,
    /// It will not work.
    Problem,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub subject: &'static str,
    /// How it is.
    pub grade: Grade,
    /// What was found.
    pub found: String,
    /// How to mend it; empty where there is nothing to mend.
    pub fix: String,
}

impl Finding {
    fn ok(subject: &'static str, found: impl Into<String>) -> Self {
        Self {
            subject,
            grade: Grade::Ok,
            found: found.into(),
            fix: String::new(),
        }
    }

    fn new(
        subject: &'static str,
        grade: Grade,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            subject,
            grade,
            found: found.into(),
            fix: fix.into(),
        }
    }
}

/// Looks at everything.
pub async fn examine(home: &Home) -> Vec<Finding> {
    let mut findings = vec![docker().await];
    findings.push(
        tool(
            "kubectl",
            &["version", "--client"],
            "labs use `kubectl`; install it (Debian, Ubuntu: apt-get install kubectl)",
        )
        .await,
    );
    findings.push(
        tool(
            "git",
            &["--version"],
            "labs use `git`; install it (Debian, Ubuntu: apt-get install git)",
        )
        .await,
    );
    findings.push(loopback());
    findings.push(preferred_ports(home));
    findings.push(state_directory(home));
    findings.push(disk(home));
    findings.push(memory());
    findings.push(open_files());
    findings.extend(clusters(home));
    findings
}

async fn docker() -> Finding {
    match crate::docker_provider::check().await {
        Ok(version) => Finding::ok("Docker", format!("version {version} answers")),
        Err(problem) => Finding::new(
            "Docker",
            Grade::Warning,
            problem.to_string(),
            "without Docker, clusters run on the process engine",
        ),
    }
}

async fn tool(name: &'static str, arguments: &[&str], fix: &str) -> Finding {
    let output = Command::new(name)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await;
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            Finding::ok(name, text.lines().next().unwrap_or_default().to_owned())
        }
        Ok(output) => Finding::new(
            name,
            Grade::Warning,
            format!("it ends with {}", output.status),
            fix,
        ),
        Err(_) => Finding::new(name, Grade::Warning, "not found on PATH", fix),
    }
}

fn loopback() -> Finding {
    match TcpListener::bind((Ipv4Addr::new(127, 9, 9, 9), 0)) {
        Ok(_) => Finding::ok("loopback network", "127.0.0.0/8 can be used"),
        Err(error) => Finding::new(
            "loopback network",
            Grade::Problem,
            format!("127.9.9.9 cannot be listened on: {error}"),
            "the process engine gives pods addresses in 127.0.0.0/8, which Linux has by default; use --engine docker here",
        ),
    }
}

fn preferred_ports(home: &Home) -> Finding {
    let PortPreferences {
        api,
        production,
        test,
        https,
        registry,
        metrics,
    } = PortPreferences::default();
    let ours: Vec<_> = home
        .records()
        .iter()
        .flat_map(|record| record.ports.all())
        .map(|(_, port)| port)
        .collect();
    let taken: Vec<_> = [api, production, test, https, registry, metrics]
        .into_iter()
        .filter(|port| !ours.contains(port) && !ports::is_free(*port))
        .map(|port| port.to_string())
        .collect();
    if taken.is_empty() {
        return Finding::ok(
            "ports",
            format!(
                "{api}, {production}, {test}, {https}, {registry} and {metrics} are free or ours"
            ),
        );
    }
    Finding::new(
        "ports",
        Grade::Warning,
        format!("in use by another program: {}", taken.join(", ")),
        "the next free ones will be taken, and the labs' addresses then differ from the slides'; `ss -ltnp` shows who listens",
    )
}

fn state_directory(home: &Home) -> Finding {
    let path = home.path();
    let probe = path.join(format!(".probe-{}", std::process::id()));
    let written = std::fs::create_dir_all(path).and_then(|()| std::fs::write(&probe, b"x"));
    let _ = std::fs::remove_file(&probe);
    match written {
        Ok(()) => Finding::ok("state directory", path.display().to_string()),
        Err(error) => Finding::new(
            "state directory",
            Grade::Problem,
            format!("{} cannot be written: {error}", path.display()),
            "mend its permissions, or set DEVOPS_LAB_HOME to another directory",
        ),
    }
}

fn disk(home: &Home) -> Finding {
    // The directory may not be there yet: its nearest ancestor is on the same file system.
    let existing: Option<PathBuf> = home
        .path()
        .ancestors()
        .find(|path| path.exists())
        .map(PathBuf::from);
    let Some(stat) = existing.and_then(|path| rustix::fs::statvfs(path).ok()) else {
        return Finding::new(
            "disk",
            Grade::Warning,
            "free space is not known",
            "check it with `df -h`",
        );
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize) >> 20;
    if free >= DISK_WANTED_MIB {
        return Finding::ok("disk", format!("{} GiB free", free / 1024));
    }
    Finding::new(
        "disk",
        Grade::Problem,
        format!("{free} MiB free"),
        format!(
            "images and logs want {DISK_WANTED_MIB} MiB: free some space (docker system prune, devops-lab registry gc)"
        ),
    )
}

fn memory() -> Finding {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let available = line
        .and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok())
        .map(|kib| kib / 1024);
    match available {
        Some(mib) if mib >= MEMORY_WANTED_MIB => {
            Finding::ok("memory", format!("{mib} MiB available"))
        }
        Some(mib) => Finding::new(
            "memory",
            Grade::Warning,
            format!("{mib} MiB available"),
            format!("a cluster with a few pods wants {MEMORY_WANTED_MIB} MiB: close some programs"),
        ),
        None => Finding::new("memory", Grade::Warning, "not known", ""),
    }
}

fn open_files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match limit {
        Some(limit) if limit < FILES_WANTED => Finding::new(
            "open files",
            Grade::Warning,
            format!("a process may open {limit}"),
            format!("raise the limit: ulimit -n {FILES_WANTED}"),
        ),
        Some(limit) => Finding::ok("open files", format!("a process may open {limit}")),
        None => Finding::ok("open files", "no limit"),
    }
}

fn clusters(home: &Home) -> Vec<Finding> {
    let broken = home
        .names()
        .into_iter()
        .filter_map(|name| home.cluster(&name).load().err());
    broken
        .map(|error| Finding::new("cluster", Grade::Problem, error.to_string(), ""))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_state_directory_that_is_a_file_is_a_problem_with_a_fix() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let finding = state_directory(&Home::at(file.join("state")));
        assert_eq!(finding.grade, Grade::Problem);
        assert!(finding.fix.contains("DEVOPS_LAB_HOME"));
    }

    #[tokio::test]
    async fn a_missing_tool_is_a_warning_with_a_fix() {
        let finding = tool("devops-lab-no-such-tool", &[], "install it").await;
        assert_eq!(
            (finding.grade, finding.fix.as_str()),
            (Grade::Warning, "install it")
        );
    }
}
