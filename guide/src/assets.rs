//! Scripts and styles, which this program holds. The palette and the type scale are those of the
//! classroom's pages.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// File, media type, content.
const FILES: [(&str, &str, &str); 7] = [
    (
        "base.css",
        CSS,
        include_str!("../../classroom/assets/style.css"),
    ),
    ("picture.css", CSS, include_str!("../assets/picture.css")),
    ("guide.css", CSS, include_str!("../assets/guide.css")),
    ("picture.js", JS, include_str!("../assets/picture.js")),
    (
        "icon.svg",
        "image/svg+xml",
        include_str!("../assets/icon.svg"),
    ),
    ("guide.js", JS, include_str!("../assets/guide.js")),
    ("present.js", JS, include_str!("../assets/present.js")),
];
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The page of a lab; `{{token}}` and `{{lang}}` are to be filled in.
pub(crate) const GUIDE: &str = include_str!("../assets/guide.html");
/// The picture alone; `{{lang}}` is to be filled in.
pub(crate) const PRESENT: &str = include_str!("../assets/present.html");

/// A file's media type and content. `picture.js` and `picture.css` are all that a page needs that
/// shows the picture; `base.css` has the colours that they use.
#[must_use]
pub fn get(name: &str) -> Option<(&'static str, &'static str)> {
    let found = FILES.iter().find(|(file, _, _)| *file == name)?;
    Some((found.1, found.2))
}

/// `GET /assets/FILE`.
pub(crate) async fn serve(Path(name): Path<String>) -> Response {
    match get(&name) {
        Some((kind, content)) => (
            [
                (header::CONTENT_TYPE, kind),
                (header::CACHE_CONTROL, "no-cache"),
            ],
            content,
        )
            .into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
