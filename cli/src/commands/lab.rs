//! `devops-lab lab`: what there is to learn, and the next step.

mod author;
mod desk;
mod goto;
mod learner;
mod list;
mod reset;
mod solve;
mod steps;
mod test;

use std::process::ExitCode;

pub(crate) use learner::{
    Learner, addresses, command_line, find, language, pick, progress_path, set,
};
pub(crate) use list::bar;
pub(crate) use steps::{begin, is_at_beginning};

use crate::cli::LabCommand;

pub(crate) async fn run(args: LabCommand) -> anyhow::Result<ExitCode> {
    match args {
        LabCommand::List(args) => list::run(args)?,
        LabCommand::Next(args) => steps::next(args).await?,
        LabCommand::Show(args) => steps::show(args)?,
        LabCommand::Goto(args) => goto::run(args).await?,
        LabCommand::Reset(args) => reset::run(args).await?,
        LabCommand::Solve(args) => solve::run(args).await?,
        LabCommand::Lint(args) => return author::lint(args),
        LabCommand::New(args) => author::new(args)?,
        LabCommand::Schema => author::schema()?,
        LabCommand::Checks => author::checks()?,
        LabCommand::Test(args) => return test::run(args).await,
    }
    Ok(ExitCode::SUCCESS)
}
