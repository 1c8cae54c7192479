//! What the learner committed, read with `git` and without a trace: no lock, no prompt, no hook.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::readers::command::{Ended, Ran, run};

/// Longest time for one command; a lab's repository needs milliseconds.
const LIMIT: Duration = Duration::from_secs(3);
/// How many commits are read of the history.
const COMMITS_MAX: usize = 200;

/// What was read of a work tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkTree {
    /// The branch; none where HEAD is detached.
    pub(crate) branch: Option<String>,
    /// The commit; none before the first.
    pub(crate) head: Option<String>,
    /// Files below the directory that differ from HEAD or are not in it.
    pub(crate) changes: Vec<String>,
    /// Newest first, along the branch.
    pub(crate) commits: Vec<Commit>,
    /// Name and URL of each remote.
    pub(crate) remotes: Vec<(String, String)>,
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) id: String,
    pub(crate) at: Timestamp,
    /// True for one without a parent.
    pub(crate) is_root: bool,
    pub(crate) message: String,
    /// What it changed below the directory, relative to it.
    pub(crate) files: Vec<String>,
}

/// Whether HEAD is in the cluster's repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// On the branch of the same name.
    Yes,
    /// Not on that branch of this remote.
    No {
        /// Name of the remote.
        remote: String,
    },
    /// No remote is one of the cluster's repositories.
    NoRemote,
}

/// The beginning of a commit's id, as people say it.
pub(crate) fn short(id: &str) -> String {
    id.chars().take(7).collect()
}

/// Runs git in a directory of the learner's.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    dir: PathBuf,
    workspace: PathBuf,
    repositories: PathBuf,
}

impl Git {
    /// For the directory `name` of the workspace. The error is a diagnosis of what is not there.
    pub(crate) fn new(context: &CheckContext, name: &str) -> Result<Self, Diagnosis> {
        let dir = context.desk.path(name)?;
        let workspace = context.desk.path(".")?;
        // A link would lead past the directory above which nothing is looked for.
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Ok(Self {
            dir: real(&dir),
            workspace: real(&workspace),
            repositories: real(Path::new(&context.addresses.git)),
        })
    }

    /// Reads everything about the work tree. `Ok(None)` where it is in no repository.
    pub(crate) async fn read(&self) -> Result<Option<WorkTree>, Diagnosis> {
        if !self.dir.is_dir() {
            return Ok(None);
        }
        let log = format!("--max-count={COMMITS_MAX}");
        let status = [
            "status",
            "--porcelain=v2",
            "--branch",
            "--untracked-files=all",
            "-z",
            "--",
            ".",
        ];
        let log = [
            "log",
            &log,
            "--first-parent",
            "-m",
            "--root",
            "--relative",
            "--name-only",
            "--format=%x1e%H%x1f%ct%x1f%P%x1f%B%x1f",
        ];
        let remotes = ["config", "--get-regexp", r"^remote\..*\.url$"];
        let (status, log, remotes) =
            tokio::join!(self.git(&status), self.git(&log), self.git(&remotes));
        let (status, log, remotes) = (status?, log?, remotes?);
        if status.code != 0 {
            return Ok(None);
        }
        // The other two fail where there is no commit and no remote.
        let text = |ended: Ended| {
            if ended.code == 0 {
                ended.stdout
            } else {
                String::new()
            }
        };
        Ok(Some(work_tree(&status.stdout, &text(log), &text(remotes))))
    }

    /// Whether HEAD is on the branch of one of the cluster's repositories.
    pub(crate) async fn pushed(&self, tree: &WorkTree, branch: &str) -> Result<Pushed, Diagnosis> {
        let Some(head) = &tree.head else {
            return Ok(Pushed::NoRemote);
        };
        let mut answer = Pushed::NoRemote;
        for (remote, url) in &tree.remotes {
            let Some(repository) = self.own_repository(url) else {
                continue;
            };
            // The remote itself is asked: the local copy of its branches can be old, or made up.
            let repository = format!("--git-dir={}", repository.display());
            let branch = format!("refs/heads/{branch}");
            let has = self
                .git(&[&repository, "merge-base", "--is-ancestor", head, &branch])
                .await?;
            if has.code == 0 {
                return Ok(Pushed::Yes);
            }
            answer = Pushed::No {
                remote: remote.clone(),
            };
        }
        Ok(answer)
    }

    /// The directory behind a URL, where it is one of the cluster's repositories.
    fn own_repository(&self, url: &str) -> Option<PathBuf> {
        let path = url.strip_prefix("file://").unwrap_or(url);
        let path = self.dir.join(path).canonicalize().ok()?;
        path.starts_with(&self.repositories).then_some(path)
    }

    /// A file as it is in HEAD; none where it is not in it.
    pub(crate) async fn committed(&self, path: &str) -> Result<Option<String>, Diagnosis> {
        let shown = self.git(&["show", &format!("HEAD:./{path}")]).await?;
        Ok((shown.code == 0).then_some(shown.stdout))
    }

