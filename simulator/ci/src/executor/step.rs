//! One step: whether it runs, what it runs, and what it leaves behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::process::Command;
use tokio::time::Instant;

use super::job::JobRun;
use super::listening::Listening;
use super::process::{self, Ended};
use super::surroundings::is_of_hook;
use super::{actions, minutes};
use crate::commands;
use crate::expression::value::truthy;
use crate::expression::{Expression, Scope, Standing, as_bool};
use crate::runs::{Conclusion, now};
use crate::site::on_path;
use crate::workflow::{Action, Shell, Step, Work};

/// The files that a step may write to, and the variables that name them.
const FILES: &[(&str, &str)] = &[
    ("GITHUB_OUTPUT", "output"),
    ("GITHUB_ENV", "env"),
    ("GITHUB_PATH", "path"),
    ("GITHUB_STATE", "state"),
    ("GITHUB_STEP_SUMMARY", "summary"),
];

/// Largest of these files that is read.
const FILE_MAX: u64 = 1 << 20;

/// How a step ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) conclusion: Conclusion,
    pub(super) exit_code: Option<i32>,
    pub(super) problem: Option<String>,
    pub(super) outputs: Map<String, Value>,
}

impl Outcome {
    pub(super) fn success() -> Self {
        Self {
            conclusion: Conclusion::Success,
            exit_code: None,
            problem: None,
            outputs: Map::new(),
        }
    }

    pub(super) fn failure(problem: impl Into<String>) -> Self {
        Self {
            conclusion: Conclusion::Failure,
            problem: Some(problem.into()),
            ..Self::success()
        }
    }

    fn with(conclusion: Conclusion, problem: Option<String>) -> Self {
        Self {
            conclusion,
            problem,
            ..Self::success()
        }
    }
}

/// What a process's end means for its step.
impl From<Ended> for Outcome {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Code(0) => Self {
                exit_code: Some(0),
                ..Self::success()
            },
            Ended::Code(code) => Self {
                conclusion: Conclusion::Failure,
                exit_code: Some(code),
                ..Self::success()
            },
            Ended::Signal(signal) => Self::failure(format!("it was ended by signal {signal}")),
            Ended::TimedOut => Self::failure("it took too long"),
            Ended::Cancelled => Self::with(Conclusion::Cancelled, None),
        }
    }
}

impl JobRun<'_, '_> {
    /// Goes through a step and records it.
    pub(super) async fn step(&mut self, number: usize, step: &Step) {
        let env = self.step_env(step);
        let scope = self.scope(env.as_deref().unwrap_or_default());
        let name = step.name.as_ref().and_then(|name| name.text(&scope).ok());
        let index = self.index;
        let masks = &self.execution.recorder.masks;
        if let Some(name) = name.map(|name| masks.apply(&name)) {
            self.execution.recorder.step(index, number).name = name;
        }
        let wanted = match &env {
            Err(problem) => Err(problem.clone()),
            Ok(_) => self.wanted(step.condition.as_ref(), &scope),
        };
        let position = self.execution.recorder.position();
        let begun = Instant::now();
        let outcome = match wanted {
            Ok(false) => Outcome::with(Conclusion::Skipped, None),
            Ok(true) => {
                self.execution.recorder.step(index, number).started = Some(now());
                self.execution.recorder.save();
                self.perform(number, step, &scope, env.unwrap_or_default())
                    .await
            }
            Err(problem) => Outcome::failure(problem),
        };
        let forgiven = outcome.conclusion == Conclusion::Failure && self.forgives(step, &scope);
        let conclusion = if forgiven {
            Conclusion::Success
        } else {
            outcome.conclusion
        };
        self.note(step, &outcome, conclusion);
        let recorder = &mut self.execution.recorder;
        let log = recorder.since(position);
        let problem = outcome
            .problem
            .as_ref()
            .map(|problem| recorder.masks.apply(problem));
        let record = recorder.step(index, number);
        record.outcome = Some(outcome.conclusion);
        record.conclusion = Some(conclusion);
        record.exit_code = outcome.exit_code;
        record.problem = problem.clone();
        record.log = log;
        if record.started.is_some() {
            record.ended = Some(now());
        }
        let name = record.name.clone();
        if outcome.conclusion != Conclusion::Skipped {
            let mut text = name;
            match (outcome.exit_code, &problem) {
                (Some(code), _) if code != 0 => text += &format!(": exit code {code}"),
                (_, Some(problem)) => text += &format!(": {problem}"),
                _ if outcome.conclusion == Conclusion::Cancelled => text += ": cancelled",
                _ => {}
            }
            let fits = text.chars().count() <= 55;
            recorder.ended(2, outcome.conclusion, &text, Some(begun.elapsed()));
            if let (false, Some(problem)) = (fits, &problem) {
                recorder.say(4, problem);
            }
            if forgiven {
                recorder.say(4, "continue-on-error: the job goes on");
            }
        }
        recorder.save();
    }

