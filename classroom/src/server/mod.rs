//! The class server: what students' machines ask, and the pages of the teachers.
//!
//! Two doors. `/api/` is for students' machines: a join code gives a token, a token gives its own
//! student's part and nothing else. `/teacher/` is for browsers: a password gives a session
//! cookie, and every change must carry the session's own word too. Nothing else is open but the
//! page that says how to join and, where the teacher hands out a bundle, that bundle (`/get`) and
//! the images in it (`/v2/`, read-only).

mod export;
mod guard;
mod handout;
mod live;
mod pages;
mod student;
mod teacher;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};
use jiff::Timestamp;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::course::Course;
use crate::protocol::BODY_MAX;
use crate::store::{Class, Store, StoreError};

pub use export::Export;
pub use guard::Limits;
pub use handout::{FILE as BUNDLE_FILE, Handout};
pub use live::Change;

/// As many changes wait for a dashboard that reads slowly; then it is told to look anew.
const CHANGES: usize = 1024;

/// A class server.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    store: Store,
    class: Class,
    course: Course,
    version: String,
    clock: fn() -> Timestamp,
    board: Mutex<Board>,
    changes: broadcast::Sender<Change>,
    /// Number of the last order: students' machines that wait look again when it grows.
    orders: watch::Sender<u64>,
    limits: Limits,
    handout: Option<Handout>,
    /// The teacher's registry, whose images the room may fetch.
    registry: Option<String>,
}

impl Server {
    /// A server of the class in this store, which must have been begun.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn new(
        store: Store,
        class: Class,
        course: Course,
        version: &str,
        clock: fn() -> Timestamp,
    ) -> Result<Self, StoreError> {
        let board = Board::of(store.members()?, &store.records(None)?);
        let last = store.last_order()?;
        Ok(Self(Arc::new(Inner {
            store,
            class,
            course,
            version: version.to_owned(),
            clock,
            board: Mutex::new(board),
            changes: broadcast::Sender::new(CHANGES),
            orders: watch::Sender::new(last),
            limits: Limits::default(),
            handout: None,
            registry: None,
        })))
    }

    /// The same server, handing out a bundle to the room, and the images of a registry
    /// (`HOST:PORT`). Only a server that nobody uses yet can be changed.
    #[must_use]
    pub fn with_handout(mut self, bundle: Option<Handout>, registry: Option<String>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.handout = bundle;
            inner.registry = registry;
        }
        self
    }

    /// Everything that it answers.
    pub fn router(&self) -> Router {
        let students = Router::new()
            .route("/join", post(student::join))
            .route("/events", post(student::events))
            .route("/orders", get(student::orders))
            .route("/leave", post(student::leave));
        let teachers = Router::new()
            .route("/login", post(teacher::log_in))
            .route("/logout", post(teacher::log_out))
            .route("/api/class", get(teacher::class))
            .route("/api/live", get(live::stream))
            .route("/api/students/{id}", get(teacher::student))
            .route("/api/wish", post(teacher::wish))
            .route(
                "/api/hands/{student}/{number}/take",
                post(teacher::take_hand),
            )
            .route(
                "/api/hands/{student}/{number}/close",
                post(teacher::close_hand),
            )
            .route("/export.csv", get(teacher::export_csv))
            .route("/export.json", get(teacher::export_json));
        Router::new()
            .route("/", get(pages::welcome))
            .route("/teacher/", get(pages::dashboard))
            .route(
                "/teacher",
                get(|| async { Redirect::permanent("/teacher/") }),
            )
            .route("/assets/{file}", get(pages::asset))
            .route("/get", get(handout::how))
            .route("/get/", get(|| async { Redirect::permanent("/get") }))
            .route("/get.sh", get(handout::script))
            .route(&format!("/get/{BUNDLE_FILE}"), get(handout::bundle))
            .route("/v2/", get(handout::registry))
            .route("/v2/{*path}", any(handout::image))
            .nest("/api", students)
            .nest("/teacher", teachers)
            .fallback(|| async { refuse(StatusCode::NOT_FOUND, "there is no such page") })
            .layer(DefaultBodyLimit::max(BODY_MAX))
            .layer(middleware::from_fn(guard::headers))
            .with_state(self.clone())
    }

    /// Serves until it is told to end; requests under way are finished.
    ///
    /// # Errors
    /// Where the listener fails for good.
    pub async fn serve(
        &self,
        listener: TcpListener,
        end: CancellationToken,
    ) -> std::io::Result<()> {
        let service = self
            .router()
            .into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(listener, service)
            .with_graceful_shutdown(end.cancelled_owned())
            .await
    }

    fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the dashboards; nobody may be looking.
    fn tell(&self, change: Change) {
        let _ = self.0.changes.send(change);
    }

    /// Does work with the store, which waits for the disk, on a thread that may.
    async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let server = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&server.0.store)).await;
        match done {
            Ok(done) => Ok(done?),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

/// A request that is not granted.
#[derive(Debug)]
enum Refusal {
    /// With a status and words for whoever asked.
    Because(StatusCode, String),
    /// The store failed: its words are for the log, not for strangers.
    Store(StoreError),
}

impl Refusal {
    fn because(status: StatusCode, message: impl Into<String>) -> Self {
        Self::Because(status, message.into())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Because(status, message) => refuse(status, &message),
            Self::Store(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "class not kept");
                refuse(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the class server cannot keep the class; its log says why",
                )
            }
        }
    }
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(json!({"message": message}))).into_response()
}

#[cfg(test)]
mod handout_tests;
#[cfg(test)]
mod tests;
