//! The proof that a lab works, on a cluster of its own: the start is as the story says, every
//! step is yet to be done, every mistake gets its diagnosis and never passes, every solution
//! holds, and all of that twice.
//!
//! Checks are asked as a learner asks them, through `devops-lab check`, so that what is proved is
//! what she will meet.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use lab_checks::lab::{Activation, Lab, Mistake, Step};
use lab_checks::library::Labs;
use lab_checks::progress::Progress;
use lab_cluster::config::{ClusterSpec, EngineKind, PortPreferences};
use lab_cluster::lifecycle::{self, StartOptions};
use lab_cluster::provider::Silent;
use lab_cluster::record::{ClusterDir, Home, Record};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::journey::{SETTLES, start_of};
use super::scripts::{GIT_IDENTITY, Kubectl, Said, Scripts};
use super::snapshot::{Snapshot, Snapshots, Subject};
use super::workspace;
use crate::commands::check::check;
use crate::commands::lab::{addresses, progress_path};

/// How often everything is done.
const PASSES: u32 = 2;
/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How often a cluster is started that does not come up.
const ATTEMPTS: u32 = 4;
/// Nodes of the cluster, as the first lab has its learner start it.
const NODES: u16 = 3;
/// Longest name of a cluster that is made of a lab's.
const NAME_LENGTH: usize = 30;

/// What is proved, and where.
pub(crate) struct Proof<'a> {
    /// All labs.
    pub(crate) labs: &'a Labs,
    /// The directory they are from; none for those of this program.
    pub(crate) directory: Option<PathBuf>,
    /// The one to prove.
    pub(crate) lab: &'a Lab,
    /// What runs the pods.
    pub(crate) engine: EngineKind,
    /// Which kubectl the scripts use.
    pub(crate) kubectl: Kubectl,
    /// A home that holds nothing else of value.
    pub(crate) home: &'a Home,
    /// Told in a line what was found, as it is found.
    pub(crate) tell: &'a (dyn Fn(&str) + Sync),
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Proved {
    /// Name of the lab.
    pub(crate) lab: String,
    /// The engine.
    pub(crate) engine: EngineKind,
    /// How many steps were brought to hold, and how many mistakes were diagnosed, over all passes.
    pub(crate) steps: usize,
    /// See `steps`.
    pub(crate) mistakes: usize,
    /// How long it took.
    pub(crate) seconds: f64,
    /// What was not as expected; none where the lab is proved.
    pub(crate) failures: Vec<Failure>,
    /// What was not as expected beside other labs, where the lab was then proved once more, alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) failed_beside_others: Vec<Failure>,
    /// Its cluster.
    pub(crate) cluster: String,
    /// The directory of the learner's files.
    pub(crate) workspace: PathBuf,
}

/// Something that was not as expected.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failure {
    /// In which pass, from 1.
    pub(crate) pass: u32,
    /// Where: `start.sh`, `solution/STEP.sh` and the like, or the step.
    pub(crate) place: String,
    /// What should have been.
    pub(crate) expected: String,
    /// What was.
    pub(crate) observed: String,
    /// What the script said, or what the check found.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) evidence: String,
}

/// Ends a pass: what follows would mean nothing.
enum Stop {
    Failed(Failure),
    Broken(anyhow::Error),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(error)
    }
}

