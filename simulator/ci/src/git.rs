//! What is asked of git, always of one bare repository.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::workflow::FOLDER;

/// Largest workflow file that is read.
const FILE_MAX: usize = 1 << 20;

/// The tree without anything in it, which every repository knows.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// Variables that hooks get from git, and that would make a git of a step work on the wrong
/// repository.
pub(crate) const HOOK_VARIABLES: &[&str] = &[
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_QUARANTINE_PATH",
    "GIT_NAMESPACE",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_PROTOCOL",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_SHALLOW_FILE",
];

/// Why git did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// It is not there.
    #[error("git is not on this machine: install it (on Debian: apt install git)")]
    Missing,
    /// It could not be started.
    #[error("failed to start git")]
    Start(#[source] io::Error),
    /// It refused.
    #[error("git {command} failed: {said}")]
    Refused {
        /// What it was to do.
        command: String,
        /// What it said.
        said: String,
    },
}

/// A bare repository.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    dir: PathBuf,
}

/// What is known of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    /// 40 hexadecimal digits.
    pub(crate) id: String,
    /// Name of its author.
    pub(crate) author: String,
    /// Address of its author.
    pub(crate) email: String,
    /// When it was made, with the offset of its author's place.
    pub(crate) time: String,
    /// Its message.
    pub(crate) message: String,
}

/// `git` without what hooks put into the environment.
pub(crate) fn command() -> Command {
    let mut command = Command::new("git");
    for variable in HOOK_VARIABLES {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    // What it says is shown to people, and some of it read by us.
    command.env("LC_ALL", "C");
    command
}

/// Runs a command of git to its end.
///
/// # Errors
/// Where it cannot be started or refuses.
pub(crate) async fn run(command: &mut Command) -> Result<Vec<u8>, GitError> {
    let output = command.output().await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => GitError::Missing,
        _ => GitError::Start(error),
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let args = command
        .as_std()
        .get_args()
        .map(|arg| arg.to_string_lossy().into_owned());
    Err(GitError::Refused {
        command: args.collect::<Vec<_>>().join(" "),
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

impl Git {
    pub(crate) fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    async fn ask(&self, args: &[&str]) -> Result<String, GitError> {
        let mut command = command();
        command.arg("--git-dir").arg(&self.dir).args(args);
        let out = run(&mut command).await?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// The commit that a name stands for; `None` where there is none.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Option<String>, GitError> {
        let name = format!("{name}^{{commit}}");
        match self
            .ask(&[
                "rev-parse",
                "--verify",
                "--quiet",
                "--end-of-options",
                &name,
            ])
            .await
        {
            Ok(id) => Ok(Some(id.trim().to_owned())),
            Err(GitError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is known of a commit.
    pub(crate) async fn commit(&self, id: &str) -> Result<Commit, GitError> {
        let format = "--format=%H%x00%an%x00%ae%x00%aI%x00%B";
        let text = self.ask(&["log", "-1", format, id, "--"]).await?;
        let mut parts = text.splitn(5, '\0').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Ok(Commit {
            id: next(),
            author: next(),
            email: next(),
            time: next(),
            message: next().trim_end().to_owned(),
        })
    }

    /// Paths of the workflow files of a commit, sorted.
    pub(crate) async fn workflow_files(&self, commit: &str) -> Result<Vec<String>, GitError> {
        let folder = format!("{FOLDER}/");
        let names = self
            .ask(&["ls-tree", "-z", "--name-only", commit, &folder])
            .await?;
        let is_workflow = |name: &&str| name.ends_with(".yml") || name.ends_with(".yaml");
        Ok(names
            .split('\0')
            .filter(is_workflow)
            .map(str::to_owned)
            .collect())
    }

    /// A file of a commit.
    pub(crate) async fn file(&self, commit: &str, path: &str) -> Result<String, GitError> {
        let mut text = self
            .ask(&["cat-file", "blob", &format!("{commit}:{path}")])
            .await?;
        if text.len() > FILE_MAX {
            text.clear();
        }
        Ok(text)
    }

    /// The paths that a push to `git_ref` changed; `None` where they cannot be told.
    pub(crate) async fn changed(
        &self,
        git_ref: &str,
        before: &str,
        after: &str,
    ) -> Result<Option<Vec<String>>, GitError> {
        let base = if is_nothing(before) {
            match self.base_of_new(git_ref, after).await? {
                Some(base) => base,
                None => return Ok(None),
            }
        } else {
            before.to_owned()
        };
        let args = [
            "diff",
            "--name-only",
            "--no-renames",
            "-z",
            &base,
            after,
            "--",
        ];
        match self.ask(&args).await {
            Ok(names) => {
                let names = names.split('\0').filter(|name| !name.is_empty());
                Ok(Some(names.map(str::to_owned).collect()))
            }
            Err(GitError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a new branch is compared with: the parent of the oldest commit that no other ref has.
    async fn base_of_new(&self, git_ref: &str, after: &str) -> Result<Option<String>, GitError> {
        let exclude = format!("--exclude={git_ref}");
        let args = [
            "rev-list",
            "--topo-order",
            "--reverse",
            after,
            "--not",
            &exclude,
            "--all",
        ];
        let new = self.ask(&args).await?;
        let Some(oldest) = new.lines().next() else {
            return Ok(None);
        };
        let parent = self.resolve(&format!("{oldest}^")).await?;
        Ok(Some(parent.unwrap_or_else(|| EMPTY_TREE.to_owned())))
    }
}

/// True for the zeros that stand for a ref that is not there.
pub(crate) fn is_nothing(id: &str) -> bool {
    id.bytes().all(|byte| byte == b'0')
}
