//! What can be said about a class.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{LanguageArgs, OutputArgs};

/// What can be done with a class.
#[derive(Debug, Subcommand)]
pub(crate) enum ClassCommand {
    /// Hold a class: serve it from this machine to the room, until Ctrl-C
    #[command(
        after_help = "Examples:\n  devops-lab class start --title \"DevOps, Monday\"\n  devops-lab class start --serve-bundle class.bundle    hand out everything, too\n  devops-lab class start --listen 127.0.0.1:8888    for this machine only\n\nThe class is kept: the same command goes on with it."
    )]
    Start(ClassStartArgs),
    /// Join a class
    #[command(
        after_help = "Example:\n  devops-lab class join http://192.168.1.20:8888 --code k7mw-pq2x --name Ada"
    )]
    Join(ClassJoinArgs),
    /// Show which class you are in, and exactly what it is told
    Status(ClassStatusArgs),
    /// Raise your hand, or lower it
    #[command(
        after_help = "Examples:\n  devops-lab class hand \"what is a selector?\"\n  devops-lab class hand --lower"
    )]
    Hand(ClassHandArgs),
    /// Leave the class: nothing more is told
    Leave(LanguageArgs),
    /// Write down what the class has done, as CSV or JSON
    #[command(
        after_help = "Examples:\n  devops-lab class export class.csv\n  devops-lab class export class.json"
    )]
    Export(ClassExportArgs),
    /// Tell the class in the background (started by `join`)
    #[command(hide = true)]
    Agent,
}

/// Arguments of `class start`.
#[derive(Debug, Args)]
pub(crate) struct ClassStartArgs {
    /// Which class, if you hold several
    #[arg(long, default_value = "class")]
    pub(crate) class: String,
    /// What it is called
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// Where to listen; the room can reach it unless it is a loopback address
    #[arg(long, default_value = "0.0.0.0:8888")]
    pub(crate) listen: SocketAddr,
    /// The teachers' password; asked for where the class has none yet
    #[arg(long, env = "DEVOPS_LAB_CLASS_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,
    /// Make a new join code
    #[arg(long)]
    pub(crate) new_code: bool,
    /// A directory of further labs
    #[arg(long)]
    pub(crate) labs: Option<PathBuf>,
    /// Hand out this bundle to the room, on the page /get
    #[arg(long, value_name = "FILE")]
    pub(crate) serve_bundle: Option<PathBuf>,
    /// Let the room's clusters fetch the images of this running cluster of yours
    #[arg(long, value_name = "CLUSTER", value_parser = super::cluster_name)]
    pub(crate) serve_images: Option<String>,
    #[command(flatten)]
    pub(crate) language: LanguageArgs,
}

/// Arguments of `class join`.
#[derive(Debug, Args)]
pub(crate) struct ClassJoinArgs {
    /// The address that the teacher shows, such as http://192.168.1.20:8888
    pub(crate) address: String,
    /// The code that the teacher shows
    #[arg(long)]
    pub(crate) code: String,
    /// Your name, as the teacher shall see it
    #[arg(long)]
    pub(crate) name: String,
    /// Let the teacher break things on your cluster, to practise
    #[arg(long)]
    pub(crate) faults: bool,
    #[command(flatten)]
    pub(crate) language: LanguageArgs,
}

/// Arguments of `class status`.
#[derive(Debug, Args)]
pub(crate) struct ClassStatusArgs {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) language: LanguageArgs,
}

/// Arguments of `class hand`.
#[derive(Debug, Args)]
pub(crate) struct ClassHandArgs {
    /// What it is about
    #[arg(default_value = "")]
    pub(crate) note: String,
    /// Lower it
    #[arg(long)]
    pub(crate) lower: bool,
    #[command(flatten)]
    pub(crate) language: LanguageArgs,
}

/// Arguments of `class export`.
#[derive(Debug, Args)]
pub(crate) struct ClassExportArgs {
    /// Where to: its ending, .csv or .json, says how
    pub(crate) file: PathBuf,
    /// Which class, if you hold several
    #[arg(long, default_value = "class")]
    pub(crate) class: String,
}