    /// `if`, and the `success()` that is implied where no status function is named.
    fn wanted(&self, condition: Option<&Expression>, scope: &Scope) -> Result<bool, String> {
        let good = scope.standing == Standing::Success;
        let Some(condition) = condition else {
            return Ok(good);
        };
        if !good && !condition.names_status() {
            return Ok(false);
        }
        let value = condition
            .evaluate(scope)
            .map_err(|error| format!("if: {error}"))?;
        Ok(truthy(&value))
    }

    fn forgives(&self, step: &Step, scope: &Scope) -> bool {
        let value = step
            .continue_on_error
            .as_ref()
            .and_then(|flag| flag.evaluate(scope).ok());
        value.and_then(|value| as_bool(&value)).unwrap_or(false)
    }

    /// What later steps see of it.
    fn note(&mut self, step: &Step, outcome: &Outcome, conclusion: Conclusion) {
        match conclusion {
            Conclusion::Failure if self.standing == Standing::Success => {
                self.standing = Standing::Failure;
            }
            Conclusion::Cancelled => self.standing = Standing::Cancelled,
            Conclusion::Success | Conclusion::Skipped | Conclusion::Failure => {}
        }
        if let Some(id) = &step.id {
            let seen = json!({
                "outputs": outcome.outputs,
                "outcome": outcome.conclusion.as_str(),
                "conclusion": conclusion.as_str(),
            });
            self.steps.insert(id.clone(), seen);
        }
    }

    /// The step's own variables.
    fn step_env(&self, step: &Step) -> Result<Vec<(String, String)>, String> {
        let scope = self.scope(&[]);
        let evaluated = step.env.iter().map(|(name, template)| {
            let value = template
                .text(&scope)
                .map_err(|error| format!("env.{name}: {error}"))?;
            Ok((name.clone(), value))
        });
        evaluated.collect()
    }

    async fn perform(
        &mut self,
        number: usize,
        step: &Step,
        scope: &Scope,
        env: Vec<(String, String)>,
    ) -> Outcome {
        let limit = match minutes(step.timeout_minutes.as_ref(), scope) {
            Ok(limit) => limit.map(|limit| Instant::now() + limit),
            Err(problem) => return Outcome::failure(problem),
        };
        let by_job = limit.is_none_or(|limit| self.deadline < limit);
        let limit = if by_job {
            self.deadline
        } else {
            limit.unwrap_or(self.deadline)
        };
        let mut outcome = match &step.work {
            Work::Script {
                script,
                shell,
                working_directory,
            } => {
                let directory = working_directory.as_ref().or(self.working_directory());
                let directory = directory.map(|directory| directory.text(scope)).transpose();
                match (script.text(scope), directory) {
                    (Ok(script), Ok(directory)) => {
                        let shell = shell.unwrap_or(self.shell());
                        let script = Script {
                            script,
                            shell,
                            directory,
                        };
                        self.script(number, step, script, env, limit).await
                    }
                    (Err(error), _) => Outcome::failure(format!("run: {error}")),
                    (_, Err(error)) => Outcome::failure(format!("working-directory: {error}")),
                }
            }
            Work::Action { action, with, uses } => {
                let with = with.iter().map(|(name, template)| {
                    let value = template
                        .text(scope)
                        .map_err(|error| format!("with.{name}: {error}"))?;
                    Ok((name.to_lowercase(), value))
                });
                match with.collect::<Result<Vec<_>, String>>() {
                    Ok(with) => self.action(number, *action, uses, &with, limit).await,
                    Err(problem) => Outcome::failure(problem),
                }
            }
        };
        if outcome.problem.as_deref() == Some("it took too long") {
            if by_job {
                outcome.conclusion = Conclusion::Cancelled;
                outcome.problem = Some("the job's timeout-minutes are over".to_owned());
                // What runs in spite of that must not run for ever.
                self.deadline = Instant::now() + Duration::from_secs(60);
            } else {
                outcome.problem = Some("the step's timeout-minutes are over".to_owned());
            }
        }
        outcome
    }

