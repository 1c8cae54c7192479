//! The clients and abilities that tests need and machines may lack.

use std::io::Write;
use std::process::{Command, Stdio};

/// Something that a machine may lack.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tool {
    /// kubectl of this minor version.
    Kubectl(&'static str),
    /// docker, with a daemon that answers.
    Docker,
    /// git.
    Git,
    /// skopeo.
    Skopeo,
    /// curl, as a client of HTTPS.
    Curl,
    /// A terminal, made by `script`.
    Terminal,
    /// Mounting a file system.
    Mount,
    /// A network namespace of one's own.
    NetworkNamespace,
}

/// Leaves the test where the machine lacks one of these.
macro_rules! needs {
    ($($tool:expr),+ $(,)?) => {
        $(if !$crate::tools::offered($tool) { return; })+
    };
}
pub(crate) use needs;

/// True where the machine has it; else says so, or fails where CI promised it.
pub(crate) fn offered(tool: Tool) -> bool {
    let there = match tool {
        Tool::Kubectl(version) => runs(&format!("kubectl-{version}"), &["version", "--client"]),
        Tool::Docker => runs("docker", &["version"]),
        Tool::Git => runs("git", &["--version"]),
        Tool::Skopeo => runs("skopeo", &["--version"]),
        Tool::Curl => runs("curl", &["--version"]),
        Tool::Terminal => runs("script", &["--version"]),
        Tool::Mount => runs(
            "unshare",
            &["--mount", "mount", "-t", "tmpfs", "none", "/mnt"],
        ),
        Tool::NetworkNamespace => runs("unshare", &["--net", "ip", "link", "set", "lo", "up"]),
    };
    if !there {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        assert!(
            std::env::var_os("CI").is_none(),
            "{test} needs {tool:?}, which this machine lacks"
        );
        let _ = writeln!(
            std::io::stderr(),
            "skipped {test}: this machine lacks {tool:?}"
        );
    }
    there
}

fn runs(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