impl Proof<'_> {
    /// Proves the lab.
    ///
    /// # Errors
    /// Where its cluster cannot be had or this program cannot be run; what is wrong with the lab
    /// is part of the answer.
    pub(crate) async fn run(&self) -> anyhow::Result<Proved> {
        let began = Instant::now();
        let cluster = cluster_name(&self.lab.name, self.engine);
        let mut proved = Proved {
            lab: self.lab.name.clone(),
            engine: self.engine,
            steps: 0,
            mistakes: 0,
            seconds: 0.0,
            failures: Vec::new(),
            failed_beside_others: Vec::new(),
            workspace: self.home.path().join("workspaces").join(&cluster),
            cluster,
        };
        let classroom = self.classroom(&proved).await?;
        for number in 1..=PASSES {
            if number > 1 {
                classroom.clear(self.home).await?;
            }
            let mut pass = Pass {
                proof: self,
                classroom: &classroom,
                number,
                proved: &mut proved,
                long_ways: 0,
            };
            match pass.run().await {
                Ok(()) => {}
                Err(Stop::Failed(failure)) => pass.fail(failure),
                Err(Stop::Broken(error)) => return Err(error),
            }
            // What failed once is looked into before it is tried again.
            if !proved.failures.is_empty() {
                break;
            }
        }
        proved.seconds = began.elapsed().as_secs_f64();
        Ok(proved)
    }

    /// Makes room for another proof of a lab: nothing is left of an earlier one.
    ///
    /// # Errors
    /// Where its cluster or its files cannot be removed.
    pub(crate) async fn forget(&self) -> anyhow::Result<()> {
        let cluster = cluster_name(&self.lab.name, self.engine);
        lifecycle::delete(self.home, &cluster).await?;
        let workspace = self.home.path().join("workspaces").join(&cluster);
        fs::remove_dir_all(&workspace)
            .with_context(|| format!("failed to remove {}", workspace.display()))
    }

    /// A new cluster and an empty directory.
    async fn classroom(&self, proved: &Proved) -> anyhow::Result<Classroom> {
        let Proved {
            cluster, workspace, ..
        } = proved;
        fs::create_dir_all(workspace)
            .with_context(|| format!("failed to create {}", workspace.display()))?;
        let record = self.cluster(cluster).await?;
        let dir = self.home.cluster(cluster);
        let mut scripts = Scripts::new(self.home, &dir, &record, workspace, self.kubectl)?;
        // Nobody's own habits: neither of git, nor of language.
        for (name, value) in [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("DEVOPS_LAB_LANG", "en"),
        ] {
            scripts.set(name, value);
        }
        for (name, value) in GIT_IDENTITY {
            scripts.set(name, value);
        }
        if let Some(directory) = &self.directory {
            scripts.set("DEVOPS_LAB_LABS", directory);
        }
        Ok(Classroom { record, scripts })
    }

    async fn cluster(&self, name: &str) -> anyhow::Result<Record> {
        let mut attempt = 1;
        loop {
            let options = StartOptions {
                name: name.to_owned(),
                spec: ClusterSpec {
                    nodes: Some(NODES),
                    engine: Some(self.engine),
                    ports: PortPreferences::apart(std::process::id()),
                    ..ClusterSpec::default()
                },
                kubeconfig: None,
            };
            match lifecycle::start(self.home, options, &Silent).await {
                Ok(report) => return Ok(report.record),
                // Programs of other homes choose ports too, and may take one between our choice
                // of it and our use.
                Err(_) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => {
                    let lab = &self.lab.name;
                    return Err(error.context(format!("the cluster for lab {lab} did not start")));
                }
            }
        }
    }
}

/// A cluster and a learner's directory.
struct Classroom {
    record: Record,
    scripts: Scripts,
}

/// Everything as it was before a mistake.
struct Before {
    snapshot: Snapshot,
    progress: Vec<u8>,
    looked: Looked,
}

impl Classroom {
    fn subject<'a>(&'a self, home: &'a Home, dir: &'a ClusterDir) -> Subject<'a> {
        Subject {
            home,
            dir,
            workspace: self.scripts.workspace(),
            names: None,
        }
    }

    async fn take(&self, home: &Home, looked: Looked) -> anyhow::Result<Before> {
        let dir = home.cluster(&self.record.name);
        let snapshot = Snapshots::of(&dir).take(&self.subject(home, &dir)).await?;
        let path = progress_path(&dir);
        let progress =
            fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        Ok(Before {
            snapshot,
            progress,
            looked,
        })
    }

    async fn restore(&self, home: &Home, before: &Before) -> anyhow::Result<()> {
        let dir = home.cluster(&self.record.name);
        self.back(home, &dir, &before.snapshot).await?;
        let path = progress_path(&dir);
        fs::write(&path, &before.progress)
            .with_context(|| format!("failed to write {}", path.display()))
    }

    /// As if nobody had done anything.
    async fn clear(&self, home: &Home) -> anyhow::Result<()> {
        let dir = home.cluster(&self.record.name);
        let snapshots = Snapshots::of(&dir);
        let blank = snapshots.blank(&self.subject(home, &dir)).await?;
        self.back(home, &dir, &blank).await?;
        match fs::remove_file(progress_path(&dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).context("failed to forget the progress")
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn back(&self, home: &Home, dir: &ClusterDir, snapshot: &Snapshot) -> anyhow::Result<()> {
        // What a script wrote is of no use to anybody afterwards.
        let backup = tempfile::tempdir().context("failed to make a directory")?;
        Snapshots::of(dir)
            .restore(snapshot, &self.subject(home, dir), backup.path(), &Silent)
            .await
            .context("the cluster of the test could not be brought back")?;
        Ok(())
    }
}

/// What a check answered.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Looked {
    verdict: String,
    diagnoses: Vec<String>,
}

impl Looked {
    /// From a report of a step, as `check -o json` prints it.
    fn of(report: &Value) -> Self {
        let checks = report["checks"].as_array().into_iter().flatten();
        let id = |check: &Value| {
            let id = check["diagnosis"]["id"].as_str();
            id.or(check["why"]["id"].as_str()).map(str::to_owned)
        };
        Self {
            verdict: report["verdict"].as_str().unwrap_or_default().to_owned(),
            diagnoses: checks.filter_map(id).collect(),
        }
    }

