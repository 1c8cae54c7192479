//! What can be said about labs.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{ClusterArgs, LanguageArgs, OutputArgs};

/// What can be done with labs.
#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// List the labs and how far you are
    List(LabListArgs),
    /// Show the next step to do, and hand out the files of its lab
    Next(LabListArgs),
    /// Show a lab, or one of its steps
    Show(LabShowArgs),
    /// Bring cluster and files to the beginning of a lab or step, whatever there is now
    #[command(
        after_help = "Examples:\n  devops-lab lab goto canary\n  devops-lab lab goto deploy-three-replicas/route --yes\n\nWhat you had is put aside in .devops-lab/, never lost."
    )]
    Goto(LabGotoArgs),
    /// Go back to where a step or lab began
    #[command(
        after_help = "Examples:\n  devops-lab lab reset                        the step you are at\n  devops-lab lab reset deploy-three-replicas  the whole lab\n  devops-lab lab reset deploy-three-replicas/route"
    )]
    Reset(LabResetArgs),
    /// Do what is left of a lab by its own solutions, up to a step, and check each
    #[command(
        after_help = "Examples:\n  devops-lab lab solve --to service\n  devops-lab lab solve deploy-three-replicas --to route"
    )]
    Solve(LabSolveArgs),
    /// Tell everything that is wrong with labs, with file, line and what to do
    #[command(
        after_help = "Examples:\n  devops-lab lab lint ./labs\n  devops-lab lab lint ./labs/01-mine -o json"
    )]
    Lint(LabLintArgs),
    /// Write a new lab to begin from, in every language
    #[command(after_help = "Example:\n  devops-lab lab new break-v2 --dir ./labs")]
    New(LabNewArgs),
    /// Print the JSON Schema of lab.yaml, for editors
    Schema,
    /// Print a page of all checks, their parameters and diagnoses, in Markdown
    Checks,
    /// Prove labs on clusters of their own: every mistake gets its diagnosis, every solution holds
    #[command(
        after_help = "Examples:\n  devops-lab lab test deploy-three-replicas\n  devops-lab lab test --all --engine both --jobs 4 --again\n  devops-lab lab test --labs ./labs my-lab -o json"
    )]
    Test(LabTestArgs),
}

/// Options of every lab command.
#[derive(Clone, Debug, Args)]
pub(crate) struct LabArgs {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) language: LanguageArgs,
    #[command(flatten)]
    pub(crate) labs: LabsArgs,
}

/// Whose labs.
#[derive(Clone, Debug, Args)]
pub(crate) struct LabsArgs {
    /// Directory of other labs: a lab, or a folder of labs [default: those of this program]
    #[arg(long, value_name = "DIR", env = "DEVOPS_LAB_LABS")]
    pub(crate) labs: Option<PathBuf>,
}

/// Arguments of `lab list` and `lab next`.
#[derive(Debug, Args)]
pub(crate) struct LabListArgs {
    #[command(flatten)]
    pub(crate) options: LabArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `lab lint`.
#[derive(Debug, Args)]
pub(crate) struct LabLintArgs {
    /// A lab, or a folder of labs [default: --labs, else those of this program]
    pub(crate) dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) labs: LabsArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `lab new`.
#[derive(Debug, Args)]
pub(crate) struct LabNewArgs {
    /// Name of the lab, such as break-v2
    pub(crate) name: String,
    /// The folder of labs to write it into
    #[arg(long, default_value = ".")]
    pub(crate) dir: PathBuf,
}

/// Arguments of `hint`.
#[derive(Debug, Args)]
pub(crate) struct HintArgs {
    /// LAB/STEP, or LAB for its next step [default: the step you are at]
    pub(crate) target: Option<String>,
    /// Show every hint of the step
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) options: LabArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `answer`.
#[derive(Debug, Args)]
pub(crate) struct AnswerArgs {
    /// The question [default: the first of the step that is not answered right]
    pub(crate) question: Option<String>,
    /// The answer: a number, words, or the number or the words of a choice [default: asked for]
    #[arg(allow_negative_numbers = true)]
    pub(crate) value: Option<String>,
    /// LAB/STEP of the question [default: the step you are at]
    #[arg(long, value_name = "LAB/STEP")]
    pub(crate) step: Option<String>,
    #[command(flatten)]
    pub(crate) options: LabArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `lab show`.
#[derive(Debug, Args)]
pub(crate) struct LabShowArgs {
    /// A lab, or LAB/STEP
    pub(crate) lab: String,
    #[command(flatten)]
    pub(crate) options: LabArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `lab goto`.
#[derive(Debug, Args)]
pub(crate) struct LabGotoArgs {
    /// LAB or LAB/STEP
    pub(crate) target: String,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) options: LabArgs,
}

/// Arguments of `lab reset`.
#[derive(Debug, Args)]
pub(crate) struct LabResetArgs {
    /// LAB or LAB/STEP [default: the step you are at]
    pub(crate) target: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) options: LabArgs,
}

/// Arguments of `lab solve`.
#[derive(Debug, Args)]
pub(crate) struct LabSolveArgs {
    /// The lab [default: the one you are at]
    pub(crate) lab: Option<String>,
    /// The last step to do
    #[arg(long, value_name = "STEP")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) options: LabArgs,
}

/// Arguments of `lab test`.
#[derive(Debug, Args)]
pub(crate) struct LabTestArgs {
    /// Labs to prove, by their names
    #[arg(required_unless_present = "all")]
    pub(crate) lab: Vec<String>,
    /// Prove every lab
    #[arg(long, conflicts_with = "lab")]
    pub(crate) all: bool,
    /// What runs the pods
    #[arg(long, value_enum, default_value_t = ProofEngine::Process)]
    pub(crate) engine: ProofEngine,
    #[command(flatten)]
    pub(crate) labs: LabsArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Leave the clusters and files of labs that fail, and say where they are
    #[arg(long)]
    pub(crate) keep: bool,
    /// How many labs at a time [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: Option<u16>,
    /// Prove a lab that failed beside others once more, alone, and report both
    #[arg(long)]
    pub(crate) again: bool,
    /// Let scripts use the small kubectl of this program, whichever the machine has
    #[arg(long)]
    pub(crate) own_kubectl: bool,
}

/// Engines on which labs are proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProofEngine {
    /// Processes on this machine.
    Process,
    /// Containers on the local Docker daemon.
    Docker,
    /// One after the other.
    Both,
}
