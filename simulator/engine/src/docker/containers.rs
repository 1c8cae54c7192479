//! Making, starting, stopping and removing single containers.

use std::path::Path;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptions, RemoveContainerOptions, StopContainerOptions, UploadToContainerOptions,
};
use bytes::Bytes;

use super::labels::{Part, SandboxIdentity};
use super::{REQUEST_TIMEOUT, Shared, archive, errors, labels, spec};
use crate::{ContainerConfig, ContainerId, EngineError, Mount, SandboxId};

/// How long to wait for an address that its last holder is still giving back, and for a
/// removal that somebody else began.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often to look meanwhile.
const RETRY: Duration = Duration::from_millis(50);

impl Shared {
    pub(super) async fn create_container(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
    ) -> Result<ContainerId, EngineError> {
        let identity = self.identity(sandbox).await?;
        self.refuse_root(config).await?;
        for mount in &config.mounts {
            if let Some(shared_name) = &mount.shared_name {
                self.create_volume(&identity, shared_name, &config.image)
                    .await?;
            }
        }
        let holder = identity
            .config
            .shared
            .then(|| spec::container_name(&self.config.cluster, &identity, &Part::Holder));
        let body = spec::container(&self.config, &identity, config, holder.as_deref())?;
        let part = Part::Container {
            name: config.name.clone(),
            attempt: config.attempt,
        };
        let name = spec::container_name(&self.config.cluster, &identity, &part);
        let id = self.create(&name, body).await?;
        for mount in config
            .mounts
            .iter()
            .filter(|mount| mount.shared_name.is_none())
        {
            self.fill_mount(&id, mount, config.read_only_root).await?;
        }
        Ok(ContainerId(id))
    }

