//! What a pod's author left out (`k8s.io/kubernetes/pkg/apis/core/v1/defaults.go`).

use k8s_openapi::api::core::v1::{
    AzureDiskVolumeSource, Container, EmptyDirVolumeSource, EnvVar, HTTPGetAction,
    LifecycleHandler, ObjectFieldSelector, PodSpec, Probe, ProjectedVolumeSource,
    ResourceFieldSelector, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use lab_api::names::DEFAULT_SCHEDULER;

/// Seconds that a pod gets to stop.
const GRACE_PERIOD_SECONDS: i64 = 30;
/// Mode of projected files: 0644.
const FILE_MODE: i32 = 0o644;
/// Lifetime of a projected token, in seconds.
const TOKEN_SECONDS: i64 = 3600;

/// Sets a text that is absent or empty, which mean the same in Go.
pub(super) fn text(field: &mut Option<String>, value: &str) {
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(value.to_owned());
    }
}

/// Sets a number that is absent or 0, for fields that are not pointers in Go.
fn number(field: &mut Option<i32>, value: i32) {
    if field.unwrap_or_default() == 0 {
        *field = Some(value);
    }
}

/// Defaults of a pod's spec, in a pod or in a template.
pub(super) fn apply(spec: &mut PodSpec) {
    text(&mut spec.dns_policy, "ClusterFirst");
    text(&mut spec.restart_policy, "Always");
    text(&mut spec.scheduler_name, DEFAULT_SCHEDULER);
    spec.termination_grace_period_seconds
        .get_or_insert(GRACE_PERIOD_SECONDS);
    spec.security_context.get_or_insert_default();
    mirror_service_account(spec);
    let host_network = spec.host_network == Some(true);
    let init = spec.init_containers.iter_mut().flatten();
    for one in init.chain(&mut spec.containers) {
        container(one);
        if host_network {
            publish_ports(one);
        }
    }
    spec.volumes.iter_mut().flatten().for_each(volume);
}

/// Requests that are not given equal the limits. Templates stay as written: their pods get it.
pub(super) fn requests_from_limits(spec: &mut PodSpec) {
    let init = spec.init_containers.iter_mut().flatten();
    for container in init.chain(&mut spec.containers) {
        let Some(resources) = &mut container.resources else {
            continue;
        };
        let Some(limits) = resources.limits.clone() else {
            continue;
        };
        let requests = resources.requests.get_or_insert_default();
        for (resource, limit) in limits {
            requests.entry(resource).or_insert(limit);
        }
    }
}

/// `serviceAccount` is the older name of `serviceAccountName`; the server writes both.
fn mirror_service_account(spec: &mut PodSpec) {
    let given = |field: &Option<String>| field.clone().filter(|name| !name.is_empty());
    let name = given(&spec.service_account_name).or_else(|| given(&spec.service_account));
    spec.service_account.clone_from(&name);
    spec.service_account_name = name;
}

/// On the node's network a container's port is the node's port.
fn publish_ports(container: &mut Container) {
    for port in container.ports.iter_mut().flatten() {
        number(&mut port.host_port, port.container_port);
    }
}

fn container(container: &mut Container) {
    let image = container.image.as_deref().unwrap_or_default();
    let policy = pull_policy(image);
    text(&mut container.image_pull_policy, policy);
    text(
        &mut container.termination_message_path,
        "/dev/termination-log",
    );
    text(&mut container.termination_message_policy, "File");
    container.resources.get_or_insert_default();
    for port in container.ports.iter_mut().flatten() {
        text(&mut port.protocol, "TCP");
    }
    container.env.iter_mut().flatten().for_each(variable);
    let probes = [
        &mut container.liveness_probe,
        &mut container.readiness_probe,
        &mut container.startup_probe,
    ];
    probes.into_iter().flatten().for_each(probe);
    if let Some(lifecycle) = &mut container.lifecycle {
        let handlers = [&mut lifecycle.post_start, &mut lifecycle.pre_stop];
        handlers.into_iter().flatten().for_each(handler);
    }
}

/// `Always` for `latest`, whose meaning changes; `IfNotPresent` for any other tag or digest,
/// and for what is no image reference at all.
fn pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or_default();
    let tag = name.split_once(':').map_or("latest", |(_, tag)| tag);
    let repository = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let readable = name
        .split(':')
        .next()
        .is_some_and(|name| name.chars().all(repository));
    if tag == "latest" && readable && !image.contains('@') {
        "Always"
    } else {
        "IfNotPresent"
    }
}

