//! What a pipeline finds where it runs, handed in by whoever knows the cluster.

use std::path::{Path, PathBuf};

/// The surroundings of a pipeline.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where the bare repositories are.
    pub git: PathBuf,
    /// Where runs are kept.
    pub pipelines: PathBuf,
    /// Name of the cluster.
    pub cluster: String,
    /// This program, which steps find as `devops-lab`.
    pub program: PathBuf,
    /// Variables that every step gets.
    pub environment: Vec<(String, String)>,
    /// The context `vars`.
    pub vars: Vec<(String, String)>,
    /// The context `secrets`; their values are masked.
    pub secrets: Vec<(String, String)>,
    /// What is to be said before a run: that the cluster is stopped, for one.
    pub notes: Vec<String>,
    /// Options that commands need which are recommended to the student, with a space before them.
    pub options: String,
}

impl Site {
    pub(crate) fn repository(&self, name: &str) -> PathBuf {
        crate::repository::path(&self.git, name)
    }
}

/// A program on PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = |dir: PathBuf| Some(dir.join(program)).filter(|path| is_executable(path));
    std::env::split_paths(&path).find_map(found)
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
