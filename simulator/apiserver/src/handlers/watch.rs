//! GET of a collection with `watch=true`: changes as they happen.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::stream;
use http::StatusCode;
use lab_store::{Change, Compacted, Entry, Event, Revision, Watch};
use serde_json::{Value, json};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep};

use super::list::{invalid_options, selected};
use crate::call::Call;
use crate::error::ApiError;
use crate::negotiate::Form;
use crate::object;
use crate::query::{Query, Since};
use crate::resources::ResourceDef;
use crate::respond;
use crate::selection::Selection;
use crate::server::Server;
use crate::validation::FieldError;

/// How often a quiet watch learns the present revision, so that it can resume from there.
/// Upstream's interval.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// Least length of a watch whose client names none; up to twice that. Upstream's default.
/// `kubectl get -w` does not come back when a watch ends.
const DEFAULT_LENGTH: Duration = Duration::from_secs(1800);

/// Answers a stream of events.
pub(crate) fn watch(server: &Arc<Server>, call: &Call) -> Result<Response, ApiError> {
    let options = Options::from_query(&call.query)?;
    let selection = Selection::from_query(
        &call.definition,
        call.namespace.as_deref(),
        call.name.as_deref(),
        &call.query,
    )?;
    let feed = match Feed::start(server, call, selection, &options) {
        Ok(feed) => feed,
        // Within the stream, as upstream's watch cache does it: informers list again on an ERROR
        // event, while some (kube-runtime's) ask for the same revision for ever on an HTTP 410.
        Err(error @ ApiError::Expired(_)) => {
            return Ok(respond::json(
                StatusCode::OK,
                Body::from(error_frame(&error)),
            ));
        }
        Err(error) => return Err(error),
    };
    let frames = stream::unfold(feed, async |mut feed| {
        let frame = feed.next().await?;
        Some((Ok::<_, Infallible>(frame), feed))
    });
    Ok(respond::json(StatusCode::OK, Body::from_stream(frames)))
}

/// Parameters of a watch.
struct Options {
    since: Since,
    /// `None` where the client leaves it to the meaning of `since`.
    initial_events: Option<bool>,
    bookmarks: bool,
    length: Option<Duration>,
}

impl Options {
    fn from_query(query: &Query) -> Result<Self, ApiError> {
        let initial_events = query.switch("sendInitialEvents");
        let revision_match = query.text("resourceVersionMatch");
        let refuse = |detail| {
            let error = FieldError::forbidden("sendInitialEvents", detail);
            Err(invalid_options(error))
        };
        if initial_events.is_some() && revision_match != Some("NotOlderThan") {
            return refuse(
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            );
        }
        if initial_events.is_none() && revision_match.is_some() {
            let detail =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            return Err(invalid_options(FieldError::forbidden(
                "resourceVersionMatch",
                detail,
            )));
        }
        let length = query
            .number("timeoutSeconds")?
            .and_then(|seconds| u64::try_from(seconds).ok())
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs);
        Ok(Self {
            since: Since::from_query(query)?,
            initial_events,
            bookmarks: query.flag("allowWatchBookmarks"),
            length,
        })
    }

    /// Where events begin: `None` is "the present, with what exists as ADDED first".
    fn resume_after(&self, present: Revision) -> Option<Revision> {
        match (self.initial_events, self.since) {
            (Some(true), _) | (None, Since::Unset | Since::Any) => None,
            (Some(false), Since::Unset | Since::Any) => Some(present),
            (Some(false) | None, Since::Revision(revision)) => Some(revision),
        }
    }
}

/// One open watch.
struct Feed {
    server: Arc<Server>,
    definition: Arc<ResourceDef>,
    selection: Selection,
    form: Form,
    events: Watch,
    /// What exists already, to be sent before events.
    initial: VecDeque<Entry>,
    /// Bookmark that ends the initial events.
    initial_end: Option<Bytes>,
    bookmarks: Option<Interval>,
    deadline: Pin<Box<Sleep>>,
    ended: bool,
}

/// What happens next in a watch.
enum Step {
    Event(Arc<Event>),
    TooSlow(Compacted),
    Tick,
    End,
}

impl Feed {
    fn start(
        server: &Arc<Server>,
        call: &Call,
        selection: Selection,
        options: &Options,
    ) -> Result<Self, ApiError> {
        let collection = call.definition.collection();
        let present = server.store.revision();
        let (initial, revision) = match options.resume_after(present) {
            Some(revision) => (Vec::new(), revision),
            None => selected(server, call, &selection),
        };
        // A revision of the future comes from another cluster, or from one that was restored:
        // waiting for it would miss events, listing again would not.
        let events = match server.store.watch(&collection, revision) {
            Ok(events) if revision <= present.max(server.store.revision()) => events,
            Ok(_) => return Err(too_old(revision, present)),
            Err(Compacted { oldest }) => return Err(too_old(revision, oldest)),
        };
        let marks_end = options.initial_events == Some(true) && options.bookmarks;
        let end = marks_end.then(|| bookmark(&call.definition, revision, true));
        Ok(Self {
            server: Arc::clone(server),
            definition: Arc::clone(&call.definition),
            selection,
            form: call.form,
            events,
            initial: initial.into(),
            initial_end: end,
            bookmarks: options.bookmarks.then(bookmark_ticks),
            deadline: Box::pin(tokio::time::sleep(length(server, options))),
            ended: false,
        })
    }

