//! The scripts of a lab, run as its learner would type them: `start.sh`, solutions, mistakes.
//!
//! A script finds what `devops-lab env` sets, and `devops-lab` (this very program) and `kubectl`
//! on its PATH; where the machine has no kubectl, the one of this program stands in. It is run
//! in the learner's directory, is given a time limit, and is ended with everything it started in
//! the foreground. What it says is kept, and shown where it fails.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use lab_checks::process_group::ProcessGroup;
use lab_cluster::record::{ClusterDir, Home, Record};
use tempfile::TempDir;
use tokio::process::Command;

use crate::commands::env;

/// How long a script may take: a rollout in real time, with its pauses.
const LIMIT: Duration = Duration::from_secs(300);
/// How much of what a script said is shown, from its end.
const SHOWN: u64 = 16 * 1024;

/// Who commits where the learner has not told git her name.
pub(crate) const GIT_IDENTITY: [(&str, &str); 4] = [
    ("GIT_AUTHOR_NAME", "Learner"),
    ("GIT_AUTHOR_EMAIL", "learner@example.com"),
    ("GIT_COMMITTER_NAME", "Learner"),
    ("GIT_COMMITTER_EMAIL", "learner@example.com"),
];

/// A place where scripts of labs are run.
pub(crate) struct Scripts {
    /// Holds the programs that scripts call by name, and what scripts say.
    programs: TempDir,
    program: PathBuf,
    workspace: PathBuf,
    environment: Vec<(OsString, OsString)>,
    limit: Duration,
}

/// Which kubectl scripts find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kubectl {
    /// The machine's, else that of this program.
    Machine,
    /// That of this program.
    Own,
}

/// What came of a script that could be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// Its outcome in words; none where it succeeded.
    pub(crate) failure: Option<String>,
    /// Standard output and error, as they came; the end of them where there is much.
    pub(crate) output: String,
}

impl Scripts {
    /// For a cluster and the learner's directory.
    ///
    /// # Errors
    /// Where the programs or the cluster's kubeconfig cannot be laid out.
    pub(crate) fn new(
        home: &Home,
        dir: &ClusterDir,
        record: &Record,
        workspace: &Path,
        kubectl: Kubectl,
    ) -> anyhow::Result<Self> {
        let programs = tempfile::Builder::new()
            .prefix("devops-lab-")
            .tempdir()
            .context("failed to make a directory for the programs that scripts call")?;
        let program =
            std::env::current_exe().context("this program cannot find its own executable")?;
        let bin = programs.path().join("bin");
        let is_there = kubectl == Kubectl::Machine && is_on_path("kubectl");
        lay_out(&bin, &program, is_there)
            .with_context(|| format!("failed to lay out {}", bin.display()))?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&path)))
            .context("PATH cannot be extended")?;
        env::write_kubeconfig(dir, record)?;
        let mut environment: Vec<(OsString, OsString)> = vec![
            ("PATH".into(), path),
            ("DEVOPS_LAB_HOME".into(), absolute(home.path())?.into()),
        ];
        let variables = env::variables(dir, record);
        environment.extend(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        if !has_git_identity() {
            environment.extend(GIT_IDENTITY.map(|(name, value)| (name.into(), value.into())));
        }
        Ok(Self {
            programs,
            program,
            workspace: workspace.to_owned(),
            environment,
            limit: LIMIT,
        })
    }

    /// Another variable for everything that is run from now on.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.push((name.into(), value.into()));
    }

    /// The directory in which scripts are run.
    pub(crate) fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// This program, as scripts call it.
    pub(crate) fn devops_lab(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.program);
        command.args(arguments);
        command
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.workspace)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a script to its end.
    ///
    /// # Errors
    /// Where it could not be run at all; a script that fails is an answer.
    pub(crate) async fn run(&self, text: &str) -> anyhow::Result<Said> {
        let directory = tempfile::tempdir_in(self.programs.path())
            .context("failed to make a directory for a script")?;
        let script = directory.path().join("script.sh");
        fs::write(&script, text)
            .with_context(|| format!("failed to write {}", script.display()))?;
        // A file rather than a pipe: what a script leaves in the background may hold it open.
        let said = directory.path().join("said");
        let out = File::create_new(&said)
            .with_context(|| format!("failed to create {}", said.display()))?;
        let err = out.try_clone()?;
        let mut command = self.command("sh");
        command.arg(&script).stdout(out).stderr(err);
        let group = ProcessGroup::start(&mut command).context("failed to run sh")?;
        let ended = group.wait(self.limit).await;
        let failure = match ended.context("failed to wait for a script")? {
            Some(status) => failure(status),
            None => Some(format!("did not end within {} s", self.limit.as_secs())),
        };
        Ok(Said {
            failure,
            output: end_of(&said)?,
        })
    }

    /// Runs a script that must succeed; `name` says which it is.
    ///
    /// # Errors
    /// Where it fails, with what it said.
    pub(crate) async fn succeed(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let Said { failure, output } = self.run(text).await?;
        if let Some(failure) = failure {
            bail!("{name} {failure}:\n{}", output.trim_end());
        }
        Ok(())
    }
}