fn variable(variable: &mut EnvVar) {
    if let Some(source) = &mut variable.value_from {
        source.field_ref.iter_mut().for_each(field);
        source
            .resource_field_ref
            .iter_mut()
            .for_each(resource_field);
    }
}

fn field(selector: &mut ObjectFieldSelector) {
    text(&mut selector.api_version, "v1");
}

fn resource_field(selector: &mut ResourceFieldSelector) {
    selector
        .divisor
        .get_or_insert_with(|| Quantity("0".to_owned()));
}

fn probe(probe: &mut Probe) {
    number(&mut probe.timeout_seconds, 1);
    number(&mut probe.period_seconds, 10);
    number(&mut probe.success_threshold, 1);
    number(&mut probe.failure_threshold, 3);
    probe.http_get.iter_mut().for_each(http_get);
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn handler(handler: &mut LifecycleHandler) {
    handler.http_get.iter_mut().for_each(http_get);
}

fn http_get(action: &mut HTTPGetAction) {
    text(&mut action.path, "/");
    text(&mut action.scheme, "HTTP");
}

fn volume(volume: &mut Volume) {
    if !has_source(volume) {
        volume.empty_dir = Some(EmptyDirVolumeSource::default());
    }
    if let Some(secret) = &mut volume.secret {
        secret.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(config_map) = &mut volume.config_map {
        config_map.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(downward) = &mut volume.downward_api {
        downward.default_mode.get_or_insert(FILE_MODE);
        for item in downward.items.iter_mut().flatten() {
            item.field_ref.iter_mut().for_each(field);
            item.resource_field_ref.iter_mut().for_each(resource_field);
        }
    }
    if let Some(host) = &mut volume.host_path {
        host.type_.get_or_insert_default();
    }
    volume.projected.iter_mut().for_each(projected);
    cloud_volume(volume);
}

fn projected(projected: &mut ProjectedVolumeSource) {
    projected.default_mode.get_or_insert(FILE_MODE);
    for source in projected.sources.iter_mut().flatten() {
        if let Some(token) = &mut source.service_account_token {
            token.expiration_seconds.get_or_insert(TOKEN_SECONDS);
        }
        let items = source
            .downward_api
            .iter_mut()
            .flat_map(|d| d.items.iter_mut().flatten());
        for item in items {
            item.field_ref.iter_mut().for_each(field);
            item.resource_field_ref.iter_mut().for_each(resource_field);
        }
    }
}

/// Volumes of storage systems that this cluster does not have. Their pods stay pending, but
/// the object reads as it would elsewhere.
fn cloud_volume(volume: &mut Volume) {
    if let Some(iscsi) = &mut volume.iscsi {
        text(&mut iscsi.iscsi_interface, "default");
    }
    if let Some(rbd) = &mut volume.rbd {
        text(&mut rbd.pool, "rbd");
        text(&mut rbd.user, "admin");
        text(&mut rbd.keyring, "/etc/ceph/keyring");
    }
    if let Some(scale_io) = &mut volume.scale_io {
        text(&mut scale_io.storage_mode, "ThinProvisioned");
        text(&mut scale_io.fs_type, "xfs");
    }
    volume.azure_disk.iter_mut().for_each(azure_disk);
    let template = volume
        .ephemeral
        .as_mut()
        .and_then(|e| e.volume_claim_template.as_mut());
    if let Some(template) = template {
        text(&mut template.spec.volume_mode, "Filesystem");
    }
}

fn azure_disk(disk: &mut AzureDiskVolumeSource) {
    text(&mut disk.caching_mode, "ReadWrite");
    text(&mut disk.kind, "Shared");
    text(&mut disk.fs_type, "ext4");
    disk.read_only.get_or_insert(false);
}

/// Whether the volume says where its content comes from. The fields of the source stand beside
/// the name, so that is any field but the name.
fn has_source(volume: &Volume) -> bool {
    let unsourced = Volume {
        name: volume.name.clone(),
        ..Volume::default()
    };
    *volume != unsourced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pull_policy_follows_the_tag() {
        for always in ["nginx", "nginx:latest", "localhost:5001/shop", "a/b:latest"] {
            assert_eq!(pull_policy(always), "Always", "{always}");
        }
        for pinned in [
            "nginx:1.27",
            "localhost:5001/shop:v1",
            "nginx@sha256:ab",
            "<your-image>",
        ] {
            assert_eq!(pull_policy(pinned), "IfNotPresent", "{pinned}");
        }
    }
}
