//! `GET /teacher/api/live`: what changes, as it changes (server-sent events).

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt as _, stream};
use tokio::sync::broadcast::error::RecvError;

use super::Server;
use super::guard::Teacher;

/// Pause between signs of life.
const ALIVE: Duration = Duration::from_secs(15);
/// Changes of so short a time go out together: a class that checks at once is one picture.
const GATHER: Duration = Duration::from_millis(100);

/// Something that a dashboard shows has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A student.
    Student(u64),
    /// The queue of raised hands.
    Hands,
    /// What the class was told.
    Orders,
}

/// Events `students` (with the students that changed), `hands`, `orders`, and `anew` where so much
/// happened that all must be read again.
pub(super) async fn stream(
    State(server): State<Server>,
    Teacher(_): Teacher,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = server.0.changes.subscribe();
    let hello = Event::default().event("hello").data("{}");
    let events = stream::unfold((server, changes), |(server, mut changes)| async move {
        let mut gathered = vec![changes.recv().await];
        tokio::time::sleep(GATHER).await;
        while let Ok(change) = changes.try_recv() {
            gathered.push(Ok(change));
        }
        let events = told(&server, &gathered)?;
        Some((stream::iter(events.into_iter().map(Ok)), (server, changes)))
    });
    let events = stream::once(async { Ok(hello) }).chain(events.flatten());
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE))
}

/// None where the server ends.
fn told(server: &Server, changes: &[Result<Change, RecvError>]) -> Option<Vec<Event>> {
    if changes.contains(&Err(RecvError::Closed)) {
        return None;
    }
    if changes.iter().any(Result::is_err) {
        return Some(vec![Event::default().event("anew").data("{}")]);
    }
    let mut students: Vec<_> = changes
        .iter()
        .filter_map(|change| match change {
            Ok(Change::Student(id)) => Some(*id),
            _ => None,
        })
        .collect();
    students.sort_unstable();
    students.dedup();
    let mut events = Vec::new();
    if !students.is_empty() {
        let (board, now) = (server.board(), server.now());
        let seen: Vec<_> = students
            .into_iter()
            .filter_map(|id| board.student(id, &server.0.course, now))
            .collect();
        let data = serde_json::json!({"students": seen, "common": board.common()});
        events.push(Event::default().event("students").data(data.to_string()));
    }
    for (change, name) in [(Change::Hands, "hands"), (Change::Orders, "orders")] {
        if changes.contains(&Ok(change)) {
            events.push(Event::default().event(name).data("{}"));
        }
    }
    Some(events)
}
