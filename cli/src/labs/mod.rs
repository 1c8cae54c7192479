//! Labs in the hands of this program: their files, their scripts, and the proof that they work.

pub(crate) mod changes;
pub(crate) mod journey;
mod kinds;
pub(crate) mod proof;
pub(crate) mod scripts;
pub(crate) mod snapshot;
pub(crate) mod workspace;

use std::path::Path;

use lab_checks::library::Labs;

/// The labs of a directory, or those that this program brings.
///
/// # Errors
/// All faults in them.
pub(crate) fn load(directory: Option<&Path>) -> anyhow::Result<Labs> {
    Ok(match directory {
        Some(directory) => Labs::from_dir(directory)?,
        None => Labs::embedded()?,
    })
}
