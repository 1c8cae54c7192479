//! One job, or one of the jobs of a matrix.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::surroundings::{self, Dirs};
use super::{Execution, minutes, orphans};
use crate::expression::value::to_text;
use crate::expression::{Scope, Standing, Template};
use crate::runs::{Conclusion, now};
use crate::workflow::matrix::Combination;
use crate::workflow::{Job, Shell, Step, Variables, Work};

/// How long a job may take without `timeout-minutes`.
const LIMIT: Duration = Duration::from_secs(360 * 60);

/// What distinguishes a job among those of its matrix.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Its values; empty without a matrix.
    pub(super) combination: Option<Combination>,
    /// The context `strategy`.
    pub(super) strategy: Value,
    /// Its place in the run's record.
    pub(super) index: usize,
}

/// A job while it runs.
pub(super) struct JobRun<'e, 'a> {
    pub(super) execution: &'e mut Execution<'a>,
    pub(super) index: usize,
    pub(super) dirs: Dirs,
    /// Variables that the runner sets.
    pub(super) variables: Vec<(String, String)>,
    /// Those of `env`, and what steps wrote to `GITHUB_ENV`.
    pub(super) env: Vec<(String, String)>,
    /// What steps wrote to `GITHUB_PATH`.
    pub(super) paths: Vec<PathBuf>,
    /// The context `steps`.
    pub(super) steps: Map<String, Value>,
    pub(super) standing: Standing,
    pub(super) deadline: Instant,
    job: &'a Job,
    contexts: Map<String, Value>,
}

/// How a job ended.
pub(super) struct Ended {
    pub(super) conclusion: Conclusion,
    pub(super) outputs: Map<String, Value>,
}

/// Runs a job to its end.
pub(super) async fn run_job<'a>(
    execution: &mut Execution<'a>,
    job: &'a Job,
    place: &Place,
    needs: Value,
) -> Ended {
    let index = place.index;
    execution.recorder.job(index).started = Some(now());
    let begun = Instant::now();
    let mut outputs = Map::new();
    let (conclusion, problem) = match JobRun::begin(execution, job, place, needs) {
        Ok(mut this) => {
            this.go_through().await;
            let collected = this.outputs();
            let standing = this.standing;
            let left = orphans::kill(&this.execution.tracking);
            if left > 0 {
                let text = format!("{left} process(es) that steps left running were ended");
                this.execution.recorder.say(2, &text);
            }
            match (standing, collected) {
                (Standing::Success, Ok(collected)) => {
                    outputs = collected;
                    (Conclusion::Success, None)
                }
                (Standing::Success, Err(problem)) => (Conclusion::Failure, Some(problem)),
                (Standing::Cancelled, _) => (Conclusion::Cancelled, None),
                (_, collected) => {
                    outputs = collected.unwrap_or_default();
                    (Conclusion::Failure, None)
                }
            }
        }
        Err(problem) => (Conclusion::Failure, Some(problem)),
    };
    let recorder = &mut execution.recorder;
    if let Some(problem) = &problem {
        recorder.say(2, &format!("error: {problem}"));
    }
    let problem = problem.map(|problem| recorder.masks.apply(&problem));
    let record = recorder.job(index);
    record.ended = Some(now());
    record.conclusion = Some(conclusion);
    record.problem = problem;
    for step in record
        .steps
        .iter_mut()
        .filter(|step| step.conclusion.is_none())
    {
        step.conclusion = Some(Conclusion::Skipped);
    }
    let name = record.name.clone();
    recorder.ended(0, conclusion, &name, Some(begun.elapsed()));
    recorder.save();
    Ended {
        conclusion,
        outputs,
    }
}

impl<'e, 'a> JobRun<'e, 'a> {
    fn begin(
        execution: &'e mut Execution<'a>,
        job: &'a Job,
        place: &Place,
        needs: Value,
    ) -> Result<Self, String> {
        let dirs = execution.dirs.clone();
        dirs.renew()
            .map_err(|error| format!("its directories cannot be made: {error}"))?;
        let mut contexts = execution.contexts.clone();
        contexts.insert("needs".to_owned(), needs);
        let matrix = place.combination.clone().map_or(Value::Null, Value::Object);
        contexts.insert("matrix".to_owned(), matrix);
        contexts.insert("strategy".to_owned(), place.strategy.clone());
        let mut github = match contexts.get("github") {
            Some(Value::Object(github)) => github.clone(),
            _ => Map::new(),
        };
        github.insert("job".to_owned(), Value::String(job.id.clone()));
        let event = github.get("event").cloned().unwrap_or_default();
        std::fs::write(dirs.temp.join("event.json"), event.to_string())
            .map_err(|error| format!("its directories cannot be written: {error}"))?;
        let runner = surroundings::runner(&dirs);
        let tracking = &execution.tracking;
        let variables = surroundings::variables(execution.site, &github, &runner, tracking);
        contexts.insert("github".to_owned(), Value::Object(github));
        contexts.insert("runner".to_owned(), runner);
        let index = place.index;
        let mut this = Self {
            execution,
            index,
            dirs,
            variables,
            env: Vec::new(),
            paths: Vec::new(),
            steps: Map::new(),
            standing: Standing::Success,
            deadline: Instant::now() + LIMIT,
            job,
            contexts,
        };
        let workflow = this.execution.workflow;
        for env in [&workflow.env, &job.env] {
            this.add_env(env)?;
        }
        let scope = this.scope(&[]);
        if let Some(limit) = minutes(job.timeout_minutes.as_ref(), &scope)? {
            this.deadline = Instant::now() + limit;
        }
        Ok(this)
    }

