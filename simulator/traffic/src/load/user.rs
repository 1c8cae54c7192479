//! One user: takes the next request that is due, sends it, tells what came back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Schedule;
use crate::outcome::{Cause, Outcome, Reply};
use crate::plan::Plan;

/// The way to the service and back.
pub(super) trait Transport: Send + 'static {
    /// Sends the request with this number and waits for the whole answer.
    fn ask(&mut self, number: u64) -> impl Future<Output = Reply> + Send;

    /// Forgets whatever the request that was given up on may have left behind.
    fn reset(&mut self);
}

pub(super) struct User<T> {
    pub(super) number: u32,
    pub(super) transport: T,
    pub(super) plan: Arc<Plan>,
    pub(super) schedule: Arc<Schedule>,
    pub(super) outcomes: mpsc::Sender<Outcome>,
    /// Nothing new is to be begun.
    pub(super) closing: CancellationToken,
    /// What has not ended is to be given up.
    pub(super) closed: CancellationToken,
}

impl<T: Transport> User<T> {
    pub(super) async fn run(mut self) {
        while !self.closing.is_cancelled() {
            let (number, due) = self.schedule.take();
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                () = tokio::time::sleep_until(due) => {}
            }
            let closed = self.closed.clone();
            let Some(outcome) = closed.run_until_cancelled(self.ask(number, due)).await else {
                return;
            };
            if self.outcomes.send(outcome).await.is_err() {
                return;
            }
        }
    }

    /// A user who comes late lets the time count that the request has waited for somebody to
    /// send it: a service that holds its users up must not look fast to those who are left.
    async fn ask(&mut self, number: u64, due: Instant) -> Outcome {
        let now = Instant::now();
        // The timer wakes up to a millisecond late, which is nobody's wait.
        let since = if now.duration_since(due).as_millis() <= 2 {
            now
        } else {
            due
        };
        let limit = since + self.plan.timeout();
        let asked = tokio::time::timeout_at(limit, self.transport.ask(number)).await;
        let reply = asked.unwrap_or_else(|_| {
            self.transport.reset();
            self.too_late(now.duration_since(since))
        });
        Outcome {
            user: self.number,
            number,
            took: since.elapsed(),
            reply,
        }
    }

    fn too_late(&self, waited: Duration) -> Reply {
        let mut words = format!("no whole answer within {} ms", self.plan.timeout_ms);
        if !waited.is_zero() {
            words.push_str(&format!(
                ", {} ms of them until one of the {} users was free",
                waited.as_millis(),
                self.plan.users
            ));
        }
        Reply::broken(Cause::Timeout, words)
    }
}
