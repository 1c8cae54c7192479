//! The cluster file (`--config`): `apiVersion: devops-lab.dev/v1`, `kind: Cluster`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// `apiVersion` of a cluster file.
pub const API_VERSION: &str = "devops-lab.dev/v1";
/// Most nodes on the docker engine; each takes one /24 of the cluster's network.
pub const MAX_DOCKER_NODES: u16 = 62;
/// Most nodes on the process engine; each takes one /24 of the cluster's loopback range.
pub const MAX_PROCESS_NODES: u16 = 120;
/// Most nodes on the simulated engine.
pub const MAX_SIMULATED_NODES: u16 = 10_000;

/// What runs the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Containers on the local Docker daemon.
    Docker,
    /// Child processes, each pod on its own loopback address.
    Process,
    /// Nothing runs: nodes and pods exist in the API only.
    Simulated,
}

impl EngineKind {
    /// As the user spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Process => "process",
            Self::Simulated => "simulated",
        }
    }

    /// Most nodes that the engine carries.
    #[must_use]
    pub fn max_nodes(self) -> u16 {
        match self {
            Self::Docker => MAX_DOCKER_NODES,
            Self::Process => MAX_PROCESS_NODES,
            Self::Simulated => MAX_SIMULATED_NODES,
        }
    }
}

/// A cluster file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterFile {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// Always `Cluster`.
    pub kind: String,
    /// Name and nothing else.
    #[serde(default)]
    pub metadata: ClusterMetadata,
    /// What is wanted.
    #[serde(default)]
    pub spec: ClusterSpec,
}

/// Metadata of a cluster file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterMetadata {
    /// Name of the cluster.
    pub name: Option<String>,
}

/// Spec of a cluster file. A flag on the command line wins over the same field here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterSpec {
    /// Number of nodes.
    pub nodes: Option<u16>,
    /// What runs the pods; chosen by what the machine offers when absent.
    pub engine: Option<EngineKind>,
    /// How many times faster than real time the cluster's own waits run.
    pub speed: Option<f64>,
    /// Ports on the host that are preferred; the next free one is taken where one is in use.
    #[serde(default)]
    pub ports: PortPreferences,
    /// What each node offers.
    #[serde(default)]
    pub node: NodeResources,
}

/// Preferred ports on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PortPreferences {
    /// The Kubernetes API.
    pub api: u16,
    /// The load balancer's production listener.
    pub production: u16,
    /// The load balancer's test listener.
    pub test: u16,
    /// HTTPS of the load balancer.
    pub https: u16,
    /// The image registry.
    pub registry: u16,
    /// The metrics (Prometheus' HTTP API).
    pub metrics: u16,
}

impl PortPreferences {
    /// Ports for a cluster that nobody will type the address of: clear of those that people
    /// prefer, of the range that the system gives to clients, and, by a number such as that of
    /// the process, of those of other programs that do the same.
    #[must_use]
    pub fn apart(number: u32) -> Self {
        /// Of as many blocks, from this port on.
        const BLOCKS: u32 = 500;
        const FIRST: u32 = 20_000;
        /// Ports of a block: a few clusters of a program, side by side.
        const BLOCK: u32 = 24;
        let first = u16::try_from(FIRST + number % BLOCKS * BLOCK).unwrap_or(u16::MAX);
        Self {
            api: first,
            production: first,
            test: first,
            https: first,
            registry: first,
            metrics: first,
        }
    }
}

impl Default for PortPreferences {
    fn default() -> Self {
        Self {
            api: 6443,
            production: 8080,
            test: 8081,
            https: 8443,
            registry: 5001,
            metrics: lab_api::monitoring::PORT,
        }
    }
}

/// What each node offers to pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeResources {
    /// CPU in thousandths of a core. Nodes share the machine's cores, so this is a claim, not a
    /// partition.
    pub cpu_millis: u64,
    /// Memory in MiB; a claim likewise.
    pub memory_mib: u64,
    /// Number of pods.
    pub pods: u32,
}

impl Default for NodeResources {
    fn default() -> Self {
        Self {
            cpu_millis: 4000,
            memory_mib: 4096,
            pods: 110,
        }
    }
}

