//! How the parts of a cluster are started, ended and looked at, whichever engine it has.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// Told about the parts of a bring-up as they come, for people who wait.
pub trait Progress: Send + Sync {
    /// A part is being brought up.
    fn begin(&self, part: &str);
    /// It is up, after this long; `note` says something worth knowing about it.
    fn done(&self, part: &str, took: Duration, note: &str);
}

/// A [`Progress`] that nobody watches.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str) {}
    fn done(&self, _: &str, _: Duration, _: &str) {}
}

/// Whether a part of a cluster runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It runs.
    Running,
    /// It is frozen (docker pause): it accepts connections and answers nothing.
    Paused,
    /// It exists and does not run.
    Stopped,
}

/// A part of a cluster: `control-plane`, `gateway`, `registry` or a node.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub state: RunState,
    /// Process id or container name, for those who want to look (or kill).
    pub handle: String,
}

/// Starts and ends the parts of one cluster.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Brings up every part of the record that does not run; answers their names.
    async fn up(&self, progress: &dyn Progress) -> anyhow::Result<Vec<String>>;

    /// Ends every part; objects, images and addresses stay.
    async fn stop(&self) -> anyhow::Result<()>;

    /// Ends and removes everything outside the cluster's directory.
    async fn delete(&self) -> anyhow::Result<()>;

    /// Every part, control plane first.
    async fn components(&self) -> anyhow::Result<Vec<Component>>;

    /// Starts one part that does not run.
    async fn start_component(&self, name: &str) -> anyhow::Result<()>;

    /// Ends one part, as by its power switch.
    async fn stop_component(&self, name: &str) -> anyhow::Result<()>;

    /// Ends one part at once, as by pulling its plug.
    async fn kill_component(&self, name: &str) -> anyhow::Result<()>;

    /// Removes what is left of a node that was taken out of the record.
    async fn remove_node(&self, name: &str) -> anyhow::Result<()>;

    /// Output of one part, oldest first: the last `tail` lines, and what comes where `follow`.
    async fn logs(
        &self,
        name: &str,
        tail: Option<u64>,
        follow: bool,
    ) -> anyhow::Result<BoxStream<'static, anyhow::Result<Bytes>>>;
}
