//! `devops-lab image approve`
//!
//! Writes the annotations that the image update controller reads.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use lab_cluster::lifecycle::client;
use serde::Deserialize;
use serde_json::json;

use crate::cli::{ApproveArgs, ClusterArgs};
use crate::output::line;

/// Kinds that follow their images, as they are written here.
const KINDS: [(&str, &str, &str, &str); 5] = [
    ("deployment", "apps", "v1", "Deployment"),
    ("rollout", "argoproj.io", "v1alpha1", "Rollout"),
    ("statefulset", "apps", "v1", "StatefulSet"),
    ("daemonset", "apps", "v1", "DaemonSet"),
    ("cronjob", "batch", "v1", "CronJob"),
];

/// The update that waits.
#[derive(Deserialize)]
struct Pending {
    image: String,
    tag: String,
    required: usize,
}

pub(crate) async fn run(args: ApproveArgs) -> anyhow::Result<ExitCode> {
    let ApproveArgs {
        workload,
        cluster: ClusterArgs { name: cluster },
        namespace,
        by,
        reject,
    } = args;
    let (_, record) = super::open(&cluster)?;
    let (kind, name) = workload
        .split_once('/')
        .unwrap_or(("deployment", &workload));
    let api: Api<DynamicObject> =
        Api::namespaced_with(client(&record)?, &namespace, &resource(kind)?);
    let object = api
        .get_opt(name)
        .await
        .with_context(|| format!("{kind}/{name} cannot be read"))?
        .with_context(|| format!("there is no {kind}/{name} in namespace {namespace:?}"))?;
    let annotations = object.metadata.annotations.unwrap_or_default();
    let pending = annotations
        .get("keel.sh/pending")
        .and_then(|text| serde_json::from_str::<Pending>(text).ok());
    let Some(pending) = pending else {
        bail!(
            "no update of {kind}/{name} waits for an approval; see `kubectl describe {kind} {name}` for what was taken and what was not"
        );
    };
    let Pending {
        image,
        tag,
        required,
    } = pending;
    let (key, value, said) = if reject {
        (
            "keel.sh/reject",
            tag.clone(),
            format!("{image}:{tag} is rejected."),
        )
    } else {
        let names = approvers(annotations.get("keel.sh/approve"), &tag, &by);
        let said = if names.len() >= required {
            format!("{image}:{tag} is approved. Watch it: kubectl rollout status {kind}/{name}")
        } else {
            let (given, names) = (names.len(), listed(&names));
            format!("{image}:{tag} has {given} of {required} approvals ({names}).")
        };
        (
            "keel.sh/approve",
            format!("{tag}: {}", listed(&names)),
            said,
        )
    };
    let body = json!({"metadata": {"annotations": {key: value},
        "resourceVersion": object.metadata.resource_version}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(body))
        .await
        .with_context(|| format!("{kind}/{name} cannot be annotated"))?;
    line(said);
    Ok(ExitCode::SUCCESS)
}

fn resource(kind: &str) -> anyhow::Result<ApiResource> {
    let kind = kind.to_lowercase();
    let known = KINDS.iter().find(|(name, ..)| *name == kind);
    let Some((_, group, version, kind)) = known else {
        let names: Vec<_> = KINDS.iter().map(|(name, ..)| *name).collect();
        bail!(
            "a {kind} does not follow its images; these do: {}",
            names.join(", ")
        );
    };
    Ok(ApiResource::from_gvk(&GroupVersionKind::gvk(
        group, version, kind,
    )))
}

/// Who has approved this tag, with one more.
fn approvers(present: Option<&String>, tag: &str, by: &str) -> BTreeSet<String> {
    let names = present
        .and_then(|text| text.split_once(':'))
        .filter(|(approved, _)| approved.trim() == tag)
        .map_or("", |(_, names)| names);
    // A comma would make two of one.
    let by = by.replace([',', ':'], " ");
    let names = names.split(',').chain([by.as_str()]).map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn listed(names: &BTreeSet<String>) -> String {
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_approves_twice() {
        let present = Some("1.0.1: ada".to_owned());
        let after = |tag, by| listed(&approvers(present.as_ref(), tag, by));
        assert_eq!(after("1.0.1", "bob"), "ada, bob");
        assert_eq!(after("1.0.1", "ada"), "ada");
        assert_eq!(after("1.0.2", "bob"), "bob");
        assert_eq!(after("1.0.1", "bob,eve"), "ada, bob eve");
    }

    #[test]
    fn only_kinds_that_follow_their_images_are_taken() {
        assert_eq!(resource("Rollout").unwrap().plural, "rollouts");
        let refused = resource("pod").unwrap_err().to_string();
        assert!(refused.contains("deployment, rollout"), "{refused}");
    }
}
