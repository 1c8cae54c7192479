//! A workflow file as a whole, and its jobs.

use super::fields::{Fields, Refused};
use super::on::on;
use super::places::Allowed;
use super::places::{
    CONCURRENCY, JOB, JOB_DEFAULTS, JOB_ENV, JOB_IF, JOB_OUTPUTS, RUN_NAME, STRATEGY, WORKFLOW_ENV,
};
use super::steps::{IDENTIFIER, is_identifier, shell, steps};
use super::{Concurrency, Defaults, Job, Strategy, Workflow, matrix};
use crate::expression::{Scope, Standing};
use crate::problem::{Place, Problems, did_you_mean};
use crate::yaml::{self, Key, Kind, Node};

const KEYS: &[&str] = &[
    "name",
    "run-name",
    "on",
    "env",
    "defaults",
    "permissions",
    "concurrency",
    "jobs",
];

const JOB_KEYS: &[&str] = &[
    "name",
    "needs",
    "if",
    "runs-on",
    "env",
    "defaults",
    "outputs",
    "strategy",
    "timeout-minutes",
    "continue-on-error",
    "permissions",
    "steps",
];

const JOB_REFUSED: &[Refused] = &[
    (
        "container",
        "jobs run on this machine, as on a self-hosted runner; call docker or devops-lab in a run step",
    ),
    (
        "services",
        "jobs run on this machine, as on a self-hosted runner; start what you need in a run step, or in the cluster",
    ),
    (
        "uses",
        "a reusable workflow cannot be called; write its jobs here",
    ),
    (
        "with",
        "it belongs to reusable workflows, which cannot be called",
    ),
    (
        "secrets",
        "it belongs to reusable workflows; steps read secrets as ${{ secrets.NAME }}",
    ),
    (
        "environment",
        "nobody here can approve a deployment; write the job without it",
    ),
    (
        "concurrency",
        "write it at the top of the file: jobs of a run never run at the same time here",
    ),
    ("snapshot", "there are no machine images here"),
];

/// Said where permissions are set.
const PERMISSIONS: &str = "permissions has no effect here: there is no GITHUB_TOKEN";

/// Reads a workflow file.
///
/// # Errors
/// With everything that is wrong in it.
pub(crate) fn parse(file: &str, text: &str) -> Result<Workflow, Problems> {
    let node = yaml::parse(file, text).map_err(|problem| Problems(vec![problem]))?;
    let mut fields = Fields::new(file, text);
    let workflow = workflow(&mut fields, file, &node);
    if fields.problems.is_empty() {
        return Ok(Workflow {
            remarks: fields.remarks,
            ..workflow
        });
    }
    fields.problems.sort_by_key(|problem| problem.at);
    Err(Problems(fields.problems))
}

fn workflow(fields: &mut Fields<'_>, file: &str, node: &Node) -> Workflow {
    let entries = fields.mapping(node, "a workflow", KEYS, &[]);
    let of = |name: &str| entries.iter().find(|(key, _)| key.text == name);
    let value = |name: &str| of(name).map(|(_, value)| value);
    for (name, why) in [
        ("on", "it says which event starts the workflow"),
        ("jobs", "it says what to do"),
    ] {
        if of(name).is_none() && matches!(node.kind, Kind::Mapping(_)) {
            fields.refuse(node.at, format!("the key {name} is missing: {why}"));
        }
    }
    if let Some((key, _)) = of("permissions") {
        fields.remark(key.at, PERMISSIONS);
    }
    Workflow {
        path: file.to_owned(),
        name: value("name").and_then(|node| fields.word(node, "name")),
        run_name: value("run-name").and_then(|node| fields.template(node, "run-name", &RUN_NAME)),
        on: value("on").map(|node| on(fields, node)).unwrap_or_default(),
        env: value("env")
            .map(|node| fields.variables(node, "env", &WORKFLOW_ENV))
            .unwrap_or_default(),
        defaults: value("defaults")
            .map(|node| defaults(fields, node, &WORKFLOW_ENV))
            .unwrap_or_default(),
        concurrency: value("concurrency").and_then(|node| concurrency(fields, node)),
        jobs: value("jobs")
            .map(|node| jobs(fields, node))
            .unwrap_or_default(),
        remarks: Vec::new(),
    }
}

