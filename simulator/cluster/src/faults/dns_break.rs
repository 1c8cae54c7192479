//! The cluster's DNS fails.

use anyhow::bail;
use futures::FutureExt;
use lab_api::faults;
use serde_json::{Value, json};

use super::stage::{Place, Stage, kind};
use super::{FaultDef, Injected, REAL, Target};

pub(super) const DEF: FaultDef = FaultDef {
    name: "dns-break",
    help: "break the cluster's DNS, for all names or for one (--mode servfail, nxdomain or timeout)",
    expect: "pods that call others by name fail, pods that keep their connections or use addresses go on; traffic through the load balancer goes on, since it needs no names",
    healed_by: "devops-lab fault heal dns-break (or: kubectl -n kube-system annotate service kube-dns faults.devops-lab.dev/dns-)",
    target: Target::Name,
    engines: REAL,
    options: &["mode"],
    passing: false,
    inject: |stage, request| {
        async move {
            let mode = request.mode.as_deref().unwrap_or("servfail");
            if !["servfail", "nxdomain", "timeout"].contains(&mode) {
                bail!("{mode:?} is no way to fail: use servfail, nxdomain or timeout");
            }
            let name = request.target.as_deref().unwrap_or_default();
            set(stage, Some(&format!("{mode} {name}"))).await?;
            let (target, names) = match name {
                "" => ("every name".to_owned(), "every name".to_owned()),
                name => (name.to_owned(), format!("names that begin with {name}")),
            };
            Ok(Injected {
                did: format!("broke the cluster's DNS for {names} ({mode})"),
                target,
                undo: Value::Null,
            })
        }
        .boxed()
    },
    heal: |stage, _| {
        async move {
            set(stage, None).await?;
            Ok("mended the cluster's DNS".to_owned())
        }
        .boxed()
    },
};

async fn set(stage: &Stage, value: Option<&str>) -> anyhow::Result<()> {
    let service = Place {
        namespace: lab_dns::NAMESPACE.to_owned(),
        name: lab_dns::SERVICE.to_owned(),
    };
    let value = value.map(str::trim);
    stage
        .annotate(
            &kind("", "v1", "Service"),
            &service,
            json!({faults::DNS: value}),
        )
        .await
}
