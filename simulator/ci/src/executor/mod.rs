//! Running a workflow: its jobs one after the other, as one self-hosted runner takes them.

mod actions;
mod concurrency;
mod job;
mod listening;
mod orphans;
mod process;
mod recorder;
mod step;
mod surroundings;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cancel::{self, Cancel};
use crate::console::{Console, duration, shortened};
use crate::expression::value::{to_number, truthy};
use crate::expression::{Scope, Standing, Template, as_bool};
use crate::git::Commit;
use crate::mask::Masks;
use crate::runs::{self, Conclusion, Folder, Run, RunsError, now};
use crate::site::Site;
use crate::workflow::matrix::{self, Combination};
use crate::workflow::{Job, Workflow};
use job::{Place, run_job, step_name};
use recorder::Recorder;
use surroundings::Dirs;

/// Lines of a job's summary that are shown.
const SUMMARY_LINES: usize = 40;

/// What is to be run.
pub(crate) struct Order<'a> {
    pub(crate) site: &'a Site,
    pub(crate) workflow: &'a Workflow,
    pub(crate) commit: &'a Commit,
    pub(crate) folder: Folder,
    pub(crate) run: Run,
}

/// A run while it goes on.
pub(crate) struct Execution<'a> {
    site: &'a Site,
    workflow: &'a Workflow,
    recorder: Recorder<'a>,
    cancel: &'a Cancel,
    dirs: Dirs,
    tracking: String,
    /// What every expression of the run sees.
    contexts: Map<String, Value>,
    /// How jobs ended, by their id.
    done: BTreeMap<&'a str, Done>,
    /// What jobs wrote to their summary.
    summaries: Vec<(String, String)>,
}

/// How a job ended, or all jobs of a matrix.
struct Done {
    /// What others see.
    result: Conclusion,
    /// What the run sees: a failure that is allowed does not count.
    counts: Conclusion,
    outputs: Map<String, Value>,
}

/// Runs a workflow to its end and removes its work directory.
///
/// # Errors
/// Where the record cannot be written.
pub(crate) async fn execute(
    order: Order<'_>,
    console: &mut Console,
    cancel: &Cancel,
) -> Result<Run, RunsError> {
    let Order {
        site,
        workflow,
        commit,
        folder,
        run,
    } = order;
    cancel::forget(folder.path());
    let _watch = cancel.watch(folder.path());
    let dirs = Dirs::of(folder.path(), &run.repository);
    let tracking = surroundings::tracking_id(folder.path(), &run);
    let mut masks = Masks::default();
    site.secrets.iter().for_each(|(_, value)| masks.add(value));
    let contexts = contexts(site, &run, commit, &dirs);
    let mut execution = Execution {
        site,
        workflow,
        recorder: Recorder::new(folder, run, console, masks, cancel)?,
        cancel,
        dirs,
        tracking,
        contexts,
        done: BTreeMap::new(),
        summaries: Vec::new(),
    };
    execution.recorder.run.jobs = planned(workflow)
        .iter()
        .map(|job| record_of(job, None))
        .collect();
    execution.name_run(commit);
    execution.recorder.save();
    execution.head();
    execution.go().await;
    execution.tail();
    orphans::kill(&execution.tracking);
    let removed = surroundings::remove(&execution.dirs.work);
    if let Err(error) = removed {
        let text = format!("warning: its work directory cannot be removed: {error}");
        execution.recorder.say(0, &text);
    }
    Ok(execution.recorder.run)
}

/// Ends what a killed run left: its processes and its work directory.
pub(crate) fn clean_up(folder: &Folder, run: &Run) {
    let tracking = surroundings::tracking_id(folder.path(), run);
    orphans::kill(&tracking);
    // Whatever resists is found again by the next run.
    let _ = surroundings::remove(&Dirs::of(folder.path(), &run.repository).work);
}

fn contexts(site: &Site, run: &Run, commit: &Commit, dirs: &Dirs) -> Map<String, Value> {
    let object = |pairs: &[(String, String)]| {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.clone(), Value::String(value.clone())));
        Value::Object(pairs.collect())
    };
    let mut contexts = Map::new();
    let github = surroundings::github(site, run, commit, dirs);
    contexts.insert("github".to_owned(), Value::Object(github));
    contexts.insert("vars".to_owned(), object(&site.vars));
    contexts.insert("secrets".to_owned(), object(&site.secrets));
    contexts.insert("inputs".to_owned(), Value::Object(run.inputs.clone()));
    contexts
}

