//! Applying manifests without kubectl, for the tour: create, or replace the spec of what is there.

use anyhow::Context;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::discovery::{Discovery, Scope};
use kube::{Api, Client};
use serde_json::Value;

/// Applies every document of a YAML text to `namespace`.
///
/// # Errors
/// Naming the object that was refused.
pub(crate) async fn apply(
    client: &Client,
    namespace: &str,
    yaml: &str,
) -> anyhow::Result<Vec<String>> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(yaml).context("a manifest is not YAML")?;
    let mut applied = Vec::new();
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        let object: DynamicObject =
            serde_json::from_value(document).context("a manifest is no Kubernetes object")?;
        let types = object
            .types
            .clone()
            .context("a manifest lacks apiVersion and kind")?;
        let gvk = kube::core::GroupVersionKind::try_from(&types)?;
        let (resource, capabilities) = discovery.resolve_gvk(&gvk).with_context(|| {
            format!(
                "the cluster does not serve {} {}",
                types.api_version, types.kind
            )
        })?;
        let name = object
            .metadata
            .name
            .clone()
            .context("a manifest lacks metadata.name")?;
        let api: Api<DynamicObject> = match capabilities.scope {
            Scope::Namespaced => Api::namespaced_with(client.clone(), namespace, &resource),
            Scope::Cluster => Api::all_with(client.clone(), &resource),
        };
        let label = format!("{}/{name}", types.kind.to_lowercase());
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => applied.push(format!("{label} created")),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let patch = Patch::Merge(&object);
                let patched = api.patch(&name, &PatchParams::default(), &patch).await;
                patched.with_context(|| format!("{label} was refused"))?;
                applied.push(format!("{label} configured"));
            }
            Err(error) => return Err(error).with_context(|| format!("{label} was refused")),
        }
    }
    Ok(applied)
}
