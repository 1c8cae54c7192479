//! What can be said about the guide.

use clap::Args;

use super::LabArgs;

/// Arguments of `guide`.
#[derive(Debug, Args)]
pub(crate) struct GuideArgs {
    /// The lab to open [default: the one you are at]
    pub(crate) lab: Option<String>,
    /// The picture of the cluster alone, large, for the projector
    #[arg(long, conflicts_with = "lab")]
    pub(crate) present: bool,
    /// The port to serve it on [default: 8765, or the next free one]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Print the address and leave the browser alone
    #[arg(long)]
    pub(crate) no_open: bool,
    #[command(flatten)]
    pub(crate) options: LabArgs,
}
