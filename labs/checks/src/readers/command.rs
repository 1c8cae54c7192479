//! Programs that a check runs to look at something: without a shell, with a time limit, and with
//! an end to what they may print.
//!
//! A program leads a [`ProcessGroup`], of which nothing is left where the check itself is given up.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

use crate::process_group::ProcessGroup;

/// What labs call this program.
const OWN_NAME: &str = "devops-lab";

/// What is kept of each stream; the rest is read and forgotten, so that the program goes on.
const OUTPUT_MAX: usize = 64 * 1024;
/// How long the rest of the output is waited for once the program and its group are gone: only
/// a process that left the group can still hold the pipe.
const REST: Duration = Duration::from_millis(200);

/// What came of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    /// It ended.
    Ended(Ended),
    /// There is no such program, or it cannot be run; the words of the system.
    Missing(String),
    /// It was stopped at the limit.
    TooSlow,
}

/// A program that ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its exit code; 128 and the signal's number where a signal ended it, as shells say it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program that a lab names. This very program is found wherever it lies: a learner may run it
/// by its path, without a `devops-lab` on her `PATH`.
fn found(program: &str) -> PathBuf {
    if program == OWN_NAME
        && let Ok(own) = std::env::current_exe()
    {
        return own;
    }
    PathBuf::from(program)
}

/// Runs `argv` in `dir`. `variables` are added to the environment; an empty value takes one out.
pub(crate) async fn run(
    argv: &[String],
    dir: &Path,
    variables: &BTreeMap<String, String>,
    limit: Duration,
) -> Ran {
    let Some((program, arguments)) = argv.split_first() else {
        return Ran::Missing("no program".to_owned());
    };
    let mut command = Command::new(found(program));
    command
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in variables {
        if value.is_empty() {
            command.env_remove(name);
        } else {
            command.env(name, value);
        }
    }
    let mut group = match ProcessGroup::start(&mut command) {
        Ok(group) => group,
        Err(error) => return Ran::Missing(error.to_string()),
    };
    let streams = (group.child.stdout.take(), group.child.stderr.take());
    let mut output = tokio::spawn(async move { tokio::join!(read(streams.0), read(streams.1)) });
    let status = group.wait(limit).await;
    if matches!(status, Ok(None)) {
        output.abort();
        return Ran::TooSlow;
    }
    let rest = timeout(REST, &mut output).await;
    output.abort();
    let (stdout, stderr) = rest.ok().and_then(Result::ok).unwrap_or_default();
    match status {
        Ok(Some(status)) => Ran::Ended(Ended {
            code: code(status),
            stdout,
            stderr,
        }),
        Ok(None) => Ran::TooSlow,
        Err(error) => Ran::Missing(error.to_string()),
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    let signal = || status.signal().map_or(-1, |signal| 128 + signal);
    status.code().unwrap_or_else(signal)
}

/// Reads to the end and keeps the beginning.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else {
        return String::new();
    };
    let mut kept = Vec::new();
    let mut piece = vec![0; 8 * 1024];
    loop {
        let read: io::Result<usize> = stream.read(&mut piece).await;
        match read {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&kept).into_owned(),
            Ok(read) => {
                let room = OUTPUT_MAX.saturating_sub(kept.len());
                kept.extend_from_slice(&piece[..read.min(room)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(script: &str, limit: Duration) -> Ran {
        let argv = ["sh", "-c", script].map(str::to_owned);
        run(&argv, Path::new("/"), &BTreeMap::new(), limit).await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn what_a_program_prints_and_how_it_ends_is_told() {
        let ran = sh("echo out; echo err >&2; exit 3", LONG).await;
        let expected = Ended {
            code: 3,
            stdout: "out\n".to_owned(),
            stderr: "err\n".to_owned(),
        };
        assert_eq!(ran, Ran::Ended(expected));
        let Ran::Ended(killed) = sh("kill -9 $$", LONG).await else {
            panic!("it ended");
        };
        assert_eq!(killed.code, 137);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_told_from_one_that_fails() {
        let argv = ["no-such-program-anywhere".to_owned()];
        let ran = run(&argv, Path::new("/"), &BTreeMap::new(), LONG).await;
        assert!(matches!(ran, Ran::Missing(_)), "{ran:?}");
        let ran = run(&[], Path::new("/"), &BTreeMap::new(), LONG).await;
        assert!(matches!(ran, Ran::Missing(_)), "{ran:?}");
    }

    #[tokio::test]
    async fn endless_output_is_cut_and_does_not_stop_the_program() {
        let Ran::Ended(ended) = sh("head -c 1000000 /dev/zero; echo end >&2", LONG).await else {
            panic!("it ended");
        };
        assert_eq!(
            (ended.stdout.len(), ended.stderr.as_str()),
            (OUTPUT_MAX, "end\n")
        );
    }

    /// Two processes that would wait for ever, the second one in the background.
    #[tokio::test]
    async fn at_the_limit_the_whole_group_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pids");
        let script = format!(
            "sleep 1000 & echo $! > {0}.part; mv {0}.part {0}; sleep 1000",
            file.display()
        );
        let ran = sh(&script, Duration::from_secs(2)).await;
        assert_eq!(ran, Ran::TooSlow);
        gone(&file).await;
    }

    #[tokio::test]
    async fn what_a_program_leaves_in_the_background_is_gone_too() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pids");
        let ran = sh(&format!("sleep 1000 & echo $! > {}", file.display()), LONG).await;
        assert!(matches!(ran, Ran::Ended(_)), "{ran:?}");
        gone(&file).await;
    }

    /// Waits until the process whose id is in the file is no more than a zombie.
    async fn gone(file: &Path) {
        let pid = std::fs::read_to_string(file).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        timeout(LONG, async {
            while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the process was killed");
    }
}
