//! K026: a pipeline ran for a commit, and how.

use std::path::Path;

use jiff::Timestamp;
use lab_ci::runs::{self, Conclusion, Job, Run, Step};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckDef, Consistent, accepts_consistent, schema, start_consistent};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::readers::git::{Git, short};
use crate::subject::in_time;

/// Fewest digits that name a commit.
const SHORTEST: usize = 7;

pub(super) const DEF: CheckDef = CheckDef {
    code: "K026",
    name: "ci-run",
    help: "Since the lab began, a pipeline of `repository` ran for the commit that is HEAD of directory `dir` (the name \
        of the repository by default), or for `commit`, and its latest attempt ended with `conclusion` (`success` or \
        `failure`). With `job`, only the steps of that job count. All of `steps` ran (by name or id); those of `order` \
        ran in this order; `failedStep` is the one that failed, and with `skippedAfter: true` no step after it ran.",
    schema: schema::<With>,
    accepts: accepts_consistent::<With>,
    run: |context, input| start_consistent(DEF.name, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    repository: String,
    conclusion: Wanted,
    commit: Option<String>,
    dir: Option<String>,
    job: Option<String>,
    #[serde(default)]
    steps: Vec<String>,
    failed_step: Option<String>,
    #[serde(default)]
    order: Vec<String>,
    #[serde(default)]
    skipped_after: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Wanted {
    Success,
    Failure,
}

impl Wanted {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

impl Consistent for With {
    fn consistent(&self) -> Result<(), String> {
        let is_id = |commit: &String| {
            commit == "HEAD"
                || commit.len() >= SHORTEST && commit.chars().all(|digit| digit.is_ascii_hexdigit())
        };
        if self.commit.as_ref().is_some_and(|commit| !is_id(commit)) {
            return Err(format!(
                "`commit` must be HEAD, or {SHORTEST} or more digits of a commit's id"
            ));
        }
        if self.failed_step.is_some() && self.conclusion == Wanted::Success {
            return Err("`failedStep` goes with `conclusion: failure`".to_owned());
        }
        if self.skipped_after && self.failed_step.is_none() {
            return Err("`skippedAfter` needs `failedStep`".to_owned());
        }
        if self.order.len() == 1 {
            return Err("`order` needs two steps or more".to_owned());
        }
        if let Some(dir) = &self.dir {
            crate::desk::is_inside(dir)?;
        }
        if self.repository.is_empty()
            || self.repository.contains(['/', '\\'])
            || self.repository.starts_with('.')
        {
            return Err(format!("{:?} is no name of a repository", self.repository));
        }
        Ok(())
    }
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let commit = match &with.commit {
        Some(commit) if commit != "HEAD" => Ok(commit.clone()),
        Some(_) | None => head(&context, with.dir.as_ref().unwrap_or(&with.repository)).await?,
    };
    let commit = match commit {
        Ok(commit) => commit,
        Err(diagnosis) => return Ok(Outcome::of(evidence(&with, "–", None), Err(diagnosis))),
    };
    let seen = match context.desk.pipelines.clone() {
        None => Seen::default(),
        Some(pipelines) => {
            let repository = with.repository.clone();
            let read = move || Seen::read(&pipelines, &repository);
            let read = tokio::task::spawn_blocking(read)
                .await
                .map_err(|error| error.to_string());
            read.and_then(|seen| seen.map_err(|error| error.to_string()))
                .map_err(|problem| Diagnosis::RunsUnreadable { problem })?
        }
    };
    Ok(judge(&with, &commit, &seen, context.desk.since))
}

/// The commit that a directory of the learner's is at, or what stands in the way.
async fn head(context: &CheckContext, dir: &str) -> Result<Result<String, Diagnosis>, Diagnosis> {
    let git = match Git::new(context, dir) {
        Ok(git) => git,
        Err(diagnosis) => return Ok(Err(diagnosis)),
    };
    let dir = dir.to_owned();
    let Some(tree) = git.read().await? else {
        return Ok(Err(Diagnosis::NotARepository { dir }));
    };
    Ok(tree.head.ok_or(Diagnosis::GitNoCommit {
        dir,
        expected: "1".to_owned(),
        found: "0".to_owned(),
    }))
}

/// What was read of the runs.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Those of the repository, newest first.
    runs: Vec<Run>,
    /// Repositories that have runs.
    repositories: Vec<String>,
}

impl Seen {
    fn read(pipelines: &Path, repository: &str) -> Result<Self, runs::RunsError> {
        Ok(Self {
            runs: runs::list(pipelines, repository)?,
            repositories: runs::repositories(pipelines)?,
        })
    }
}

fn evidence(with: &With, commit: &str, run: Option<&Run>) -> Evidence {
    let expected = Fact::RunWanted {
        repository: with.repository.clone(),
        commit: short(commit),
        conclusion: with.conclusion.as_str().to_owned(),
    };
    let observed = match run {
        None => Fact::Nothing {
            kind: "run".to_owned(),
            name: with.repository.clone(),
        },
        Some(run) => Fact::Run {
            repository: with.repository.clone(),
            run: run.number.to_string(),
            commit: run.short_commit().to_owned(),
            conclusion: said(run.conclusion).to_owned(),
            steps: told(&flat(with, run)),
        },
    };
    Evidence {
        expected,
        observed,
        since: run.and_then(|run| run.ended),
    }
}

fn said(conclusion: Option<Conclusion>) -> &'static str {
    conclusion.map_or("…", Conclusion::as_str)
}

/// `Test success, Image skipped`.
fn told(steps: &[(&Job, &Step)]) -> String {
    let texts: Vec<_> = steps
        .iter()
        .map(|(_, step)| format!("{} {}", step.name, said(step.conclusion)))
        .collect();
    if texts.is_empty() {
        "–".to_owned()
    } else {
        texts.join(", ")
    }
}

/// The steps that count, in the order of the run.
fn flat<'a>(with: &With, run: &'a Run) -> Vec<(&'a Job, &'a Step)> {
    let counts = |job: &&Job| {
        with.job
            .as_ref()
            .is_none_or(|name| job.id == *name || job.name == *name)
    };
    let jobs = run.jobs.iter().filter(counts);
    jobs.flat_map(|job| job.steps.iter().map(move |step| (job, step)))
        .collect()
}

