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
        registry,
        ..
    } = Addresses::of(&record);
    for (variable, value) in [
        ("KUBECONFIG", path.display().to_string()),
        ("DEVOPS_LAB_CLUSTER", name.clone()),
        ("DEVOPS_LAB_PRODUCTION", production),
        ("DEVOPS_LAB_TEST", test),
        ("DEVOPS_LAB_REGISTRY", registry),
    ] {
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
