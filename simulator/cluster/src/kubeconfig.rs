//! The context in the user's kubeconfig: added at start, taken out at delete.
//!
//! As kind does it: one cluster, one user and one context named `devops-lab-NAME`, made current;
//! at delete the context that was current before comes back. The file is locked as kubectl
//! locks it (`config.lock` beside it), and written atomically.
//! <https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/>

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::config::yaml_problem;
use crate::record::{Record, write_atomically};

/// How long another program's lock on the file is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Pause between two looks at the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Why the kubeconfig was not changed.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// The file system refused.
    #[error("failed to {verb} the kubeconfig {path}")]
    Io {
        /// `read`, `write` or `lock`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is not a kubeconfig.
    #[error(
        "{path} is not a kubeconfig and was left as it is; repair it, or use --no-kubeconfig and `devops-lab env`\n{problem}"
    )]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Somebody else holds it.
    #[error("{path} has been locked for {} s by another program; remove {path}.lock if none is running", LOCK_WAIT.as_secs())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Nobody says where it is.
    #[error("neither KUBECONFIG nor HOME is set: set one of them, or use --no-kubeconfig")]
    NoHome,
}

/// The first file of `$KUBECONFIG`, else `~/.kube/config`.
///
/// # Errors
/// Where neither variable is set.
pub fn default_path() -> Result<PathBuf, KubeconfigError> {
    if let Some(list) = std::env::var_os("KUBECONFIG")
        && let Some(first) = std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty())
    {
        return Ok(first);
    }
    let home = std::env::var_os("HOME")
        .filter(|home| !home.is_empty())
        .ok_or(KubeconfigError::NoHome)?;
    Ok(PathBuf::from(home).join(".kube/config"))
}

/// Name of a cluster's context, cluster and user entries.
#[must_use]
pub fn context_name(cluster: &str) -> String {
    format!("devops-lab-{cluster}")
}

/// A whole kubeconfig for one cluster, as YAML.
#[must_use]
pub fn standalone(record: &Record) -> String {
    let mut config = empty();
    add(&mut config, record);
    to_yaml(&config)
}

/// Adds the cluster's context and makes it current; answers the context that was current before.
///
/// # Errors
/// Where the file cannot be locked, read or written; it is then unchanged.
pub async fn merge(path: &Path, record: &Record) -> Result<Option<String>, KubeconfigError> {
    let _lock = Lock::take(path).await?;
    let mut config = read(path)?.unwrap_or_else(empty);
    let previous = config["current-context"]
        .as_str()
        .filter(|name| !name.is_empty())
        .map(str::to_owned);
    add(&mut config, record);
    write(path, &config)?;
    Ok(previous.filter(|name| *name != context_name(&record.name)))
}

/// Takes the cluster's entries out; where its context is still current, `previous` comes back if
/// it still exists.
///
/// # Errors
/// Where the file cannot be locked, read or written; it is then unchanged.
pub async fn remove(
    path: &Path,
    cluster: &str,
    previous: Option<&str>,
) -> Result<(), KubeconfigError> {
    if !path.exists() {
        return Ok(());
    }
    let _lock = Lock::take(path).await?;
    let Some(mut config) = read(path)? else {
        return Ok(());
    };
    let name = context_name(cluster);
    for list in ["clusters", "contexts", "users"] {
        if let Some(entries) = config[list].as_array_mut() {
            entries.retain(|entry| entry["name"] != name.as_str());
        }
    }
    if config["current-context"] == name.as_str() {
        let back = previous
            .filter(|previous| has(&config, previous))
            .unwrap_or_default();
        config["current-context"] = json!(back);
    }
    write(path, &config)
}

fn has(config: &Value, context: &str) -> bool {
    config["contexts"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|entry| entry["name"] == context)
}

fn empty() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "preferences": {},
        "clusters": [], "contexts": [], "users": [], "current-context": "",
    })
}

fn add(config: &mut Value, record: &Record) {
    let name = context_name(&record.name);
    let cluster = json!({
        "server": format!("https://127.0.0.1:{}", record.ports.api),
        "certificate-authority-data": STANDARD.encode(&record.pki.ca_pem),
    });
    put(config, "clusters", &name, "cluster", &cluster);
    put(
        config,
        "users",
        &name,
        "user",
        &json!({"token": record.token}),
    );
    put(
        config,
        "contexts",
        &name,
        "context",
        &json!({"cluster": name, "user": name}),
    );
    config["current-context"] = json!(name);
}