fn judge(with: &With, commit: &str, seen: &Seen, since: Option<Timestamp>) -> Outcome {
    let in_lab: Vec<_> = seen
        .runs
        .iter()
        .filter(|run| in_time(run.started, since))
        .collect();
    let of_commit = in_lab
        .iter()
        .copied()
        .filter(|run| run.commit.starts_with(commit));
    // A push may start several workflows; of each, the newest run counts.
    let mut newest: Vec<&Run> = Vec::new();
    for run in of_commit {
        if newest.iter().all(|other| other.path != run.path) {
            newest.push(run);
        }
    }
    let Some(latest) = newest.first() else {
        let found = match (in_lab.first(), seen.runs.is_empty()) {
            (Some(latest), _) => Diagnosis::CiRunOfOtherCommit {
                repository: with.repository.clone(),
                expected: short(commit),
                found: latest.short_commit().to_owned(),
            },
            (None, true) if !seen.repositories.contains(&with.repository) => {
                Diagnosis::CiNoRepository {
                    repository: with.repository.clone(),
                    present: match seen.repositories.is_empty() {
                        true => "–".to_owned(),
                        false => seen.repositories.join(", "),
                    },
                }
            }
            (None, _) => Diagnosis::CiNoRun {
                repository: with.repository.clone(),
            },
        };
        return Outcome::of(evidence(with, commit, in_lab.first().copied()), Err(found));
    };
    let judged = newest.iter().map(|run| (*run, find(with, run)));
    let mut judged: Vec<_> = judged.collect();
    let holds = judged.iter().position(|(_, found)| found.is_ok());
    let (run, found) = match holds {
        Some(at) => judged.swap_remove(at),
        None => {
            let first = judged.into_iter().next();
            first.unwrap_or((latest, Ok(())))
        }
    };
    Outcome::of(evidence(with, commit, Some(run)), found)
}

