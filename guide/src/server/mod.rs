//! The server of the guide's pages, on this machine alone.
//!
//! | request | answers |
//! |---|---|
//! | `GET /`, `GET /lab/NAME` | the page |
//! | `GET /present` | the picture alone, for the projector |
//! | `GET /api/picture` | [`crate::picture::Picture`] as JSON, as it is now |
//! | `GET /api/live` | the picture whenever it changes (event `picture`), and with `?lab=NAME` how far that lab is (events `state` and `labs`): server-sent events |
//! | `GET /api/labs`, `GET /api/labs/NAME` | the labs, the text of one |
//! | `POST /api/begin`, `/api/hint`, `/api/answer` | changes; they need the page's token in `X-Token` |
//!
//! Web pages of strangers can reach 127.0.0.1 too. So the Host header must name it (which a page
//! that had its name point here cannot have), no answer may be read by another origin, and a
//! change needs a word that only the page itself has.

mod guard;
mod live;
mod watch;

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use futures::StreamExt as _;
use lab_checks::lab::{Lab, Step};
use lab_checks::language::Language;
use rand::Rng as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::assets;
use crate::lesson::{self, Lesson, State as LabState};
use crate::picture::Watcher;
use crate::tutor::{Failed, Tutor};
use guard::Page;
use watch::Desk;

/// Most bytes of a request.
const BODY_MAX: usize = 64 << 10;

/// A guide.
#[derive(Clone)]
pub struct Guide(Arc<Inner>);

struct Inner {
    desk: Arc<Desk>,
    picture: Watcher,
    /// The word that only the page has.
    token: String,
    language: Language,
    end: CancellationToken,
}

impl Guide {
    /// A guide of this learner and this cluster; `language` is the one that pages begin in.
    #[must_use]
    pub fn new(tutor: Arc<dyn Tutor>, picture: Watcher, language: Language) -> Self {
        let mut secret = [0; 16];
        rand::rng().fill(&mut secret);
        let end = CancellationToken::new();
        let desk = Desk::new(tutor);
        let (watched, ended) = (Arc::clone(&desk), end.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = watched.run() => {}
            }
        });
        Self(Arc::new(Inner {
            desk,
            picture,
            token: secret.iter().map(|byte| format!("{byte:02x}")).collect(),
            language,
            end,
        }))
    }

    /// Everything that it answers.
    pub fn router(&self) -> Router {
        let changes = Router::new()
            .route("/begin", post(begin))
            .route("/hint", post(hint))
            .route("/answer", post(answer));
        let reads = Router::new()
            .route("/picture", get(picture))
            .route("/live", get(live::stream))
            .route("/labs", get(labs))
            .route("/labs/{name}", get(lab));
        Router::new()
            .route("/", get(page))
            .route("/lab/{name}", get(page))
            .route("/present", get(present))
            .route("/assets/{file}", get(assets::serve))
            .nest("/api", reads.merge(changes))
            .fallback(|| async { refuse(StatusCode::NOT_FOUND, "there is no such page") })
            .layer(DefaultBodyLimit::max(BODY_MAX))
            .layer(middleware::from_fn(guard::guard))
            .with_state(self.clone())
    }

    /// Serves until it is told to end. `listener` is one of 127.0.0.1.
    ///
    /// # Errors
    /// Where the listener fails for good.
    pub async fn serve(
        &self,
        listener: TcpListener,
        end: CancellationToken,
    ) -> std::io::Result<()> {
        let streams = self.0.end.clone();
        axum::serve(listener, self.router())
            .with_graceful_shutdown(async move {
                end.cancelled().await;
                // Streams have no end of their own.
                streams.cancel();
            })
            .await
    }
}

/// The picture for another server's pages: `/picture`, and `/live` with the event `picture`
/// whenever it changes. It lasts as long as the router; who may ask is the caller's matter.
pub fn picture_routes(picture: Watcher) -> Router {
    let picture = Arc::new(picture);
    let (now, always) = (Arc::clone(&picture), picture);
    let live = move || {
        let events = live::pictures(always.picture()).map(Ok::<_, Infallible>);
        async move { Sse::new(events).keep_alive(KeepAlive::default()) }
    };
    Router::new()
        .route(
            "/picture",
            get(move || async move { Json(now.picture().borrow().clone()) }),
        )
        .route("/live", get(live))
}

async fn page(State(guide): State<Guide>) -> Html<String> {
    Html(
        assets::GUIDE
            .replace("{{token}}", &guide.0.token)
            .replace("{{lang}}", guide.0.language.code()),
    )
}

