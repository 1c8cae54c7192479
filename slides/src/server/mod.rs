//! Shows slides on this machine: windows for the speaker and the projector, in step.
//!
//! There is one position, which any window may change and every window follows by server-sent
//! events; one that lost the connection is told where the talk is as soon as it is back. Nothing
//! but this machine can reach it, and of this machine's pages only its own (see `guard`).

pub(crate) mod assets;
mod guard;
mod live;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::future::BoxFuture;
use lab_checks::language::Language;
use lab_checks::library::Labs;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::deck::Deck;
use crate::library::{Decks, stamp};
use crate::page::{self, Means, Role};
use crate::picture;

pub use crate::page::Languages;

/// Most bytes of a request.
const BODY_MAX: usize = 16 * 1024;
/// As many changes wait for a window that reads slowly; then it is told where the talk is.
const CHANGES: usize = 64;
/// Pause between two looks at an author's files.
const LOOK: Duration = Duration::from_millis(300);

/// What slides show and do beyond themselves.
pub trait Surroundings: Send + Sync + 'static {
    /// The presenter's cluster, as it is now.
    ///
    /// # Errors
    /// In words for the audience, as where there is none.
    fn cluster(&self, language: Language) -> BoxFuture<'_, Result<picture::Cluster, String>>;

    /// Opens a lab for the class, and points everybody to it; answers what was done, in words.
    ///
    /// # Errors
    /// In words for the speaker, as where no class runs.
    fn open_lab<'a>(
        &'a self,
        lab: &'a str,
        language: Language,
    ) -> BoxFuture<'a, Result<String, String>>;
}

/// A show of some decks.
#[derive(Clone)]
pub struct Show(Arc<Inner>);

struct Inner {
    decks: Mutex<Arc<Decks>>,
    /// The deck that was asked for, where one was.
    only: Option<String>,
    languages: Languages,
    surroundings: Box<dyn Surroundings>,
    now: Mutex<Now>,
    changes: broadcast::Sender<Change>,
    end: CancellationToken,
}

/// Where the talk is.
#[derive(Clone, Debug, Default)]
struct Now {
    position: Position,
    timer: Timer,
    /// What is wrong with the files that are followed.
    fault: Option<String>,
}

/// A place in a talk. Which window brought it there stands in `by`; nobody did where it is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    by: String,
    deck: String,
    slide: String,
    step: u16,
    /// en, fr or both.
    language: String,
    black: bool,
}

/// The time that the talk has taken.
#[derive(Clone, Copy, Debug, Default)]
struct Timer {
    since: Option<Instant>,
    before: Duration,
}

impl Timer {
    fn elapsed(self) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn set(&mut self, running: bool, zero: bool) {
        self.before = if zero { Duration::ZERO } else { self.elapsed() };
        self.since = running.then(Instant::now);
    }

    /// The first time that somebody goes on, the talk has begun.
    fn begin(&mut self) {
        if self.since.is_none() && self.before.is_zero() {
            self.set(true, false);
        }
    }
}

/// What windows are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Position or time.
    Position,
    /// The slides themselves.
    Anew,
    /// A fault in the author's files.
    Fault,
}

impl Show {
    /// A show of decks; it begins with `only`, or with a list of them.
    #[must_use]
    pub fn new(
        decks: Decks,
        only: Option<&Deck>,
        languages: Languages,
        surroundings: impl Surroundings,
    ) -> Self {
        let first = only.or(decks.iter().next());
        let position = Position {
            deck: first.map(|deck| deck.name.clone()).unwrap_or_default(),
            slide: first
                .and_then(|deck| deck.slides.first())
                .map(|slide| slide.id.clone())
                .unwrap_or_default(),
            language: languages.name().to_owned(),
            ..Position::default()
        };
        Self(Arc::new(Inner {
            only: only.map(|deck| deck.name.clone()),
            decks: Mutex::new(Arc::new(decks)),
            languages,
            surroundings: Box::new(surroundings),
            now: Mutex::new(Now {
                position,
                ..Now::default()
            }),
            changes: broadcast::Sender::new(CHANGES),
            end: CancellationToken::new(),
        }))
    }