    /// Creates the container, or finds the one that an interrupted call left under this name.
    pub(super) async fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<String, EngineError> {
        let failed = |error| EngineError::runtime(format!("creating container {name}"), error);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let options = CreateContainerOptions {
                name: Some(name.to_owned()),
                ..CreateContainerOptions::default()
            };
            let error = match self
                .docker
                .create_container(Some(options), body.clone())
                .await
            {
                Ok(created) => return Ok(created.id),
                Err(error) => error,
            };
            match errors::status_code(&error) {
                Some(404) => {
                    return Err(not_on_this_node(body.image.as_deref().unwrap_or_default()));
                }
                Some(400) => return Err(EngineError::InvalidContainer(errors::message(&error))),
                Some(409) => {}
                _ => return Err(failed(error)),
            }
            match self.docker.inspect_container(name, None).await {
                Ok(present) => return Ok(present.id.unwrap_or_else(|| name.to_owned())),
                // The name is taken before its container can be seen, and until after it is
                // removed.
                Err(missing)
                    if errors::is_missing(&missing) && tokio::time::Instant::now() < deadline =>
                {
                    tokio::time::sleep(RETRY).await;
                }
                Err(_) => return Err(failed(error)),
            }
        }
    }

    pub(super) async fn start_container(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.start(&container.0).await
    }

    pub(super) async fn start(&self, id: &str) -> Result<(), EngineError> {
        let _permit = self
            .starts
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let Err(error) = self.docker.start_container(id, None).await else {
                return Ok(());
            };
            // The last container of this sandbox has ended, but the daemon is still taking
            // its address back.
            let address_is_busy = errors::message(&error).contains("Address already in use");
            if !address_is_busy || tokio::time::Instant::now() > deadline {
                return Err(start_error(id, error));
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    pub(super) async fn stop_container(
        &self,
        container: &ContainerId,
        grace: Duration,
    ) -> Result<(), EngineError> {
        // The daemon counts whole seconds; a shorter grace becomes one second, and only none
        // at all kills at once.
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let options = StopContainerOptions {
            t: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
            ..StopContainerOptions::default()
        };
        let patient = self.docker.clone().with_timeout(grace + REQUEST_TIMEOUT);
        errors::gone_is_fine(patient.stop_container(&container.0, Some(options)).await).map_err(
            |error| EngineError::runtime(format!("stopping container {}", container.0), error),
        )
    }

    pub(super) async fn remove_container(
        &self,
        container: &ContainerId,
    ) -> Result<(), EngineError> {
        self.remove(&container.0).await
    }

    /// Kills and removes the container with its unnamed volumes, and returns when it is gone.
    pub(super) async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let options = RemoveContainerOptions {
                force: true,
                v: true,
                ..RemoveContainerOptions::default()
            };
            match self.docker.remove_container(id, Some(options)).await {
                Ok(()) => return Ok(()),
                Err(error) if errors::is_missing(&error) => return Ok(()),
                // Somebody else is removing it; it is gone when the daemon no longer knows it.
                Err(error)
                    if errors::is_conflict(&error) && tokio::time::Instant::now() < deadline =>
                {
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => {
                    return Err(EngineError::runtime(
                        format!("removing container {id}"),
                        error,
                    ));
                }
            }
        }
    }

    /// Carries out `runAsNonRoot`, in the kubelet's words.
    /// <https://kubernetes.io/docs/tasks/configure-pod-container/security-context/>
    async fn refuse_root(&self, config: &ContainerConfig) -> Result<(), EngineError> {
        if !config.run_as_non_root {
            return Ok(());
        }
        let image_user = match config.run_as_user {
            Some(_) => String::new(),
            None => self.image_user(&config.image).await?,
        };
        match root_refusal(config.run_as_user, &image_user) {
            None => Ok(()),
            Some(reason) => Err(EngineError::InvalidContainer(format!(
                "{reason} (container {}, image {:?})",
                config.name, config.image
            ))),
        }
    }

    async fn image_user(&self, image: &str) -> Result<String, EngineError> {
        match self.docker.inspect_image(image).await {
            Ok(found) => Ok(found
                .config
                .and_then(|config| config.user)
                .unwrap_or_default()),
            Err(error) if errors::is_missing(&error) => Err(not_on_this_node(image)),
            Err(error) => Err(EngineError::runtime(
                format!("looking at image {image:?}"),
                error,
            )),
        }
    }

    async fn create_volume(
        &self,
        sandbox: &SandboxIdentity,
        shared_name: &str,
        image: &str,
    ) -> Result<(), EngineError> {
        let failed =
            |error| EngineError::runtime(format!("creating the emptyDir {shared_name:?}"), error);
        let name = spec::volume_name(&self.config.cluster, &sandbox.id, shared_name);
        match self.docker.inspect_volume(&name).await {
            Ok(_) => return Ok(()),
            Err(error) if errors::is_missing(&error) => {}
            Err(error) => return Err(failed(error)),
        }
        let own = [
            (labels::CLUSTER, &self.config.cluster),
            (labels::NODE, &self.config.node),
            (labels::SANDBOX, &sandbox.id.0),
        ];
        let request = VolumeCreateRequest {
            name: Some(name.clone()),
            labels: Some(
                own.map(|(key, value)| (key.to_owned(), value.clone()))
                    .into(),
            ),
            ..VolumeCreateRequest::default()
        };
        self.docker.create_volume(request).await.map_err(failed)?;
        self.open_volume(sandbox, &name, image).await
    }

    /// Puts a mount's content into the created container. Done again by a repeated call, with
    /// the same result.
    async fn fill_mount(
        &self,
        id: &str,
        mount: &Mount,
        read_only_root: bool,
    ) -> Result<(), EngineError> {
        let directory = archive::relative(&mount.container_path)?;
        if let Some(content) = mount.single_file() {
            if read_only_root {
                return Err(EngineError::InvalidContainer(format!(
                    "mounting the single file {:?} needs a root file system that can be written to: mount its volume as a directory, or leave out readOnlyRootFilesystem",
                    mount.container_path
                )));
            }
            let file = archive::file(&directory, content, mount.read_only)?;
            return self.unpack(id, "/", file).await;
        }
        if read_only_root {
            let files = archive::files(Path::new("."), &mount.files, mount.read_only)?;
            return self.unpack(id, &mount.container_path, files).await;
        }
        let files = archive::files(&directory, &mount.files, mount.read_only)?;
        self.unpack(id, "/", files).await
    }

    /// Lets every user write to an emptyDir, as in Kubernetes; a fresh volume is root's alone.
    /// Done through a container that is never started, because the daemon changes a volume's
    /// own mode only from outside of it, and not in a container with a read-only root.
    async fn open_volume(
        &self,
        sandbox: &SandboxIdentity,
        volume: &str,
        image: &str,
    ) -> Result<(), EngineError> {
        let part = Part::Opener {
            volume: volume.to_owned(),
        };
        let name = spec::container_name(&self.config.cluster, sandbox, &part);
        let id = self
            .create(&name, spec::opener(&self.config, sandbox, volume, image))
            .await?;
        let opened = self
            .unpack(&id, "/", archive::open_to_everybody(spec::OPENER_PATH)?)
            .await;
        self.remove(&id).await?;
        opened
    }

    async fn unpack(&self, id: &str, path: &str, archive: Vec<u8>) -> Result<(), EngineError> {
        let options = UploadToContainerOptions {
            path: path.to_owned(),
            ..UploadToContainerOptions::default()
        };
        let body = bollard::body_full(Bytes::from(archive));
        self.docker
            .upload_to_container(id, Some(options), body)
            .await
            .map_err(|error| {
                EngineError::runtime(format!("placing files into container {id}"), error)
            })
    }
}

