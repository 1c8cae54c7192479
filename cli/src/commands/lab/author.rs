//! `devops-lab lab lint`, `new`, `schema`, `checks`: for those who write labs.

use std::process::ExitCode;

use lab_checks::library::Labs;
use lab_checks::{reference, scaffold};
use serde_json::json;

use crate::cli::{Format, LabLintArgs, LabNewArgs, LabsArgs, OutputArgs};
use crate::output::{good, json, line, raw, strong};

pub(super) fn lint(args: LabLintArgs) -> anyhow::Result<ExitCode> {
    let LabLintArgs {
        dir,
        labs: LabsArgs { labs },
        output: OutputArgs { output },
    } = args;
    let (labs, problems) = match Labs::lint(dir.or(labs).as_deref()) {
        Ok(labs) => (labs, Vec::new()),
        Err(problems) => (Vec::new(), problems.0),
    };
    match output {
        Format::Json => json(&json!({"labs": labs, "problems": problems}))?,
        Format::Text => {
            problems.iter().for_each(line);
            match (problems.len(), labs.len()) {
                (0, 1) => line(good("1 lab, no problem")),
                (0, labs) => line(good(&format!("{labs} labs, no problem"))),
                (1, _) => line("1 problem"),
                (problems, _) => line(format_args!("{problems} problems")),
            }
        }
    }
    Ok(if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

pub(super) fn new(args: LabNewArgs) -> anyhow::Result<()> {
    let LabNewArgs { name, dir } = args;
    let folder = scaffold::write(&dir, &name)?;
    let folder = folder.display();
    line(format_args!("A lab is in {folder}. Then:"));
    for (command, what) in [
        (
            format!("devops-lab lab lint {folder}"),
            "what is wrong with it?",
        ),
        (
            format!("devops-lab lab test --labs {folder} {name}"),
            "can it be done, does each mistake get its diagnosis?",
        ),
        (
            format!("devops-lab lab show --labs {folder} {name}"),
            "how a learner sees it",
        ),
    ] {
        line(format_args!("  {}   {what}", strong(&command)));
    }
    Ok(())
}

pub(super) fn schema() -> anyhow::Result<()> {
    json(&reference::lab_schema())
}

pub(super) fn checks() -> anyhow::Result<()> {
    raw(reference::checks_page().as_bytes())?;
    Ok(())
}