    async fn action(
        &mut self,
        number: usize,
        action: Action,
        uses: &str,
        with: &[(String, String)],
        limit: Instant,
    ) -> Outcome {
        let (index, dirs) = (self.index, self.dirs.clone());
        let request = actions::Request {
            with,
            dirs: &dirs,
            limit,
        };
        let commit = self.execution.recorder.run.commit.clone();
        let git_ref = self.execution.recorder.run.git_ref.clone();
        let bare = self
            .execution
            .site
            .repository(&self.execution.recorder.run.repository);
        let full_name = format!(
            "{}/{}",
            self.execution.site.cluster, self.execution.recorder.run.repository
        );
        let cancel = self.execution.cancel;
        let mut output = Listening::new(&mut self.execution.recorder, index, number);
        match action {
            Action::Checkout => {
                let source = actions::Source {
                    bare: &bare,
                    full_name: &full_name,
                    git_ref: &git_ref,
                    commit: &commit,
                };
                actions::checkout(&request, &source, cancel, &mut output).await
            }
            Action::UploadArtifact => actions::upload(&request, &mut output),
            Action::DownloadArtifact => actions::download(&request, &mut output),
            Action::Idle(why) => {
                output.say(&format!("{uses} does nothing here: {why}"));
                Outcome::success()
            }
        }
    }

    async fn script(
        &mut self,
        number: usize,
        step: &Step,
        script: Script,
        env: Vec<(String, String)>,
        limit: Instant,
    ) -> Outcome {
        let files = match self.files(number) {
            Ok(files) => files,
            Err(error) => return Outcome::failure(format!("its files cannot be written: {error}")),
        };
        let path = self.dirs.temp.join(format!("step-{}", number + 1));
        let mut command = match script.command(&path) {
            Ok(command) => command,
            Err(problem) => return Outcome::failure(problem),
        };
        let directory = match script.directory.as_deref() {
            Some(directory) => self.dirs.workspace.join(directory),
            None => self.dirs.workspace.clone(),
        };
        if !directory.is_dir() {
            let shown = directory
                .strip_prefix(&self.dirs.workspace)
                .unwrap_or(&directory);
            return Outcome::failure(format!(
                "the working-directory {} is not there",
                shown.display()
            ));
        }
        command.current_dir(&directory).stdin(Stdio::null());
        self.set_environment(&mut command, step, number, &env, &files);
        let (index, cancel) = (self.index, self.execution.cancel);
        let mut output = Listening::new(&mut self.execution.recorder, index, number);
        let ended = process::run(command, Some(limit), cancel, &mut output).await;
        let heard = output.finish();
        let mut outcome = match ended {
            Ok(ended) => Outcome::from(ended),
            Err(error) => return Outcome::failure(format!("it cannot be started: {error}")),
        };
        outcome.outputs.extend(heard.outputs);
        if let Some(problem) = heard
            .disabled
            .filter(|_| outcome.conclusion == Conclusion::Success)
        {
            outcome = Outcome::failure(problem);
        }
        if let Err(problem) = self.read_files(&files, &mut outcome.outputs)
            && outcome.conclusion == Conclusion::Success
        {
            return Outcome::failure(problem);
        }
        outcome
    }