/// The jobs in the order in which they run: that of the file, but each after those it needs.
fn planned(workflow: &Workflow) -> Vec<&Job> {
    let mut planned: Vec<&Job> = Vec::new();
    while planned.len() < workflow.jobs.len() {
        let is_planned = |id: &str| planned.iter().any(|job| job.id == id);
        let ready =
            |job: &&Job| !is_planned(&job.id) && job.needs.iter().all(|need| is_planned(need));
        // The file was refused if jobs waited for each other.
        let Some(next) = workflow.jobs.iter().find(ready) else {
            break;
        };
        planned.push(next);
    }
    planned
}

fn record_of(job: &Job, name: Option<String>) -> runs::Job {
    let written = job
        .name
        .as_ref()
        .and_then(|name| name.literal().map(crate::expression::value::to_text));
    let steps = job
        .steps
        .iter()
        .enumerate()
        .map(|(number, step)| runs::Step {
            // A job has far fewer steps than the type can count.
            number: u32::try_from(number + 1).unwrap_or(u32::MAX),
            id: step.id.clone(),
            name: step_name(step, number),
            started: None,
            ended: None,
            outcome: None,
            conclusion: None,
            exit_code: None,
            problem: None,
            annotations: Vec::new(),
            log: None,
        });
    runs::Job {
        id: job.id.clone(),
        name: name.or(written).unwrap_or_else(|| job.id.clone()),
        started: None,
        ended: None,
        conclusion: None,
        problem: None,
        steps: steps.collect(),
    }
}

/// `timeout-minutes`
fn minutes(template: Option<&Template>, scope: &Scope) -> Result<Option<Duration>, String> {
    let Some(template) = template else {
        return Ok(None);
    };
    let value = template
        .evaluate(scope)
        .map_err(|error| format!("timeout-minutes: {error}"))?;
    let limit = Duration::try_from_secs_f64(to_number(&value) * 60.0).ok();
    // A year is as good as for ever, and can be added to any moment.
    let limit = limit
        .filter(|limit| !limit.is_zero())
        .map(|limit| limit.min(Duration::from_secs(365 * 24 * 3600)));
    limit
        .map(Some)
        .ok_or_else(|| "timeout-minutes is not a number above 0".to_owned())
}

impl<'a> Execution<'a> {
    /// What an expression sees that belongs to no job in particular.
    fn scope(&self, standing: Standing) -> Scope {
        Scope {
            contexts: self.contexts.clone(),
            standing,
            workspace: self.dirs.workspace.clone(),
        }
    }

    fn name_run(&mut self, commit: &Commit) {
        let scope = self.scope(Standing::Success);
        let named = self
            .workflow
            .run_name
            .as_ref()
            .and_then(|name| name.text(&scope).ok());
        let named = named.filter(|name| !name.trim().is_empty());
        let title =
            named.unwrap_or_else(|| commit.message.lines().next().unwrap_or_default().to_owned());
        self.recorder.run.title = self.recorder.masks.apply(&title);
    }

    fn head(&mut self) {
        let run = &self.recorder.run;
        let again = match run.attempt {
            1 => String::new(),
            attempt => format!(", attempt {attempt}"),
        };
        let heading = format!(
            "{}: {}, run {}{again}",
            run.repository, run.workflow, run.number
        );
        let commit = format!("{} at {}: {}", run.branch, run.short_commit(), run.title);
        self.recorder.heading(&heading);
        self.recorder.say(0, &shortened(&commit, 72));
        for remark in &self.workflow.remarks {
            self.recorder.say(0, remark);
        }
    }