fn defaults(fields: &mut Fields<'_>, node: &Node, place: &Allowed) -> Defaults {
    let mut defaults = Defaults::default();
    for (key, value) in fields.mapping(node, "defaults", &["run"], &[]) {
        if key.text != "run" {
            continue;
        }
        for (key, value) in
            fields.mapping(value, "defaults.run", &["shell", "working-directory"], &[])
        {
            match key.text.as_str() {
                "shell" => defaults.shell = shell(fields, value),
                "working-directory" => {
                    defaults.working_directory = fields.template(value, "working-directory", place);
                }
                _ => {}
            }
        }
    }
    defaults
}

fn concurrency(fields: &mut Fields<'_>, node: &Node) -> Option<Concurrency> {
    let Kind::Mapping(_) = node.kind else {
        return Some(Concurrency {
            group: fields.template(node, "concurrency", &CONCURRENCY)?,
            cancel_in_progress: None,
        });
    };
    let entries = fields.mapping(node, "concurrency", &["group", "cancel-in-progress"], &[]);
    let of = |name: &str| entries.iter().find(|(key, _)| key.text == name);
    let Some((_, group)) = of("group") else {
        fields.refuse(node.at, "concurrency needs a group");
        return None;
    };
    Some(Concurrency {
        group: fields.template(group, "group", &CONCURRENCY)?,
        cancel_in_progress: of("cancel-in-progress")
            .and_then(|(_, node)| fields.flag(node, "cancel-in-progress", &CONCURRENCY)),
    })
}

fn jobs(fields: &mut Fields<'_>, node: &Node) -> Vec<Job> {
    let entries = fields.any_mapping(node, "jobs");
    if entries.is_empty() && matches!(node.kind, Kind::Mapping(_)) {
        fields.refuse(node.at, "jobs is empty: a workflow needs at least one job");
    }
    let ids: Vec<_> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
    let jobs: Vec<_> = entries
        .iter()
        .map(|(key, node)| job(fields, key, node, &ids))
        .collect();
    circle(fields, &jobs);
    jobs
}

fn job(fields: &mut Fields<'_>, key: &Key, node: &Node, ids: &[&str]) -> Job {
    if !is_identifier(&key.text) {
        fields.refuse(
            key.at,
            format!("{:?} is not an id of a job: {IDENTIFIER}", key.text),
        );
    }
    let entries = fields.mapping(node, "a job", JOB_KEYS, JOB_REFUSED);
    let of = |name: &str| entries.iter().find(|(key, _)| key.text == name);
    let value = |name: &str| of(name).map(|(_, value)| value);
    let reusable = entries.iter().any(|(key, _)| key.text == "uses");
    if !reusable && matches!(node.kind, Kind::Mapping(_)) {
        for (name, why) in [
            (
                "runs-on",
                "write runs-on: self-hosted (whatever it says, the job runs on this machine)",
            ),
            ("steps", "it says what the job does"),
        ] {
            if of(name).is_none() {
                fields.refuse(key.at, format!("the job {} has no {name}: {why}", key.text));
            }
        }
    }
    if let Some((key, _)) = of("permissions") {
        fields.remark(key.at, PERMISSIONS);
    }
    if let Some(node) = value("runs-on") {
        // Whatever it names, this machine is it; but what it says must be well-formed.
        let _ = fields.tree(node, "runs-on", &JOB);
    }
    Job {
        id: key.text.clone(),
        at: key.at,
        name: value("name").and_then(|node| fields.template(node, "name", &JOB)),
        needs: value("needs")
            .map(|node| needs(fields, node, key, ids))
            .unwrap_or_default(),
        condition: value("if").and_then(|node| fields.condition(node, &JOB_IF)),
        env: value("env")
            .map(|node| fields.variables(node, "env", &JOB_ENV))
            .unwrap_or_default(),
        defaults: value("defaults")
            .map(|node| defaults(fields, node, &JOB_DEFAULTS))
            .unwrap_or_default(),
        outputs: value("outputs")
            .map(|node| fields.variables(node, "outputs", &JOB_OUTPUTS))
            .unwrap_or_default(),
        strategy: value("strategy")
            .map(|node| strategy(fields, node))
            .unwrap_or_default(),
        timeout_minutes: value("timeout-minutes")
            .and_then(|node| fields.amount(node, "timeout-minutes", &JOB)),
        continue_on_error: value("continue-on-error")
            .and_then(|node| fields.flag(node, "continue-on-error", &JOB)),
        steps: value("steps")
            .map(|node| steps(fields, node))
            .unwrap_or_default(),
    }
}

