//! A repository, its clone, and what its pipelines showed.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use lab_ci::runs::{self, Conclusion, Job, Run, Step};
use lab_ci::{Cancel, Console, Pipelines, Site, Update, repository};
use tempfile::TempDir;

/// The repository of every test.
pub(crate) const NAME: &str = "hello";

/// A repository of a cluster, and a project that is pushed to it.
pub(crate) struct World {
    dir: TempDir,
    pub(crate) site: Site,
    pub(crate) cancel: Cancel,
}

/// What came of a push.
pub(crate) struct Pushed {
    pub(crate) runs: Vec<Run>,
    pub(crate) shown: String,
}

impl Pushed {
    /// The one run.
    #[track_caller]
    pub(crate) fn run(&self) -> &Run {
        assert_eq!(self.runs.len(), 1, "{}", self.shown);
        &self.runs[0]
    }

    /// The one run, which must have ended so.
    #[track_caller]
    pub(crate) fn ended(&self, how: Conclusion) -> &Run {
        let run = self.run();
        assert_eq!(run.conclusion, Some(how), "{}", self.shown);
        run
    }

    /// The one job of this id.
    #[track_caller]
    pub(crate) fn job(&self, id: &str) -> &Job {
        let job = self.run().jobs.iter().find(|job| job.id == id);
        job.unwrap_or_else(|| panic!("no job {id}:\n{}", self.shown))
    }

    /// A step of the first job by its name.
    #[track_caller]
    pub(crate) fn step(&self, name: &str) -> &Step {
        let step = self.run().jobs[0]
            .steps
            .iter()
            .find(|step| step.name == name);
        step.unwrap_or_else(|| panic!("no step {name}:\n{}", self.shown))
    }

    /// Asserts that something was shown.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        assert!(
            self.shown.contains(text),
            "{text:?} is missing:\n{}",
            self.shown
        );
    }

    /// Asserts that something was not shown.
    #[track_caller]
    pub(crate) fn hides(&self, text: &str) {
        assert!(
            !self.shown.contains(text),
            "{text:?} is there:\n{}",
            self.shown
        );
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl World {
    /// An empty one; `None` where this machine has no git.
    pub(crate) async fn new() -> Option<Self> {
        if !has_git() {
            return None;
        }
        let dir = TempDir::new().unwrap();
        let git = dir.path().join("git");
        let hook = repository::Hook {
            program: "/nonexistent".into(),
            home: dir.path().to_owned(),
            cluster: "lab".to_owned(),
        };
        assert!(repository::init(&git, NAME, &hook).await.unwrap());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let site = Site {
            git,
            pipelines: dir.path().join("pipelines"),
            cluster: "lab".to_owned(),
            program: "/bin/true".into(),
            environment: vec![pair("DEVOPS_LAB_CLUSTER", "lab")],
            vars: vec![pair("REGISTRY", "localhost:5001")],
            secrets: vec![pair("TOKEN", "s3cr3t-value")],
            notes: Vec::new(),
            options: String::new(),
        };
        let world = Self {
            dir,
            site,
            cancel: Cancel::default(),
        };
        fs::create_dir(world.project()).unwrap();
        world.git(&["init", "--quiet", "--initial-branch=main"]);
        // Nothing of our own hook runs: tests call what it calls.
        let bare = repository::path(&world.site.git, NAME);
        fs::remove_file(bare.join("hooks/post-receive")).unwrap();
        world.git(&["remote", "add", "lab", bare.to_str().unwrap()]);
        Some(world)
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    /// A path beside the project.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs git in the project; its output.
    #[track_caller]
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(args).current_dir(self.project());
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Ada");
            command.env(format!("GIT_{role}_EMAIL"), "ada@example.org");
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {args:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.project().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Commits everything.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Pushes a ref and runs what that starts.
    pub(crate) async fn push_ref(&self, git_ref: &str) -> Pushed {
        self.push_ref_with(git_ref, &self.cancel).await
    }

    /// The same, cancelled by something else than the rest of the test.
    pub(crate) async fn push_ref_with(&self, git_ref: &str, cancel: &Cancel) -> Pushed {
        let bare = repository::path(&self.site.git, NAME);
        let before = Command::new("git")
            .arg("--git-dir")
            .arg(&bare)
            .args(["rev-parse", "--verify", "--quiet", git_ref])
            .output()
            .unwrap();
        let before = String::from_utf8_lossy(&before.stdout).trim().to_owned();
        self.git(&["push", "--quiet", "--force", "lab", git_ref]);
        let update = Update {
            before: if before.is_empty() {
                "0".repeat(40)
            } else {
                before
            },
            after: self.git(&["rev-parse", git_ref]),
            git_ref: git_ref.to_owned(),
        };
        let shared = Shared::default();
        let mut console = Console::new(Box::new(shared.clone()));
        let mut pipelines = Pipelines {
            site: &self.site,
            console: &mut console,
            cancel,
        };
        let runs = pipelines.push(NAME, &[update]).await.unwrap();
        let shown = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        // What is kept is what was returned.
        for run in &runs {
            let kept = runs::load(&self.site.pipelines, NAME, run.number).unwrap();
            assert_eq!(kept.as_ref(), Some(run));
            let work = runs::run_dir(&self.site.pipelines, NAME, run.number).join("work");
            assert!(!work.exists(), "the work directory stays");
        }
        Pushed { runs, shown }
    }

    /// Commits a workflow file with everything else, and pushes main.
    pub(crate) async fn push(&self, workflow: &str) -> Pushed {
        self.write(".github/workflows/ci.yml", workflow);
        self.commit("Change it");
        self.push_ref("refs/heads/main").await
    }

    /// Pushes a workflow of one job with these steps.
    pub(crate) async fn push_steps(&self, steps: &str) -> Pushed {
        self.push(&steps_only(steps)).await
    }

    /// The log of a run.
    pub(crate) fn log(&self, run: &Run) -> String {
        runs::log(&self.site.pipelines, run, None).unwrap()
    }

    /// A run started by hand.
    pub(crate) async fn dispatch(
        &self,
        workflow: Option<&str>,
        given: &[(&str, &str)],
    ) -> Result<Run, lab_ci::PipelineError> {
        let given: Vec<_> = given
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect();
        let mut console = Console::new(Box::new(std::io::sink()));
        let mut pipelines = Pipelines {
            site: &self.site,
            console: &mut console,
            cancel: &self.cancel,
        };
        pipelines.dispatch(NAME, workflow, "main", &given).await
    }

    /// A run once more.
    pub(crate) async fn rerun(&self, run: &Run) -> Run {
        let mut console = Console::new(Box::new(std::io::sink()));
        let mut pipelines = Pipelines {
            site: &self.site,
            console: &mut console,
            cancel: &self.cancel,
        };
        pipelines.rerun(run.clone()).await.unwrap()
    }
}

/// A workflow of one job with these steps.
pub(crate) fn steps_only(steps: &str) -> String {
    format!("on: push\njobs:\n  test:\n    runs-on: self-hosted\n    steps:\n{steps}")
}

fn has_git() -> bool {
    let mut command = Command::new("git");
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let there = command.status().is_ok_and(|status| status.success());
    if !there {
        assert!(std::env::var_os("CI").is_none(), "this machine has no git");
        let _ = writeln!(std::io::stderr(), "skipped: this machine has no git");
    }
    there
}
