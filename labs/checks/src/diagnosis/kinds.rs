//! What kind of cause one is: the program's or a lab's own, passing or not.

use super::{AUTHORED, Diagnosis};
use crate::lab::Cause;
use crate::language::Text;

impl Diagnosis {
    /// True where this is the id of a cause that the program itself can name.
    #[must_use]
    pub fn is_built_in(id: &str) -> bool {
        Self::IDS.contains(&id) && id != AUTHORED
    }

    /// A cause that a lab words itself.
    #[must_use]
    pub fn authored(cause: &Cause) -> Self {
        let Cause {
            id,
            when: _,
            text: Text { en, fr },
            look,
        } = cause.clone();
        Self::Authored {
            id,
            en,
            fr,
            look: look.unwrap_or_default(),
        }
    }

    /// True where waiting may be all that is needed.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::NotObserved { .. }
                | Self::PodsStarting { .. }
                | Self::RouteNotSeen { .. }
                | Self::NotScheduled { .. }
                | Self::OldPodsRunning { .. }
                | Self::TooManyPods { .. }
                | Self::NotReplaced { .. }
                | Self::PodEnding { .. }
                | Self::TooFewEndpoints { .. }
                | Self::RolloutGoingOn { .. }
                | Self::StillFailing { .. }
                | Self::TrafficGoingOn { .. }
                | Self::CiRunGoingOn { .. }
                | Self::TooFewObjects { .. }
        ) || matches!(self, Self::ExpressionFalse { condition, .. } if condition.contains(".status"))
    }
}
