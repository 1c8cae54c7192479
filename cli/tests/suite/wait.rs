//! Waiting for what programs do in their own time: looked at often, never slept through.

use std::time::Duration;

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// A point in time to measure from.
#[derive(Clone, Copy)]
pub(crate) struct Watch(std::time::Instant);

impl Watch {
    #[expect(
        clippy::disallowed_methods,
        reason = "the programs under test run on real time"
    )]
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Lets the programs under test go on for a moment before the next look.
#[expect(
    clippy::disallowed_methods,
    reason = "the programs under test run on real time"
)]
pub(crate) fn pause() {
    std::thread::sleep(LOOK);
}

/// Looks until there is something to see, and fails with what it was after `limit`.
#[track_caller]
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let watch = Watch::start();
    loop {
        match look() {
            Ok(seen) => return seen,
            Err(instead) if watch.elapsed() > limit => {
                panic!("{what}: not after {limit:?}; instead: {instead}")
            }
            Err(_) => pause(),
        }
    }
}

/// As [`wait_for`], for something that is or is not.
#[track_caller]
pub(crate) fn wait_until(what: &str, limit: Duration, mut look: impl FnMut() -> bool) {
    wait_for(what, limit, || {
        if look() {
            Ok(())
        } else {
            Err("it is not so".to_owned())
        }
    });
}