    fn set_environment(
        &self,
        command: &mut Command,
        step: &Step,
        number: usize,
        env: &[(String, String)],
        files: &[(&'static str, PathBuf)],
    ) {
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(is_of_hook) {
                command.env_remove(name);
            }
        }
        let action = step
            .id
            .clone()
            .unwrap_or_else(|| format!("__run_{}", number + 1));
        command.envs(self.variables.iter().cloned());
        command.env("GITHUB_ACTION", action);
        command.envs(files.iter().map(|(name, path)| (*name, path)));
        command.envs(self.env.iter().chain(env).cloned());
        let own = env.iter().chain(&self.env).find(|(name, _)| name == "PATH");
        let inherited = own
            .map(|(_, path)| path.into())
            .or_else(|| std::env::var_os("PATH"))
            .unwrap_or_default();
        let inherited: Vec<_> = std::env::split_paths(&inherited).collect();
        let dirs = self.paths.iter().rev().cloned();
        let dirs = dirs.chain([self.dirs.bin.clone()]).chain(inherited);
        if let Ok(path) = std::env::join_paths(dirs) {
            command.env("PATH", path);
        }
    }

    /// Empty files for the step to write to.
    fn files(&self, number: usize) -> std::io::Result<Vec<(&'static str, PathBuf)>> {
        let dir = self.dirs.temp.join("_commands");
        fs::create_dir_all(&dir)?;
        let file = |(variable, kind): &(&'static str, &str)| {
            let path = dir.join(format!("{kind}-{}", number + 1));
            fs::write(&path, "")?;
            Ok((*variable, path))
        };
        FILES.iter().map(file).collect()
    }

    /// Takes over what the step wrote.
    fn read_files(
        &mut self,
        files: &[(&'static str, PathBuf)],
        outputs: &mut Map<String, Value>,
    ) -> Result<(), String> {
        for (variable, path) in files {
            let text = read_limited(variable, path)?;
            match *variable {
                "GITHUB_OUTPUT" => {
                    let pairs = commands::pairs(variable, &text)?;
                    outputs.extend(
                        pairs
                            .into_iter()
                            .map(|(name, value)| (name, Value::String(value))),
                    );
                }
                "GITHUB_ENV" => {
                    for (name, value) in commands::pairs(variable, &text)? {
                        if name.starts_with("GITHUB_") || name.starts_with("RUNNER_") {
                            return Err(format!("GITHUB_ENV: {name} cannot be changed"));
                        }
                        self.env.retain(|(known, _)| *known != name);
                        self.env.push((name, value));
                    }
                }
                "GITHUB_PATH" => {
                    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                    self.paths.extend(lines.map(PathBuf::from));
                }
                "GITHUB_STEP_SUMMARY" if !text.trim().is_empty() => self.summary(&text),
                _ => {}
            }
        }
        Ok(())
    }
}

fn read_limited(variable: &str, path: &Path) -> Result<String, String> {
    let length = fs::metadata(path).map_or(0, |meta| meta.len());
    if length > FILE_MAX {
        return Err(format!("the file {variable} is larger than 1 MB"));
    }
    // Whoever removes the file has nothing to say.
    let bytes = fs::read(path).unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What `run` says, and how it is run.
struct Script {
    script: String,
    shell: Shell,
    directory: Option<String>,
}

impl Script {
    /// The command that runs it, once it is written to a file.
    /// <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idstepsshell>
    fn command(&self, path: &Path) -> Result<Command, String> {
        let find = |names: &[&str]| {
            let found = names.iter().find_map(|name| on_path(name));
            found.ok_or_else(|| format!("{} is not on this machine", names[0]))
        };
        let (program, args, extension): (_, &[&str], _) = match self.shell {
            Shell::Default => match find(&["bash"]) {
                Ok(bash) => (bash, &["-e"], "sh"),
                Err(_) => (find(&["sh"])?, &["-e"], "sh"),
            },
            Shell::Bash => (
                find(&["bash"])?,
                &["--noprofile", "--norc", "-e", "-o", "pipefail"],
                "sh",
            ),
            Shell::Sh => (find(&["sh"])?, &["-e"], "sh"),
            Shell::Python => (
                find(&["python", "python3"])
                    .map_err(|_| "python is not on this machine".to_owned())?,
                &[],
                "py",
            ),
        };
        let path = path.with_extension(extension);
        fs::write(&path, &self.script)
            .map_err(|error| format!("its script cannot be written: {error}"))?;
        let mut command = Command::new(program);
        command.args(args).arg(path);
        Ok(command)
    }
}
