//! From an event to its runs: what a push, a start by hand and a rerun have in common.

use std::time::Duration;

use crate::cancel::{self, Cancel};
use crate::console::{Console, shortened};
use crate::executor::{self, Order};
use crate::git::{Commit, Git, GitError, is_nothing};
use crate::problem::Problems;
use crate::runs::{self, Attempt, Conclusion, Event, RUN_VERSION, Run, RunsError, now};
use crate::site::Site;
use crate::workflow::trigger::{self, Push, Verdict, asks_to_skip, short_ref};
use crate::workflow::{FOLDER, Workflow, parse};

/// How long runs get to end, before a cluster is deleted in spite of them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a pipeline did not run.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// Git refused.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The records cannot be read or written.
    #[error(transparent)]
    Runs(#[from] RunsError),
    /// There is nothing of that name, and what there is.
    #[error("{0}")]
    NotFound(String),
    /// The workflow file is wrong.
    #[error("{0}")]
    Workflow(Problems),
    /// What was asked for cannot be done.
    #[error("{0}")]
    Refused(String),
}

/// A ref that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The commit before; zeros where it is new.
    pub before: String,
    /// The commit now; zeros where it was deleted.
    pub after: String,
    /// `refs/heads/main`
    pub git_ref: String,
}

impl Update {
    /// Reads the lines that git writes to a hook: `BEFORE AFTER REF`.
    #[must_use]
    pub fn read(text: &str) -> Vec<Self> {
        let update = |line: &str| {
            let mut words = line.split_whitespace().map(str::to_owned);
            Some(Self {
                before: words.next()?,
                after: words.next()?,
                git_ref: words.next()?,
            })
        };
        text.lines().filter_map(update).collect()
    }
}

/// Pipelines at a place.
#[derive(Debug)]
pub struct Pipelines<'a> {
    /// What they find there.
    pub site: &'a Site,
    /// Where they are shown.
    pub console: &'a mut Console,
    /// How they are stopped.
    pub cancel: &'a Cancel,
}

