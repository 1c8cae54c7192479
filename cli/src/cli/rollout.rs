//! What can be said about Rollouts.

use clap::{Args, Subcommand};

use super::{ClusterArgs, OutputArgs};

/// What can be done with Rollouts.
#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Draw a rollout: its state, revisions, ReplicaSets, pods and analysis
    #[command(
        after_help = "Examples:\n  devops-lab rollout get hello\n  devops-lab rollout get hello --watch\n  devops-lab rollout get hello -o json"
    )]
    Get(RolloutGetArgs),
    /// List the rollouts of a namespace
    List(RolloutListArgs),
    /// Wait until a rollout is healthy, and fail if it is degraded
    #[command(
        after_help = "Examples:\n  devops-lab rollout status hello\n  devops-lab rollout status hello --timeout 120\n  devops-lab rollout status hello --no-wait\n\nExit code: 0 healthy, 1 degraded or not done in time; with --no-wait, 1 while it is not healthy."
    )]
    Status(RolloutStatusArgs),
    /// Go on: past a pause, past a step, or to the end
    #[command(
        after_help = "Examples:\n  devops-lab rollout promote hello                      past the present pause\n  devops-lab rollout promote hello --skip-current-step\n  devops-lab rollout promote hello --full               everything at once, without analysis"
    )]
    Promote(RolloutPromoteArgs),
    /// Take all traffic back to the stable version
    Abort(RolloutArgs),
    /// Try an aborted rollout again, from its first step
    Retry(RolloutArgs),
    /// Hold a rollout where it is
    Pause(RolloutArgs),
    /// Restart a rollout's pods, a few at a time
    Restart(RolloutArgs),
    /// Go back to the pod template of an earlier revision
    #[command(
        after_help = "Examples:\n  devops-lab rollout undo hello                   the revision before\n  devops-lab rollout undo hello --to-revision 3"
    )]
    Undo(RolloutUndoArgs),
    /// Change a rollout
    #[command(subcommand)]
    Set(RolloutSetCommand),
    /// List a rollout's revisions
    History(RolloutHistoryArgs),
}

/// What of a Rollout can be changed.
#[derive(Debug, Subcommand)]
pub(crate) enum RolloutSetCommand {
    /// Give containers another image, which begins a rollout
    #[command(
        after_help = "Examples:\n  devops-lab rollout set image hello app=localhost:5001/hello:2.0.0\n  devops-lab rollout set image hello '*=localhost:5001/hello:2.0.0'"
    )]
    Image(RolloutSetImageArgs),
}

/// In which cluster and namespace.
#[derive(Clone, Debug, Args)]
pub(crate) struct RolloutTarget {
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Namespace
    #[arg(long, short, default_value = "default")]
    pub(crate) namespace: String,
}

/// Which Rollout.
#[derive(Clone, Debug, Args)]
pub(crate) struct RolloutArgs {
    /// Name of the rollout
    pub(crate) rollout: String,
    #[command(flatten)]
    pub(crate) target: RolloutTarget,
}

/// Arguments of `rollout get`.
#[derive(Debug, Args)]
pub(crate) struct RolloutGetArgs {
    #[command(flatten)]
    pub(crate) rollout: RolloutArgs,
    /// Draw it again at every change until Ctrl-C; in a pipe, only what changes
    #[arg(long, short)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `rollout list`.
#[derive(Debug, Args)]
pub(crate) struct RolloutListArgs {
    #[command(flatten)]
    pub(crate) target: RolloutTarget,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `rollout status`.
#[derive(Debug, Args)]
pub(crate) struct RolloutStatusArgs {
    #[command(flatten)]
    pub(crate) rollout: RolloutArgs,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// Only say how it stands now
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// Arguments of `rollout promote`.
#[derive(Debug, Args)]
pub(crate) struct RolloutPromoteArgs {
    #[command(flatten)]
    pub(crate) rollout: RolloutArgs,
    /// To the end, without the steps, pauses and analysis that are left
    #[arg(long, conflicts_with = "skip_current_step")]
    pub(crate) full: bool,
    /// Past the present step, whatever it waits for
    #[arg(long)]
    pub(crate) skip_current_step: bool,
}

/// Arguments of `rollout undo`.
#[derive(Debug, Args)]
pub(crate) struct RolloutUndoArgs {
    #[command(flatten)]
    pub(crate) rollout: RolloutArgs,
    /// The revision to go back to; 0 is the one before the present
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) to_revision: i64,
}

/// Arguments of `rollout set image`.
#[derive(Debug, Args)]
pub(crate) struct RolloutSetImageArgs {
    /// Name of the rollout
    pub(crate) rollout: String,
    /// Containers and their images; the container * means all
    #[arg(required = true, value_name = "CONTAINER=IMAGE")]
    pub(crate) images: Vec<String>,
    #[command(flatten)]
    pub(crate) target: RolloutTarget,
}

/// Arguments of `rollout history`.
#[derive(Debug, Args)]
pub(crate) struct RolloutHistoryArgs {
    #[command(flatten)]
    pub(crate) rollout: RolloutArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