    async fn git(&self, arguments: &[&str]) -> Result<Ended, Diagnosis> {
        let fixed = [
            "git",
            "--no-pager",
            "-c",
            "core.quotePath=false",
            "-c",
            "core.fsmonitor=false",
        ];
        let argv: Vec<_> = fixed
            .iter()
            .chain(arguments)
            .map(|word| (*word).to_owned())
            .collect();
        match run(&argv, &self.dir, &self.variables(), LIMIT).await {
            Ran::Ended(ended) => Ok(ended),
            Ran::Missing(_) => Err(Diagnosis::CommandMissing {
                command: argv.join(" "),
                program: "git".to_owned(),
            }),
            Ran::TooSlow => Err(Diagnosis::TimedOut {
                seconds: LIMIT.as_secs().to_string(),
            }),
        }
    }

    fn variables(&self) -> BTreeMap<String, String> {
        // A repository that the workspace happens to lie in is not the learner's work.
        let ceiling = self.workspace.parent().unwrap_or(&self.workspace);
        let set = [
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_CEILING_DIRECTORIES", &ceiling.to_string_lossy()),
            ("LC_ALL", "C"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        // Those of a hook that this may run in would lead to another repository.
        let unset = [
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_PREFIX",
            "GIT_COMMON_DIR",
            "GIT_OBJECT_DIRECTORY",
            "GIT_NAMESPACE",
        ]
        .map(|name| (name.to_owned(), String::new()));
        set.into_iter().chain(unset).collect()
    }
}

/// <https://git-scm.com/docs/git-status#_porcelain_format_version_2>
fn work_tree(status: &str, log: &str, remotes: &str) -> WorkTree {
    let mut tree = WorkTree::default();
    let mut records = status.split('\0');
    while let Some(record) = records.next() {
        let known = |text: &str| Some(text.to_owned()).filter(|text| !text.starts_with('('));
        if let Some(id) = record.strip_prefix("# branch.oid ") {
            tree.head = known(id);
        } else if let Some(branch) = record.strip_prefix("# branch.head ") {
            tree.branch = known(branch);
        } else if let Some(path) = record.strip_prefix("? ") {
            tree.changes.push(path.to_owned());
        } else if record.starts_with("1 ") {
            tree.changes
                .extend(record.splitn(9, ' ').nth(8).map(str::to_owned));
        } else if record.starts_with("u ") {
            tree.changes
                .extend(record.splitn(11, ' ').nth(10).map(str::to_owned));
        } else if record.starts_with("2 ") {
            tree.changes
                .extend(record.splitn(10, ' ').nth(9).map(str::to_owned));
            // The name that it had before.
            records.next();
        }
    }
    tree.commits = log.split('\x1e').filter_map(commit).collect();
    tree.remotes = remotes
        .lines()
        .filter_map(|line| {
            let (key, url) = line.split_once(' ')?;
            let name = key.strip_prefix("remote.")?.strip_suffix(".url")?;
            Some((name.to_owned(), url.to_owned()))
        })
        .collect();
    tree
}

fn commit(record: &str) -> Option<Commit> {
    let mut fields = record.split('\x1f');
    let (id, at, parents, message) = (
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    );
    let files = fields.next().unwrap_or_default().lines();
    Some(Commit {
        id: id.to_owned(),
        at: Timestamp::from_second(at.parse().ok()?).ok()?,
        is_root: parents.is_empty(),
        message: message.trim().to_owned(),
        files: files
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}

#[cfg(test)]
pub(crate) mod samples {
    //! Real repositories in a directory of their own.

    use std::process::Command;

    use super::*;
    use crate::context::{Addresses, Desk};

    /// A workspace with the repository `hello`, and the cluster's repositories beside it.
    pub(crate) struct Sample {
        root: tempfile::TempDir,
    }

    impl Sample {
        /// With one commit, pushed to the cluster's `hello.git`.
        pub(crate) fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let sample = Self { root };
            for dir in ["workspace/hello", "git/hello.git"] {
                std::fs::create_dir_all(sample.path(dir)).unwrap();
            }
            sample.git("git/hello.git", &["init", "--bare", "-b", "main"]);
            sample.git("workspace/hello", &["init", "-b", "main"]);
            let remote = sample.path("git/hello.git");
            let remote = remote.to_str().unwrap();
            sample.git("workspace/hello", &["remote", "add", "origin", remote]);
            sample.write("app.js", "1");
            sample.commit("Begin");
            sample.push();
            sample
        }

        pub(crate) fn path(&self, path: &str) -> PathBuf {
            self.root.path().join(path)
        }

        pub(crate) fn write(&self, file: &str, text: &str) {
            std::fs::write(self.path("workspace/hello").join(file), text).unwrap();
        }

        pub(crate) fn commit(&self, message: &str) {
            self.git("workspace/hello", &["add", "-A"]);
            self.git(
                "workspace/hello",
                &["commit", "-m", message, "--allow-empty"],
            );
        }

        pub(crate) fn push(&self) {
            self.git("workspace/hello", &["push", "origin", "HEAD"]);
        }

        #[track_caller]
        pub(crate) fn git(&self, dir: &str, arguments: &[&str]) {
            let output = Command::new("git")
                .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"])
                .args(arguments)
                .current_dir(self.path(dir))
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_SYSTEM", "/dev/null")
                .output()
                .unwrap();
            assert!(output.status.success(), "{arguments:?}: {output:?}");
        }

        pub(crate) fn context(&self) -> CheckContext {
            let nobody = tower::service_fn(|_: http::Request<kube::client::Body>| async {
                Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("nobody"))
            });
            let addresses = Addresses {
                git: self.path("git").display().to_string(),
                ..Addresses::default()
            };
            CheckContext {
                desk: Desk {
                    workspace: Some(self.path("workspace")),
                    ..Desk::default()
                },
                ..CheckContext::new(kube::Client::new(nobody, "default"), addresses)
            }
        }

        pub(crate) async fn tree(&self) -> WorkTree {
            let git = Git::new(&self.context(), "hello").unwrap();
            git.read().await.unwrap().unwrap()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::Sample;
    use super::*;

    #[tokio::test]
    async fn a_work_tree_is_read_with_its_commits_and_changes() {
        let sample = Sample::new();
        sample.write("with space.txt", "x");
        sample.commit("Add a file\n\nWith a body.");
        sample.write("app.js", "2");
        sample.write("été.js", "3");
        let tree = sample.tree().await;
        assert_eq!(tree.branch.as_deref(), Some("main"));
        assert_eq!(tree.changes, ["app.js", "été.js"]);
        assert_eq!(tree.remotes.len(), 1);
        let [second, first] = &tree.commits[..] else {
            panic!("{tree:?}");
        };
        assert_eq!(tree.head.as_ref(), Some(&second.id));
        assert_eq!(second.message, "Add a file\n\nWith a body.");
        assert_eq!(second.files, ["with space.txt"]);
        assert!(first.is_root && !second.is_root);
        assert_eq!(first.files, ["app.js"]);
    }

    #[tokio::test]
    async fn renamed_and_staged_files_count_as_changes() {
        let sample = Sample::new();
        sample.git("workspace/hello", &["mv", "app.js", "main.js"]);
        assert_eq!(sample.tree().await.changes, ["main.js"]);
    }

    #[tokio::test]
    async fn reading_leaves_no_trace_in_the_repository() {
        let sample = Sample::new();
        // A file with a new time and the same content makes `git status` refresh the index.
        sample.write("app.js", "1");
        let index = || std::fs::read(sample.path("workspace/hello/.git/index")).unwrap();
        let before = index();
        sample.tree().await;
        assert_eq!(index(), before);
    }

    #[tokio::test]
    async fn a_repository_around_the_workspace_is_not_the_learners() {
        let sample = Sample::new();
        sample.git(".", &["init", "-b", "main"]);
        std::fs::remove_dir_all(sample.path("workspace/hello/.git")).unwrap();
        let git = Git::new(&sample.context(), "hello").unwrap();
        assert_eq!(git.read().await.unwrap(), None);
        let git = Git::new(&sample.context(), "nowhere").unwrap();
        assert_eq!(git.read().await.unwrap(), None);
        // One of the workspace itself is.
        sample.git("workspace", &["init", "-b", "main"]);
        let git = Git::new(&sample.context(), "hello").unwrap();
        let tree = git.read().await.unwrap().unwrap();
        assert_eq!((tree.head, tree.branch.as_deref()), (None, Some("main")));
    }

    #[tokio::test]
    async fn what_is_pushed_is_what_the_clusters_repository_has() {
        let sample = Sample::new();
        let pushed = async || {
            let git = Git::new(&sample.context(), "hello").unwrap();
            let tree = git.read().await.unwrap().unwrap();
            let branch = tree.branch.clone().unwrap();
            git.pushed(&tree, &branch).await.unwrap()
        };
        let no = Pushed::No {
            remote: "origin".to_owned(),
        };
        assert_eq!(pushed().await, Pushed::Yes);
        sample.commit("Not pushed");
        assert_eq!(pushed().await, no);
        // A copy of the remote's branch that was set by hand does not deceive.
        sample.git(
            "workspace/hello",
            &["update-ref", "refs/remotes/origin/main", "HEAD"],
        );
        assert_eq!(pushed().await, no);
        sample.push();
        assert_eq!(pushed().await, Pushed::Yes);
        // The same commit on a branch that is not there.
        sample.git("workspace/hello", &["switch", "-c", "other"]);
        assert_eq!(pushed().await, no);
        sample.git(
            "workspace/hello",
            &["remote", "set-url", "origin", "https://example.org/x.git"],
        );
        assert_eq!(pushed().await, Pushed::NoRemote);
    }

    #[tokio::test]
    async fn a_committed_file_is_not_that_of_the_work_tree() {
        let sample = Sample::new();
        sample.write("app.js", "2");
        let git = Git::new(&sample.context(), "hello").unwrap();
        assert_eq!(git.committed("app.js").await.unwrap().as_deref(), Some("1"));
        assert_eq!(git.committed("none.js").await.unwrap(), None);
    }
}