    async fn go(&mut self) {
        let problem = match self.dirs.prepare(self.site) {
            Ok(()) => self.in_turn().await,
            Err(error) => Some(format!("its work directory cannot be made: {error}")),
        };
        let cancelled = self.cancel.is_asked();
        let failed = self
            .done
            .values()
            .any(|done| done.counts == Conclusion::Failure);
        let stopped = self
            .done
            .values()
            .any(|done| done.counts == Conclusion::Cancelled);
        let skipped = self
            .done
            .values()
            .all(|done| done.counts == Conclusion::Skipped);
        let conclusion = match () {
            () if cancelled => Conclusion::Cancelled,
            () if failed || problem.is_some() => Conclusion::Failure,
            () if stopped => Conclusion::Cancelled,
            () if skipped => Conclusion::Skipped,
            () => Conclusion::Success,
        };
        let problem = problem.or_else(|| self.cancel.why());
        let problem = problem.map(|problem| self.recorder.masks.apply(&problem));
        let run = &mut self.recorder.run;
        run.problem = problem;
        run.conclusion = Some(conclusion);
        run.ended = Some(now());
        for job in run.jobs.iter_mut().filter(|job| job.conclusion.is_none()) {
            job.conclusion = Some(Conclusion::Cancelled);
            job.steps
                .iter_mut()
                .for_each(|step| step.conclusion = Some(Conclusion::Skipped));
        }
        self.recorder.save();
    }

    /// Waits for the run's turn in its concurrency group, and runs its jobs. Returns what is wrong
    /// with the run as a whole.
    async fn in_turn(&mut self) -> Option<String> {
        let workflow = self.workflow;
        let _turn = match &workflow.concurrency {
            None => None,
            Some(wanted) => {
                let scope = self.scope(Standing::Success);
                let name = match wanted.group.text(&scope) {
                    Ok(name) => name,
                    Err(error) => return Some(format!("concurrency: {error}")),
                };
                let flag = wanted
                    .cancel_in_progress
                    .as_ref()
                    .and_then(|flag| flag.evaluate(&scope).ok());
                let cancel_others = flag.and_then(|flag| as_bool(&flag)).unwrap_or(false);
                let (site, repository) = (self.site, self.recorder.run.repository.clone());
                let group = concurrency::Group {
                    pipelines: &site.pipelines,
                    repository: &repository,
                    name: &name,
                };
                let (number, cancel) = (self.recorder.run.number, self.cancel);
                let recorder = &mut self.recorder;
                let entered = group.enter(number, cancel_others, cancel, |running| {
                    let who = running.map_or_else(
                        || "another run".to_owned(),
                        |number| format!("run {number}"),
                    );
                    let what = if cancel_others { "ends" } else { "waits for" };
                    recorder.say(0, &format!("concurrency {name}: {what} {who}"));
                });
                match entered.await {
                    Ok(turn) => turn,
                    Err(error) => return Some(format!("concurrency: {error}")),
                }
            }
        };
        for job in planned(workflow) {
            let done = self.job_group(job).await;
            self.done.insert(&job.id, done);
        }
        None
    }

    /// A job, or all jobs of its matrix.
    async fn job_group(&mut self, job: &'a Job) -> Done {
        let index = self
            .recorder
            .run
            .jobs
            .iter()
            .position(|record| record.id == job.id)
            .unwrap_or_default();
        let standing = self.standing_for(job);
        let needs = self.needs(job);
        let mut scope = self.scope(standing);
        scope.contexts.insert("needs".to_owned(), needs.clone());
        match self.skipped(job, &scope) {
            Ok(None) => {}
            Ok(Some(why)) => return self.without_running(index, Conclusion::Skipped, &why),
            Err(problem) => return self.without_running(index, Conclusion::Failure, &problem),
        }
        match self.places(job, index, &scope) {
            Ok((places, fail_fast)) => self.matrix(job, places, fail_fast, &needs).await,
            Err(problem) => self.without_running(index, Conclusion::Failure, &problem),
        }
    }

    fn without_running(&mut self, index: usize, how: Conclusion, why: &str) -> Done {
        let why = self.recorder.masks.apply(why);
        let record = self.recorder.job(index);
        record.conclusion = Some(how);
        record.problem = Some(why.clone());
        record
            .steps
            .iter_mut()
            .for_each(|step| step.conclusion = Some(Conclusion::Skipped));
        let text = format!("{}: {} ({why})", record.name, how.as_str());
        self.recorder.say(0, "");
        self.recorder.ended(0, how, &text, None);
        self.recorder.save();
        Done {
            result: how,
            counts: how,
            outputs: Map::new(),
        }
    }

