//! K002: an image is in the cluster's registry, and the pods run that very content.

use k8s_openapi::api::core::v1::Pod;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckDef, accepts, schema, start};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::readers::http::Http;
use crate::readers::images::{Registry, RegistryClient, parse, why_not_pulled};
use crate::workload::{Workloads, name_list};

const NAME: &str = "image-in-registry";

pub(super) const DEF: CheckDef = CheckDef {
    code: "K002",
    name: NAME,
    help: "The registry has `image`. With `deployment`, every pod of that Deployment runs the content that \
        the tag names now, by digest: a tag that was pushed again names another.",
    schema: schema::<With>,
    accepts: accepts::<With>,
    run: |context, with| start(DEF.name, run, context, with),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    image: String,
    deployment: Option<String>,
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let http = Http::new();
    let address = context.addresses.registry.as_str();
    let client = RegistryClient {
        http: &http,
        address,
    };
    let image = with.image.clone();
    let Some(name) = parse(&image, address) else {
        let problem = format!("{image}: not in {address}");
        return Err(Diagnosis::BadParameters {
            check: NAME.to_owned(),
            problem,
        });
    };
    let Some(digests) = client.digests(name).await? else {
        let registry = Registry {
            address: address.to_owned(),
            images: Some(client.images().await?),
        };
        return Ok(absent(&with, &registry));
    };
    let workloads = match &with.deployment {
        Some(_) => Workloads::read(&context).await?,
        None => Workloads::default(),
    };
    Ok(judge(&with, &context.namespace, &digests, &workloads))
}

fn expected(with: &With) -> Fact {
    let image = with.image.clone();
    match &with.deployment {
        Some(deployment) => Fact::ImageWantedRunning {
            image,
            deployment: deployment.clone(),
        },
        None => Fact::ImageWanted { image },
    }
}

fn absent(with: &With, registry: &Registry) -> Outcome {
    let image = with.image.clone();
    let tags = registry
        .images
        .as_ref()
        .filter(|images| !images.is_empty())
        .map(|images| images.join(", "));
    let tags = tags.unwrap_or_else(|| "–".to_owned());
    let evidence = Evidence {
        expected: expected(with),
        observed: Fact::ImageAbsent {
            image: image.clone(),
            tags: tags.clone(),
        },
        since: None,
    };
    let diagnosis = why_not_pulled(&image, registry);
    // Where the listing has it although the tag was not found, it was removed in between.
    let diagnosis = diagnosis.unwrap_or(Diagnosis::TagNeverPushed { image, tags });
    Outcome::NotYet {
        evidence,
        diagnosis,
    }
}

fn judge(with: &With, namespace: &str, digests: &[String], workloads: &Workloads) -> Outcome {
    let evidence = Evidence {
        expected: expected(with),
        observed: Fact::Image {
            image: with.image.clone(),
            digest: digests
                .first()
                .map(|digest| short(digest))
                .unwrap_or_default(),
        },
        since: None,
    };
    Outcome::of(evidence, find(with, namespace, digests, workloads))
}

/// The beginning of a digest, enough to tell two apart.
fn short(digest: &str) -> String {
    digest.get(..19).unwrap_or(digest).to_owned()
}

fn find(
    with: &With,
    namespace: &str,
    digests: &[String],
    workloads: &Workloads,
) -> Result<(), Diagnosis> {
    let Some(deployment) = &with.deployment else {
        return Ok(());
    };
    let workload = workloads.of(deployment, namespace)?;
    let pods = workload.all_pods();
    if pods.is_empty() {
        return Err(Diagnosis::NoPods {
            deployment: deployment.clone(),
        });
    }
    if workload.image() != with.image {
        let (expected, found) = (with.image.clone(), workload.image().to_owned());
        return Err(Diagnosis::WrongImage {
            kind: "Deployment".to_owned(),
            plural: "deployments".to_owned(),
            name: deployment.clone(),
            expected,
            found,
        });
    }
    let (started, starting): (Vec<&Pod>, Vec<_>) = pods
        .into_iter()
        .partition(|pod| image_ids(pod).next().is_some());
    let other: Vec<_> = started
        .into_iter()
        .filter(|pod| !runs_one_of(pod, digests))
        .collect();
    if !other.is_empty() {
        return Err(Diagnosis::OldDigestRunning {
            image: with.image.clone(),
            pods: name_list(other),
        });
    }
    if !starting.is_empty() {
        return Err(Diagnosis::PodsStarting {
            pods: name_list(starting),
        });
    }
    Ok(())
}

/// What the pod's containers run, by digest; empty before they were made. Runtimes name it bare or
/// behind a repository (`host/name@sha256:…`).
fn image_ids(pod: &Pod) -> impl Iterator<Item = &str> {
    let statuses = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    let ids = statuses.map(|status| {
        status
            .image_id
            .rsplit_once('@')
            .map_or(status.image_id.as_str(), |(_, id)| id)
    });
    ids.filter(|id| !id.is_empty())
}

fn runs_one_of(pod: &Pod, digests: &[String]) -> bool {
    image_ids(pod).any(|id| digests.iter().any(|digest| digest == id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{IMAGE, World, check};
    use serde_json::json;

    fn outcome(world: &World) -> Outcome {
        let with = With {
            image: IMAGE.into(),
            deployment: Some("hello".into()),
        };
        let digests = ["sha256:manifest".to_owned(), "sha256:c0ffee".to_owned()];
        judge(&with, "default", &digests, &world.workloads())
    }

    #[track_caller]
    fn case(expected: Option<&str>, change: impl FnOnce(&mut World)) {
        check(outcome, expected, change);
    }

    #[test]
    fn pods_must_run_what_the_tag_names_now() {
        let runs = |id: &'static str| {
            move |world: &mut World| {
                world.pods[1]["status"]["containerStatuses"][0]["imageID"] = json!(id)
            }
        };
        case(None, |_| {});
        case(None, runs("localhost:5001/hello@sha256:manifest"));
        case(Some("old-digest-running"), runs("sha256:decaf"));
        case(Some("pods-starting"), runs(""));
        case(Some("wrong-image"), |world| {
            world.template("image", &json!("localhost:5001/hello:0.9.0"));
        });
        case(
            Some("old-digest-running"),
            runs("localhost:5001/hello@sha256:other"),
        );
        case(Some("no-pods"), |world| world.pods.clear());
        case(Some("missing"), |world| {
            world.deployment["metadata"]["name"] = json!(null)
        });
    }

    #[test]
    fn an_absent_image_is_explained_by_what_is_there() {
        let with = With {
            image: IMAGE.into(),
            deployment: None,
        };
        let found = |images: &[&str]| {
            let images = images.iter().map(|image| (*image).to_owned()).collect();
            let registry = Registry {
                address: "localhost:5001".to_owned(),
                images: Some(images),
            };
            absent(&with, &registry).diagnosis().map(Diagnosis::id)
        };
        assert_eq!(found(&[]), Some("registry-empty"));
        assert_eq!(found(&["hello:0.9.0"]), Some("tag-never-pushed"));
        assert_eq!(found(&["other:1.0.0"]), Some("image-never-pushed"));
    }
}
