//! How fast lost nodes are emptied.
//!
//! When many nodes are lost at once, the network or the control plane is the likelier cause,
//! and moving all their pods would make things worse. Kubernetes has rules per zone; this
//! cluster is one zone.
//!
//! <https://kubernetes.io/docs/concepts/architecture/nodes/#rate-limits-on-eviction>

use std::time::Duration;

use tokio::time::Instant;

/// One node in ten seconds.
const NORMAL: Duration = Duration::from_secs(10);
/// One node in a hundred seconds.
const SLOW: Duration = Duration::from_secs(100);
/// Nodes beyond which a cluster is large enough to go on slowly.
const LARGE: usize = 50;
/// Share of lost nodes, in percent, from which the cluster counts as disturbed.
const DISTURBED_PERCENT: usize = 55;

/// How much of the cluster is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disruption {
    /// Some nodes, or none.
    None,
    /// Most nodes.
    Partial,
    /// Every node: more likely we are the ones cut off, so nobody is sent away.
    Full,
}

impl Disruption {
    /// With this many nodes ready and not.
    pub(super) fn of(ready: usize, lost: usize) -> Self {
        if ready == 0 && lost > 0 {
            Self::Full
        } else if lost > 2 && lost * 100 >= (ready + lost) * DISTURBED_PERCENT {
            Self::Partial
        } else {
            Self::None
        }
    }

    /// Time between two nodes to be emptied, in a cluster of `total` nodes; `None` for never.
    pub(super) fn eviction_interval(self, total: usize) -> Option<Duration> {
        match self {
            Self::None => Some(NORMAL),
            Self::Partial if total > LARGE => Some(SLOW),
            Self::Partial | Self::Full => None,
        }
    }
}

/// Lets one node after the other pass.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Instant>,
}

impl Pace {
    /// Passes if the last one passed at least `interval` ago. Otherwise tells how long to
    /// wait; `None` where waiting is no use until something changes.
    pub(super) fn take(
        &mut self,
        interval: Option<Duration>,
        now: Instant,
    ) -> Result<(), Option<Duration>> {
        let interval = interval.ok_or(None)?;
        let passed = self.last.map_or(interval, |last| now - last);
        if passed < interval {
            return Err(Some(interval - passed));
        }
        self.last = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(ready: usize, lost: usize, disruption: Disruption, interval: Option<u64>) {
        let found = Disruption::of(ready, lost);
        assert_eq!(found, disruption);
        let found = found.eviction_interval(ready + lost);
        assert_eq!(found, interval.map(Duration::from_secs));
    }

    #[test]
    fn the_more_nodes_are_lost_the_slower_they_are_emptied() {
        case(3, 0, Disruption::None, Some(10));
        case(2, 1, Disruption::None, Some(10));
        case(1, 2, Disruption::None, Some(10));
        case(0, 3, Disruption::Full, None);
        case(2, 3, Disruption::Partial, None);
        case(40, 60, Disruption::Partial, Some(100));
        case(60, 40, Disruption::None, Some(10));
        case(0, 100, Disruption::Full, None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_node_passes_at_a_time() {
        let mut pace = Pace::default();
        let ten = Some(Duration::from_secs(10));
        assert_eq!(pace.take(ten, Instant::now()), Ok(()));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(
            pace.take(ten, Instant::now()),
            Err(Some(Duration::from_secs(6)))
        );
        assert_eq!(pace.take(None, Instant::now()), Err(None));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(pace.take(ten, Instant::now()), Ok(()));
    }
}
