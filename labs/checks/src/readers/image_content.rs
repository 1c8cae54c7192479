//! An image in the registry with its configuration and, where it is asked for, its files.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use lab_image::client::{ClientError, RegistryClient};
use lab_image::contents::{self, ContentsError, LayerContents};
use lab_image::spec::{Descriptor, ImageConfig, Manifest};

use crate::diagnosis::Diagnosis;
use crate::read::root_cause;
use crate::readers::http::Http;
use crate::readers::images::{self, ImageName, Registry, survey, why_not_pulled};

/// The base image of the sample apps, which is made from the program itself and is in no registry.
const RUNTIME: &str = "devops-lab/runtime";
/// What its history says where the cluster's builder made it; every builder carries it on.
const RUNTIME_HISTORY: &str = "devops-lab";
/// The label that it has in Docker, which is carried on likewise. Docker imported it there, and
/// says nothing in its history about who made it.
const RUNTIME_LABEL: &str = "devops-lab.executable";

/// An image.
#[derive(Clone, Debug)]
pub(crate) struct ImageContent {
    /// Digest of the manifest.
    pub(crate) digest: String,
    pub(crate) manifest: Manifest,
    pub(crate) config: ImageConfig,
}

/// An image, or why it is not there.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Image(Box<ImageContent>),
    Absent(Diagnosis),
}

/// Reads images from the cluster's registry.
#[derive(Clone, Debug)]
pub(crate) struct Images {
    address: String,
    client: RegistryClient,
}

impl Images {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            client: RegistryClient::new(address),
        }
    }

    /// Takes a name apart; the error is for a lab that names another registry.
    pub(crate) fn name<'a>(&self, check: &str, image: &'a str) -> Result<ImageName<'a>, Diagnosis> {
        images::parse(image, &self.address).ok_or_else(|| Diagnosis::BadParameters {
            check: check.to_owned(),
            problem: format!("{image}: not in {}", self.address),
        })
    }

    /// The image's manifest and configuration.
    pub(crate) async fn read(&self, image: &str, name: ImageName<'_>) -> Result<Found, Diagnosis> {
        let fetched = self.client.image_manifest(name.repository, name.tag).await;
        let (fetched, manifest) = match fetched {
            Ok(found) => found,
            Err(ClientError::NotFound { .. }) => {
                let registry = survey(&Http::new(), &self.address).await;
                return Ok(Found::Absent(absent(image, &registry)));
            }
            Err(error) => return Err(self.silent(&error)),
        };
        let config = self
            .client
            .blob_bytes(name.repository, &manifest.config)
            .await;
        let config = config.map_err(|error| self.silent(&error))?;
        let config = serde_json::from_slice(&config).map_err(|error| self.silent(&error))?;
        Ok(Found::Image(Box::new(ImageContent {
            digest: fetched.digest.to_string(),
            manifest,
            config,
        })))
    }

    /// What some layers hold, all read at once.
    pub(crate) async fn layers(
        &self,
        repository: &str,
        layers: &[Descriptor],
        keep: &BTreeSet<String>,
    ) -> Result<Vec<LayerContents>, Diagnosis> {
        let read = layers
            .iter()
            .map(|layer| contents::of_layer(&self.client, repository, layer, keep));
        try_join_all(read)
            .await
            .map_err(|error: ContentsError| self.silent(&error))
    }

    fn silent(&self, error: &dyn std::error::Error) -> Diagnosis {
        Diagnosis::RegistryNotAnswering {
            registry: self.address.clone(),
            problem: root_cause(error),
        }
    }
}

fn absent(image: &str, registry: &Registry) -> Diagnosis {
    let gone = || Diagnosis::TagNeverPushed {
        image: image.to_owned(),
        tags: "–".to_owned(),
    };
    why_not_pulled(image, registry).unwrap_or_else(gone)
}

impl ImageContent {
    /// How many of its layers are those of the runtime image; 0 where it is not built on it.
    pub(crate) fn runtime_layers(&self) -> usize {
        let Some(first) = self.config.history.first() else {
            return 0;
        };
        let imported = || self.config.config.labels.contains_key(RUNTIME_LABEL);
        let is_runtime = match first.created_by.as_deref() {
            Some(RUNTIME_HISTORY) => true,
            None | Some("") => imported(),
            Some(_) => false,
        };
        usize::from(is_runtime && !first.empty_layer)
    }

    /// How many layers it has in common with a base: all of the base's, or none.
    pub(crate) fn layers_of(&self, base: &Self) -> Option<usize> {
        let own = &self.config.rootfs.diff_ids;
        let below = &base.config.rootfs.diff_ids;
        own.starts_with(below).then_some(below.len())
    }
}

/// True for the base image of the sample apps.
pub(crate) fn is_runtime(image: &str) -> bool {
    let rest = image.strip_prefix(RUNTIME);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

#[cfg(test)]
mod tests;
