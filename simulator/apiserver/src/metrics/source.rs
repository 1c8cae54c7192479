//! Where measured values come from. The server defines what it needs; the composition root
//! supplies it, so that this crate never learns how anything is measured.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use lab_api::selector::Selector;

/// CPU and memory of pods and nodes, for `metrics.k8s.io`.
#[async_trait]
pub trait UsageSource: Send + Sync {
    /// The latest of every node that is measured.
    async fn nodes(&self) -> Vec<NodeUsage>;

    /// The latest of every pod that is measured, in a namespace or in all.
    async fn pods(&self, namespace: Option<&str>) -> Vec<PodUsage>;
}

/// What was used, and over which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// End of the window.
    pub time: Timestamp,
    /// Length of the window.
    pub window: Duration,
    /// CPU in nanoseconds per second.
    pub cpu_nano_cores: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

/// What a node uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeUsage {
    /// Its name.
    pub node: String,
    /// What it uses.
    pub usage: Usage,
}

/// What a pod's containers use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUsage {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// By container.
    pub containers: Vec<(String, Usage)>,
}

/// Any other number, for `custom.metrics.k8s.io` and `external.metrics.k8s.io`.
#[async_trait]
pub trait SeriesSource: Send + Sync {
    /// The value of a metric for each of some objects of one kind; objects without are left out.
    ///
    /// # Errors
    /// Where the values cannot be read; the text is for the user.
    async fn of_objects(&self, question: &ObjectQuestion) -> Result<Vec<ObjectValue>, SourceError>;

    /// The values of a metric that belongs to no object.
    ///
    /// # Errors
    /// Where the values cannot be read; the text is for the user.
    async fn external(
        &self,
        namespace: &str,
        metric: &str,
        selector: &Selector,
    ) -> Result<Vec<ExternalValue>, SourceError>;
}

/// Which metric of which objects.
#[derive(Clone, Debug)]
pub struct ObjectQuestion {
    /// Namespace of the objects; empty for kinds of the cluster.
    pub namespace: String,
    /// Group of the kind; empty for core.
    pub group: String,
    /// Plural of the kind.
    pub resource: String,
    /// Names of the objects.
    pub names: Vec<String>,
    /// Name of the metric.
    pub metric: String,
    /// Which of its series.
    pub selector: Selector,
}

/// A number with its moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The number.
    pub value: f64,
    /// When it was so.
    pub time: Timestamp,
    /// Over which time it was measured, for rates.
    pub window: Option<Duration>,
}

/// The value of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectValue {
    /// Its name.
    pub name: String,
    /// Its value.
    pub measured: Measured,
}

/// One value of an external metric.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalValue {
    /// Labels of its series.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub measured: Measured,
}

/// Why there is no value.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no such metric; the text says what was looked for.
    #[error("{0}")]
    NotFound(String),
    /// The question makes no sense to the source.
    #[error("{0}")]
    BadQuestion(String),
    /// The source failed.
    #[error("{0}")]
    Failed(String),
}
