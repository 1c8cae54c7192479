//! The last step of making an image: its documents.

use std::collections::BTreeMap;

use crate::ImageRef;
use crate::layout::{Layout, LayoutError};
use crate::spec::{self, Descriptor, ImageConfig, Manifest};

/// Writes an image's documents and lets a name stand for it.
pub(crate) fn store_image(
    out: &Layout,
    name: &ImageRef,
    config: &ImageConfig,
    layers: Vec<Descriptor>,
) -> Result<(Descriptor, Manifest), LayoutError> {
    let config = out.put_blob(spec::CONFIG, &to_json(config))?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(spec::MANIFEST.to_owned()),
        config,
        layers,
        annotations: BTreeMap::new(),
    };
    let descriptor = out.put_blob(spec::MANIFEST, &to_json(&manifest))?;
    out.set(name, descriptor.clone())?;
    Ok((descriptor, manifest))
}

fn to_json(document: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents have text keys and no failing parts")
}
