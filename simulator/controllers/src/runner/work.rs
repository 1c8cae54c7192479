//! Workers: they take keys from a queue and reconcile them, several at a time.

use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Error, Queue};

/// What a reconcile that succeeded wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// To be called when something changes.
    Wait,
    /// To be called after this long, or earlier when something changes.
    After(Duration),
}

impl Next {
    /// [`Next::After`] where there is a duration.
    pub(crate) fn after(wait: Option<Duration>) -> Self {
        wait.map_or(Self::Wait, Self::After)
    }
}

/// Reconciles keys of `queue` until `stop`, at most `concurrency` at a time and never one key
/// twice at a time. A failure is retried with back-off; so is a panic, because one odd object
/// must not take the others' controller away.
pub(crate) async fn work<K, F, R>(
    name: &'static str,
    queue: Arc<Queue<K>>,
    concurrency: usize,
    stop: CancellationToken,
    reconcile: F,
) where
    K: Eq + Hash + Clone + Display + Send + 'static,
    F: Fn(K) -> R,
    R: Future<Output = Result<Next, Error>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(concurrency));
    let tasks = TaskTracker::new();
    loop {
        let permit = Arc::clone(&permits)
            .acquire_owned()
            .await
            .expect("nobody closes the semaphore");
        let key = tokio::select! {
            key = queue.next() => key,
            () = stop.cancelled() => break,
        };
        let reconciled = AssertUnwindSafe(reconcile(key.clone())).catch_unwind();
        let queue = Arc::clone(&queue);
        tasks.spawn(async move {
            match reconciled.await {
                Ok(Ok(Next::Wait)) => queue.done(key, None),
                Ok(Ok(Next::After(wait))) => queue.done(key, Some(wait)),
                Ok(Err(error)) => {
                    report(name, &key, &error);
                    queue.failed(key);
                }
                Err(_panic) => {
                    tracing::error!(controller = name, %key, "the controller stumbled over this object");
                    queue.failed(key);
                }
            }
            drop(permit);
        });
    }
    tasks.close();
    tasks.wait().await;
}

/// A conflict is how two writers learn of each other, and not worth a warning.
fn report(name: &str, key: &impl Display, error: &Error) {
    let error_chain = error as &dyn std::error::Error;
    if error.is_conflict() || error.is_not_found() || error.namespace_is_terminating() {
        tracing::debug!(controller = name, %key, error = error_chain, answer = error.answer(), "will retry");
    } else {
        tracing::warn!(controller = name, %key, error = error_chain, answer = error.answer(), "will retry");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_context::Context;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test(start_paused = true)]
    async fn workers_are_bounded_and_survive_a_panic() {
        let queue = Arc::new(Queue::new(Context::simulated(1, 1.0)));
        for key in ["a", "b", "c", "d", "bad"] {
            queue.add(key);
        }
        let stop = CancellationToken::new();
        let (busy, most, done) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicUsize::new(0)),
        );
        let reconcile = {
            let (busy, most, done, stop) = (
                Arc::clone(&busy),
                Arc::clone(&most),
                Arc::clone(&done),
                stop.clone(),
            );
            let stumbled = Arc::new(AtomicUsize::new(0));
            move |key: &'static str| {
                let (busy, most, done, stop) = (
                    Arc::clone(&busy),
                    Arc::clone(&most),
                    Arc::clone(&done),
                    stop.clone(),
                );
                let stumbled = Arc::clone(&stumbled);
                async move {
                    if key == "bad" && stumbled.fetch_add(1, Ordering::SeqCst) == 0 {
                        panic!("an odd object");
                    }
                    most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    busy.fetch_sub(1, Ordering::SeqCst);
                    if done.fetch_add(1, Ordering::SeqCst) == 4 {
                        stop.cancel();
                    }
                    Ok(Next::Wait)
                }
            }
        };
        work("test", queue, 2, stop, reconcile).await;
        assert_eq!(done.load(Ordering::SeqCst), 5);
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }
}