/// Why a cluster file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("failed to read the cluster file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is not a cluster file; the text shows line, column and field.
    #[error("the cluster file {path} is not valid:\n{problem}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and what.
        problem: String,
    },
    /// A value is out of range.
    #[error("the cluster file {path}: {field}: {problem}")]
    Value {
        /// The file.
        path: PathBuf,
        /// Dotted path of the field.
        field: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

impl ClusterFile {
    /// Reads and checks a cluster file.
    ///
    /// # Errors
    /// With file, line and field.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// As [`ClusterFile::read`], from text; `path` is for messages.
    ///
    /// # Errors
    /// With file, line and field.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: Self = serde_saphyr::from_str(text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            problem: yaml_problem(&error, path),
        })?;
        let value = |field, problem| ConfigError::Value {
            path: path.to_owned(),
            field,
            problem,
        };
        if file.api_version != API_VERSION {
            let problem = format!(
                "{:?} is not known to this version of devops-lab, which reads {API_VERSION:?}; a newer file needs a newer devops-lab",
                file.api_version
            );
            return Err(value("apiVersion", problem));
        }
        if file.kind != "Cluster" {
            return Err(value(
                "kind",
                format!("expected \"Cluster\", found {:?}", file.kind),
            ));
        }
        if let Some(name) = &file.metadata.name {
            check_name(name).map_err(|problem| value("metadata.name", problem))?;
        }
        if let Some(nodes) = file.spec.nodes {
            check_nodes(nodes, file.spec.engine).map_err(|problem| value("spec.nodes", problem))?;
        }
        if let Some(speed) = file.spec.speed {
            check_speed(speed).map_err(|problem| value("spec.speed", problem))?;
        }
        Ok(file)
    }
}

/// What a YAML parser found, with the name of the file in its picture of the place.
pub(crate) fn yaml_problem(error: &serde_saphyr::Error, path: &Path) -> String {
    let text = error
        .to_string()
        .replace("<input>", &path.display().to_string());
    // "u16" is a word of this program, not of whoever wrote the file.
    let text = text.replace("invalid u16", "not a whole number that fits here");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

/// A cluster's name becomes part of container names and contexts.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.len() <= 40 && lab_api::names::is_dns_label(name) {
        Ok(())
    } else {
        Err(format!(
            "{name:?} is not a name: use up to 40 lower-case letters, digits and '-', with a letter or digit at both ends"
        ))
    }
}

/// # Errors
/// Where the number is out of the engine's range.
pub fn check_nodes(nodes: u16, engine: Option<EngineKind>) -> Result<(), String> {
    let (most, which) = engine.map_or((MAX_SIMULATED_NODES, "any"), |engine| {
        (engine.max_nodes(), engine.as_str())
    });
    match nodes {
        0 => Err("a cluster needs at least 1 node".to_owned()),
        count if count > most => Err(format!(
            "{count} nodes are more than the {most} that the {which} engine carries"
        )),
        _ => Ok(()),
    }
}

/// # Errors
/// Where the speed is no sensible factor.
pub fn check_speed(speed: f64) -> Result<(), String> {
    if (0.1..=1000.0).contains(&speed) {
        Ok(())
    } else {
        Err(format!("{speed} is not between 0.1 and 1000"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ClusterFile, ConfigError> {
        ClusterFile::parse(text, Path::new("lab.yaml"))
    }

    #[test]
    fn a_full_file_is_read() {
        let file = parse(
            "apiVersion: devops-lab.dev/v1\nkind: Cluster\nmetadata:\n  name: demo\nspec:\n  nodes: 5\n  engine: process\n  speed: 10\n  ports:\n    api: 7443\n",
        )
        .unwrap();
        assert_eq!(file.spec.nodes, Some(5));
        assert_eq!(file.spec.engine, Some(EngineKind::Process));
        assert_eq!(file.spec.ports.api, 7443);
        assert_eq!(file.spec.ports.registry, 5001);
    }

    #[track_caller]
    fn refused(text: &str, words: &[&str]) {
        let message = parse(text).unwrap_err().to_string();
        for word in words.iter().chain(&["lab.yaml"]) {
            assert!(message.contains(word), "{word:?} is not in {message:?}");
        }
    }

    #[test]
    fn a_bad_file_is_refused_with_its_place() {
        let head = "apiVersion: devops-lab.dev/v1\nkind: Cluster\n";
        refused(&format!("{head}spec:\n  nodez: 3\n"), &["nodez", "4"]);
        refused(&format!("{head}spec:\n  nodes: three\n"), &["4"]);
        refused(
            &format!("{head}spec:\n  nodes: 0\n"),
            &["spec.nodes", "at least 1"],
        );
        refused(
            &format!("{head}spec:\n  nodes: 80\n  engine: docker\n"),
            &["62"],
        );
        refused(
            &format!("{head}metadata:\n  name: My Lab\n"),
            &["metadata.name"],
        );
        refused("apiVersion: devops-lab.dev/v9\nkind: Cluster\n", &["newer"]);
        refused(&format!("{head}spec:\n  speed: -1\n"), &["spec.speed"]);
    }
}