fn find(with: &With, run: &Run) -> Result<(), Diagnosis> {
    let number = || run.number.to_string();
    if !run.is_over() {
        return Err(Diagnosis::CiRunGoingOn { run: number() });
    }
    let steps = flat(with, run);
    let missing = |step: &str| Diagnosis::CiStepMissing {
        run: number(),
        step: step.to_owned(),
        present: told(&steps),
    };
    if let (Some(job), true) = (&with.job, steps.is_empty()) {
        return Err(missing(job));
    }
    concluded(with, run)?;
    for name in with
        .steps
        .iter()
        .chain(&with.order)
        .chain(&with.failed_step)
    {
        let mut named = steps
            .iter()
            .filter(|(_, step)| is_named(step, name))
            .peekable();
        if named.peek().is_none() {
            return Err(missing(name));
        }
        if !named.any(|(_, step)| step.ran()) {
            return Err(Diagnosis::CiStepSkipped {
                run: number(),
                step: name.clone(),
            });
        }
    }
    muted(with, run, &steps)?;
    failed(with, run, &steps)?;
    ordered(with, run, &steps)
}

fn is_named(step: &Step, name: &str) -> bool {
    step.name == name || step.id.as_deref() == Some(name)
}

/// Whether it ended as asked for.
fn concluded(with: &With, run: &Run) -> Result<(), Diagnosis> {
    match (with.conclusion, run.conclusion) {
        (Wanted::Success, Some(Conclusion::Success))
        | (Wanted::Failure, Some(Conclusion::Failure)) => Ok(()),
        (Wanted::Failure, Some(Conclusion::Success)) => Err(Diagnosis::CiRunGreen {
            run: run.number.to_string(),
        }),
        (_, conclusion) => Err(Diagnosis::CiRunRed {
            run: run.number.to_string(),
            conclusion: said(conclusion).to_owned(),
            step: failed_step(run),
        }),
    }
}

/// What failed, for people: a step, or the run as a whole.
fn failed_step(run: &Run) -> String {
    match (run.failed_step(), &run.problem) {
        (Some((_, step)), _) => step.name.clone(),
        (None, Some(problem)) => problem.clone(),
        (None, None) => "–".to_owned(),
    }
}

/// Whether a step that must have gone well failed by its own leave (`continue-on-error`).
fn muted(with: &With, run: &Run, steps: &[(&Job, &Step)]) -> Result<(), Diagnosis> {
    let counts = |step: &Step| {
        with.steps
            .iter()
            .chain(&with.order)
            .any(|name| is_named(step, name))
    };
    let failed = |step: &Step| step.outcome == Some(Conclusion::Failure);
    let mut muted = steps
        .iter()
        .filter(|(_, step)| counts(step) && failed(step));
    match muted.next() {
        Some((_, step)) if with.conclusion == Wanted::Success => Err(Diagnosis::CiRunRed {
            run: run.number.to_string(),
            conclusion: "success (continue-on-error)".to_owned(),
            step: step.name.clone(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Whether the step that failed is the one, and nothing ran after it.
fn failed(with: &With, run: &Run, steps: &[(&Job, &Step)]) -> Result<(), Diagnosis> {
    let Some(expected) = &with.failed_step else {
        return Ok(());
    };
    let is_red = |step: &Step| step.conclusion == Some(Conclusion::Failure);
    let Some(at) = steps.iter().position(|(_, step)| is_red(step)) else {
        return Err(Diagnosis::CiOtherStepFailed {
            run: run.number.to_string(),
            expected: expected.clone(),
            found: failed_step(run),
        });
    };
    let (_, step) = steps[at];
    if !is_named(step, expected) {
        return Err(Diagnosis::CiOtherStepFailed {
            run: run.number.to_string(),
            expected: expected.clone(),
            found: step.name.clone(),
        });
    }
    let after = steps[at + 1..].iter().find(|(_, step)| step.ran());
    match after {
        Some((_, later)) if with.skipped_after => Err(Diagnosis::CiStepNotSkipped {
            run: run.number.to_string(),
            step: later.name.clone(),
            after: step.name.clone(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Whether steps ran one after the other.
fn ordered(with: &With, run: &Run, steps: &[(&Job, &Step)]) -> Result<(), Diagnosis> {
    let place = |name: &str| {
        let mut ran = steps
            .iter()
            .enumerate()
            .filter(|(_, (_, step))| is_named(step, name) && step.ran());
        ran.next().map(|(at, (_, step))| (step.started, at))
    };
    for pair in with.order.windows(2) {
        if place(&pair[0]) >= place(&pair[1]) {
            return Err(Diagnosis::CiOrderWrong {
                run: run.number.to_string(),
                first: pair[0].clone(),
                second: pair[1].clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
