//! What can be said about pipelines.

use clap::{Args, Subcommand};

use super::{ClusterArgs, OutputArgs};

/// What can be done with pipelines.
#[derive(Debug, Subcommand)]
pub(crate) enum CiCommand {
    /// Make a git repository that runs the pipelines of what is pushed to it
    #[command(
        after_help = "Example:\n  devops-lab ci init hello\n  git remote add lab \"$(devops-lab ci remote hello)\"\n  git push lab main                       the pipeline runs, and you watch\n\nPipelines are .github/workflows/*.yml, a subset of GitHub Actions."
    )]
    Init(CiInitArgs),
    /// Print the path of a repository, to be used as a git remote
    Remote(CiRemoteArgs),
    /// List the runs, newest first
    #[command(after_help = "Examples:\n  devops-lab ci list\n  devops-lab ci list hello -o json")]
    List(CiListArgs),
    /// Show the output of a run
    #[command(
        after_help = "Examples:\n  devops-lab ci logs                      the latest run\n  devops-lab ci logs hello 3 --failed     only what failed\n  devops-lab ci logs --job test --step 'Unit tests'"
    )]
    Logs(CiLogsArgs),
    /// Run a run again, with the same commit
    #[command(
        after_help = "Examples:\n  devops-lab ci rerun                     the latest run\n  devops-lab ci rerun hello 3\n\nExit code: 0 success, 1 otherwise."
    )]
    Rerun(CiRerunArgs),
    /// Start a workflow by hand, which must have `workflow_dispatch`
    #[command(
        after_help = "Examples:\n  devops-lab ci run hello\n  devops-lab ci run hello --workflow deploy.yml --input version=1.2.0\n\nExit code: 0 success, 1 otherwise."
    )]
    Run(CiRunArgs),
    /// Keep secrets for pipelines, which read them as ${{ secrets.NAME }}
    #[command(subcommand)]
    Secret(CiSecretCommand),
    /// Run the pipelines of what was pushed (used by the hook of a repository)
    #[command(hide = true)]
    Hook(CiRemoteArgs),
}

/// Arguments of `ci init`.
#[derive(Debug, Args)]
pub(crate) struct CiInitArgs {
    /// Name of the repository
    pub(crate) repository: String,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// Arguments of `ci remote`.
#[derive(Debug, Args)]
pub(crate) struct CiRemoteArgs {
    /// Name of the repository
    pub(crate) repository: String,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// Arguments of `ci list`.
#[derive(Debug, Args)]
pub(crate) struct CiListArgs {
    /// Name of the repository [default: all]
    pub(crate) repository: Option<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Which run.
#[derive(Clone, Debug, Args)]
pub(crate) struct CiTarget {
    /// Repository and number of the run, or one of them [default: the latest run]
    #[arg(value_name = "REPOSITORY|RUN", num_args = 0..=2)]
    pub(crate) run: Vec<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// Arguments of `ci logs`.
#[derive(Debug, Args)]
pub(crate) struct CiLogsArgs {
    #[command(flatten)]
    pub(crate) target: CiTarget,
    /// Only this job, by its id or its name
    #[arg(long)]
    pub(crate) job: Option<String>,
    /// Only this step, by its name, its id or its number
    #[arg(long)]
    pub(crate) step: Option<String>,
    /// Only what failed
    #[arg(long)]
    pub(crate) failed: bool,
}

/// Arguments of `ci rerun`.
#[derive(Debug, Args)]
pub(crate) struct CiRerunArgs {
    #[command(flatten)]
    pub(crate) target: CiTarget,
}

/// Arguments of `ci run`.
#[derive(Debug, Args)]
pub(crate) struct CiRunArgs {
    /// Name of the repository [default: the only one]
    pub(crate) repository: Option<String>,
    /// Which workflow, by its file or its name [default: the only one]
    #[arg(long)]
    pub(crate) workflow: Option<String>,
    /// Branch or tag
    #[arg(long = "ref", value_name = "REF", default_value = "main")]
    pub(crate) git_ref: String,
    /// An input of the workflow
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) input: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// What can be done with secrets.
#[derive(Debug, Subcommand)]
pub(crate) enum CiSecretCommand {
    /// Keep a secret, from the command line or from standard input
    #[command(
        after_help = "Examples:\n  devops-lab ci secret set TOKEN abc123\n  devops-lab ci secret set TOKEN < token.txt"
    )]
    Set(CiSecretSetArgs),
    /// List the names of the secrets
    List(ClusterArgs),
    /// Forget a secret
    Delete(CiSecretArgs),
}

/// Arguments of `ci secret set`.
#[derive(Debug, Args)]
pub(crate) struct CiSecretSetArgs {
    /// Its name: letters, digits and _
    pub(crate) secret: String,
    /// Its value [default: standard input]
    pub(crate) value: Option<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// Arguments of `ci secret delete`.
#[derive(Debug, Args)]
pub(crate) struct CiSecretArgs {
    /// Its name
    pub(crate) secret: String,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// `NAME=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=');
    let (name, value) = pair.ok_or_else(|| "it must read NAME=VALUE".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}
