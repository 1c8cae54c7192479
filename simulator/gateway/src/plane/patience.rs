//! Waiting with an end, at the price of one timer per connection instead of one per wait.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Bounds waits. The timer is left alone when a wait is over; only when it goes off does
/// anyone look whether the time is really up.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// Waits of at most this long.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            since: None,
            timer: None,
        }
    }

    /// What was waited for has come; the next wait starts anew.
    pub(super) fn over(&mut self) {
        self.since = None;
    }

    /// Waits, and is ready when that has taken too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = *self.since.get_or_insert_with(Instant::now) + self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(end)));
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_limit_however_many_were_before() {
        let limit = Duration::from_secs(60);
        let mut patience = Patience::new(limit);
        for _ in 0..5 {
            tokio::time::timeout(limit / 2, poll_fn(|cx| patience.poll(cx)))
                .await
                .unwrap_err();
            patience.over();
        }
        let started = Instant::now();
        poll_fn(|cx| patience.poll(cx)).await;
        assert_eq!(started.elapsed(), limit);
    }
}
