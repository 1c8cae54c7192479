//! `devops-lab doctor`

use std::process::ExitCode;

use lab_cluster::doctor::{Finding, Grade, examine};
use lab_cluster::record::Home;

use crate::cli::{Format, OutputArgs};
use crate::output::{bad, blank, faint, good, json, line, warn};

pub(crate) async fn run(args: OutputArgs) -> anyhow::Result<ExitCode> {
    let OutputArgs { output } = args;
    let findings = examine(&Home::from_env()?).await;
    match output {
        Format::Json => json(&findings)?,
        Format::Text => print(&findings),
    }
    let worst = findings.iter().map(|finding| finding.grade).max();
    Ok(if worst == Some(Grade::Problem) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print(findings: &[Finding]) {
    for Finding {
        subject,
        grade,
        found,
        fix,
    } in findings
    {
        let mark = match grade {
            Grade::Ok => good("✓"),
            Grade::Warning => warn("!"),
            Grade::Problem => bad("✗"),
        };
        line(format_args!("{mark} {subject}: {found}"));
        if !fix.is_empty() {
            line(format_args!("    {}", faint(&format!("→ {fix}"))));
        }
    }
    blank();
    let count = |wanted| {
        findings
            .iter()
            .filter(|finding| finding.grade == wanted)
            .count()
    };
    match (count(Grade::Problem), count(Grade::Warning)) {
        (0, 0) => line(good("Everything is ready for class.")),
        (0, warnings) => line(format_args!("Ready for class, with {warnings} remark(s).")),
        (problems, _) => line(bad(&format!("{problems} problem(s) to mend before class."))),
    }
}
