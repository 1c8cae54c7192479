//! What the registry holds, over the OCI distribution API.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

use http::header::ACCEPT;
use serde::Deserialize;
use serde_json::Value;

use crate::diagnosis::Diagnosis;
use crate::readers::http::{Answer, Http};

/// Kinds of manifests that can be read.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// What the registry holds, as far as it was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    /// How image names begin: `localhost:5001`.
    pub(crate) address: String,
    /// Every `repository:tag`. None where the registry was not asked or did not answer.
    pub(crate) images: Option<Vec<String>>,
}

/// An image name taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageName<'a> {
    pub(crate) repository: &'a str,
    pub(crate) tag: &'a str,
}

/// Takes `REGISTRY/repository:tag` apart; none where it begins with another registry.
pub(crate) fn parse<'a>(image: &'a str, registry: &str) -> Option<ImageName<'a>> {
    // Both names of loopback are the same registry.
    let port = registry.rsplit_once(':').map_or("", |(_, port)| port);
    let (host, path) = image.split_once('/')?;
    let loopback = ["localhost", "127.0.0.1"]
        .iter()
        .any(|name| host == format!("{name}:{port}"));
    if host != registry && !(loopback && is_loopback(registry)) {
        return None;
    }
    let path = path.split_once('@').map_or(path, |(path, _)| path);
    let (repository, tag) = path.split_once(':').unwrap_or((path, "latest"));
    Some(ImageName { repository, tag })
}

fn is_loopback(registry: &str) -> bool {
    registry.starts_with("localhost:") || registry.starts_with("127.0.0.1:")
}

/// Why an image cannot be pulled, as far as its name and the registry's content tell.
pub(crate) fn why_not_pulled(image: &str, registry: &Registry) -> Option<Diagnosis> {
    let Some(name) = parse(image, &registry.address) else {
        return Some(Diagnosis::ImageNotInRegistry {
            image: image.to_owned(),
            registry: registry.address.clone(),
        });
    };
    let images = registry.images.as_ref()?;
    let tags: Vec<_> = images
        .iter()
        .filter_map(|image| image.rsplit_once(':'))
        .collect();
    let here: Vec<_> = tags
        .iter()
        .filter(|(repository, _)| *repository == name.repository)
        .collect();
    if here.iter().any(|(_, tag)| *tag == name.tag) {
        return None;
    }
    let image = image.to_owned();
    Some(if images.is_empty() {
        Diagnosis::RegistryEmpty { image }
    } else if here.is_empty() {
        Diagnosis::ImageNeverPushed {
            image,
            repositories: images.join(", "),
        }
    } else {
        let tags: Vec<_> = here
            .iter()
            .map(|(repository, tag)| format!("{repository}:{tag}"))
            .collect();
        Diagnosis::TagNeverPushed {
            image,
            tags: tags.join(", "),
        }
    })
}

/// Asks a registry. `address` is a host and port.
pub(crate) struct RegistryClient<'a> {
    pub(crate) http: &'a Http,
    pub(crate) address: &'a str,
}

impl RegistryClient<'_> {
    async fn get(&self, path: &str) -> Result<Answer, Diagnosis> {
        let url = format!("http://{}/v2/{path}", self.address);
        self.http
            .get(&url, &[(ACCEPT.as_str(), MANIFESTS)])
            .await
            .map_err(|problem| self.silent(problem))
    }

    fn silent(&self, problem: impl Into<String>) -> Diagnosis {
        Diagnosis::RegistryNotAnswering {
            registry: self.address.to_owned(),
            problem: problem.into(),
        }
    }

    fn json<T: serde::de::DeserializeOwned>(&self, answer: &Answer) -> Result<T, Diagnosis> {
        if answer.status != 200 {
            return Err(self.silent(format!("{}: {}", answer.status, answer.excerpt())));
        }
        serde_json::from_slice(&answer.body).map_err(|_| self.silent(answer.excerpt()))
    }

    /// Everything that it holds, as `repository:tag`.
    pub(crate) async fn images(&self) -> Result<Vec<String>, Diagnosis> {
        #[derive(Deserialize)]
        struct Catalog {
            repositories: Vec<String>,
        }
        #[derive(Deserialize)]
        struct Tags {
            tags: Option<Vec<String>>,
        }
        let catalog: Catalog = self.json(&self.get("_catalog").await?)?;
        let mut images = Vec::new();
        for repository in catalog.repositories {
            let answer = self.get(&format!("{repository}/tags/list")).await?;
            if answer.status == 404 {
                continue;
            }
            let tags: Tags = self.json(&answer)?;
            images.extend(
                tags.tags
                    .into_iter()
                    .flatten()
                    .map(|tag| format!("{repository}:{tag}")),
            );
        }
        Ok(images)
    }

    /// The digests by which the content of a tag may be named: of the manifest, of the manifests
    /// in an index, and of the configurations. None where there is no such tag.
    pub(crate) async fn digests(
        &self,
        name: ImageName<'_>,
    ) -> Result<Option<Vec<String>>, Diagnosis> {
        let ImageName { repository, tag } = name;
        let answer = self.get(&format!("{repository}/manifests/{tag}")).await?;
        if answer.status == 404
            && answer
                .header("content-type")
                .is_some_and(|kind| kind.contains("json"))
        {
            return Ok(None);
        }
        let manifest: Value = self.json(&answer)?;
        let Some(digest) = answer.header("docker-content-digest") else {
            return Err(self.silent("no Docker-Content-Digest"));
        };
        let mut digests = vec![digest.to_owned()];
        let text = |value: &Value| value["digest"].as_str().map(str::to_owned);
        digests.extend(text(&manifest["config"]));
        for child in manifest["manifests"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(text)
        {
            let child_manifest = self.get(&format!("{repository}/manifests/{child}")).await?;
            let child_manifest: Value = self.json(&child_manifest)?;
            digests.extend(text(&child_manifest["config"]));
            digests.push(child);
        }
        Ok(Some(digests))
    }
}

/// The whole content, for diagnoses; a registry that does not answer only makes them vaguer.
pub(crate) async fn survey(http: &Http, address: &str) -> Registry {
    let images = RegistryClient { http, address }.images().await.ok();
    Registry {
        address: address.to_owned(),
        images,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(image: &str, expected: Option<&str>) {
        let registry = Registry {
            address: "localhost:5001".to_owned(),
            images: Some(vec!["hello:1.0.0".to_owned(), "team/shop:2".to_owned()]),
        };
        assert_eq!(
            why_not_pulled(image, &registry).map(|found| found.id()),
            expected,
            "{image}"
        );
    }

    #[test]
    fn a_failed_pull_is_explained_by_what_the_registry_holds() {
        case("localhost:5001/hello:1.0.0", None);
        case("127.0.0.1:5001/hello:1.0.0", None);
        case("localhost:5001/team/shop:2", None);
        case("localhost:5001/hello:1.0.1", Some("tag-never-pushed"));
        case("localhost:5001/hello", Some("tag-never-pushed"));
        case("localhost:5001/helo:1.0.0", Some("image-never-pushed"));
        case("hello:1.0.0", Some("image-not-in-registry"));
        case("localhost:5002/hello:1.0.0", Some("image-not-in-registry"));
        case(
            "docker.io/library/hello:1.0.0",
            Some("image-not-in-registry"),
        );
    }
}
