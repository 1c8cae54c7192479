//! The first moments of a container's process: our own executable, started by the node, that
//! turns itself into the container's program.
//!
//! What must be set from inside the new process is set here, with safe calls, instead of
//! between `fork` and `exec` of the node process, where hardly any call is allowed.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, Signal};

use super::resolv;

/// Environment variable that marks every process of a container, so that none is overlooked
/// when the container is killed. It holds the container's id.
pub(super) const MARKER: &str = "DEVOPS_LAB_CONTAINER";

/// The subcommand under which the executable calls [`shim_main`].
pub(super) const SUBCOMMAND: &str = "shim";

/// What to become.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct ShimConfig {
    /// The process that must be the parent; its death is the death of this one.
    pub(super) parent: u32,
    /// The program, on the machine.
    pub(super) program: PathBuf,
    /// `argv[0]` as the program sees it.
    pub(super) name: String,
    /// The arguments after `argv[0]`.
    pub(super) args: Vec<String>,
    /// The whole environment.
    pub(super) env: Vec<(String, String)>,
    /// The working directory, on the machine.
    pub(super) working_dir: PathBuf,
    /// What it is to see as `/etc/resolv.conf`, where that can be done.
    #[serde(default)]
    pub(super) resolv_conf: Option<PathBuf>,
}

/// Becomes the program that the configuration file names; returns only where that failed, with
/// the reason.
///
/// The process dies with its parent, leads a session of its own, and can gain no privileges.
/// The limits of memory are not set here: a limit on address space would kill runtimes that
/// reserve far more than they use, so the node watches what is used.
#[must_use]
pub fn shim_main(config_path: &Path) -> io::Error {
    match prepare(config_path) {
        Ok(mut command) => command.exec(),
        Err(error) => error,
    }
}

fn prepare(config_path: &Path) -> io::Result<Command> {
    let config: ShimConfig = serde_json::from_slice(&fs::read(config_path)?)?;
    let ShimConfig {
        parent,
        program,
        name,
        args,
        env,
        working_dir,
        resolv_conf,
    } = config;
    // Before anything that a change of credentials would undo, such as the signal below.
    if let Some(file) = resolv_conf {
        resolv::put_in_place(&file);
    }
    die_with(parent)?;
    // A session of its own: a terminal's Ctrl-C does not reach it, and its own children can be
    // found and killed with it.
    rustix::process::setsid()?;
    rustix::thread::set_no_new_privs(true)?;
    rustix::process::setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    rustix::process::umask(Mode::WGRP | Mode::WOTH);
    let mut command = Command::new(program);
    command
        .arg0(name)
        .args(args)
        .env_clear()
        .envs(env)
        .current_dir(working_dir);
    Ok(command)
}

/// Asks the kernel for SIGKILL when the parent dies, and makes sure that it has not died
/// before: then nobody would ever send it (see the notes of `prctl(2)`, `PR_SET_PDEATHSIG`).
fn die_with(parent: u32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let present =
        rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs());
    if present == parent {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "the node process {parent} has gone"
        )))
    }
}
