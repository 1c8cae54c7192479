//! The little that a registry reads in a manifest: which content it needs, what it is about, and
//! how it describes itself. Everything else is bytes to be given back as they came.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::digest::Digest;
use crate::error::Refusal;

/// Largest manifest that is accepted; the specification asks for at least this.
pub(crate) const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Media type of an image manifest, assumed where nothing is said.
const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of a list of manifests.
pub(crate) const IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What a manifest says that concerns the registry.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Its media type.
    pub(crate) media_type: String,
    /// What kind of artifact it is; falls back to the configuration's media type.
    pub(crate) artifact_type: Option<String>,
    /// Blobs that must be present: configuration and layers that are not fetched from elsewhere.
    pub(crate) blobs: Vec<Digest>,
    /// Manifests that it lists.
    pub(crate) manifests: Vec<Digest>,
    /// The manifest that it is about (a signature's image).
    pub(crate) subject: Option<Digest>,
    /// Its annotations.
    pub(crate) annotations: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    annotations: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: Option<String>,
    digest: String,
    urls: Option<Vec<String>>,
}

impl Facts {
    /// Reads a manifest that was sent or stored with `content_type`.
    pub(crate) fn read(content: &[u8], content_type: Option<&str>) -> Result<Self, Refusal> {
        let document: Document =
            serde_json::from_slice(content).map_err(|error| invalid(error.to_string()))?;
        let Document {
            media_type,
            artifact_type,
            config,
            layers,
            manifests,
            subject,
            annotations,
        } = document;
        if config.is_none() && manifests.is_none() {
            return Err(invalid("it has neither config nor manifests".to_owned()));
        }
        let config_type = config.as_ref().and_then(|config| config.media_type.clone());
        let media_type = agree(media_type, content_type, manifests.is_some())?;
        let blobs = config.iter().chain(layers.iter().flatten());
        Ok(Self {
            media_type,
            artifact_type: artifact_type
                .filter(|kind| !kind.is_empty())
                .or(config_type),
            blobs: digests(blobs.filter(|blob| !is_fetched_elsewhere(blob)))?,
            manifests: digests(manifests.iter().flatten())?,
            subject: subject.map(|it| parse_digest(&it.digest)).transpose()?,
            annotations: annotations.unwrap_or_default(),
        })
    }
}

/// The media type, where the header and the document do not contradict each other.
fn agree(
    in_document: Option<String>,
    in_header: Option<&str>,
    is_index: bool,
) -> Result<String, Refusal> {
    // Parameters such as `; charset=utf-8` say nothing about the kind of manifest.
    let in_header = in_header.map(|header| header.split(';').next().unwrap_or(header).trim());
    match (in_document, in_header) {
        (Some(document), Some(header)) if document != header => Err(invalid(format!(
            "its mediaType is {document} and the Content-Type header says {header}"
        ))),
        (Some(document), _) => Ok(document),
        (None, Some(header)) if !header.is_empty() => Ok(header.to_owned()),
        (None, _) if is_index => Ok(IMAGE_INDEX.to_owned()),
        (None, _) => Ok(IMAGE_MANIFEST.to_owned()),
    }
}

/// Layers with addresses of their own (Windows base layers) are never pushed.
fn is_fetched_elsewhere(layer: &Descriptor) -> bool {
    layer.urls.as_ref().is_some_and(|urls| !urls.is_empty())
}

fn digests<'a>(descriptors: impl Iterator<Item = &'a Descriptor>) -> Result<Vec<Digest>, Refusal> {
    descriptors.map(|it| parse_digest(&it.digest)).collect()
}

fn parse_digest(text: &str) -> Result<Digest, Refusal> {
    Digest::parse(text).map_err(|refusal| invalid(refusal.to_string()))
}

fn invalid(reason: String) -> Refusal {
    Refusal::ManifestInvalid { reason }
}
