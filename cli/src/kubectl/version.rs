//! `kubectl version` and `kubectl config current-context`.

use serde_json::json;

use super::Call;
use super::api::{Api, kubeconfig};
use super::args::{Flag, switch, value};
use super::error::{Result, said};
use super::print::to_json;
use super::yaml;
use crate::output::{line, raw};

/// Flags of `version`.
pub(super) const FLAGS: [Flag; 2] = [switch("client"), value("output").short('o')];

/// The Kubernetes version whose kubectl this one imitates.
const CLIENT: &str = concat!("v1.36.0+devops-lab.", env!("CARGO_PKG_VERSION"));

/// `kubectl version`
pub(super) async fn version(call: Call) -> Result<()> {
    let mut all = json!({"clientVersion": {"gitVersion": CLIENT, "major": "1", "minor": "36"}});
    let server = if call.args.is_set("client") {
        None
    } else {
        Some(Api::open(&call.args).await?.get("/version").await?)
    };
    match call.args.value("output") {
        None => {
            line(format_args!("Client Version: {CLIENT}"));
            if let Some(server) = server {
                line(format_args!(
                    "Server Version: {}",
                    server["gitVersion"].as_str().unwrap_or_default()
                ));
            }
        }
        Some(form @ ("json" | "yaml")) => {
            if let Some(server) = server {
                all["serverVersion"] = server;
            }
            if form == "json" {
                line(to_json(&all));
            } else {
                let _ = raw(yaml::to_yaml(&all).as_bytes());
            }
        }
        Some(_) => return Err(said("--output must be 'yaml' or 'json'")),
    }
    Ok(())
}

/// `kubectl config current-context`
pub(super) async fn current_context(call: Call) -> Result<()> {
    let current = kubeconfig(&call.args)?.current_context;
    match current.filter(|name| !name.is_empty()) {
        Some(name) => line(name),
        None => return Err(said("current-context is not set")),
    }
    Ok(())
}
