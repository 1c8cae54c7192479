//! A slow node without cgroups: its containers are stopped and continued in turns, so that each
//! runs its share of every tenth of a second.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::watch;

use super::{Shared, group};

/// One turn. Short against what people notice as a pause, long against what a signal costs.
const PERIOD: Duration = Duration::from_millis(100);

/// Stops and continues containers while `share` says so, for as long as the engine lives.
pub(super) fn watch(shared: &Arc<Shared>, mut share: watch::Receiver<Option<f64>>) {
    let (weak, stopped) = (Arc::downgrade(shared), shared.supervisor.stopped());
    shared.supervisor.spawn(async move {
        let turns = async {
            loop {
                let Ok(now) = share.wait_for(Option::is_some).await.map(|share| *share) else {
                    return;
                };
                let run = PERIOD.mul_f64(now.unwrap_or(1.0).clamp(0.01, 1.0));
                let Some(shared) = weak.upgrade() else { return };
                let sessions = sessions(&shared);
                drop(shared);
                group::signal_sessions(&sessions, Signal::STOP);
                tokio::time::sleep(PERIOD.saturating_sub(run)).await;
                group::signal_sessions(&sessions, Signal::CONT);
                tokio::time::sleep(run).await;
            }
        };
        stopped.run_until_cancelled(turns).await;
    });
}

/// The sessions of every container that runs now.
fn sessions(shared: &Shared) -> HashSet<u32> {
    let containers = shared.sandboxes.containers();
    let processes = containers
        .iter()
        .filter_map(|container| container.process());
    processes.map(|process| process.leader.pid).collect()
}
