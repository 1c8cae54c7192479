//! `GET /api/live`: what changes, as it changes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{self, Stream, StreamExt as _};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Guide, Refusal, find_lab};
use crate::picture::Picture;

/// Pause between signs of life.
const ALIVE: Duration = Duration::from_secs(15);
/// Changes of so short a time go out together.
const GATHER: Duration = Duration::from_millis(50);

/// What a page shows beside the picture.
#[derive(Deserialize)]
pub(super) struct Looks {
    lab: Option<String>,
}

/// Events `picture`, and where a lab is named `state` (of it) and `labs` (of all).
pub(super) async fn stream(
    State(guide): State<Guide>,
    Query(Looks { lab }): Query<Looks>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    if let Some(lab) = &lab {
        find_lab(&guide, lab)?;
    }
    let pictures = pictures(guide.0.picture.picture());
    let lessons = match lab {
        Some(lab) => lessons(guide.clone(), lab).left_stream(),
        None => stream::empty().right_stream(),
    };
    let end = guide.0.end.clone();
    let events = stream::select(pictures, lessons)
        .map(Ok)
        .take_until(end.cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)))
}

/// The picture, now and whenever it changes.
pub(super) fn pictures(picture: watch::Receiver<Arc<Picture>>) -> impl Stream<Item = Event> + Send {
    stream::unfold((picture, true), |(mut picture, is_first)| async move {
        if !is_first {
            picture.changed().await.ok()?;
            sleep(GATHER).await;
        }
        let shown = picture.borrow_and_update().clone();
        let event = Event::default().event("picture").json_data(&*shown).ok()?;
        Some((event, (picture, false)))
    })
}

/// How far a lab is, whenever that changes.
fn lessons(guide: Guide, lab: String) -> impl Stream<Item = Event> {
    let news = guide.0.desk.news();
    let shown = guide.0.desk.show(&lab);
    let sent = [String::new(), String::new()];
    let state = (guide, lab, news, shown, sent, true);
    let told = stream::unfold(
        state,
        |(guide, lab, mut news, shown, mut sent, is_first)| async move {
            if !is_first {
                news.changed().await.ok()?;
            }
            news.mark_unchanged();
            let state = find_lab(&guide, &lab).ok()?;
            let state = guide.0.desk.state(state).ok();
            let state = state.and_then(|state| serde_json::to_string(&state).ok());
            let labs = guide.0.desk.labs().ok().map(|labs| labs.to_string());
            let mut events = Vec::new();
            for (at, (name, data)) in [("state", state), ("labs", labs)].into_iter().enumerate() {
                let Some(data) = data else { continue };
                if sent[at] != data {
                    events.push(Event::default().event(name).data(&data));
                    sent[at] = data;
                }
            }
            let state = (guide, lab, news, shown, sent, false);
            Some((stream::iter(events), state))
        },
    );
    told.flatten()
}
