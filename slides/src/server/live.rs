//! `GET /api/live`: where the talk is, as it goes (server-sent events).

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt as _, stream};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::{Change, Show};

/// Pause between signs of life.
const ALIVE: Duration = Duration::from_secs(15);

/// Events `position` (the whole of it, once at the beginning), `anew` where the slides changed, and
/// `fault` where they are faulty. Who reads too slowly is told the latest.
pub(super) async fn stream(
    State(show): State<Show>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = show.0.changes.subscribe();
    let mut first = vec![told(&show, Change::Position)];
    if show.now().fault.is_some() {
        first.push(told(&show, Change::Fault));
    }
    let end = show.0.end.clone();
    let rest = stream::unfold((show, changes), |(show, mut changes)| async move {
        let change = match changes.recv().await {
            Ok(change) => change,
            Err(RecvError::Lagged(_)) => Change::Anew,
            Err(RecvError::Closed) => return None,
        };
        let event = told(&show, change);
        Some((event, (show, changes)))
    });
    let events = stream::iter(first)
        .chain(rest)
        .map(Ok)
        .take_until(end.cancelled_owned());
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE))
}

fn told(show: &Show, change: Change) -> Event {
    let now = show.now().clone();
    match change {
        Change::Position => {
            let mut position = json!(now.position);
            position["elapsed"] = json!(now.timer.elapsed().as_millis());
            position["running"] = json!(now.timer.since.is_some());
            Event::default()
                .event("position")
                .data(position.to_string())
        }
        Change::Anew => Event::default().event("anew").data("{}"),
        Change::Fault => {
            let data = json!({"text": now.fault.unwrap_or_default()});
            Event::default().event("fault").data(data.to_string())
        }
    }
}