    /// The next frame; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(entry) = self.initial.pop_front() {
            return Some(self.frame("ADDED", &entry.value));
        }
        if let Some(end) = self.initial_end.take() {
            return Some(end);
        }
        while !self.ended {
            let frame = match self.step().await {
                Step::Event(event) => self.event(&event),
                Step::TooSlow(compacted) => Some(self.give_up(compacted)),
                Step::Tick => self.tick(),
                Step::End => {
                    self.ended = true;
                    None
                }
            };
            if frame.is_some() {
                return frame;
            }
        }
        None
    }

    async fn step(&mut self) -> Step {
        let tick = async {
            match &mut self.bookmarks {
                Some(interval) => interval.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.server.stop.cancelled() => Step::End,
            event = self.events.next() => match event {
                Ok(event) => Step::Event(event),
                Err(compacted) => Step::TooSlow(compacted),
            },
            () = &mut self.deadline => Step::End,
            _ = tick => Step::Tick,
        }
    }

    /// A bookmark, if this watch has sent everything up to some revision. The revision is read
    /// before the events: where none is waiting, none up to it was missed.
    fn tick(&mut self) -> Option<Bytes> {
        let revision = self.server.store.revision();
        match self.events.try_next() {
            Ok(None) => Some(bookmark(&self.definition, revision, false)),
            Ok(Some(event)) => self.event(&event),
            Err(compacted) => Some(self.give_up(compacted)),
        }
    }

    /// Ends a watch whose client reads too slowly to keep up; it has to list again.
    fn give_up(&mut self, Compacted { oldest }: Compacted) -> Bytes {
        self.ended = true;
        error_frame(&too_old(oldest.saturating_sub(1), oldest))
    }

    /// The frame of an event, if the watch should see it. An object that starts to match the
    /// selector is ADDED, one that stops to match is DELETED.
    fn event(&self, event: &Event) -> Option<Bytes> {
        if !self.selection.may_match(&event.name) {
            return None;
        }
        let (was, is) = if self.selection.is_everything() {
            (event.previous.is_some(), event.change == Change::Put)
        } else {
            self.membership(event)
        };
        match (was, is, event.change) {
            (false, true, _) => Some(self.frame("ADDED", &event.value)),
            (true, true, _) => Some(self.frame("MODIFIED", &event.value)),
            (true, false, Change::Delete) => Some(self.frame("DELETED", &event.value)),
            // The last state that the client knows, at the revision of this change.
            (true, false, Change::Put) => {
                let last = event.previous.as_ref().unwrap_or(&event.value);
                Some(self.frame("DELETED", &object::at_revision(last, event.revision)))
            }
            (false, false, _) => None,
        }
    }

    fn membership(&self, event: &Event) -> (bool, bool) {
        let paths = self.definition.strategy.selectable_fields();
        let facts = self.server.facts.of(event, paths);
        let before = facts.previous.as_ref();
        let was = before.is_some_and(|facts| self.selection.matches(facts));
        let is = event.change == Change::Put && self.selection.matches(&facts.current);
        (was, is)
    }

    fn frame(&self, type_: &str, object: &Bytes) -> Bytes {
        let object = respond::in_form(&self.server, &self.definition, self.form, object);
        frame(type_, &object)
    }
}

fn frame(type_: &str, object: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(object.len() + 40);
    bytes.extend_from_slice(br#"{"type":""#);
    bytes.extend_from_slice(type_.as_bytes());
    bytes.extend_from_slice(br#"","object":"#);
    bytes.extend_from_slice(object);
    bytes.extend_from_slice(b"}\n");
    bytes.freeze()
}

fn error_frame(error: &ApiError) -> Bytes {
    frame("ERROR", error.status().to_string().as_bytes())
}

fn bookmark(definition: &ResourceDef, revision: Revision, ends_initial_events: bool) -> Bytes {
    let mut metadata =
        json!({ "resourceVersion": revision.to_string(), "creationTimestamp": Value::Null });
    if ends_initial_events {
        metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    let object = json!({
        "kind": definition.kind,
        "apiVersion": definition.api_version(),
        "metadata": metadata,
    });
    frame("BOOKMARK", object.to_string().as_bytes())
}

fn bookmark_ticks() -> Interval {
    let mut ticks = tokio::time::interval_at(Instant::now() + BOOKMARK_INTERVAL, BOOKMARK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn length(server: &Server, options: &Options) -> Duration {
    // Different lengths, so that many watches do not end and start again in the same moment.
    let default = || server.context.jitter(DEFAULT_LENGTH, 1.0);
    options.length.unwrap_or_else(default)
}

fn too_old(asked: Revision, oldest: Revision) -> ApiError {
    ApiError::Expired(format!("too old resource version: {asked} ({oldest})"))
}
