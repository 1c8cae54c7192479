//! The actions that are built in: `actions/checkout`, `actions/upload-artifact` and
//! `actions/download-artifact`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::time::Instant;

use super::listening::Listening;
use super::process::{self, Ended, Output};
use super::step::Outcome;
use super::surroundings::{Dirs, remove};
use crate::cancel::Cancel;
use crate::git::{self, Git};
use crate::glob;
use crate::problem::did_you_mean;

/// What an action is asked for.
pub(super) struct Request<'a> {
    pub(super) with: &'a [(String, String)],
    pub(super) dirs: &'a Dirs,
    pub(super) limit: Instant,
}

impl Request<'_> {
    /// An input; one that is empty counts as not given.
    fn input(&self, name: &str) -> Option<&str> {
        let found = self.with.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    fn flag(&self, name: &str) -> bool {
        self.input(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A place in the workspace.
    fn place(&self, path: &str) -> Result<PathBuf, String> {
        let workspace = &self.dirs.workspace;
        let full = workspace.join(path);
        let inside = full.strip_prefix(workspace).is_ok_and(|path| {
            path.components()
                .all(|part| !matches!(part, std::path::Component::ParentDir))
        });
        let temp = full.starts_with(&self.dirs.temp);
        (inside || temp)
            .then_some(full)
            .ok_or_else(|| format!("{path} is outside the workspace"))
    }
}

/// What is checked out.
pub(super) struct Source<'a> {
    pub(super) bare: &'a Path,
    pub(super) full_name: &'a str,
    pub(super) git_ref: &'a str,
    pub(super) commit: &'a str,
}

/// Keeps what git says, for the case that it fails.
#[derive(Default)]
struct Quiet(Vec<String>);

impl Output for Quiet {
    fn line(&mut self, line: &str) {
        self.0.push(line.to_owned());
    }
}

/// `actions/checkout`: fetches the commit into the workspace, on the branch that was pushed.
pub(super) async fn checkout(
    request: &Request<'_>,
    source: &Source<'_>,
    cancel: &Cancel,
    output: &mut Listening<'_, '_>,
) -> Outcome {
    match check_out(request, source, cancel, output).await {
        Ok(outcome) => outcome,
        Err(problem) => Outcome::failure(problem),
    }
}

async fn check_out(
    request: &Request<'_>,
    source: &Source<'_>,
    cancel: &Cancel,
    output: &mut Listening<'_, '_>,
) -> Result<Outcome, String> {
    if let Some(other) = request
        .input("repository")
        .filter(|name| *name != source.full_name)
    {
        return Err(format!(
            "the repository {other} is on another server; here is {} only",
            source.full_name
        ));
    }
    for name in ["submodules", "lfs"] {
        if request.input(name).is_some_and(|value| value != "false") {
            return Err(format!("{name} is not supported here"));
        }
    }
    let depth: u32 = match request.input("fetch-depth") {
        None => 1,
        Some(text) => text
            .parse()
            .map_err(|_| format!("fetch-depth {text:?} is not a number"))?,
    };
    let (git_ref, commit) = wanted(request, source).await?;
    let target = request.place(request.input("path").unwrap_or("."))?;
    if target.join(".git").exists() && request.input("clean") != Some("false") {
        remove(&target).map_err(|error| format!("the workspace cannot be emptied: {error}"))?;
    }
    fs::create_dir_all(&target)
        .map_err(|error| format!("the workspace cannot be made: {error}"))?;

    let url = format!("file://{}", source.bare.display());
    let name = git_ref
        .as_deref()
        .and_then(|git_ref| git_ref.strip_prefix("refs/heads/"));
    let local = match (&git_ref, name) {
        (_, Some(branch)) => format!("refs/remotes/origin/{branch}"),
        (Some(tag), None) => tag.clone(),
        (None, None) => "refs/remotes/origin/checkout".to_owned(),
    };
    let spec = format!("+{commit}:{local}");
    let depth_arg = format!("--depth={depth}");
    let mut fetch = vec!["fetch", "--quiet", "--no-tags", "--force"];
    if depth > 0 {
        fetch.push(&depth_arg);
    }
    fetch.extend(["origin", &spec]);
    if depth == 0 || request.flag("fetch-tags") {
        fetch.extend(["+refs/tags/*:refs/tags/*"]);
    }
    if depth == 0 {
        fetch.push("+refs/heads/*:refs/remotes/origin/*");
        // The branch may have moved on since; what was pushed is what is tested.
        fetch.retain(|arg| *arg != spec || !spec.contains(":refs/remotes/origin/"));
    }
    let branch = name.map(str::to_owned);
    let check_out = match &branch {
        Some(branch) => vec!["checkout", "--quiet", "--force", "-B", branch, &commit],
        None => vec!["checkout", "--quiet", "--force", "--detach", &commit],
    };
    let commands: [&[&str]; 4] = [
        &["init", "--quiet", "--initial-branch=main", "."],
        &["remote", "add", "origin", &url],
        &fetch,
        &check_out,
    ];
    for args in commands {
        let mut command = git::command();
        command.args([
            "-c",
            "protocol.file.allow=always",
            "-c",
            "advice.detachedHead=false",
        ]);
        command.args(args).current_dir(&target);
        let mut said = Quiet::default();
        let ended = process::run(command, Some(request.limit), cancel, &mut said).await;
        match ended {
            Ok(Ended::Code(0)) => {}
            Ok(Ended::Code(code)) => {
                said.0.iter().for_each(|line| output.say(line));
                return Err(format!("git {} failed with exit code {code}", args[0]));
            }
            Ok(ended) => return Ok(Outcome::from(ended)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err("git is not on this machine".to_owned());
            }
            Err(error) => return Err(format!("git cannot be started: {error}")),
        }
    }
    let mut outcome = Outcome::success();
    outcome
        .outputs
        .insert("commit".to_owned(), Value::String(commit.clone()));
    let git_ref = git_ref.unwrap_or(commit);
    outcome
        .outputs
        .insert("ref".to_owned(), Value::String(git_ref));
    Ok(outcome)
}

/// The ref and the commit that are asked for: those of the push, unless `ref` says otherwise.
async fn wanted(
    request: &Request<'_>,
    source: &Source<'_>,
) -> Result<(Option<String>, String), String> {
    let Some(name) = request.input("ref") else {
        return Ok((Some(source.git_ref.to_owned()), source.commit.to_owned()));
    };
    if name == source.git_ref {
        return Ok((Some(source.git_ref.to_owned()), source.commit.to_owned()));
    }
    let git = Git::at(source.bare);
    let full = [
        format!("refs/heads/{name}"),
        format!("refs/tags/{name}"),
        name.to_owned(),
    ];
    for candidate in full {
        if let Some(commit) = git
            .resolve(&candidate)
            .await
            .map_err(|error| error.to_string())?
        {
            let git_ref = Some(candidate).filter(|candidate| candidate.starts_with("refs/"));
            return Ok((git_ref, commit));
        }
    }
    Err(format!("there is no branch, tag or commit {name:?}"))
}

/// `actions/upload-artifact`: puts files aside for later jobs of the run.
pub(super) fn upload(request: &Request<'_>, output: &mut Listening<'_, '_>) -> Outcome {
    match put_aside(request, output) {
        Ok(outcome) => outcome,
        Err(problem) => Outcome::failure(problem),
    }
}

fn put_aside(request: &Request<'_>, output: &mut Listening<'_, '_>) -> Result<Outcome, String> {
    let name = request.input("name").unwrap_or("artifact");
    let patterns = request
        .input("path")
        .ok_or("path is missing: which files?")?;
    if name.contains(['/', '\\', ':', '"', '<', '>', '|', '*', '?']) || name.starts_with('.') {
        return Err(format!("{name:?} is not a name of an artifact"));
    }
    let target = request.dirs.artifacts.join(name);
    if target.exists() {
        if !request.flag("overwrite") {
            return Err(format!(
                "this run has an artifact {name} already; give it another name, or overwrite: true"
            ));
        }
        remove(&target).map_err(|error| error.to_string())?;
    }
    let patterns: Vec<_> = patterns
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let workspace = &request.dirs.workspace;
    let mut files = glob::files(workspace, &patterns)?;
    if !request.flag("include-hidden-files") {
        files.retain(|file| !file.split('/').any(|part| part.starts_with('.')));
    }
    if files.is_empty() {
        let text = format!("no file matches {}", patterns.join(", "));
        return match request.input("if-no-files-found").unwrap_or("warn") {
            "error" => Err(text),
            "ignore" => Ok(Outcome::success()),
            _ => {
                output.say(&format!("warning: {text}"));
                Ok(Outcome::success())
            }
        };
    }
    let root = root(workspace, &patterns);
    for file in &files {
        let below = file
            .strip_prefix(&root)
            .unwrap_or(file)
            .trim_start_matches('/');
        copy(&workspace.join(file), &target.join(below))?;
    }
    output.say(&format!("{name}: {} file(s)", files.len()));
    Ok(Outcome::success())
}

/// The directory that an artifact begins with: the deepest one that all patterns share.
fn root(workspace: &Path, patterns: &[&str]) -> String {
    let fixed = |pattern: &&str| {
        let inside = Path::new(pattern)
            .strip_prefix(workspace)
            .ok()
            .and_then(Path::to_str);
        let pattern = inside
            .unwrap_or(pattern)
            .trim_start_matches("./")
            .trim_end_matches('/');
        let parts: Vec<_> = pattern.split('/').filter(|part| *part != ".").collect();
        let is_wild = |part: &&str| part.contains(['*', '?', '[']);
        let mut fixed: Vec<_> = parts
            .iter()
            .take_while(|part| !is_wild(part))
            .copied()
            .collect();
        let is_file = fixed.len() == parts.len() && !workspace.join(pattern).is_dir();
        if is_file {
            fixed.pop();
        }
        fixed.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let wanted = patterns
        .iter()
        .filter(|pattern| !pattern.starts_with(['!', '#']));
    let shared = wanted.map(fixed).reduce(|a, b| {
        let both = a.into_iter().zip(b).take_while(|(a, b)| a == b);
        both.map(|(part, _)| part).collect()
    });
    shared.unwrap_or_default().join("/")
}

/// `actions/download-artifact`: brings them back, one or all.
pub(super) fn download(request: &Request<'_>, output: &mut Listening<'_, '_>) -> Outcome {
    match bring_back(request, output) {
        Ok(outcome) => outcome,
        Err(problem) => Outcome::failure(problem),
    }
}

fn bring_back(request: &Request<'_>, output: &mut Listening<'_, '_>) -> Result<Outcome, String> {
    let there = names(&request.dirs.artifacts);
    let target = request.place(request.input("path").unwrap_or("."))?;
    let wanted: Vec<_> = match (request.input("name"), request.input("pattern")) {
        (Some(name), _) if !there.iter().any(|known| known == name) => {
            let hint = match did_you_mean(name, there.iter().map(String::as_str)) {
                hint if !hint.is_empty() => hint,
                _ if there.is_empty() => "; no job before this one has uploaded any".to_owned(),
                _ => format!("; there are {}", there.join(", ")),
            };
            return Err(format!("this run has no artifact {name:?}{hint}"));
        }
        (Some(name), _) => vec![name.to_owned()],
        (None, None) => there,
        (None, Some(pattern)) => {
            let filter = glob::Filter::parse(&[pattern]).map_err(|(_, problem)| problem)?;
            there
                .into_iter()
                .filter(|name| filter.matches(name))
                .collect()
        }
    };
    let flat = request.input("name").is_some() || request.flag("merge-multiple");
    for name in wanted {
        let to = if flat {
            target.clone()
        } else {
            target.join(&name)
        };
        let from = request.dirs.artifacts.join(&name);
        let files = glob::files(&from, &["."])?;
        for file in &files {
            copy(&from.join(file), &to.join(file))?;
        }
        output.say(&format!("{name}: {} file(s)", files.len()));
    }
    let mut outcome = Outcome::success();
    let path = Value::String(target.display().to_string());
    outcome.outputs.insert("download-path".to_owned(), path);
    Ok(outcome)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let copied = to
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::copy(from, to));
    copied
        .map(drop)
        .map_err(|error| format!("{} cannot be copied: {error}", from.display()))
}