    /// Everything that it answers.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(list))
            .route("/d/{deck}", get(audience))
            .route("/d/{deck}/present", get(presenter))
            .route("/assets/{file}", get(asset))
            .route("/api/live", get(live::stream))
            .route("/api/position", post(position))
            .route("/api/timer", post(timer))
            .route("/api/start-lab", post(start_lab))
            .route("/api/cluster", get(cluster))
            .fallback(|| async { refuse(StatusCode::NOT_FOUND, "there is no such page") })
            .layer(DefaultBodyLimit::max(BODY_MAX))
            .layer(middleware::from_fn(guard::guard))
            .with_state(self.clone())
    }

    /// Serves until it is told to end; windows that listen are sent away then.
    ///
    /// # Errors
    /// Where the listener fails for good.
    pub async fn serve(
        &self,
        listener: TcpListener,
        end: CancellationToken,
    ) -> std::io::Result<()> {
        let ours = self.0.end.clone();
        let ending = async move {
            end.cancelled().await;
            ours.cancel();
        };
        axum::serve(listener, self.router())
            .with_graceful_shutdown(ending)
            .await
    }

    /// Shows the decks of a directory as they are, whenever a file of theirs changes. A fault is
    /// told to the windows, which keep what was sound.
    pub async fn follow(&self, directory: PathBuf, labs: Arc<Labs>) {
        let mut seen = stamp(&directory);
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.0.end.cancelled() => return,
            }
            let (path, labs, before) = (directory.clone(), labs.clone(), seen.clone());
            let look = move || {
                let now = stamp(&path);
                (now != before).then(|| (now, Decks::from_dir(&path, &labs)))
            };
            let Ok(Some((now, read))) = tokio::task::spawn_blocking(look).await else {
                continue;
            };
            seen = now;
            match read {
                Ok(decks) => {
                    *lock(&self.0.decks) = Arc::new(decks);
                    self.now().fault = None;
                    self.tell(Change::Anew);
                }
                Err(problems) => {
                    self.now().fault = Some(problems.to_string());
                    self.tell(Change::Fault);
                }
            }
        }
    }

    fn decks(&self) -> Arc<Decks> {
        lock(&self.0.decks).clone()
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        lock(&self.0.now)
    }

    /// Tells the windows; there may be none.
    fn tell(&self, change: Change) {
        let _ = self.0.changes.send(change);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `GET /`: the decks, or the one that was asked for.
async fn list(State(show): State<Show>) -> Response {
    if let Some(only) = &show.0.only {
        return Redirect::temporary(&format!("/d/{only}")).into_response();
    }
    let decks = show.decks();
    let decks: Vec<_> = decks.iter().collect();
    Html(page::list(&decks, show.0.languages)).into_response()
}

/// `GET /d/DECK`: for the projector.
async fn audience(State(show): State<Show>, Path(deck): Path<String>) -> Response {
    shown(&show, &deck, Role::Audience)
}

/// `GET /d/DECK/present`: for the speaker.
async fn presenter(State(show): State<Show>, Path(deck): Path<String>) -> Response {
    shown(&show, &deck, Role::Presenter)
}

fn shown(show: &Show, name: &str, role: Role) -> Response {
    let decks = show.decks();
    match decks.get(name) {
        Ok(deck) if deck.name != name => {
            let rest = if role == Role::Presenter {
                "/present"
            } else {
                ""
            };
            Redirect::temporary(&format!("/d/{}{rest}", deck.name)).into_response()
        }
        Ok(deck) => {
            let languages = match show.now().position.language.as_str() {
                "both" => Languages::Both,
                code => Language::parse(code).map_or(show.0.languages, Languages::One),
            };
            Html(page::page(&[deck], role, languages, &Means::Served)).into_response()
        }
        Err(message) => refuse(StatusCode::NOT_FOUND, &message),
    }
}

/// `GET /assets/FILE`
async fn asset(Path(file): Path<String>) -> Response {
    let (kind, text) = match file.as_str() {
        "slides.css" => ("text/css; charset=utf-8", assets::STYLE),
        "slides.js" => ("text/javascript; charset=utf-8", assets::SCRIPT),
        _ => return refuse(StatusCode::NOT_FOUND, "there is no such file"),
    };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// `POST /api/position`: a window went somewhere.
async fn position(State(show): State<Show>, Json(wanted): Json<Position>) -> Response {
    let decks = show.decks();
    let deck = decks.iter().find(|deck| deck.name == wanted.deck);
    let Some(slide) = deck.and_then(|deck| deck.slide(&wanted.slide)) else {
        return refuse(StatusCode::NOT_FOUND, "there is no such slide");
    };
    if !matches!(wanted.language.as_str(), "en" | "fr" | "both") {
        return refuse(StatusCode::BAD_REQUEST, "the language is en, fr or both");
    }
    {
        let mut now = show.now();
        let moved = (&now.position.slide, now.position.step) != (&wanted.slide, wanted.step);
        now.position = Position {
            step: wanted.step.min(slide.steps),
            ..wanted
        };
        if moved {
            now.timer.begin();
        }
    }
    show.tell(Change::Position);
    StatusCode::NO_CONTENT.into_response()
}

#[derive(Deserialize)]
struct SetTimer {
    running: bool,
    #[serde(default)]
    zero: bool,
}

/// `POST /api/timer`: runs on, pauses, goes back to zero.
async fn timer(
    State(show): State<Show>,
    Json(SetTimer { running, zero }): Json<SetTimer>,
) -> StatusCode {
    show.now().timer.set(running, zero);
    show.tell(Change::Position);
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct StartLab {
    lab: String,
    language: String,
}

/// `POST /api/start-lab`: opens a lab for the class.
async fn start_lab(
    State(show): State<Show>,
    Json(StartLab { lab, language }): Json<StartLab>,
) -> Json<Value> {
    let language = Language::parse(&language).unwrap_or_default();
    let done = show.0.surroundings.open_lab(&lab, language).await;
    let (opened, said) = match done {
        Ok(said) => (true, said),
        Err(said) => (false, said),
    };
    Json(json!({"opened": opened, "said": said}))
}

#[derive(Deserialize)]
struct Asked {
    language: String,
}

/// `GET /api/cluster`: the live picture, as HTML.
async fn cluster(State(show): State<Show>, Query(Asked { language }): Query<Asked>) -> Response {
    let language = Language::parse(&language).unwrap_or_default();
    let html = match show.0.surroundings.cluster(language).await {
        Ok(cluster) => picture::draw(&cluster, language),
        Err(message) => format!("<p class=\"quiet\">{}</p>", crate::html::escape(&message)),
    };
    Html(html).into_response()
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"message": message}))).into_response()
}

#[cfg(test)]
mod tests;
