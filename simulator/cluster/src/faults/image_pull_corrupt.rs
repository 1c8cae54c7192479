//! The registry hands out damaged data for an image.

use anyhow::{Context as _, bail};
use futures::FutureExt;
use lab_image::client::RegistryClient;
use serde_json::json;

use super::stage::Stage;
use super::{FaultDef, Injected, REAL, Target};
use crate::registry;

pub(super) const DEF: FaultDef = FaultDef {
    name: "image-pull-corrupt",
    help: "let the registry hand out damaged data for an image",
    expect: "a node that does not have the image yet fails to pull it: ErrImagePull, then ImagePullBackOff; pods that run, and nodes that have it, notice nothing",
    healed_by: "devops-lab fault heal image-pull-corrupt; waiting pods come up at their next try",
    target: Target::Image,
    engines: REAL,
    options: &[],
    passing: false,
    inject: |stage, request| {
        async move {
            let (repository, tag) = find(stage, request.target.as_deref()).await?;
            let client = client(stage);
            let (_, manifest) = client.image_manifest(&repository, &tag).await?;
            let layer = manifest.layers.last().unwrap_or(&manifest.config);
            let digest = layer.digest.to_string();
            registry::corrupt(&stage.record, &digest, true).await?;
            Ok(Injected {
                did: format!("the registry damages {digest} of image {repository}:{tag}"),
                target: format!("{repository}:{tag}"),
                undo: json!({"digest": digest}),
            })
        }
        .boxed()
    },
    heal: |stage, injection| {
        async move {
            let digest = injection.undo["digest"].as_str().unwrap_or_default();
            registry::corrupt(&stage.record, digest, false).await?;
            Ok(format!("image {} is handed out whole", injection.target))
        }
        .boxed()
    },
};

fn client(stage: &Stage) -> RegistryClient {
    RegistryClient::new(&format!("127.0.0.1:{}", stage.record.ports.registry))
}

/// Repository and tag of the image asked for, or of one by chance.
async fn find(stage: &Stage, asked: Option<&str>) -> anyhow::Result<(String, String)> {
    let client = client(stage);
    let failed = "the registry does not list its images";
    let mut images = Vec::new();
    for repository in client.catalog().await.context(failed)? {
        for tag in client.tags(&repository).await.context(failed)? {
            images.push((repository.clone(), tag));
        }
    }
    let Some(asked) = asked else {
        let chosen = stage.pick(&images).cloned();
        return chosen.context("the registry has no image; see devops-lab image ls");
    };
    // The registry's own name in front is how the image is called everywhere else.
    let plain = match asked.split_once('/') {
        Some((host, rest)) if host.contains(':') || host == "localhost" => rest,
        _ => asked,
    };
    let (repository, tag) = plain.rsplit_once(':').unwrap_or((plain, "latest"));
    let wanted = (repository.to_owned(), tag.to_owned());
    if !images.contains(&wanted) {
        let names: Vec<_> = images.iter().map(|(r, tag)| format!("{r}:{tag}")).collect();
        bail!(
            "the registry has no image {plain}; it has: {}",
            names.join(", ")
        );
    }
    Ok(wanted)
}
