//! What a check may use: a client, a few addresses, a time limit.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;

/// How long one check may take before it counts as not run.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(5);

/// How long a check waits for what is on its way, such as a pod that starts: those who apply and
/// check in one breath should not have to check twice.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(2);

/// The cluster that is checked.
#[derive(Clone)]
pub struct CheckContext {
    /// The Kubernetes API.
    pub client: Client,
    /// Where the load balancer and the registry are reached.
    pub addresses: Addresses,
    /// The learner's namespace.
    pub namespace: String,
    /// Time limit of each check.
    pub limit: Duration,
    /// How long a check looks again where waiting may be all that is needed.
    pub patience: Duration,
    /// The learner's files and what is recorded of her work.
    pub desk: Desk,
}

/// What a check may read of the learner beside her cluster; each is none where there is nothing
/// yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desk {
    /// The directory that her files were handed out to; paths in labs are relative to it.
    pub workspace: Option<PathBuf>,
    /// Where the record of `devops-lab traffic` is kept.
    pub traffic: Option<PathBuf>,
    /// Where the runs of pipelines are kept.
    pub pipelines: Option<PathBuf>,
    /// Her answers to the questions of the step, by question.
    pub answers: BTreeMap<String, String>,
    /// When she began the lab. What happened before is no work on it.
    pub since: Option<Timestamp>,
}

impl CheckContext {
    /// The default namespace, time limit and patience.
    #[must_use]
    pub fn new(client: Client, addresses: Addresses) -> Self {
        Self {
            client,
            addresses,
            namespace: "default".to_owned(),
            limit: DEFAULT_LIMIT,
            patience: DEFAULT_PATIENCE,
            desk: Desk::default(),
        }
    }
}

/// Where a cluster is reached from the learner's machine. Labs name these as `{{production}}`,
/// `{{test}}`, `{{registry}}`, `{{metrics}}` and `{{git}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// URL of the load balancer's production listener, without a path.
    pub production: String,
    /// URL of its test listener.
    pub test: String,
    /// The registry, as image names begin: `localhost:5001`.
    pub registry: String,
    /// URL of the metrics (Prometheus' HTTP API), without a path.
    pub metrics: String,
    /// The directory of the cluster's bare repositories.
    pub git: String,
}

impl Default for Addresses {
    /// The preferred ports, for texts that are read before there is a cluster.
    fn default() -> Self {
        Self {
            production: "http://127.0.0.1:8080".to_owned(),
            test: "http://127.0.0.1:8081".to_owned(),
            registry: "localhost:5001".to_owned(),
            metrics: "http://127.0.0.1:9090".to_owned(),
            git: "CLUSTER/git".to_owned(),
        }
    }
}
