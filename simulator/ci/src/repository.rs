//! The bare repositories that a cluster owns, and the hook that runs their pipelines.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::git::{self, GitError};

/// Longest name of a repository.
const NAME_MAX: usize = 64;

/// Why a repository cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// Its name is none.
    #[error(
        "{0:?} is not a name of a repository: use letters, digits, -, _ and ., and begin with a letter or a digit"
    )]
    Name(String),
    /// Git refused.
    #[error("failed to make the repository {name}")]
    Git {
        /// Its name.
        name: String,
        /// The cause.
        #[source]
        source: GitError,
    },
    /// The file system refused.
    #[error("failed to write {path}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// What the hook must know.
#[derive(Clone, Debug)]
pub struct Hook {
    /// This program.
    pub program: PathBuf,
    /// Where clusters are kept.
    pub home: PathBuf,
    /// The cluster.
    pub cluster: String,
}

/// Refuses what cannot be the name of a repository, a directory and an image.
///
/// # Errors
/// Where it is none.
pub fn check_name(name: &str) -> Result<(), RepositoryError> {
    let fits = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= NAME_MAX
        && !name.ends_with(".git")
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    fits.then_some(())
        .ok_or_else(|| RepositoryError::Name(name.to_owned()))
}

/// Where a repository is.
#[must_use]
pub fn path(git: &Path, name: &str) -> PathBuf {
    git.join(format!("{name}.git"))
}

/// True where it is there.
#[must_use]
pub fn exists(git: &Path, name: &str) -> bool {
    path(git, name).join("HEAD").exists()
}

/// Names of all repositories, sorted.
#[must_use]
pub fn list(git: &Path) -> Vec<String> {
    let entries = fs::read_dir(git).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".git").map(str::to_owned))
        .filter(|name| exists(git, name))
        .collect();
    names.sort();
    names
}

/// Makes a repository, or renews the hook of one that is there. Returns whether it is new.
///
/// # Errors
/// Where the name is none, or git or the file system refuses.
pub async fn init(git: &Path, name: &str, hook: &Hook) -> Result<bool, RepositoryError> {
    check_name(name)?;
    let dir = path(git, name);
    let is_new = !exists(git, name);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| RepositoryError::Io { path, source }
    };
    fs::create_dir_all(git).map_err(io(git))?;
    let hooks = dir.join("hooks");
    let refused = |source| RepositoryError::Git {
        name: name.to_owned(),
        source,
    };
    let mut command = git::command();
    // Without the templates of this machine, which may bring hooks along.
    command.args([
        "init",
        "--quiet",
        "--bare",
        "--template=",
        "--initial-branch=main",
    ]);
    git::run(command.arg(&dir)).await.map_err(refused)?;
    let hooks_path = hooks.display().to_string();
    for (key, value) in [
        // A user's own core.hooksPath would keep our hook from being found.
        ("core.hooksPath", hooks_path.as_str()),
        // Steps fetch the commit that they were pushed for, whatever has been pushed since.
        ("uploadpack.allowAnySHA1InWant", "true"),
        // Nothing may go on in the background when the cluster is deleted.
        ("receive.autogc", "false"),
        ("gc.auto", "0"),
    ] {
        let mut command = git::command();
        command
            .arg("--git-dir")
            .arg(&dir)
            .args(["config", key, value]);
        git::run(&mut command).await.map_err(refused)?;
    }
    fs::create_dir_all(&hooks).map_err(io(&hooks))?;
    write_hook(&hooks, name, hook).map_err(io(&hooks.join(HOOK)))?;
    Ok(is_new)
}

/// After the refs are updated: a pipeline judges what was pushed, and does not refuse it.
const HOOK: &str = "post-receive";

fn write_hook(hooks: &Path, name: &str, hook: &Hook) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(hooks)?;
    file.write_all(script(name, hook).as_bytes())?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o755))?;
    // A push under way reads the old hook to its end.
    file.persist(hooks.join(HOOK))
        .map_err(|error| error.error)?;
    Ok(())
}

fn script(name: &str, hook: &Hook) -> String {
    let Hook {
        program,
        home,
        cluster,
    } = hook;
    let [program, home, cluster, name] = [
        program.display().to_string(),
        home.display().to_string(),
        cluster.clone(),
        name.to_owned(),
    ]
    .map(|text| quoted(&text));
    format!(
        r#"#!/bin/sh
# Written by devops-lab ci init: runs the pipelines of what was pushed.
program={program}
if [ ! -x "$program" ]; then
  program=$(command -v devops-lab) || {{
    echo "Your push is stored, but its pipeline did not run: devops-lab is no longer at"
    echo "  "{program}
    echo "Run this with the program where it is now, and push again:"
    echo "  devops-lab ci init "{name}" --name "{cluster}
    exit 0
  }}
fi
export DEVOPS_LAB_HOME={home}
exec "$program" ci hook {name} --name {cluster}
"#
    )
}

/// In single quotes, as a POSIX shell reads it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_directories_and_images() {
        for name in ["hello", "my-app_2.0", "A"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", ".hidden", "-x", "a/b", "..", "x.git", "é", "a b"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_hook_survives_quotes_in_paths() {
        let hook = Hook {
            program: "/opt/o'neil/devops-lab".into(),
            home: "/home/a b".into(),
            cluster: "lab".to_owned(),
        };
        let text = script("hello", &hook);
        assert!(
            text.contains("program='/opt/o'\\''neil/devops-lab'"),
            "{text}"
        );
        assert!(text.contains("DEVOPS_LAB_HOME='/home/a b'"), "{text}");
    }
}
