//! `devops-lab ci secret`: values that pipelines may use and nobody may read in their output.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read};

use anyhow::{Context, bail};
use lab_cluster::record::{ClusterDir, write_atomically};

use crate::cli::ClusterArgs;
use crate::cli::ci::{CiSecretArgs, CiSecretCommand, CiSecretSetArgs};
use crate::output::line;

/// Where they are kept: for their owner's eyes only.
const FILE: &str = "ci-secrets.json";

pub(super) fn run(command: CiSecretCommand) -> anyhow::Result<()> {
    match command {
        CiSecretCommand::Set(args) => set(args),
        CiSecretCommand::List(ClusterArgs { name }) => {
            let (dir, _) = super::super::open(&name)?;
            read(&dir)?.keys().for_each(line);
            Ok(())
        }
        CiSecretCommand::Delete(CiSecretArgs {
            secret,
            cluster: ClusterArgs { name },
        }) => {
            let (dir, _) = super::super::open(&name)?;
            let mut secrets = read(&dir)?;
            if secrets.remove(&secret).is_none() {
                bail!("there is no secret {secret:?}; see devops-lab ci secret list");
            }
            write(&dir, &secrets)?;
            line(format_args!("The secret {secret} is forgotten."));
            Ok(())
        }
    }
}

fn set(args: CiSecretSetArgs) -> anyhow::Result<()> {
    let CiSecretSetArgs {
        secret,
        value,
        cluster: ClusterArgs { name },
    } = args;
    check_name(&secret)?;
    let (dir, _) = super::super::open(&name)?;
    let value = match value {
        Some(value) => value,
        None => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text.trim_end_matches('\n').to_owned()
        }
    };
    if value.is_empty() {
        bail!("the value of {secret} is empty");
    }
    let mut secrets = read(&dir)?;
    secrets.insert(secret.clone(), value);
    write(&dir, &secrets)?;
    line(format_args!(
        "The secret {secret} is kept; pipelines read it as ${{{{ secrets.{secret} }}}}."
    ));
    Ok(())
}

/// As GitHub has them.
fn check_name(name: &str) -> anyhow::Result<()> {
    let fits = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.to_uppercase().starts_with("GITHUB_");
    if !fits {
        bail!(
            "{name:?} is not a name of a secret: use letters, digits and _, and begin with a letter; GITHUB_ is taken"
        );
    }
    Ok(())
}

/// The secrets of a cluster.
pub(super) fn read(dir: &ClusterDir) -> anyhow::Result<BTreeMap<String, String>> {
    let path = dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged; remove it", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
    }
}

fn write(dir: &ClusterDir, secrets: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let path = dir.join(FILE);
    let text = serde_json::to_string_pretty(secrets)?;
    write_atomically(&path, text.as_bytes(), 0o600)
        .with_context(|| format!("failed to write {}", path.display()))
}