impl Pipelines<'_> {
    /// Runs what a push starts, and says of every workflow that it does not start why.
    ///
    /// # Errors
    /// Where git or the file system refuses; a workflow that fails is a run like others.
    pub async fn push(
        &mut self,
        repository: &str,
        updates: &[Update],
    ) -> Result<Vec<Run>, PipelineError> {
        self.tidy(repository)?;
        let mut ran = Vec::new();
        for update in updates.iter().filter(|update| !is_nothing(&update.after)) {
            ran.extend(self.update(repository, update).await?);
        }
        Ok(ran)
    }

    async fn update(
        &mut self,
        repository: &str,
        update: &Update,
    ) -> Result<Vec<Run>, PipelineError> {
        let Update {
            before,
            after,
            git_ref,
        } = update;
        let git = Git::at(&self.site.repository(repository));
        let Some(commit) = git.resolve(after).await? else {
            return Ok(Vec::new());
        };
        let commit = git.commit(&commit).await?;
        let (_, name) = short_ref(git_ref);
        let files = git.workflow_files(&commit.id).await?;
        if files.is_empty() {
            self.say(&format!(
                "{name} has no pipeline: write one in {FOLDER}/ci.yml"
            ));
            return Ok(Vec::new());
        }
        if asks_to_skip(&commit.message) {
            self.say("The commit's message asks to skip the pipeline.");
            return Ok(Vec::new());
        }
        let changed = git.changed(git_ref, before, &commit.id).await?;
        let push = Push {
            git_ref: git_ref.clone(),
            changed,
        };
        self.notes();
        let mut ran = Vec::new();
        for path in files {
            if self.cancel.is_asked() {
                break;
            }
            let text = git.file(&commit.id, &path).await?;
            let new = new_run(repository, &commit, update, &path);
            match parse(&path, &text) {
                Err(problems) => ran.push(self.refused(new, &commit, &problems)?),
                Ok(workflow) => match trigger::decide(&workflow.on, &push) {
                    Verdict::Runs => ran.push(self.begin(new, &workflow, &commit).await?),
                    Verdict::Not(why) => self.say(&format!("{path} does not run: {why}")),
                },
            }
        }
        Ok(ran)
    }

    /// Starts a workflow by hand, which must have `workflow_dispatch`.
    ///
    /// # Errors
    /// Where there is no such branch or workflow, or its inputs do not fit.
    pub async fn dispatch(
        &mut self,
        repository: &str,
        workflow: Option<&str>,
        branch: &str,
        given: &[(String, String)],
    ) -> Result<Run, PipelineError> {
        self.tidy(repository)?;
        let git = Git::at(&self.site.repository(repository));
        let (git_ref, commit) = find_ref(&git, branch).await?;
        let commit = git.commit(&commit).await?;
        let (path, workflow) = choose(&git, &commit.id, workflow).await?;
        let Some(declared) = &workflow.on.dispatch else {
            return Err(PipelineError::Refused(format!(
                "{path} cannot be started by hand: its on has no workflow_dispatch; to run a push again: devops-lab ci rerun {repository}{}",
                self.site.options
            )));
        };
        let inputs = trigger::inputs(declared, given).map_err(PipelineError::Refused)?;
        let update = Update {
            before: "0".repeat(40),
            after: commit.id.clone(),
            git_ref,
        };
        let run = Run {
            event: Event::WorkflowDispatch,
            inputs,
            ..new_run(repository, &commit, &update, &path)
        };
        self.notes();
        self.begin(run, &workflow, &commit).await
    }

    /// Runs a run again: the same commit and event, under the same number.
    ///
    /// # Errors
    /// Where it goes on, or its commit is gone.
    pub async fn rerun(&mut self, run: Run) -> Result<Run, PipelineError> {
        self.tidy(&run.repository)?;
        let git = Git::at(&self.site.repository(&run.repository));
        if git.resolve(&run.commit).await?.is_none() {
            let text = format!(
                "the commit {} of run {} is gone",
                run.short_commit(),
                run.number
            );
            return Err(PipelineError::NotFound(text));
        }
        let commit = git.commit(&run.commit).await?;
        let text = git.file(&commit.id, &run.path).await?;
        let Some(folder) = runs::reopen(&self.site.pipelines, &run)? else {
            return Err(PipelineError::Refused(format!(
                "run {} goes on; wait for its end",
                run.number
            )));
        };
        let mut earlier = run.earlier.clone();
        earlier.push(Attempt {
            attempt: run.attempt,
            started: run.started,
            conclusion: run.conclusion,
        });
        let again = Run {
            attempt: run.attempt + 1,
            started: now(),
            ended: None,
            conclusion: None,
            problem: None,
            jobs: Vec::new(),
            earlier,
            ..run
        };
        self.notes();
        match parse(&again.path, &text) {
            Err(problems) => {
                let again = failed(again, &problems);
                folder.save(&again)?;
                self.show_refusal(&again, &problems);
                Ok(again)
            }
            Ok(workflow) => {
                let order = Order {
                    site: self.site,
                    workflow: &workflow,
                    commit: &commit,
                    folder,
                    run: again,
                };
                Ok(executor::execute(order, self.console, self.cancel).await?)
            }
        }
    }

    async fn begin(
        &mut self,
        mut run: Run,
        workflow: &Workflow,
        commit: &Commit,
    ) -> Result<Run, PipelineError> {
        if let Some(name) = &workflow.name {
            run.workflow.clone_from(name);
        }
        let (folder, run) = runs::create(&self.site.pipelines, run)?;
        let order = Order {
            site: self.site,
            workflow,
            commit,
            folder,
            run,
        };
        Ok(executor::execute(order, self.console, self.cancel).await?)
    }

    /// A workflow file that is wrong makes a run that failed, so that it is not overlooked.
    fn refused(
        &mut self,
        run: Run,
        commit: &Commit,
        problems: &Problems,
    ) -> Result<Run, PipelineError> {
        let mut run = failed(run, problems);
        run.title = commit.message.lines().next().unwrap_or_default().to_owned();
        let (_folder, run) = runs::create(&self.site.pipelines, run)?;
        self.show_refusal(&run, problems);
        Ok(run)
    }

    fn show_refusal(&mut self, run: &Run, problems: &Problems) {
        self.console.blank();
        self.console.heading(&format!(
            "{}: {}, run {}",
            run.repository, run.workflow, run.number
        ));
        for problem in &problems.0 {
            self.say(&format!("error: {problem}"));
        }
        self.say("Nothing ran. Put the file right, commit and push again.");
    }

    fn notes(&mut self) {
        for note in &self.site.notes {
            self.console.line(note);
        }
    }

    fn say(&mut self, line: &str) {
        self.console.line(line);
    }

    /// Removes old runs and what killed ones left.
    fn tidy(&mut self, repository: &str) -> Result<(), PipelineError> {
        for (folder, run) in runs::tidy(&self.site.pipelines, repository)? {
            executor::clean_up(&folder, &run);
        }
        Ok(())
    }
}