    /// How the jobs stand that this one waits for, directly or not.
    fn standing_for(&self, job: &Job) -> Standing {
        if self.cancel.is_asked() {
            return Standing::Cancelled;
        }
        let mut ancestors: Vec<&str> = Vec::new();
        let mut ahead: Vec<&str> = job.needs.iter().map(String::as_str).collect();
        while let Some(id) = ahead.pop() {
            if !ancestors.contains(&id) {
                ancestors.push(id);
                let needs = self
                    .workflow
                    .jobs
                    .iter()
                    .find(|job| job.id == id)
                    .map(|job| &job.needs);
                ahead.extend(needs.into_iter().flatten().map(String::as_str));
            }
        }
        let results = || {
            ancestors
                .iter()
                .filter_map(|id| self.done.get(id))
                .map(|done| done.result)
        };
        if results().any(|result| result == Conclusion::Failure) {
            Standing::Failure
        } else if results().any(|result| result != Conclusion::Success) {
            Standing::Skipped
        } else {
            Standing::Success
        }
    }

    /// The context `needs`.
    fn needs(&self, job: &Job) -> Value {
        let needs = job.needs.iter().filter_map(|id| {
            let done = self.done.get(id.as_str())?;
            let value = json!({"result": done.result.as_str(), "outputs": done.outputs});
            Some((id.clone(), value))
        });
        Value::Object(needs.collect())
    }

    /// Why a job does not run, if it does not.
    fn skipped(&self, job: &Job, scope: &Scope) -> Result<Option<String>, String> {
        let named = job
            .condition
            .as_ref()
            .is_some_and(|condition| condition.names_status());
        if !named && scope.standing != Standing::Success {
            let not = |id: &&String| {
                self.done
                    .get(id.as_str())
                    .is_some_and(|done| done.result != Conclusion::Success)
            };
            let needs = job.needs.iter().find(not);
            return Ok(Some(match (scope.standing, needs) {
                (Standing::Cancelled, _) => "the run was cancelled".to_owned(),
                (_, Some(id)) => {
                    let result = self
                        .done
                        .get(id.as_str())
                        .map_or("?", |done| done.result.as_str());
                    format!("{id}: {result}")
                }
                (_, None) => "a job before it did not succeed".to_owned(),
            }));
        }
        let Some(condition) = &job.condition else {
            return Ok(None);
        };
        let value = condition
            .evaluate(scope)
            .map_err(|error| format!("if: {error}"))?;
        Ok((!truthy(&value)).then(|| "its if is false".to_owned()))
    }

    /// The jobs of a matrix, each with its place in the record, and `fail-fast`.
    fn places(
        &mut self,
        job: &Job,
        index: usize,
        scope: &Scope,
    ) -> Result<(Vec<Place>, bool), String> {
        let strategy = &job.strategy;
        let evaluate = |what: &str, template: Option<&Template>| {
            let value = template.map(|template| template.evaluate(scope));
            value
                .transpose()
                .map_err(|error| format!("{what}: {error}"))
        };
        let fail_fast = evaluate("fail-fast", strategy.fail_fast.as_ref())?;
        let fail_fast = fail_fast.as_ref().and_then(as_bool).unwrap_or(true);
        let most = evaluate("max-parallel", strategy.max_parallel.as_ref())?;
        let combinations: Vec<Option<Combination>> = match &strategy.matrix {
            None => vec![None],
            Some(tree) => {
                let value = tree
                    .evaluate(scope)
                    .map_err(|error| format!("matrix: {error}"))?;
                matrix::expand(&value)?.into_iter().map(Some).collect()
            }
        };
        let total = combinations.len();
        let mut places = Vec::new();
        let mut records = Vec::new();
        for (at, combination) in combinations.into_iter().enumerate() {
            let strategy = json!({
                "fail-fast": fail_fast,
                "job-index": at,
                "job-total": total,
                "max-parallel": most.clone().unwrap_or_else(|| json!(total)),
            });
            let mut scope = scope.clone();
            let values = combination.clone().map_or(Value::Null, Value::Object);
            scope.contexts.insert("matrix".to_owned(), values);
            scope
                .contexts
                .insert("strategy".to_owned(), strategy.clone());
            let named = job.name.as_ref().map(|name| name.text(&scope)).transpose();
            let mut name = named
                .map_err(|error| format!("name: {error}"))?
                .unwrap_or_else(|| job.id.clone());
            let says_all = job
                .name
                .as_ref()
                .is_some_and(|name| name.literal().is_none());
            if let (Some(combination), false) = (&combination, says_all) {
                name = format!("{name} ({})", matrix::label(combination));
            }
            records.push(record_of(job, Some(self.recorder.masks.apply(&name))));
            places.push(Place {
                combination,
                strategy,
                index: index + at,
            });
        }
        self.recorder.run.jobs.splice(index..=index, records);
        Ok((places, fail_fast))
    }