fn not_on_this_node(image: &str) -> EngineError {
    EngineError::ImageNotFound {
        message: format!("image {image:?} is not on this node; pull it first"),
    }
}

/// Why these users may not run under `runAsNonRoot`; `None` where they may.
fn root_refusal(run_as_user: Option<i64>, image_user: &str) -> Option<String> {
    match run_as_user {
        Some(0) => return Some("container's runAsUser breaks non-root policy".to_owned()),
        Some(_) => return None,
        None => {}
    }
    let user = image_user.split(':').next().unwrap_or_default();
    match user.parse::<u64>() {
        Ok(0) => Some("container has runAsNonRoot and image will run as root".to_owned()),
        Ok(_) => None,
        Err(_) if user.is_empty() || user == "root" => {
            Some("container has runAsNonRoot and image will run as root".to_owned())
        }
        Err(_) => Some(format!(
            "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root"
        )),
    }
}

/// The daemon wraps what the kernel said about a program into several layers of its own.
fn start_error(id: &str, error: Error) -> EngineError {
    let message = errors::message(&error);
    match errors::status_code(&error) {
        Some(404) if message.contains("No such container") => {
            EngineError::NotFound(format!("container {id}"))
        }
        Some(400 | 404) => EngineError::InvalidContainer(innermost(&message).to_owned()),
        _ => EngineError::runtime(format!("starting container {id}"), error),
    }
}

/// `… starting container process caused: exec: "x": not found: unknown` → `exec: "x": not found`.
fn innermost(message: &str) -> &str {
    let inner = message.rsplit("caused: ").next().unwrap_or(message);
    inner.strip_suffix(": unknown").unwrap_or(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_root(run_as_user: Option<i64>, image_user: &str, expected: Option<&str>) {
        let refusal = root_refusal(run_as_user, image_user);
        assert_eq!(refusal.is_some(), expected.is_some(), "{refusal:?}");
        assert!(
            refusal
                .unwrap_or_default()
                .contains(expected.unwrap_or_default())
        );
    }

    #[test]
    fn run_as_non_root_accepts_only_users_known_not_to_be_root() {
        check_root(None, "", Some("will run as root"));
        check_root(None, "0:0", Some("will run as root"));
        check_root(None, "root", Some("will run as root"));
        check_root(None, "app", Some("non-numeric user (app)"));
        check_root(None, "10001", None);
        check_root(Some(0), "10001", Some("breaks non-root policy"));
        check_root(Some(7), "root", None);
    }

    #[test]
    fn a_missing_program_is_told_without_the_runtimes_wrapping() {
        let message = "failed to create shim: OCI runtime create failed: container_linux.go:380: starting \
                       container process caused: exec: \"/nope\": stat /nope: no such file or directory: unknown";
        assert_eq!(
            innermost(message),
            "exec: \"/nope\": stat /nope: no such file or directory"
        );
        assert_eq!(innermost("plain"), "plain");
    }
}
