//! Sending the requests.

mod cookies;
mod http;
mod user;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lab_context::Context;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::neighbourhood::Neighbourhood;
use crate::outcome::Outcome;
use crate::plan::{Invalid, Plan};
use crate::record::{End, Ending, Entry, RecordError, Writer};
use crate::tally::Tally;

use user::{Transport, User};

/// Outcomes on their way to the tally. When it is full users wait, which they tell in the times
/// of their requests; at the highest rate it holds half a second.
const QUEUE: usize = 4096;
/// Outcomes taken in with one write.
const BATCH: usize = 256;
/// How long requests under way may take to end once the stream has been told to stop. What has
/// not ended by then is not recorded: it neither failed nor succeeded.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Why traffic could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// The plan makes no sense.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// What was met cannot be written down.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Sends what the plan says and records in `dir` what comes back, until `stop` or the end of the
/// plan's time.
///
/// # Errors
/// Where the plan makes no sense, another process records there, or the record cannot be written.
pub async fn run(
    plan: Plan,
    neighbourhood: &Neighbourhood,
    dir: &Path,
    context: Context,
    stop: CancellationToken,
) -> Result<Ending, TrafficError> {
    plan.check(neighbourhood)?;
    let connect = |plan: &Arc<Plan>, number| http::HttpUser::new(plan, number);
    run_with(plan, connect, dir, context, stop).await
}

/// The moments at which requests are due, and which of them is next. Taking the next one is all
/// that users have in common, so nothing queues up however far they fall behind.
#[derive(Debug)]
struct Schedule {
    started: Instant,
    rate: f64,
    next: AtomicU64,
}

impl Schedule {
    fn take(&self) -> (u64, Instant) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number, self.due(number))
    }

    fn due(&self, number: u64) -> Instant {
        self.started + Duration::from_secs_f64(number as f64 / self.rate)
    }
}

async fn run_with<T: Transport>(
    plan: Plan,
    connect: impl Fn(&Arc<Plan>, u32) -> T,
    dir: &Path,
    context: Context,
    stop: CancellationToken,
) -> Result<Ending, TrafficError> {
    let mut writer = Writer::begin(dir, plan.clone(), context.now())?;
    let plan = Arc::new(plan);
    let schedule = Arc::new(Schedule {
        started: Instant::now(),
        rate: plan.rate,
        next: AtomicU64::new(0),
    });
    let (sender, mut outcomes) = mpsc::channel(QUEUE);
    // Told to begin nothing new, and to give up what has not ended.
    let (closing, closed) = (stop.child_token(), CancellationToken::new());
    let users = TaskTracker::new();
    for number in 1..=plan.users {
        let user = User {
            number,
            transport: connect(&plan, number),
            plan: Arc::clone(&plan),
            schedule: Arc::clone(&schedule),
            outcomes: sender.clone(),
            closing: closing.clone(),
            closed: closed.clone(),
        };
        users.spawn(user.run());
    }
    drop(sender);
    users.close();
    let end = plan.duration().map(|duration| schedule.started + duration);
    let timer = tokio::spawn(give_notice(end, closing.clone(), closed.clone()));
    let recorded = record(&mut writer, &mut outcomes, &plan, &context).await;
    closing.cancel();
    closed.cancel();
    timer.abort();
    users.wait().await;
    recorded?;
    let reason = if stop.is_cancelled() {
        Ending::Stopped
    } else {
        Ending::Finished
    };
    let at = context.now();
    writer.append(&[Entry::End(End { at, reason })])?;
    Ok(reason)
}

/// Ends the stream at its time or when it is told to.
async fn give_notice(end: Option<Instant>, closing: CancellationToken, closed: CancellationToken) {
    match end {
        Some(end) => tokio::select! {
            () = tokio::time::sleep_until(end) => {}
            () = closing.cancelled() => {}
        },
        None => closing.cancelled().await,
    }
    closing.cancel();
    tokio::time::sleep(LAST_ANSWERS).await;
    closed.cancel();
}

/// Writes down what users meet until none is left.
async fn record(
    writer: &mut Writer,
    outcomes: &mut mpsc::Receiver<Outcome>,
    plan: &Plan,
    context: &Context,
) -> Result<(), RecordError> {
    let mut tally = Tally::default();
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let received = tokio::select! {
            biased;
            received = outcomes.recv_many(&mut batch, BATCH) => Some(received),
            () = tokio::time::sleep(to_next_second(context)) => None,
        };
        let now = context.now();
        let mut entries: Vec<Entry> = tally.close_before(now).into_iter().collect();
        for outcome in batch.drain(..) {
            entries.extend(tally.add(outcome, now, plan));
        }
        if received == Some(0) {
            entries.extend(tally.close(now));
            return writer.append(&entries);
        }
        writer.append(&entries)?;
    }
}

/// Time until a second of the wall clock is over.
fn to_next_second(context: &Context) -> Duration {
    let past = u64::try_from(context.now().subsec_nanosecond()).unwrap_or(0);
    // A millisecond past it, so that a rounded timer does not end just before.
    Duration::from_nanos(1_001_000_000_u64.saturating_sub(past))
}
