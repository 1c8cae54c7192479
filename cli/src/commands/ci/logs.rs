//! `devops-lab ci logs`

use anyhow::bail;
use lab_ci::runs::{self, Conclusion, Job, Run, Step};

use super::{chosen, result};
use crate::cli::ci::CiLogsArgs;
use crate::output::{blank, faint, line, strong};

pub(super) fn run(args: &CiLogsArgs) -> anyhow::Result<()> {
    let CiLogsArgs {
        target,
        job,
        step,
        failed,
    } = args;
    let (dir, run) = chosen(target)?;
    let wanted = Wanted {
        job: job.as_deref(),
        step: step.as_deref(),
        failed: *failed,
    };
    let shown = wanted.steps(&run)?;
    head(&run);
    let pipelines = dir.pipelines();
    let mut last = None;
    for (job, step) in shown {
        if last != Some(job) {
            last = Some(job);
            blank();
            line(format_args!(
                "{}  {}",
                strong(&job.name),
                result(job.conclusion)
            ));
            if let Some(problem) = &job.problem {
                line(format_args!("  {problem}"));
            }
        }
        let Some(step) = step else {
            continue;
        };
        let exit = step.exit_code.filter(|code| *code != 0);
        let exit = exit.map_or_else(String::new, |code| format!("  exit code {code}"));
        line(format_args!(
            "  {}  {}{exit}",
            step.name,
            result(step.conclusion)
        ));
        if let Some(problem) = &step.problem {
            line(format_args!("    {problem}"));
        }
        if let Some(range) = step.log {
            for text in runs::log(&pipelines, &run, Some(range))?.lines() {
                line(format_args!("    {text}"));
            }
        }
    }
    Ok(())
}

fn head(run: &Run) {
    line(strong(&format!(
        "{}: {}, run {}",
        run.repository, run.workflow, run.number
    )));
    line(format_args!(
        "{} at {}: {}  {}",
        run.branch,
        run.short_commit(),
        run.title,
        result(run.conclusion)
    ));
    for problem in run.problem.iter().flat_map(|problem| problem.lines()) {
        line(problem);
    }
    for attempt in &run.earlier {
        line(faint(&format!(
            "attempt {} before it: {}",
            attempt.attempt,
            attempt.conclusion.map_or("going on", Conclusion::as_str)
        )));
    }
}

/// What of a run is to be shown.
struct Wanted<'a> {
    job: Option<&'a str>,
    step: Option<&'a str>,
    failed: bool,
}

impl Wanted<'_> {
    /// The steps, each with its job; a job without steps to show alone.
    fn steps<'r>(&self, run: &'r Run) -> anyhow::Result<Vec<(&'r Job, Option<&'r Step>)>> {
        let jobs: Vec<_> = run.jobs.iter().filter(|job| self.has_job(job)).collect();
        if let (Some(wanted), true) = (self.job, jobs.is_empty()) {
            bail!(
                "run {} has no job {wanted:?}; it has {}",
                run.number,
                names(run.jobs.iter().map(|job| &job.name))
            );
        }
        let steps: Vec<_> = jobs
            .iter()
            .flat_map(|job| {
                job.steps
                    .iter()
                    .filter(|step| self.has_step(step))
                    .map(|step| (*job, Some(step)))
            })
            .collect();
        if let (Some(wanted), true) = (self.step, steps.is_empty()) {
            let all = jobs
                .iter()
                .flat_map(|job| &job.steps)
                .map(|step| &step.name);
            bail!(
                "run {} has no step {wanted:?} there; it has {}",
                run.number,
                names(all)
            );
        }
        let is_failed = |conclusion| conclusion == Some(Conclusion::Failure);
        let mut shown = Vec::new();
        for job in jobs
            .into_iter()
            .filter(|job| !self.failed || is_failed(job.conclusion))
        {
            let own = steps
                .iter()
                .filter(|(of, _)| std::ptr::eq(*of, job))
                .copied();
            let own = own.filter(|(_, step)| {
                !self.failed || step.is_some_and(|step| is_failed(step.outcome))
            });
            let before = shown.len();
            shown.extend(own);
            if shown.len() == before && self.step.is_none() {
                shown.push((job, None));
            }
        }
        Ok(shown)
    }

    fn has_job(&self, job: &Job) -> bool {
        self.job
            .is_none_or(|wanted| wanted == job.id || wanted == job.name)
    }

    fn has_step(&self, step: &Step) -> bool {
        self.step.is_none_or(|wanted| {
            wanted == step.name
                || Some(wanted) == step.id.as_deref()
                || wanted == step.number.to_string()
        })
    }
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(|name| format!("{name:?}")).collect();
    names.join(", ")
}
