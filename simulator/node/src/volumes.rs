//! What a pod's volumes hold, and where its containers see it.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Container, DownwardAPIVolumeFile, KeyToPath, Pod, Volume};
use lab_engine::Mount;

use crate::config::NodeSpec;
use crate::environment::{ConfigError, Entries, References, field_value};

/// Content of one volume.
enum Content {
    Files(BTreeMap<String, Vec<u8>>),
    Scratch,
}

/// The mounts of one container.
pub(crate) async fn mounts(
    references: &References<'_>,
    pod: &Pod,
    container: &Container,
    node: &NodeSpec,
    pod_ip: &str,
) -> Result<Vec<Mount>, ConfigError> {
    let volumes = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.volumes.as_deref())
        .unwrap_or_default();
    let volumes: HashMap<_, _> = volumes
        .iter()
        .map(|volume| (volume.name.as_str(), volume))
        .collect();
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let Some(volume) = volumes.get(mount.name.as_str()) else {
            continue;
        };
        let sub_path = mount.sub_path.as_deref().filter(|path| !path.is_empty());
        let mut made = Mount {
            container_path: mount.mount_path.clone(),
            files: BTreeMap::new(),
            shared_name: None,
            read_only: mount.read_only.unwrap_or(false),
        };
        match content(references, pod, volume, node, pod_ip).await? {
            Content::Scratch => made.shared_name = Some(shared_name(&volume.name, sub_path)),
            Content::Files(files) => made.files = select(files, sub_path),
        }
        mounts.push(made);
    }
    Ok(mounts)
}

fn shared_name(volume: &str, sub_path: Option<&str>) -> String {
    sub_path.map_or_else(|| volume.to_owned(), |path| format!("{volume}/{path}"))
}

/// The files below `sub_path`. A sub-path that names one file mounts that file: it keeps the empty
/// relative path, which engines read as "the mount itself is this file".
fn select(files: BTreeMap<String, Vec<u8>>, sub_path: Option<&str>) -> BTreeMap<String, Vec<u8>> {
    let Some(sub_path) = sub_path else {
        return files;
    };
    let below = |path: &str| {
        let rest = path.strip_prefix(sub_path)?;
        if rest.is_empty() {
            Some(String::new())
        } else {
            rest.strip_prefix('/').map(str::to_owned)
        }
    };
    files
        .into_iter()
        .filter_map(|(path, content)| Some((below(&path)?, content)))
        .collect()
}

async fn content(
    references: &References<'_>,
    pod: &Pod,
    volume: &Volume,
    node: &NodeSpec,
    pod_ip: &str,
) -> Result<Content, ConfigError> {
    if volume.empty_dir.is_some() {
        return Ok(Content::Scratch);
    }
    if let Some(source) = &volume.config_map {
        let entries = references
            .config_map(&source.name, source.optional.unwrap_or(false))
            .await?;
        return project(entries.unwrap_or_default(), source.items.as_deref()).map(Content::Files);
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let entries = references
            .secret(name, source.optional.unwrap_or(false))
            .await?;
        return project(entries.unwrap_or_default(), source.items.as_deref()).map(Content::Files);
    }
    if let Some(source) = &volume.downward_api {
        return downward(pod, node, pod_ip, source.items.as_deref()).map(Content::Files);
    }
    if let Some(source) = &volume.projected {
        let mut files = BTreeMap::new();
        for part in source.sources.iter().flatten() {
            if let Some(map) = &part.config_map {
                let entries = references
                    .config_map(&map.name, map.optional.unwrap_or(false))
                    .await?;
                files.extend(project(entries.unwrap_or_default(), map.items.as_deref())?);
            }
            if let Some(secret) = &part.secret {
                let entries = references
                    .secret(&secret.name, secret.optional.unwrap_or(false))
                    .await?;
                files.extend(project(
                    entries.unwrap_or_default(),
                    secret.items.as_deref(),
                )?);
            }
            if let Some(source) = &part.downward_api {
                files.extend(downward(pod, node, pod_ip, source.items.as_deref())?);
            }
        }
        return Ok(Content::Files(files));
    }
    Err(ConfigError::Unsupported(format!(
        "volume \"{}\" is of a type that this cluster does not offer; use emptyDir, configMap, secret, downwardAPI or projected",
        volume.name
    )))
}

/// The entries under the paths of `items`, or under their own keys.
fn project(
    mut entries: Entries,
    items: Option<&[KeyToPath]>,
) -> Result<BTreeMap<String, Vec<u8>>, ConfigError> {
    let Some(items) = items else {
        return Ok(entries);
    };
    let mut files = BTreeMap::new();
    for item in items {
        let value = entries.remove(&item.key).ok_or_else(|| {
            ConfigError::Unsupported(format!("references non-existent config key: {}", item.key))
        })?;
        files.insert(item.path.clone(), value);
    }
    Ok(files)
}

fn downward(
    pod: &Pod,
    node: &NodeSpec,
    pod_ip: &str,
    items: Option<&[DownwardAPIVolumeFile]>,
) -> Result<BTreeMap<String, Vec<u8>>, ConfigError> {
    let mut files = BTreeMap::new();
    for item in items.unwrap_or_default() {
        if let Some(field) = &item.field_ref {
            files.insert(
                item.path.clone(),
                field_value(pod, node, pod_ip, &field.field_path)?.into_bytes(),
            );
        }
    }
    Ok(files)
}
