//! What can be said about slides.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ClusterArgs, LabsArgs, LanguageArgs, OutputArgs};

/// What can be done with slides.
#[derive(Debug, Subcommand)]
pub(crate) enum SlidesCommand {
    /// List the decks
    List(SlidesListArgs),
    /// Show slides in the browser of this machine: a window for the speaker, one for the projector
    #[command(
        after_help = "Examples:\n  devops-lab slides show releasing\n  devops-lab slides show --decks ./slides        your own, shown anew with every change\n  devops-lab slides show --both                  English and French side by side\n\nIn a window, ? lists the keys. A slide that begins a lab opens it for your class where one runs\nat --class and its password is in DEVOPS_LAB_CLASS_PASSWORD."
    )]
    Show(SlidesShowArgs),
    /// Write slides into one file of HTML that needs nothing else, or print them as PDF
    #[command(
        after_help = "Examples:\n  devops-lab slides export releasing --html releasing.html\n  devops-lab slides export releasing --pdf releasing.pdf --lang fr\n  devops-lab slides export --html all.html       every deck, one after the other\n\nPDF is printed by the Chromium or Chrome on your PATH."
    )]
    Export(SlidesExportArgs),
    /// Tell everything that is wrong with decks, with file, line and what to do
    #[command(
        after_help = "Examples:\n  devops-lab slides lint ./slides\n  devops-lab slides lint ./slides/01-mine -o json"
    )]
    Lint(SlidesLintArgs),
}

/// Whose decks.
#[derive(Clone, Debug, Args)]
pub(crate) struct DecksArgs {
    /// Directory of other decks: a deck, or a folder of decks [default: those of this program]
    #[arg(long, value_name = "DIR", env = "DEVOPS_LAB_DECKS")]
    pub(crate) decks: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) labs: LabsArgs,
}

/// Arguments of `slides list`.
#[derive(Debug, Args)]
pub(crate) struct SlidesListArgs {
    #[command(flatten)]
    pub(crate) decks: DecksArgs,
    #[command(flatten)]
    pub(crate) language: LanguageArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Arguments of `slides show`.
#[derive(Debug, Args)]
pub(crate) struct SlidesShowArgs {
    /// Name of the deck [default: all, from a list]
    pub(crate) deck: Option<String>,
    /// Port on 127.0.0.1 [default: 8890, or the next free one]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Begin with both languages, side by side
    #[arg(long)]
    pub(crate) both: bool,
    /// Address of your class server, for slides that begin a lab
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "DEVOPS_LAB_CLASS",
        default_value = "http://127.0.0.1:8888"
    )]
    pub(crate) class: String,
    /// The teachers' password of the class
    #[arg(long, env = "DEVOPS_LAB_CLASS_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,
    #[command(flatten)]
    pub(crate) decks: DecksArgs,
    #[command(flatten)]
    pub(crate) language: LanguageArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// Arguments of `slides export`.
#[derive(Debug, Args)]
pub(crate) struct SlidesExportArgs {
    /// Name of the deck [default: all, one after the other]
    pub(crate) deck: Option<String>,
    /// Write one file of HTML
    #[arg(long, value_name = "FILE", required_unless_present = "pdf")]
    pub(crate) html: Option<PathBuf>,
    /// Print a PDF
    #[arg(long, value_name = "FILE")]
    pub(crate) pdf: Option<PathBuf>,
    /// Both languages, side by side
    #[arg(long)]
    pub(crate) both: bool,
    #[command(flatten)]
    pub(crate) decks: DecksArgs,
    #[command(flatten)]
    pub(crate) language: LanguageArgs,
}

/// Arguments of `slides lint`.
#[derive(Debug, Args)]
pub(crate) struct SlidesLintArgs {
    /// A deck, or a folder of decks [default: --decks, else those of this program]
    pub(crate) dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) decks: DecksArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
