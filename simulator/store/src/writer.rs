//! The thread that makes writes durable, many in one transaction.

use std::any::Any;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use crate::batch::{Batch, Operation, Refusal};
use crate::disk::Disk;
use crate::memory::Memory;
use crate::{Entry, StorageError, WriteError};

/// Writes in one transaction. Beyond a few hundred the cost of the commit is shared well
/// enough, and a larger batch only makes the first writer wait for the last.
const BATCH: usize = 256;

/// Writes that may wait for the next transaction; then callers wait to be queued.
const QUEUE: usize = 4 * BATCH;

/// The way to the writer thread. Dropping it waits until everything queued is durable and the
/// file is closed.
#[derive(Debug)]
pub(crate) struct Writer {
    /// `None` only while being dropped.
    queue: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

struct Request {
    operation: Operation,
    reply: oneshot::Sender<Reply>,
}

enum Reply {
    Done(Result<Entry, WriteError>),
    Panicked(Box<dyn Any + Send>),
}

impl Writer {
    /// Starts the thread. It owns `disk`, and is the only one to write to `memory`.
    pub(crate) fn start(disk: Disk, memory: Arc<Memory>) -> io::Result<Self> {
        let (queue, requests) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(disk, &memory, requests))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    pub(crate) async fn write(&self, operation: Operation) -> Result<Entry, WriteError> {
        let queue = self.queue.as_ref().ok_or(WriteError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let request = Request { operation, reply };
        queue.send(request).await.map_err(|_| WriteError::Closed)?;
        match answer.await.map_err(|_| WriteError::Closed)? {
            Reply::Done(result) => result,
            Reply::Panicked(panic) => resume_unwind(panic),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        let Some(thread) = self.thread.take() else {
            return;
        };
        // An encoder may own the last handle, and then this is the writer thread itself.
        if thread.thread().id() != thread::current().id() && thread.join().is_err() {
            tracing::error!("the store's writer thread panicked");
        }
    }
}

/// Runs until the queue is closed and empty; then the disk is closed.
fn run(mut disk: Disk, memory: &Memory, mut requests: mpsc::Receiver<Request>) {
    let mut waiting = Vec::with_capacity(BATCH);
    while requests.blocking_recv_many(&mut waiting, BATCH) > 0 {
        commit(&mut disk, memory, &mut waiting);
    }
}

/// Commits what waits, and answers. Refused operations are answered last too: they may have
/// been refused because of a write that then failed to commit.
fn commit(disk: &mut Disk, memory: &Memory, waiting: &mut Vec<Request>) {
    let mut batch = Batch::new(memory);
    let mut answers = Vec::with_capacity(waiting.len());
    for Request { operation, reply } in waiting.drain(..) {
        let answer = match batch.add(operation) {
            Ok(entry) => Reply::Done(Ok(entry)),
            Err(Refusal::Error(error)) => Reply::Done(Err(error)),
            Err(Refusal::Panic(panic)) => Reply::Panicked(panic),
        };
        answers.push((reply, answer));
    }
    match disk.commit(batch.writes()) {
        Ok(()) => batch.publish(),
        Err(error) => {
            tracing::warn!(%error, writes = batch.writes().len(), "a commit failed");
            fail_all(&mut answers, &error);
        }
    }
    for (reply, answer) in answers {
        // A caller that gave up does not need its answer.
        let _ = reply.send(answer);
    }
}

fn fail_all(answers: &mut [(oneshot::Sender<Reply>, Reply)], error: &StorageError) {
    for (_, answer) in answers {
        match answer {
            Reply::Done(result) => *result = Err(WriteError::Storage(error.clone())),
            Reply::Panicked(_) => {}
        }
    }
}
