//! What a check may use: a client, a few addresses, a time limit.

use std::time::Duration;

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
        }
    }
}

/// Where a cluster is reached from the learner's machine. Labs name these as `{{production}}`,
/// `{{test}}` and `{{registry}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// URL of the load balancer's production listener, without a path.
    pub production: String,
    /// URL of its test listener.
    pub test: String,
    /// The registry, as image names begin: `localhost:5001`.
    pub registry: String,
}

impl Default for Addresses {
    /// The preferred ports, for texts that are read before there is a cluster.
    fn default() -> Self {
        Self {
            production: "http://127.0.0.1:8080".to_owned(),
            test: "http://127.0.0.1:8081".to_owned(),
            registry: "localhost:5001".to_owned(),
        }
    }
}