    fn holds(&self) -> bool {
        self.verdict == "holds"
    }

    fn is_not_yet(&self) -> bool {
        self.verdict == "not-yet"
    }

    fn named(&self, diagnosis: &str) -> bool {
        self.diagnoses.iter().any(|id| id == diagnosis)
    }

    fn words(&self) -> String {
        let Self { verdict, diagnoses } = self;
        if diagnoses.is_empty() {
            verdict.clone()
        } else {
            format!("{verdict} ({})", diagnoses.join(", "))
        }
    }
}

/// Once through the lab.
struct Pass<'a> {
    proof: &'a Proof<'a>,
    classroom: &'a Classroom,
    number: u32,
    proved: &'a mut Proved,
    /// How often a mistake was undone by doing everything again.
    long_ways: usize,
}

impl Pass<'_> {
    async fn run(&mut self) -> Result<(), Stop> {
        let began = Instant::now();
        self.start().await?;
        self.tell("start", began, "");
        for (at, step) in self.proof.lab.steps.iter().enumerate() {
            let began = Instant::now();
            let before = self.long_ways;
            let mistakes = self.step(at).await?;
            let held = self.proof.lab.steps[..at]
                .iter()
                .filter(|earlier| earlier.activation == Activation::Hold);
            for earlier in held {
                self.await_holding(earlier, &format!("{}, after {}", earlier.id, step.id))
                    .await?;
            }
            let note = match mistakes {
                0 => String::new(),
                1 => "1 mistake diagnosed".to_owned(),
                some => format!("{some} mistakes diagnosed"),
            };
            let note = match self.long_ways - before {
                0 => note,
                some => format!("{note}; done again from the start {some} times"),
            };
            self.tell(&step.id, began, &note);
        }
        Ok(())
    }

    fn tell(&self, place: &str, began: Instant, note: &str) {
        let seconds = began.elapsed().as_secs_f64();
        let lab = &self.proof.lab.name;
        let text = format!(
            "{lab}  pass {}  {place}  {seconds:.1} s  {note}",
            self.number
        );
        (self.proof.tell)(text.trim_end());
    }

    fn fail(&mut self, failure: Failure) {
        self.proved.failures.push(failure);
    }

    /// The files are handed out, and the lab's own script brings about what it builds on.
    async fn start(&self) -> Result<(), Stop> {
        let Proof { labs, lab, .. } = self.proof;
        let Classroom { record, scripts } = self.classroom;
        let dir = self.proof.home.cluster(&record.name);
        let workspace = scripts.workspace();
        Progress::update(&progress_path(&dir), |progress| {
            progress.begin(lab, workspace, Timestamp::now());
        })
        .context("the lab cannot be begun")?;
        workspace::hand_out(labs, lab, workspace, &addresses(record, &dir))?;
        if let Some(text) = labs.script(lab, "start.sh") {
            self.script("start.sh", &text).await?;
        }
        let step = start_of(lab);
        let progress = Progress::load(&progress_path(&dir)).context("the lab was not begun")?;
        let deadline = Instant::now() + SETTLES;
        loop {
            let reports = check(record, &dir, &progress, lab, &[&step]).await?;
            let report = serde_json::to_value(reports.first()).context("a report is not JSON")?;
            let looked = Looked::of(&report);
            if looked.holds() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let evidence = format!("{:#}", report["checks"]);
                return Err(self.failure("start", "the start holds", &looked.words(), evidence));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// One step: not yet done, spoiled in every known way, then done. Answers how many mistakes
    /// got their diagnosis.
    async fn step(&mut self, at: usize) -> Result<usize, Stop> {
        let Proof {
            labs, lab, home, ..
        } = self.proof;
        let step = &lab.steps[at];
        let looked = self.look(step).await?;
        if !step.checks.is_empty() && !step.given && !looked.is_not_yet() {
            let expected = "not-yet before anything was done (or `given: true` in lab.yaml)";
            let evidence = self.evidence(step).await?;
            let failure = self.failed(&step.id, expected, &looked.words(), evidence);
            self.fail(failure);
        }
        let mut diagnosed = 0;
        let mistakes: Vec<_> = lab.mistakes.iter().filter(|m| m.step == step.id).collect();
        if !mistakes.is_empty() {
            let before = self.classroom.take(home, looked).await?;
            for mistake in mistakes {
                match self.mistake(step, mistake).await {
                    Ok(()) => diagnosed += 1,
                    Err(Stop::Failed(failure)) => self.fail(failure),
                    Err(broken) => return Err(broken),
                }
                self.undo(at, &before).await?;
            }
        }
        self.proved.mistakes += diagnosed;
        let name = format!("solution/{}.sh", step.id);
        if let Some(text) = labs.script(lab, &name) {
            self.script(&name, &text).await?;
        }
        self.await_holding(step, &name).await?;
        self.proved.steps += 1;
        Ok(diagnosed)
    }

    /// Back to before a mistake. Where the check sees another state than it did then, which not
    /// everything that a lab can look at allows to avoid (time goes on), the long way is gone.
    async fn undo(&mut self, at: usize, before: &Before) -> Result<(), Stop> {
        let Proof { lab, home, .. } = self.proof;
        self.classroom.restore(home, before).await?;
        if self.look(&lab.steps[at]).await? == before.looked {
            return Ok(());
        }
        self.long_ways += 1;
        self.classroom.clear(home).await?;
        self.start().await?;
        for step in &lab.steps[..at] {
            let name = format!("solution/{}.sh", step.id);
            if let Some(text) = self.proof.labs.script(lab, &name) {
                self.script(&name, &text).await?;
            }
            self.await_holding(step, &name).await?;
        }
        Ok(())
    }

    /// Makes a mistake; the check must name it, and must not pass for a moment.
    async fn mistake(&self, step: &Step, mistake: &Mistake) -> Result<(), Stop> {
        let name = format!("mistakes/{}.sh", mistake.id);
        let text = self.proof.labs.script(self.proof.lab, &name);
        self.script(&name, &text.unwrap_or_default()).await?;
        let expected = format!("not-yet ({})", mistake.diagnosis);
        let deadline = Instant::now() + SETTLES;
        loop {
            let looked = self.look(step).await?;
            if looked.is_not_yet() && looked.named(&mistake.diagnosis) {
                return Ok(());
            }
            if looked.holds() || Instant::now() >= deadline {
                let evidence = self.evidence(step).await?;
                return Err(self.failure(&name, &expected, &looked.words(), evidence));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn await_holding(&self, step: &Step, place: &str) -> Result<(), Stop> {
        let deadline = Instant::now() + SETTLES;
        loop {
            let looked = self.look(step).await?;
            if looked.holds() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let evidence = self.evidence(step).await?;
                let expected = format!("{} holds", step.id);
                return Err(self.failure(place, &expected, &looked.words(), evidence));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn look(&self, step: &Step) -> anyhow::Result<Looked> {
        let target = format!("{}/{}", self.proof.lab.name, step.id);
        let mut command = self
            .classroom
            .scripts
            .devops_lab(&["check", &target, "-o", "json"]);
        let output = command
            .output()
            .await
            .context("failed to run devops-lab check")?;
        let answer: Value = serde_json::from_slice(&output.stdout).with_context(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!(
                "devops-lab check {target} gave no answer: {}",
                said.trim_end()
            )
        })?;
        Ok(Looked::of(&answer["steps"][0]))
    }

    /// What a learner would read.
    async fn evidence(&self, step: &Step) -> anyhow::Result<String> {
        let target = format!("{}/{}", self.proof.lab.name, step.id);
        let mut command = self.classroom.scripts.devops_lab(&["check", &target]);
        let output = command
            .output()
            .await
            .context("failed to run devops-lab check")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a script that must succeed.
    async fn script(&self, name: &str, text: &str) -> Result<(), Stop> {
        let Said { failure, output } = self.classroom.scripts.run(text).await?;
        match failure {
            None => Ok(()),
            Some(failure) => Err(self.failure(name, "it succeeds", &failure, output)),
        }
    }

    fn failed(&self, place: &str, expected: &str, observed: &str, evidence: String) -> Failure {
        Failure {
            pass: self.number,
            place: place.to_owned(),
            expected: expected.to_owned(),
            observed: observed.to_owned(),
            evidence,
        }
    }

    fn failure(&self, place: &str, expected: &str, observed: &str, evidence: String) -> Stop {
        Stop::Failed(self.failed(place, expected, observed, evidence))
    }
}

/// A name that is a cluster's, other for each lab and engine.
fn cluster_name(lab: &str, engine: EngineKind) -> String {
    let own: String = lab.chars().take(NAME_LENGTH).collect();
    let id = std::process::id();
    format!("{}-{}-{id}", own.trim_end_matches('-'), engine.as_str())
}

/// Deletes every cluster of a home.
///
/// # Errors
/// Where one cannot be deleted; the others are.
pub(crate) async fn clear(home: &Home) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    for name in home.names() {
        outcome = lifecycle::delete(home, &name).await.and(outcome);
    }
    outcome
}

/// Where a directory of labs is, from everywhere.
///
/// # Errors
/// Where there is no such directory.
pub(crate) fn place_of(directory: &Path) -> anyhow::Result<PathBuf> {
    directory
        .canonicalize()
        .with_context(|| format!("there are no labs in {}", directory.display()))
}