fn failure(status: ExitStatus) -> Option<String> {
    if status.success() {
        return None;
    }
    Some(status.code().map_or_else(
        || format!("was ended ({status})"),
        |code| format!("failed with exit code {code}"),
    ))
}

/// The last part of a file.
fn end_of(path: &Path) -> anyhow::Result<String> {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(SHOWN)))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        std::io::Result::Ok(String::from_utf8_lossy(&text).into_owned())
    };
    read().with_context(|| format!("failed to read {}", path.display()))
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("failed to find {}", path.display()))
}

/// Puts `devops-lab` into a directory, and `kubectl` where there is none.
fn lay_out(bin: &Path, program: &Path, has_kubectl: bool) -> std::io::Result<()> {
    fs::create_dir_all(bin)?;
    symlink(program, bin.join("devops-lab"))?;
    if !has_kubectl {
        let wrapper = bin.join("kubectl");
        fs::write(&wrapper, "#!/bin/sh\nexec devops-lab kubectl \"$@\"\n")?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// True where git knows who commits, or is not there at all.
fn has_git_identity() -> bool {
    let mut git = std::process::Command::new("git");
    git.args(["config", "--get", "user.email"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    git.status().map_or(true, |status| status.success())
}

/// True where a program is found by its name.
fn is_on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|place| place.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scripts(limit: Duration) -> Scripts {
        let programs = tempfile::tempdir().unwrap();
        Scripts {
            workspace: programs.path().to_owned(),
            program: "devops-lab".into(),
            environment: vec![("GREETING".into(), "hello".into())],
            programs,
            limit,
        }
    }

    #[tokio::test]
    async fn a_script_runs_in_the_learners_directory_with_her_variables() {
        let scripts = scripts(LIMIT);
        let said = scripts
            .run("echo $GREETING; pwd; echo oops >&2; exit 3")
            .await
            .unwrap();
        let workspace = scripts.workspace().canonicalize().unwrap();
        assert_eq!(
            said.output,
            format!("hello\n{}\noops\n", workspace.display())
        );
        assert_eq!(said.failure.as_deref(), Some("failed with exit code 3"));
        let error = scripts
            .succeed("solution/x.sh", "echo no; exit 1")
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "solution/x.sh failed with exit code 1:\nno"
        );
    }

    #[tokio::test]
    async fn a_script_that_does_not_end_is_ended_with_what_it_started() {
        let scripts = scripts(Duration::from_millis(300));
        let said = scripts
            .run("sleep 1000 & echo $! > child; wait")
            .await
            .unwrap();
        assert_eq!(said.failure.as_deref(), Some("did not end within 0 s"));
        let child = fs::read_to_string(scripts.workspace().join("child")).unwrap();
        let state = || fs::read_to_string(format!("/proc/{}/stat", child.trim()));
        // A killed process may stay a while as a zombie, until somebody asks for its end.
        let gone = || state().map_or(true, |stat| stat.contains(") Z "));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !gone() {
            assert!(tokio::time::Instant::now() < deadline, "{:?}", state());
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_machine_without_kubectl_gets_the_one_of_this_program() {
        let place = tempfile::tempdir().unwrap();
        let (with, without) = (place.path().join("with"), place.path().join("without"));
        lay_out(&with, Path::new("/bin/true"), true).unwrap();
        lay_out(&without, Path::new("/bin/true"), false).unwrap();
        assert!(with.join("devops-lab").exists() && !with.join("kubectl").exists());
        let wrapper = fs::read_to_string(without.join("kubectl")).unwrap();
        assert!(
            wrapper.ends_with("exec devops-lab kubectl \"$@\"\n"),
            "{wrapper}"
        );
    }
}
