//! Threads that carry the traffic: one per core, each with a runtime and connections of its
//! own, so that a request never waits for another thread to be woken.

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Most threads there may be; a larger machine has better things to do for a class.
pub(super) const MOST: usize = 8;

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// The number of the thread that asks, below [`MOST`]. Connections to endpoints are kept apart
/// by it, because each is bound to the runtime that opened it.
pub(super) fn number() -> usize {
    NUMBER.get()
}

/// The threads. They start with the first connection: a cluster without traffic has none.
#[derive(Debug)]
pub(super) struct Workers {
    wanted: usize,
    started: OnceLock<Vec<Worker>>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    _stop: DropGuard,
}

impl Workers {
    /// This many threads; with 0 everything runs where it was accepted.
    pub(super) fn new(wanted: usize) -> Self {
        Self {
            wanted: wanted.min(MOST),
            started: OnceLock::new(),
            next: AtomicUsize::new(0),
        }
    }

    /// How many runtimes take turns.
    pub(super) fn count(&self) -> usize {
        self.wanted.max(1)
    }

    /// Serves a connection on the next thread, whose number `serve` is given.
    pub(super) fn serve<S, F>(&self, tracker: &TaskTracker, stream: TcpStream, serve: S)
    where
        S: FnOnce(usize, TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let threads = self.started.get_or_init(|| start(self.wanted));
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(worker) = threads.get(turn % threads.len().max(1)) else {
            tracker.spawn(serve(0, stream));
            return;
        };
        let number = turn % threads.len();
        // The stream has to be known to the runtime that will wait for it.
        let moved = stream.into_std();
        let serving = async move {
            match moved.and_then(TcpStream::from_std) {
                Ok(stream) => serve(number, stream).await,
                Err(error) => tracing::debug!(%error, "connection not taken over"),
            }
        };
        tracker.spawn_on(serving, &worker.runtime);
    }
}

/// Fewer threads than wanted do as well, if slower; without any the caller's runtime does.
fn start(wanted: usize) -> Vec<Worker> {
    let workers = (0..wanted).map(spawn).collect::<io::Result<Vec<_>>>();
    workers.unwrap_or_else(|error| {
        tracing::warn!(%error, "the load balancer runs without threads of its own");
        Vec::new()
    })
}

fn spawn(number: usize) -> io::Result<Worker> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let handle = runtime.handle().clone();
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    std::thread::Builder::new()
        .name(format!("gateway-{number}"))
        .spawn(move || {
            NUMBER.set(number);
            runtime.block_on(stop.cancelled());
        })?;
    Ok(Worker {
        runtime: handle,
        _stop: guard,
    })
}
