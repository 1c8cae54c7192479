//! Noticing what vanished while a watch was down.

use std::collections::HashSet;
use std::sync::Arc;

/// Follows a watch through its lists: `Idle` → `begin` → `saw`… → `finish`.
#[derive(Debug, Default)]
pub(crate) struct Relist {
    /// What the list under way has shown so far.
    seen: HashSet<Arc<str>>,
    complete: bool,
}

impl Relist {
    pub(crate) fn begin(&mut self) {
        self.seen.clear();
    }

    pub(crate) fn saw(&mut self, key: Arc<str>) {
        self.seen.insert(key);
    }

    /// Ends the list; the keys of `known` that it did not show are gone.
    pub(crate) fn finish<'a>(
        &mut self,
        known: impl IntoIterator<Item = &'a Arc<str>>,
    ) -> Vec<Arc<str>> {
        self.complete = true;
        let seen = std::mem::take(&mut self.seen);
        let known = known.into_iter();
        known.filter(|key| !seen.contains(*key)).cloned().collect()
    }

    /// True once one list has come through.
    pub(crate) fn complete(&self) -> bool {
        self.complete
    }
}