async fn present(State(guide): State<Guide>) -> Html<String> {
    Html(assets::PRESENT.replace("{{lang}}", guide.0.language.code()))
}

async fn picture(State(guide): State<Guide>) -> Response {
    let picture = guide.0.picture.picture().borrow().clone();
    Json(picture).into_response()
}

async fn labs(State(guide): State<Guide>) -> Result<Json<Value>, Refusal> {
    Ok(Json(guide.0.desk.labs()?))
}

async fn lab(
    State(guide): State<Guide>,
    Path(name): Path<String>,
) -> Result<Json<Lesson>, Refusal> {
    let tutor = guide.0.desk.tutor();
    let lab = find_lab(&guide, &name)?;
    let place = tutor.place()?;
    Ok(Json(Lesson::of(tutor.labs(), lab, &place.addresses)))
}

/// Which step a change is about.
#[derive(Deserialize)]
struct At {
    lab: String,
    #[serde(default)]
    step: String,
}

async fn begin(
    State(guide): State<Guide>,
    _: Page,
    Json(at): Json<At>,
) -> Result<Json<Value>, Refusal> {
    let lab = find_lab(&guide, &at.lab)?;
    let begun = guide.0.desk.tutor().begin(lab).await?;
    guide.0.desk.look_again();
    Ok(Json(json!({
        "workspace": begun.workspace,
        "files": begun.files,
        "goto": begun.goto,
        "state": guide.0.desk.state(lab)?,
    })))
}

async fn hint(
    State(guide): State<Guide>,
    _: Page,
    Json(at): Json<At>,
) -> Result<Json<LabState>, Refusal> {
    let (lab, step) = find_step(&guide, &at)?;
    let left = guide.0.desk.tutor().hint(lab, step).await?;
    guide.0.desk.look_again();
    let mut state = guide.0.desk.state(lab)?;
    let steps = state.steps.iter_mut();
    // As the hint was chosen: only just now it was looked at what fits.
    for seen in steps.filter(|seen| seen.id == step.id) {
        seen.hints_left = left;
    }
    Ok(Json(state))
}

#[derive(Deserialize)]
struct Answered {
    #[serde(flatten)]
    at: At,
    question: String,
    value: String,
}

async fn answer(
    State(guide): State<Guide>,
    _: Page,
    Json(answered): Json<Answered>,
) -> Result<Json<Value>, Refusal> {
    let (lab, step) = find_step(&guide, &answered.at)?;
    if !step.questions.iter().any(|it| it.id == answered.question) {
        let message = format!("the step {} does not ask {:?}", step.id, answered.question);
        return Err(Refusal(StatusCode::NOT_FOUND, message));
    }
    let tutor = guide.0.desk.tutor();
    let judged = tutor
        .answer(lab, step, &answered.question, &answered.value)
        .await?;
    guide.0.desk.look_again();
    let state = guide.0.desk.state(lab)?;
    let why = judged.why.map(|why| lesson::why(&why));
    Ok(Json(
        json!({"right": judged.right, "why": why, "state": state}),
    ))
}

fn find_lab<'a>(guide: &'a Guide, name: &str) -> Result<&'a Lab, Refusal> {
    let labs = guide.0.desk.tutor().labs();
    labs.get(name).ok_or_else(|| {
        let names: Vec<_> = labs.iter().map(|lab| lab.name.as_str()).collect();
        let message = format!("there is no lab {name:?}; there are: {}", names.join(", "));
        Refusal(StatusCode::NOT_FOUND, message)
    })
}

fn find_step<'a>(guide: &'a Guide, at: &At) -> Result<(&'a Lab, &'a Step), Refusal> {
    let lab = find_lab(guide, &at.lab)?;
    let step = lab.step(&at.step).ok_or_else(|| {
        let message = format!("lab {} has no step {:?}", lab.name, at.step);
        Refusal(StatusCode::NOT_FOUND, message)
    })?;
    Ok((lab, step))
}

/// A request that is not granted, and why.
#[derive(Debug)]
struct Refusal(StatusCode, String);

impl From<Failed> for Refusal {
    fn from(failed: Failed) -> Self {
        Self(StatusCode::UNPROCESSABLE_ENTITY, failed.0)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        refuse(self.0, &self.1)
    }
}

fn refuse(status: StatusCode, message: &str) -> Response {
    let mut response = (status, Json(json!({"message": message}))).into_response();
    let no_store = header::HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}

#[cfg(test)]
mod tests;