fn new_run(repository: &str, commit: &Commit, update: &Update, path: &str) -> Run {
    let (_, name) = short_ref(&update.git_ref);
    Run {
        version: RUN_VERSION,
        repository: repository.to_owned(),
        number: 0,
        attempt: 1,
        workflow: path.to_owned(),
        path: path.to_owned(),
        title: String::new(),
        event: Event::Push,
        git_ref: update.git_ref.clone(),
        branch: name.to_owned(),
        commit: commit.id.clone(),
        before: update.before.clone(),
        actor: shortened(&commit.author, 80),
        inputs: serde_json::Map::new(),
        started: now(),
        ended: None,
        conclusion: None,
        problem: None,
        jobs: Vec::new(),
        earlier: Vec::new(),
    }
}

fn failed(run: Run, problems: &Problems) -> Run {
    Run {
        ended: Some(now()),
        conclusion: Some(Conclusion::Failure),
        problem: Some(problems.to_string()),
        ..run
    }
}

async fn find_ref(git: &Git, name: &str) -> Result<(String, String), PipelineError> {
    for git_ref in [format!("refs/heads/{name}"), format!("refs/tags/{name}")] {
        if let Some(commit) = git.resolve(&git_ref).await? {
            return Ok((git_ref, commit));
        }
    }
    Err(PipelineError::NotFound(format!(
        "there is no branch or tag {name:?} in the repository; was it pushed?"
    )))
}

/// The workflow that is meant: by its file's name, by its own name, or the only one.
async fn choose(
    git: &Git,
    commit: &str,
    wanted: Option<&str>,
) -> Result<(String, Workflow), PipelineError> {
    let mut known = Vec::new();
    for path in git.workflow_files(commit).await? {
        let text = git.file(commit, &path).await?;
        let workflow = parse(&path, &text);
        let file = path.rsplit('/').next().unwrap_or(&path).to_owned();
        let name = workflow
            .as_ref()
            .ok()
            .and_then(|workflow| workflow.name.clone());
        let is_meant = wanted.is_none_or(|wanted| {
            wanted == path || wanted == file || Some(wanted) == name.as_deref()
        });
        known.push((file, path, workflow, is_meant));
    }
    let names: Vec<_> = known.iter().map(|(file, ..)| file.clone()).collect();
    let mut meant: Vec<_> = known
        .into_iter()
        .filter(|(.., is_meant)| *is_meant)
        .collect();
    match (meant.pop(), meant.is_empty()) {
        (Some((_, path, workflow, _)), true) => {
            Ok((path, workflow.map_err(PipelineError::Workflow)?))
        }
        (Some(_), false) => Err(PipelineError::Refused(format!(
            "there are several workflows; name one with --workflow: {}",
            names.join(", ")
        ))),
        (None, _) if names.is_empty() => Err(PipelineError::NotFound(format!(
            "the commit has no workflow in {FOLDER}"
        ))),
        (None, _) => Err(PipelineError::NotFound(format!(
            "there is no workflow {:?}; there are {}",
            wanted.unwrap_or_default(),
            names.join(", ")
        ))),
    }
}

/// Stops every run, and waits a while for their ends: their cluster is to be deleted.
///
/// # Errors
/// Where the records cannot be read.
pub async fn cancel_all(pipelines: &std::path::Path) -> Result<(), RunsError> {
    let going_on = || -> Result<Vec<_>, RunsError> {
        let mut found = Vec::new();
        for repository in runs::repositories(pipelines)? {
            for run in runs::list(pipelines, &repository)? {
                if !run.is_over() {
                    found.push(runs::run_dir(pipelines, &repository, run.number));
                }
            }
        }
        Ok(found)
    };
    let give_up = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = going_on()?;
        if found.is_empty() || tokio::time::Instant::now() > give_up {
            break;
        }
        for dir in found {
            // One that ended in this moment needs no telling.
            let _ = cancel::request(&dir, "its cluster is being deleted");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for repository in runs::repositories(pipelines)? {
        for (folder, run) in runs::tidy(pipelines, &repository)? {
            executor::clean_up(&folder, &run);
        }
    }
    Ok(())
}