fn needs(fields: &mut Fields<'_>, node: &Node, job: &Key, ids: &[&str]) -> Vec<String> {
    let words = fields.words(node, "needs");
    for (at, need) in &words {
        if !ids.contains(&need.as_str()) {
            let others = ids.iter().copied().filter(|id| *id != job.text);
            let hint = did_you_mean(need, others);
            fields.refuse(
                *at,
                format!(
                    "the job {} needs {need:?}, which is not there{hint}",
                    job.text
                ),
            );
        }
    }
    words.into_iter().map(|(_, need)| need).collect()
}

fn strategy(fields: &mut Fields<'_>, node: &Node) -> Strategy {
    let known = ["matrix", "fail-fast", "max-parallel"];
    let mut strategy = Strategy::default();
    for (key, value) in fields.mapping(node, "strategy", &known, &[]) {
        match key.text.as_str() {
            "matrix" => {
                strategy.matrix = fields.tree(value, "matrix", &STRATEGY);
                let tree = strategy.matrix.as_ref().filter(|tree| tree.is_literal());
                let written = tree.and_then(|tree| tree.evaluate(&nothing()).ok());
                if let Some(Err(problem)) = written.map(|matrix| matrix::expand(&matrix)) {
                    fields.refuse(key.at, problem);
                }
            }
            "fail-fast" => strategy.fail_fast = fields.flag(value, "fail-fast", &STRATEGY),
            "max-parallel" => {
                strategy.max_parallel = fields.amount(value, "max-parallel", &STRATEGY)
            }
            _ => {}
        }
    }
    strategy
}

/// What an expression sees that is none.
fn nothing() -> Scope {
    Scope {
        contexts: serde_json::Map::new(),
        standing: Standing::Success,
        workspace: std::path::PathBuf::new(),
    }
}

/// Refuses jobs that wait for each other.
fn circle(fields: &mut Fields<'_>, jobs: &[Job]) {
    let mut done: Vec<&str> = Vec::new();
    loop {
        let ready = |job: &&Job| {
            !done.contains(&job.id.as_str())
                && job.needs.iter().all(|need| {
                    // What is not there has been refused already.
                    done.contains(&need.as_str()) || jobs.iter().all(|job| job.id != *need)
                })
        };
        let more: Vec<_> = jobs
            .iter()
            .filter(ready)
            .map(|job| job.id.as_str())
            .collect();
        if more.is_empty() {
            break;
        }
        done.extend(more);
    }
    let stuck: Vec<_> = jobs
        .iter()
        .filter(|job| !done.contains(&job.id.as_str()))
        .collect();
    if let Some(first) = stuck.first() {
        let names: Vec<_> = stuck.iter().map(|job| job.id.as_str()).collect();
        let at: Place = first.at;
        fields.refuse(
            at,
            format!(
                "these jobs wait for each other, or for jobs that do: {}",
                names.join(", ")
            ),
        );
    }
}

#[cfg(test)]
mod tests;
