//! `devops-lab ci`

mod logs;
mod secrets;

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, bail};
use lab_ci::runs::{self, Conclusion, Run};
use lab_ci::{Cancel, Console, Pipelines, Site, Update, repository};
use lab_cluster::lifecycle::DEFAULT_NAME;
use lab_cluster::record::{ClusterDir, Home};
use lab_cluster::status::Addresses;

use super::env::{variables, write_kubeconfig};
use crate::cli::ci::{
    CiCommand, CiInitArgs, CiListArgs, CiRemoteArgs, CiRerunArgs, CiRunArgs, CiTarget,
};
use crate::cli::{ClusterArgs, Format, OutputArgs};
use crate::output::{bad, blank, clock, faint, good, json, line, note, table, warn};

/// What stands for the newest run.
const LATEST: &str = "latest";

pub(crate) async fn run(command: CiCommand) -> anyhow::Result<ExitCode> {
    match command {
        CiCommand::Init(args) => init(args).await?,
        CiCommand::Remote(args) => remote(&args)?,
        CiCommand::List(args) => list(&args)?,
        CiCommand::Logs(args) => logs::run(&args)?,
        CiCommand::Rerun(args) => return rerun(args).await,
        CiCommand::Run(args) => return start(args).await,
        CiCommand::Secret(command) => secrets::run(command)?,
        CiCommand::Hook(args) => hook(args).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn init(args: CiInitArgs) -> anyhow::Result<()> {
    let CiInitArgs {
        repository: name,
        cluster: ClusterArgs { name: cluster },
    } = args;
    let (dir, _) = super::open(&cluster)?;
    let hook = repository::Hook {
        program: std::env::current_exe()?,
        home: std::path::absolute(Home::from_env()?.path())?,
        cluster: cluster.clone(),
    };
    let git = absolute_git(&dir)?;
    let is_new = repository::init(&git, &name, &hook).await?;
    let verb = if is_new { "is made" } else { "is there" };
    line(format_args!(
        "The repository {name} {verb}: {}",
        repository::path(&git, &name).display()
    ));
    blank();
    line("In the directory of your project:");
    line(format_args!(
        "  git remote add lab \"$(devops-lab ci remote {name}{})\"",
        options(&cluster)
    ));
    line("  git push lab main");
    Ok(())
}

/// Remotes are used from any directory, so their paths must not depend on one.
fn absolute_git(dir: &ClusterDir) -> anyhow::Result<std::path::PathBuf> {
    Ok(std::path::absolute(dir.git())?)
}

/// The options that a command needs to mean this cluster.
fn options(cluster: &str) -> String {
    match cluster {
        DEFAULT_NAME => String::new(),
        other => format!(" --name {other}"),
    }
}

fn remote(args: &CiRemoteArgs) -> anyhow::Result<()> {
    let CiRemoteArgs {
        repository: name,
        cluster: ClusterArgs { name: cluster },
    } = args;
    let (dir, _) = super::open(cluster)?;
    let git = absolute_git(&dir)?;
    require(&git, name, cluster)?;
    line(repository::path(&git, name).display());
    Ok(())
}

/// Refuses a repository that is not there.
fn require(git: &std::path::Path, name: &str, cluster: &str) -> anyhow::Result<()> {
    if repository::exists(git, name) {
        return Ok(());
    }
    let known = repository::list(git);
    let hint = match known.as_slice() {
        [] => String::new(),
        known => format!("; there are: {}", known.join(", ")),
    };
    bail!(
        "there is no repository {name:?} in cluster {cluster:?}{hint}; make it: devops-lab ci init {name}{}",
        options(cluster)
    )
}

/// What a pipeline finds around it.
async fn site(cluster: &str) -> anyhow::Result<Site> {
    let (dir, record) = super::open(cluster)?;
    write_kubeconfig(&dir, &record)?;
    let Addresses {
        production,
        test,
        registry,
        metrics,
        api: _,
        https: _,
    } = Addresses::of(&record);
    let git = absolute_git(&dir)?;
    let mut vars = vec![
        ("REGISTRY".to_owned(), registry.clone()),
        ("PRODUCTION".to_owned(), production),
        ("TEST".to_owned(), test),
        ("CLUSTER".to_owned(), cluster.to_owned()),
        ("GIT".to_owned(), git.display().to_string()),
    ];
    vars.extend(metrics.map(|address| ("METRICS".to_owned(), address)));
    let mut environment: Vec<_> = variables(&dir, &record)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let home = std::path::absolute(Home::from_env()?.path())?;
    environment.push(("DEVOPS_LAB_HOME".to_owned(), home.display().to_string()));
    let mut notes = Vec::new();
    if lab_cluster::registry::verify(&record).await.is_err() {
        notes.push(format!(
            "warning: the cluster {cluster} is stopped, so its registry {registry} is not there."
        ));
        notes.push(format!(
            "  The pipeline runs all the same; start the cluster: devops-lab start{}",
            options(cluster)
        ));
    }
    Ok(Site {
        git,
        pipelines: std::path::absolute(dir.pipelines())?,
        cluster: cluster.to_owned(),
        program: std::env::current_exe()?,
        environment,
        vars,
        secrets: secrets::read(&dir)?.into_iter().collect(),
        notes,
        options: options(cluster),
    })
}

fn console() -> Console {
    Console::new(Box::new(std::io::stdout()))
}

/// Runs what was pushed. The push has been accepted when this runs, so nothing that goes wrong
/// here may look as if it had not.
async fn hook(args: CiRemoteArgs) {
    let CiRemoteArgs {
        repository: name,
        cluster: ClusterArgs { name: cluster },
    } = args;
    let pipeline = async {
        // Before anything else: whoever pressed Ctrl-C a moment ago meant this as well.
        let cancel = Cancel::listening(true)?;
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        let site = site(&cluster).await?;
        let mut console = console();
        let mut pipelines = Pipelines {
            site: &site,
            console: &mut console,
            cancel: &cancel,
        };
        pipelines.push(&name, &Update::read(&text)).await?;
        anyhow::Ok(())
    };
    if let Err(error) = pipeline.await {
        crate::output::report(&error);
        note("Your push is stored, but its pipeline did not run.");
    }
}

async fn start(args: CiRunArgs) -> anyhow::Result<ExitCode> {
    let CiRunArgs {
        repository: name,
        workflow,
        git_ref,
        input,
        cluster: ClusterArgs { name: cluster },
    } = args;
    let (dir, _) = super::open(&cluster)?;
    let git = absolute_git(&dir)?;
    let name = match (name, repository::list(&git).as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => only.clone(),
        (None, []) => bail!(
            "there is no repository yet; make one: devops-lab ci init NAME{}",
            options(&cluster)
        ),
        (None, many) => bail!(
            "there are several repositories; name one: {}",
            many.join(", ")
        ),
    };
    require(&git, &name, &cluster)?;
    let site = site(&cluster).await?;
    let cancel = Cancel::listening(false)?;
    let mut console = console();
    let mut pipelines = Pipelines {
        site: &site,
        console: &mut console,
        cancel: &cancel,
    };
    let run = pipelines
        .dispatch(&name, workflow.as_deref(), &git_ref, &input)
        .await?;
    Ok(code(&run))
}

async fn rerun(args: CiRerunArgs) -> anyhow::Result<ExitCode> {
    let CiRerunArgs { target } = args;
    let (dir, run) = chosen(&target)?;
    let cluster = target.cluster.name;
    require(&absolute_git(&dir)?, &run.repository, &cluster)?;
    let site = site(&cluster).await?;
    let cancel = Cancel::listening(false)?;
    let mut console = console();
    let mut pipelines = Pipelines {
        site: &site,
        console: &mut console,
        cancel: &cancel,
    };
    Ok(code(&pipelines.rerun(run).await?))
}

fn code(run: &Run) -> ExitCode {
    match run.conclusion {
        Some(Conclusion::Success | Conclusion::Skipped) => ExitCode::SUCCESS,
        Some(Conclusion::Failure | Conclusion::Cancelled) | None => ExitCode::FAILURE,
    }
}

/// The run that is meant: `REPOSITORY RUN`, one of them, or the latest of all.
fn chosen(target: &CiTarget) -> anyhow::Result<(ClusterDir, Run)> {
    let CiTarget {
        run: words,
        cluster: ClusterArgs { name: cluster },
    } = target;
    let (dir, _) = super::open(cluster)?;
    let pipelines = dir.pipelines();
    let is_run = |word: &String| word == LATEST || word.parse::<u64>().is_ok();
    let (name, number) = match words.as_slice() {
        [name, number] => (Some(name), Some(number)),
        // A repository may be called 3, too; then it has to be named in full.
        [word] if is_run(word) => (None, Some(word)),
        [name] => (Some(name), None),
        _ => (None, None),
    };
    let number = number.filter(|number| *number != LATEST);
    let number: Option<u64> = number
        .map(|number| {
            number.parse().with_context(|| {
                format!("{number:?} is not the number of a run; see devops-lab ci list")
            })
        })
        .transpose()?;
    let with_runs = runs::repositories(&pipelines)?;
    let name = match (name, with_runs.as_slice()) {
        (Some(name), _) => name.clone(),
        (None, [only]) => only.clone(),
        (None, []) => bail!(
            "nothing has run yet in cluster {cluster:?}: push to a repository of it (devops-lab ci init NAME makes one)"
        ),
        (None, _) if number.is_none() => newest(&pipelines, &with_runs)?,
        (None, many) => bail!(
            "there are several repositories; name one before the number: {}",
            many.join(", ")
        ),
    };
    let run = match number {
        Some(number) => runs::load(&pipelines, &name, number)?,
        None => runs::latest(&pipelines, &name)?,
    };
    let run = run.with_context(|| match number {
        Some(number) => format!(
            "there is no run {number} of {name}; see devops-lab ci list {name}{}",
            options(cluster)
        ),
        None => format!("nothing of {name} has run yet in cluster {cluster:?}"),
    })?;
    Ok((dir, run))
}

/// The repository whose latest run began last.
fn newest(pipelines: &std::path::Path, names: &[String]) -> anyhow::Result<String> {
    let mut latest: Option<Run> = None;
    for name in names {
        let run = runs::latest(pipelines, name)?;
        latest = latest.into_iter().chain(run).max_by_key(|run| run.started);
    }
    let latest = latest.context("nothing has run yet")?;
    Ok(latest.repository)
}

fn list(args: &CiListArgs) -> anyhow::Result<()> {
    let CiListArgs {
        repository: name,
        cluster: ClusterArgs { name: cluster },
        output: OutputArgs { output },
    } = args;
    let (dir, _) = super::open(cluster)?;
    let pipelines = dir.pipelines();
    let names = match name {
        Some(name) => {
            require(&absolute_git(&dir)?, name, cluster)?;
            vec![name.clone()]
        }
        None => runs::repositories(&pipelines)?,
    };
    let mut all = Vec::new();
    for name in names {
        all.extend(runs::list(&pipelines, &name)?);
    }
    all.sort_by_key(|run| std::cmp::Reverse(run.started));
    match output {
        Format::Json => return json(&all),
        Format::Text if all.is_empty() => {
            line("Nothing has run yet.");
            line(faint(
                "Make a repository and push to it: devops-lab ci init NAME",
            ));
        }
        Format::Text => {
            let rows: Vec<_> = all.iter().map(row).collect();
            table(
                &[
                    "REPOSITORY",
                    "RUN",
                    "RESULT",
                    "WORKFLOW",
                    "BRANCH",
                    "COMMIT",
                    "BEGAN",
                    "TOOK",
                    "TITLE",
                ],
                &rows,
            );
        }
    }
    Ok(())
}

fn row(run: &Run) -> Vec<String> {
    let number = match run.attempt {
        1 => run.number.to_string(),
        attempt => format!("{} (attempt {attempt})", run.number),
    };
    let took = run
        .duration()
        .map_or_else(String::new, |time| format!("{:.1} s", time.as_secs_f64()));
    vec![
        run.repository.clone(),
        number,
        result(run.conclusion),
        run.workflow.clone(),
        run.branch.clone(),
        run.short_commit().to_owned(),
        clock(run.started),
        took,
        run.title.clone(),
    ]
}

/// A conclusion in its colour.
fn result(conclusion: Option<Conclusion>) -> String {
    match conclusion {
        None => warn("going on"),
        Some(how @ Conclusion::Success) => good(how.as_str()),
        Some(how @ Conclusion::Failure) => bad(how.as_str()),
        Some(how @ Conclusion::Cancelled) => warn(how.as_str()),
        Some(how @ Conclusion::Skipped) => faint(how.as_str()),
    }
}
