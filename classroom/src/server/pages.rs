//! The pages, which this program holds; their scripts ask for what they show.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::RustEmbed;

use super::guard::session;
use super::{Refusal, Server, refuse};

#[derive(RustEmbed)]
#[folder = "assets"]
struct Assets;

/// `GET /`: how to join.
pub(super) async fn welcome(State(server): State<Server>) -> Response {
    match page("join.html") {
        Some(page) => {
            Html(page.replace("{{class}}", &escape(&server.0.class.title))).into_response()
        }
        None => refuse(StatusCode::NOT_FOUND, "there is no such page"),
    }
}

/// `GET /teacher/`: the dashboard, or the door to it.
pub(super) async fn dashboard(
    State(server): State<Server>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let name = match session(&headers, &server).await? {
        Some(_) => "dashboard.html",
        None => "login.html",
    };
    Ok(page(name).map_or_else(
        || refuse(StatusCode::NOT_FOUND, "there is no such page"),
        |page| Html(page).into_response(),
    ))
}

/// `GET /assets/FILE`: scripts and styles.
pub(super) async fn asset(Path(file): Path<String>) -> Response {
    let kind = match file.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => return refuse(StatusCode::NOT_FOUND, "there is no such file"),
    };
    match Assets::get(&file) {
        Some(found) => (
            [
                (header::CONTENT_TYPE, kind),
                (header::CACHE_CONTROL, "no-cache"),
            ],
            found.data,
        )
            .into_response(),
        None => refuse(StatusCode::NOT_FOUND, "there is no such file"),
    }
}

pub(super) fn page(name: &str) -> Option<String> {
    let found = Assets::get(name)?;
    String::from_utf8(found.data.into_owned()).ok()
}

/// Text as text, whatever it holds.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