    async fn matrix(
        &mut self,
        job: &'a Job,
        places: Vec<Place>,
        fail_fast: bool,
        needs: &Value,
    ) -> Done {
        let mut all = Done {
            result: Conclusion::Success,
            counts: Conclusion::Success,
            outputs: Map::new(),
        };
        let mut stop = false;
        for place in places {
            let allowed = self.may_fail(job, &place, needs);
            if stop {
                let why = "fail-fast: another job of the matrix failed";
                let done = self.without_running(place.index, Conclusion::Cancelled, why);
                all.worsen(done.result, done.counts);
                continue;
            }
            let name = self.recorder.job(place.index).name.clone();
            self.recorder.say(0, "");
            self.recorder.say(0, &name);
            let ended = run_job(self, job, &place, needs.clone()).await;
            self.show_summaries();
            let failed = ended.conclusion == Conclusion::Failure;
            let counts = if failed && allowed {
                Conclusion::Success
            } else {
                ended.conclusion
            };
            if failed && allowed {
                self.recorder.say(2, "continue-on-error: the run goes on");
            }
            stop = fail_fast && counts == Conclusion::Failure;
            all.worsen(counts, counts);
            all.outputs.extend(ended.outputs);
        }
        all
    }

    fn may_fail(&self, job: &Job, place: &Place, needs: &Value) -> bool {
        let mut scope = self.scope(Standing::Success);
        scope.contexts.insert("needs".to_owned(), needs.clone());
        let values = place.combination.clone().map_or(Value::Null, Value::Object);
        scope.contexts.insert("matrix".to_owned(), values);
        scope
            .contexts
            .insert("strategy".to_owned(), place.strategy.clone());
        let value = job
            .continue_on_error
            .as_ref()
            .and_then(|flag| flag.evaluate(&scope).ok());
        value.and_then(|value| as_bool(&value)).unwrap_or(false)
    }

    fn show_summaries(&mut self) {
        for (job, text) in std::mem::take(&mut self.summaries) {
            self.recorder.say(2, &format!("Summary of {job}:"));
            let lines: Vec<_> = text.lines().collect();
            for line in lines.iter().take(SUMMARY_LINES) {
                self.recorder.say(4, line);
            }
            if lines.len() > SUMMARY_LINES {
                self.recorder.say(
                    4,
                    &format!("… and {} lines more", lines.len() - SUMMARY_LINES),
                );
            }
        }
    }

    fn tail(&mut self) {
        let run = &self.recorder.run;
        let took = run
            .duration()
            .and_then(|time| Duration::try_from(time).ok())
            .unwrap_or_default();
        let took = duration(took);
        let name = format!("{}, run {}", run.workflow, run.number);
        let (repository, number) = (run.repository.clone(), run.number);
        let logs = format!(
            "devops-lab ci logs {repository} {number}{}",
            self.site.options
        );
        let failed = run
            .failed_step()
            .map(|(job, step)| format!("{} → {}", job.name, step.name));
        let problem = run.problem.clone();
        let lines = match run.conclusion {
            Some(Conclusion::Success) => vec![format!("success: {name}, {took}")],
            Some(Conclusion::Skipped) => vec![format!("{name}: no job had to run")],
            Some(Conclusion::Cancelled) => {
                let why = problem.map_or_else(String::new, |why| format!(": {why}"));
                vec![format!("warning: {name} was cancelled after {took}{why}")]
            }
            Some(Conclusion::Failure) | None => {
                let what = failed.or(problem).unwrap_or_default();
                vec![
                    format!("error: {name} failed after {took}"),
                    format!("  at:   {what}"),
                    format!("  look: {logs} --failed"),
                ]
            }
        };
        self.recorder.say(0, "");
        for line in lines {
            self.recorder.say(0, &line);
        }
    }
}

impl Done {
    /// Of several results the worst counts.
    fn worsen(&mut self, result: Conclusion, counts: Conclusion) {
        let rank = |conclusion: Conclusion| match conclusion {
            Conclusion::Success => 0,
            Conclusion::Skipped => 1,
            Conclusion::Cancelled => 2,
            Conclusion::Failure => 3,
        };
        if rank(result) > rank(self.result) {
            self.result = result;
        }
        if rank(counts) > rank(self.counts) {
            self.counts = counts;
        }
    }
}
