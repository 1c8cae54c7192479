//! `devops-lab env`

use std::process::ExitCode;

use anyhow::Context;
use lab_cluster::kubeconfig;
use lab_cluster::record::write_atomically;
use lab_cluster::status::Addresses;

use crate::cli::ClusterArgs;
use crate::output::line;

pub(crate) fn run(args: &ClusterArgs) -> anyhow::Result<ExitCode> {
    let ClusterArgs { name } = args;
    let (dir, record) = super::open(name)?;
    let path = dir.join("kubeconfig");
    write_atomically(&path, kubeconfig::standalone(&record).as_bytes(), 0o600)
        .with_context(|| format!("failed to write {}", path.display()))?;
    let Addresses {
        production,
        test,
        https,
        registry,
        metrics,
        api: _,
    } = Addresses::of(&record);
    let variables = [
        ("KUBECONFIG", path.display().to_string()),
        ("DEVOPS_LAB_CLUSTER", name.clone()),
        ("DEVOPS_LAB_PRODUCTION", production),
        ("DEVOPS_LAB_TEST", test),
        ("DEVOPS_LAB_HTTPS", https),
        ("DEVOPS_LAB_REGISTRY", registry),
        ("DEVOPS_LAB_GIT", dir.git().display().to_string()),
    ];
    let metrics = metrics.map(|address| ("DEVOPS_LAB_METRICS", address));
    for (variable, value) in variables.into_iter().chain(metrics) {
        line(format_args!("export {variable}={}", quoted(&value)));
    }
    Ok(ExitCode::SUCCESS)
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
