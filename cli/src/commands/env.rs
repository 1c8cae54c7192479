//! `devops-lab env`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use lab_cluster::kubeconfig;
use lab_cluster::record::{ClusterDir, Record, write_atomically};
use lab_cluster::status::Addresses;

use crate::cli::ClusterArgs;
use crate::output::line;

pub(crate) fn run(args: &ClusterArgs) -> anyhow::Result<ExitCode> {
    let ClusterArgs { name } = args;
    let (dir, record) = super::open(name)?;
    write_kubeconfig(&dir, &record)?;
    for (variable, value) in variables(&dir, &record) {
        line(format_args!("export {variable}={}", quoted(&value)));
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a cluster's own kubeconfig is kept.
fn kubeconfig_path(dir: &ClusterDir) -> PathBuf {
    dir.join("kubeconfig")
}

/// Writes the kubeconfig that [`variables`] name; where it is.
pub(crate) fn write_kubeconfig(dir: &ClusterDir, record: &Record) -> anyhow::Result<PathBuf> {
    let path = kubeconfig_path(dir);
    write_atomically(&path, kubeconfig::standalone(record).as_bytes(), 0o600)
        .with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}

/// The variables by which programs find a cluster.
pub(crate) fn variables(dir: &ClusterDir, record: &Record) -> Vec<(&'static str, String)> {
    let Addresses {
        production,
        test,
        https,
        registry,
        metrics,
        api: _,
    } = Addresses::of(record);
    let mut variables = vec![
        ("KUBECONFIG", kubeconfig_path(dir).display().to_string()),
        ("DEVOPS_LAB_CLUSTER", record.name.clone()),
        ("DEVOPS_LAB_PRODUCTION", production),
        ("DEVOPS_LAB_TEST", test),
        ("DEVOPS_LAB_HTTPS", https),
        ("DEVOPS_LAB_REGISTRY", registry),
        ("DEVOPS_LAB_GIT", dir.git().display().to_string()),
    ];
    variables.extend(metrics.map(|address| ("DEVOPS_LAB_METRICS", address)));
    variables
}

/// In single quotes, as a POSIX shell reads it.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_path_survives_the_shell() {
        assert_eq!(quoted("/home/o'neil/x"), "'/home/o'\\''neil/x'");
    }
}
