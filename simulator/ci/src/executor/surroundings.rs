//! The directories and variables of a job.
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/variables>

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::orphans;
use crate::git::{Commit, HOOK_VARIABLES};
use crate::runs::Run;
use crate::site::{Site, on_path};
use crate::workflow::trigger::short_ref;

/// The directories of a run's work, removed at its end.
///
/// ```text
/// work/REPOSITORY/REPOSITORY   GITHUB_WORKSPACE, empty at the beginning of each job
///      _temp                   RUNNER_TEMP, the same
///      _tool                   RUNNER_TOOL_CACHE
///      _artifacts              what jobs hand to each other
///      _bin                    devops-lab, and kubectl where the machine has none
/// ```
#[derive(Clone, Debug)]
pub(super) struct Dirs {
    pub(super) work: PathBuf,
    pub(super) outer: PathBuf,
    pub(super) workspace: PathBuf,
    pub(super) temp: PathBuf,
    pub(super) tools: PathBuf,
    pub(super) artifacts: PathBuf,
    pub(super) bin: PathBuf,
}

impl Dirs {
    pub(super) fn of(run_dir: &Path, repository: &str) -> Self {
        let work = run_dir.join("work");
        let outer = work.join(repository);
        Self {
            workspace: outer.join(repository),
            outer,
            temp: work.join("_temp"),
            tools: work.join("_tool"),
            artifacts: work.join("_artifacts"),
            bin: work.join("_bin"),
            work,
        }
    }

    /// Makes what lasts for the whole run.
    pub(super) fn prepare(&self, site: &Site) -> io::Result<()> {
        for dir in [&self.tools, &self.artifacts, &self.bin] {
            fs::create_dir_all(dir)?;
        }
        symlink(&site.program, self.bin.join("devops-lab"))?;
        if on_path("kubectl").is_none() {
            let path = self.bin.join("kubectl");
            fs::write(&path, "#!/bin/sh\nexec devops-lab kubectl \"$@\"\n")?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }

    /// Empties what a job must find empty.
    pub(super) fn renew(&self) -> io::Result<()> {
        for dir in [&self.outer, &self.temp] {
            remove(dir)?;
        }
        fs::create_dir_all(&self.workspace)?;
        fs::create_dir_all(&self.temp)
    }
}

/// Removes a directory, also where something in it was made read-only.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(dir);
            fs::remove_dir_all(dir)
        }
        done => done,
    }
}

fn make_writable(dir: &Path) {
    // What cannot be changed is reported by the removal that follows.
    let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

/// Marks everything that a run starts. It follows from the run alone, so that a later one finds
/// what a killed one left.
pub(super) fn tracking_id(run_dir: &Path, run: &Run) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(run_dir.as_os_str().as_encoded_bytes());
    let digest: String = digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("devops-lab-{}-{}-{digest}", run.repository, run.number)
}

/// The context `github` of a run, without what differs between jobs.
pub(super) fn github(site: &Site, run: &Run, commit: &Commit, dirs: &Dirs) -> Map<String, Value> {
    let (kind, name) = short_ref(&run.git_ref);
    let full_name = format!("{}/{}", site.cluster, run.repository);
    let value = json!({
        "actor": run.actor,
        "triggering_actor": run.actor,
        "event_name": run.event.as_str(),
        "event": event(site, run, commit),
        "ref": run.git_ref,
        "ref_name": name,
        "ref_type": kind,
        "ref_protected": false,
        "base_ref": "",
        "head_ref": "",
        "repository": full_name,
        "repository_owner": site.cluster,
        "repositoryUrl": site.repository(&run.repository).display().to_string(),
        "run_id": run.number.to_string(),
        "run_number": run.number.to_string(),
        "run_attempt": run.attempt.to_string(),
        "server_url": format!("file://{}", site.git.display()),
        "sha": run.commit,
        "workflow": run.workflow,
        "workflow_ref": format!("{full_name}/{}@{}", run.path, run.git_ref),
        "workflow_sha": run.commit,
        "workspace": dirs.workspace.display().to_string(),
        "event_path": dirs.temp.join("event.json").display().to_string(),
        "token": "",
    });
    match value {
        Value::Object(entries) => entries,
        _ => Map::new(),
    }
}

fn event(site: &Site, run: &Run, commit: &Commit) -> Value {
    let repository = json!({
        "name": run.repository,
        "full_name": format!("{}/{}", site.cluster, run.repository),
        "default_branch": "main",
    });
    match run.event {
        crate::runs::Event::Push => json!({
            "ref": run.git_ref,
            "before": run.before,
            "after": run.commit,
            "created": crate::git::is_nothing(&run.before),
            "deleted": false,
            "repository": repository,
            "pusher": {"name": commit.author, "email": commit.email},
            "head_commit": {
                "id": commit.id,
                "message": commit.message,
                "timestamp": commit.time,
                "author": {"name": commit.author, "email": commit.email},
            },
        }),
        crate::runs::Event::WorkflowDispatch => json!({
            "ref": run.git_ref,
            "inputs": run.inputs,
            "workflow": run.path,
            "repository": repository,
        }),
    }
}

/// The context `runner`.
pub(super) fn runner(dirs: &Dirs) -> Value {
    json!({
        "os": "Linux",
        "arch": arch(),
        "name": "devops-lab",
        "environment": "self-hosted",
        "temp": dirs.temp.display().to_string(),
        "tool_cache": dirs.tools.display().to_string(),
        "workspace": dirs.outer.display().to_string(),
    })
}

/// As GitHub names it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "X64",
        "aarch64" => "ARM64",
        "arm" => "ARM",
        other => other,
    }
}

/// Keys of the context `github` that are no variables, or not under that name.
const NO_VARIABLES: &[&str] = &["event", "token", "repositoryUrl", "job_status"];

/// The variables that every step of a job gets, in rising precedence.
pub(super) fn variables(
    site: &Site,
    github: &Map<String, Value>,
    runner: &Value,
    tracking: &str,
) -> Vec<(String, String)> {
    let mut variables = site.environment.clone();
    let mut set = |name: String, value: String| variables.push((name, value));
    set("CI".to_owned(), "true".to_owned());
    set("GITHUB_ACTIONS".to_owned(), "true".to_owned());
    for (key, value) in github {
        if !NO_VARIABLES.contains(&key.as_str()) {
            let value = crate::expression::value::to_text(value);
            set(format!("GITHUB_{}", key.to_uppercase()), value);
        }
    }
    for (key, value) in runner.as_object().into_iter().flatten() {
        let value = crate::expression::value::to_text(value);
        set(format!("RUNNER_{}", key.to_uppercase()), value);
    }
    set(orphans::VARIABLE.to_owned(), tracking.to_owned());
    variables
}

/// True for variables of the hook that no step may see.
pub(super) fn is_of_hook(name: &str) -> bool {
    HOOK_VARIABLES.contains(&name) || name.starts_with("GIT_PUSH_")
}
