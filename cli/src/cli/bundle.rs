//! What can be said about a bundle.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{LanguageArgs, OutputArgs};

/// What can be done with a bundle.
#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    /// Pack this program, images, labs and decks into one file, for a room without internet
    #[command(
        after_help = "Examples:\n  devops-lab bundle create class.bundle --image python:3.12-slim\n  devops-lab bundle create class.bundle --image localhost:5001/hello:1.0.0 --labs my-labs --decks my-decks\n\nAn image comes from a cluster's registry (localhost:PORT/…), from the local image store, or from\nthe Docker daemon. Then: devops-lab class start --serve-bundle class.bundle"
    )]
    Create(BundleCreateArgs),
    /// Compare every byte of a bundle with its checksums
    #[command(
        after_help = "Example:\n  devops-lab bundle verify class.bundle\n\nExit code: 0 it is whole, 1 it is not."
    )]
    Verify(BundleFileArgs),
    /// Install what is in a bundle: the program, labs, decks, images
    #[command(
        after_help = "Examples:\n  devops-lab bundle load class.bundle\n  devops-lab bundle load class.bundle --name lab --bin /usr/local/bin\n\nImages wait in the local image store and are pushed to a cluster's registry when it starts, or at\nonce with --name. Loading twice changes nothing; a lab of yours that differs is kept aside."
    )]
    Load(BundleLoadArgs),
    /// List what is in a bundle
    Ls(BundleLsArgs),
    /// Download the bundle that a class hands out; a broken download goes on where it was
    #[command(
        after_help = "Example:\n  devops-lab bundle get http://192.168.1.20:8888 && devops-lab bundle load devops-lab.bundle"
    )]
    Get(BundleGetArgs),
}

/// Arguments of `bundle create`.
#[derive(Debug, Args)]
pub(crate) struct BundleCreateArgs {
    /// The file to make
    pub(crate) file: PathBuf,
    /// An image, as docker or a pod calls it; may be repeated
    #[arg(long = "image", value_name = "REF")]
    pub(crate) images: Vec<String>,
    /// A lab, or a folder of labs; may be repeated
    #[arg(long, value_name = "DIR")]
    pub(crate) labs: Vec<PathBuf>,
    /// A deck of slides, or a folder of decks; may be repeated
    #[arg(long, value_name = "DIR")]
    pub(crate) decks: Vec<PathBuf>,
}

/// Arguments of `bundle verify`.
#[derive(Debug, Args)]
pub(crate) struct BundleFileArgs {
    /// The bundle
    pub(crate) file: PathBuf,
}

/// Arguments of `bundle ls`.
#[derive(Debug, Args)]
pub(crate) struct BundleLsArgs {
    /// The bundle
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `bundle load`.
#[derive(Debug, Args)]
pub(crate) struct BundleLoadArgs {
    /// The bundle
    pub(crate) file: PathBuf,
    /// Where the program goes [default: ~/.local/bin]
    #[arg(long, value_name = "DIR", conflicts_with = "no_program")]
    pub(crate) bin: Option<PathBuf>,
    /// Leave the program out
    #[arg(long)]
    pub(crate) no_program: bool,
    /// Push the images to the registry of this running cluster, at once
    #[arg(long, value_parser = super::cluster_name)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) language: LanguageArgs,
}

/// Arguments of `bundle get`.
#[derive(Debug, Args)]
pub(crate) struct BundleGetArgs {
    /// The address that the teacher shows, such as http://192.168.1.20:8888
    pub(crate) address: String,
    /// Where to
    #[arg(default_value = lab_classroom::server::BUNDLE_FILE)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) language: LanguageArgs,
}
