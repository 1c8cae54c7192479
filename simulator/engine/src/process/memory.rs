//! Memory limits without cgroups: the node looks at what its containers use and kills those
//! that use too much.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::container::Container;
use super::supervisor::Process;
use super::{Shared, group};

/// How often the use is looked at. Applications live in real time, so the cluster's speed does
/// not change it; a look reads a few hundred small files.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks after the limits for as long as the engine lives.
pub(super) fn watch(shared: &Arc<Shared>) {
    let (weak, stopped) = (Arc::downgrade(shared), shared.supervisor.stopped());
    shared.supervisor.spawn(async move {
        while stopped
            .run_until_cancelled(tokio::time::sleep(INTERVAL))
            .await
            .is_some()
        {
            let Some(shared) = weak.upgrade() else { return };
            enforce(&shared);
        }
    });
}

fn enforce(shared: &Shared) {
    let limited: Vec<(Arc<Container>, u64, Process)> = shared
        .sandboxes
        .containers()
        .into_iter()
        .filter_map(|container| {
            container
                .watched()
                .map(|(limit, process)| (container, limit, process))
        })
        .collect();
    if limited.is_empty() {
        return;
    }
    let leaders: HashSet<u32> = limited
        .iter()
        .map(|(_, _, process)| process.leader.pid)
        .collect();
    let used = group::memory_by_session(&leaders);
    for (container, limit, process) in limited {
        if used
            .get(&process.leader.pid)
            .is_some_and(|bytes| *bytes > limit)
        {
            tracing::info!(
                container = container.id().0,
                limit,
                "a container exceeded its memory limit"
            );
            container.kill_for_memory(&process);
        }
    }
}