    fn add_env(&mut self, env: &Variables) -> Result<(), String> {
        let scope = self.scope(&[]);
        for (name, template) in env {
            let value = template
                .text(&scope)
                .map_err(|error| format!("env.{name}: {error}"))?;
            self.env.retain(|(known, _)| known != name);
            self.env.push((name.clone(), value));
        }
        Ok(())
    }

    async fn go_through(&mut self) {
        let job = self.job;
        for (number, step) in job.steps.iter().enumerate() {
            if self.execution.cancel.is_asked() {
                self.standing = Standing::Cancelled;
            }
            self.step(number, step).await;
        }
        if self.execution.cancel.is_asked() {
            self.standing = Standing::Cancelled;
        }
    }

    /// The job's outputs. Those that hold a secret are left out, as on GitHub.
    fn outputs(&mut self) -> Result<Map<String, Value>, String> {
        let scope = self.scope(&[]);
        let mut outputs = Map::new();
        for (name, template) in &self.job.outputs {
            let value = template
                .text(&scope)
                .map_err(|error| format!("outputs.{name}: {error}"))?;
            if self.execution.recorder.masks.hides(&value) {
                let text =
                    format!("warning: the output {name} is left out, since it may hold a secret");
                self.execution.recorder.say(2, &text);
            } else if !value.is_empty() {
                outputs.insert(name.clone(), Value::String(value));
            }
        }
        Ok(outputs)
    }

    /// What expressions of the job see; `env` is what a step adds to the variables.
    pub(super) fn scope(&self, env: &[(String, String)]) -> Scope {
        let mut contexts = self.contexts.clone();
        let entries = self.env.iter().chain(env);
        let env: Map<_, _> = entries
            .map(|(name, value)| (name.clone(), Value::String(value.clone())))
            .collect();
        contexts.insert("env".to_owned(), Value::Object(env));
        contexts.insert("steps".to_owned(), Value::Object(self.steps.clone()));
        let status = match self.standing {
            Standing::Success => "success",
            Standing::Failure | Standing::Skipped => "failure",
            Standing::Cancelled => "cancelled",
        };
        contexts.insert("job".to_owned(), json!({"status": status}));
        Scope {
            contexts,
            standing: self.standing,
            workspace: self.dirs.workspace.clone(),
        }
    }

    /// The shell of steps that name none.
    pub(super) fn shell(&self) -> Shell {
        let own = self.job.defaults.shell;
        own.or(self.execution.workflow.defaults.shell)
            .unwrap_or(Shell::Default)
    }

    /// The directory of steps that name none.
    pub(super) fn working_directory(&self) -> Option<&'a Template> {
        let workflow = self.execution.workflow;
        let own = self.job.defaults.working_directory.as_ref();
        own.or(workflow.defaults.working_directory.as_ref())
    }

    /// What a step wrote to `GITHUB_STEP_SUMMARY`.
    pub(super) fn summary(&mut self, text: &str) {
        let name = self.execution.recorder.job(self.index).name.clone();
        self.execution.summaries.push((name, text.to_owned()));
    }
}

/// What a step is called in the record: its name, or what it runs.
pub(super) fn step_name(step: &Step, number: usize) -> String {
    if let Some(name) = &step.name {
        return match name.literal() {
            Some(name) => to_text(name),
            None => format!("step {}", number + 1),
        };
    }
    match &step.work {
        Work::Action { uses, .. } => format!("Run {uses}"),
        Work::Script { script, .. } => {
            let text = match script {
                Template::Literal(text) => to_text(text),
                Template::Expression(_) => "${{ … }}".to_owned(),
                Template::Mixed(parts) => parts
                    .iter()
                    .map(|part| match part {
                        crate::expression::Part::Text(text) => text.as_str(),
                        crate::expression::Part::Expression(_) => "${{ … }}",
                    })
                    .collect(),
            };
            let first = text
                .lines()
                .map(str::trim)
                .find(|line| !line.is_empty() && !line.starts_with('#'));
            format!("Run {}", first.unwrap_or("nothing"))
        }
    }
}