fn put(config: &mut Value, list: &str, name: &str, key: &str, value: &Value) {
    if !config[list].is_array() {
        config[list] = json!([]);
    }
    if let Some(entries) = config[list].as_array_mut() {
        entries.retain(|entry| entry["name"] != name);
        entries.push(json!({"name": name, key: value}));
    }
}

fn read(path: &Path) -> Result<Option<Value>, KubeconfigError> {
    let text = match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => return Ok(None),
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(KubeconfigError::Io {
                verb: "read",
                path: path.to_owned(),
                source,
            });
        }
    };
    let invalid = |problem: String| KubeconfigError::Invalid {
        path: path.to_owned(),
        problem,
    };
    let config: Value =
        serde_saphyr::from_str(&text).map_err(|error| invalid(yaml_problem(&error, path)))?;
    if config.is_object() {
        Ok(Some(config))
    } else {
        Err(invalid("it is not a mapping".to_owned()))
    }
}

/// JSON is YAML, but people read this file: it is written as block YAML.
fn to_yaml(config: &Value) -> String {
    serde_saphyr::to_string(config).unwrap_or_else(|_| config.to_string())
}

fn write(path: &Path, config: &Value) -> Result<(), KubeconfigError> {
    let failed = |source| KubeconfigError::Io {
        verb: "write",
        path: path.to_owned(),
        source,
    };
    // A link is followed, so that the target is replaced and not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    write_atomically(&target, to_yaml(config).as_bytes(), 0o600).map_err(failed)
}

/// kubectl's lock: a file made exclusively beside the kubeconfig.
struct Lock(PathBuf);

impl Lock {
    async fn take(path: &Path) -> Result<Self, KubeconfigError> {
        let failed = |source| KubeconfigError::Io {
            verb: "lock",
            path: path.to_owned(),
            source,
        };
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        let deadline = tokio::time::Instant::now() + LOCK_WAIT;
        loop {
            match fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&lock)
            {
                Ok(_) => return Ok(Self(lock)),
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed(error));
                }
                Err(_) if tokio::time::Instant::now() >= deadline => {
                    return Err(KubeconfigError::Locked {
                        path: path.to_owned(),
                    });
                }
                Err(_) => tokio::time::sleep(LOCK_PAUSE).await,
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sample;

    fn config_of(path: &Path) -> Value {
        serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn the_previous_context_comes_back_after_delete() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("kube/config");
        let before = json!({"apiVersion": "v1", "kind": "Config", "current-context": "work",
            "clusters": [{"name": "w", "cluster": {"server": "https://w"}}], "users": [],
            "contexts": [{"name": "work", "context": {"cluster": "w", "user": "u"}}],
            "extensions": [{"name": "kept"}]});
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, to_yaml(&before)).unwrap();

        let previous = merge(&path, &sample("lab")).await.unwrap();
        assert_eq!(previous.as_deref(), Some("work"));
        let merged = config_of(&path);
        assert_eq!(merged["current-context"], "devops-lab-lab");
        assert_eq!(merged["contexts"].as_array().unwrap().len(), 2);

        // A second merge changes nothing but keeps no trace of itself as "previous".
        assert_eq!(merge(&path, &sample("lab")).await.unwrap(), None);
        remove(&path, "lab", previous.as_deref()).await.unwrap();
        assert_eq!(config_of(&path), before);
    }

    #[tokio::test]
    async fn a_file_that_is_no_kubeconfig_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config");
        fs::write(&path, "just: [a\n").unwrap();
        assert!(matches!(
            merge(&path, &sample("lab")).await,
            Err(KubeconfigError::Invalid { .. })
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "just: [a\n");
        assert!(!home.path().join("config.lock").exists());
    }

    #[tokio::test]
    async fn a_context_chosen_since_stays_current() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config");
        merge(&path, &sample("one")).await.unwrap();
        merge(&path, &sample("two")).await.unwrap();
        remove(&path, "one", None).await.unwrap();
        assert_eq!(config_of(&path)["current-context"], "devops-lab-two");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_is_never_released_is_named() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config");
        fs::write(home.path().join("config.lock"), "").unwrap();
        let message = merge(&path, &sample("lab")).await.unwrap_err().to_string();
        assert!(message.contains("config.lock"), "{message}");
    }
}
