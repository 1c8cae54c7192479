//! A workflow file: what it says, once everything in it is known to be understood.
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax>

mod fields;
pub(crate) mod matrix;
mod on;
mod parse;
mod places;
mod steps;
pub(crate) mod trigger;

use crate::expression::{Expression, Template, Tree};
use crate::glob::Filter;
use crate::problem::Place;

pub(crate) use parse::parse;

/// Where workflow files are kept in a repository.
pub(crate) const FOLDER: &str = ".github/workflows";

/// A workflow.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Workflow {
    /// Its file.
    pub(crate) path: String,
    /// `name`
    pub(crate) name: Option<String>,
    /// `run-name`
    pub(crate) run_name: Option<Template>,
    /// `on`
    pub(crate) on: On,
    /// `env`
    pub(crate) env: Variables,
    /// `defaults.run`
    pub(crate) defaults: Defaults,
    /// `concurrency`
    pub(crate) concurrency: Option<Concurrency>,
    /// `jobs`, in the order of the file.
    pub(crate) jobs: Vec<Job>,
    /// What is accepted and has no effect here.
    pub(crate) remarks: Vec<String>,
}

/// Names and their values, in the order of the file.
pub(crate) type Variables = Vec<(String, Template)>;

/// What starts a workflow.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct On {
    /// `push`
    pub(crate) push: Option<PushFilter>,
    /// `workflow_dispatch`
    pub(crate) dispatch: Option<Vec<Input>>,
    /// Events that never happen here.
    pub(crate) others: Vec<String>,
}

/// Which pushes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PushFilter {
    /// `branches` or `branches-ignore`
    pub(crate) branches: Option<Patterns>,
    /// `tags` or `tags-ignore`
    pub(crate) tags: Option<Patterns>,
    /// `paths` or `paths-ignore`
    pub(crate) paths: Option<Patterns>,
}

/// A filter, or its `-ignore` form.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Patterns {
    /// Its patterns, as they are written.
    pub(crate) written: Vec<String>,
    /// The same, ready to match.
    pub(crate) filter: Filter,
    /// True for `-ignore`.
    pub(crate) ignore: bool,
}

/// An input of `workflow_dispatch`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Input {
    /// Its name.
    pub(crate) name: String,
    /// What it must be.
    pub(crate) kind: InputKind,
    /// True where it must be given.
    pub(crate) required: bool,
    /// What it is otherwise.
    pub(crate) default: Option<serde_json::Value>,
}

/// What an input must be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum InputKind {
    /// Any text.
    String,
    /// `true` or `false`.
    Boolean,
    /// A number.
    Number,
    /// One of these.
    Choice(Vec<String>),
}

/// `defaults.run`
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Defaults {
    /// `shell`
    pub(crate) shell: Option<Shell>,
    /// `working-directory`
    pub(crate) working_directory: Option<Template>,
}

/// `concurrency`
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Concurrency {
    /// `group`
    pub(crate) group: Template,
    /// `cancel-in-progress`
    pub(crate) cancel_in_progress: Option<Template>,
}

/// What runs a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    /// `bash -e`, where no shell is named.
    Default,
    /// `bash`, with pipefail.
    Bash,
    /// `sh`
    Sh,
    /// `python`
    Python,
}

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    /// Its key.
    pub(crate) id: String,
    /// Where its key is.
    pub(crate) at: Place,
    /// `name`
    pub(crate) name: Option<Template>,
    /// `needs`
    pub(crate) needs: Vec<String>,
    /// `if`
    pub(crate) condition: Option<Expression>,
    /// `env`
    pub(crate) env: Variables,
    /// `defaults.run`
    pub(crate) defaults: Defaults,
    /// `outputs`
    pub(crate) outputs: Variables,
    /// `strategy`
    pub(crate) strategy: Strategy,
    /// `timeout-minutes`
    pub(crate) timeout_minutes: Option<Template>,
    /// `continue-on-error`
    pub(crate) continue_on_error: Option<Template>,
    /// `steps`
    pub(crate) steps: Vec<Step>,
}

/// `strategy`
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Strategy {
    /// `matrix`
    pub(crate) matrix: Option<Tree>,
    /// `fail-fast`
    pub(crate) fail_fast: Option<Template>,
    /// `max-parallel`
    pub(crate) max_parallel: Option<Template>,
}

/// A step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// `id`
    pub(crate) id: Option<String>,
    /// `name`
    pub(crate) name: Option<Template>,
    /// `if`
    pub(crate) condition: Option<Expression>,
    /// `env`
    pub(crate) env: Variables,
    /// `timeout-minutes`
    pub(crate) timeout_minutes: Option<Template>,
    /// `continue-on-error`
    pub(crate) continue_on_error: Option<Template>,
    /// `run` or `uses`
    pub(crate) work: Work,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Work {
    /// `run`
    Script {
        /// The script.
        script: Template,
        /// `shell`
        shell: Option<Shell>,
        /// `working-directory`
        working_directory: Option<Template>,
    },
    /// `uses`
    Action {
        /// As it is written, with its version.
        uses: String,
        /// Which one it is.
        action: Action,
        /// `with`
        with: Variables,
    },
}

/// An action that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// `actions/checkout`
    Checkout,
    /// `actions/upload-artifact`
    UploadArtifact,
    /// `actions/download-artifact`
    DownloadArtifact,
    /// One that has nothing to do here, and why.
    Idle(&'static str),
}
