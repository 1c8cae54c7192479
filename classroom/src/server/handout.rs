//! `/get`: the bundle that a teacher hands out to the room.
//!
//! It is open to everybody who reaches the server, as what is in it is no secret; but it is there
//! only while a teacher serves one. The file is opened once and read in pieces at their places, so
//! that any number of machines may fetch it at once, each costing one piece of memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path as Segments, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lab_bundle::{BundleError, Opened, Watch};
use serde_json::json;

use super::pages::{escape, page};
use super::{Server, refuse};

/// Bytes that are read and sent at once.
const PIECE: u64 = 256 * 1024;
/// What the bundle is called in its address.
pub const FILE: &str = "devops-lab.bundle";
/// The installer; what stands in braces is filled in.
const SCRIPT: &str = include_str!("get.sh");

/// A bundle that is handed out.
#[derive(Clone, Debug)]
pub struct Handout(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    opened: Opened,
    size: u64,
    /// When it was written last: another time is another file.
    modified: (i64, i64),
    sha256: String,
}

/// A part of the bundle: its place in the file, and the parts of it that were asked for.
#[derive(Clone, Copy)]
struct Part {
    offset: u64,
    size: u64,
}

impl Handout {
    /// Opens a bundle and verifies it whole. Blocks.
    ///
    /// # Errors
    /// Where it is no bundle or damaged.
    pub fn open(path: &Path, watch: &dyn Watch) -> Result<Self, BundleError> {
        let failed = |source| BundleError::Io {
            verb: "read",
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let facts = file.metadata().map_err(failed)?;
        let (opened, damage, sha256) = lab_bundle::verify_and_hash(path, &file, watch)?;
        if let Some(error) = damage.into_iter().next() {
            return Err(error);
        }
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            file,
            opened,
            size: facts.len(),
            modified: (facts.mtime(), facts.mtime_nsec()),
            sha256,
        })))
    }

    /// What is in it, and where.
    #[must_use]
    pub fn opened(&self) -> &Opened {
        &self.0.opened
    }

    /// False where somebody wrote into the file since it was opened.
    fn is_as_opened(&self) -> bool {
        self.0.file.metadata().is_ok_and(|facts| {
            facts.len() == self.0.size && (facts.mtime(), facts.mtime_nsec()) == self.0.modified
        })
    }

    /// A part of the file in pieces.
    fn body(&self, part: Part) -> Body {
        let next = |(handout, Part { offset, size }): (Self, Part)| async move {
            let length = size.min(PIECE);
            if length == 0 {
                return None;
            }
            let inner = Arc::clone(&handout.0);
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; usize::try_from(length).unwrap_or_default()];
                inner.file.read_exact_at(&mut piece, offset)?;
                Ok::<_, io::Error>(Bytes::from(piece))
            });
            let piece = read
                .await
                .unwrap_or_else(|error| Err(io::Error::other(error)));
            let rest = Part {
                offset: offset + length,
                // After a failure the connection ends: half a file must not look like a whole one.
                size: if piece.is_ok() { size - length } else { 0 },
            };
            Some((piece, (handout, rest)))
        };
        Body::from_stream(stream::unfold((self.clone(), part), next))
    }

    /// Answers with a part of the file, or with a part of that part.
    fn send(&self, whole: Part, tag: &str, kind: &str, headers: &HeaderMap) -> Response {
        if !self.is_as_opened() {
            tracing::error!(path = %self.0.path.display(), "the bundle was changed while served");
            return refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "the bundle was changed on the teacher's machine: class start must be run again",
            );
        }
        let tag = format!("\"{tag}\"");
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let known = text(header::IF_NONE_MATCH);
        if known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag)) {
            return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
        }
        // What was begun with another file begins anew.
        let same = text(header::IF_RANGE).is_none_or(|one| one == tag);
        let range = text(header::RANGE)
            .filter(|_| same)
            .map_or(Range::Whole, |range| range_of(range, whole.size));
        let (status, part) = match range {
            Range::Whole => (StatusCode::OK, whole),
            Range::Part(from, size) => {
                let offset = whole.offset + from;
                (StatusCode::PARTIAL_CONTENT, Part { offset, size })
            }
            Range::Nothing => {
                let answer = refuse(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "the part that is asked for lies behind the end",
                );
                let size = format!("bytes */{}", whole.size);
                return ([(header::CONTENT_RANGE, size), (header::ETAG, tag)], answer)
                    .into_response();
            }
        };
        let mut answer = Response::new(self.body(part));
        *answer.status_mut() = status;
        let mut put = |name, value: String| {
            if let Ok(value) = HeaderValue::from_str(&value) {
                answer.headers_mut().insert(name, value);
            }
        };
        put(header::CONTENT_TYPE, kind.to_owned());
        put(header::CONTENT_LENGTH, part.size.to_string());
        put(header::ACCEPT_RANGES, "bytes".to_owned());
        put(header::ETAG, tag);
        if status == StatusCode::PARTIAL_CONTENT {
            let first = part.offset - whole.offset;
            let range = format!("bytes {first}-{}/{}", first + part.size - 1, whole.size);
            put(header::CONTENT_RANGE, range);
        }
        answer
    }
}

/// What a `Range` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    Whole,
    /// From, and how many bytes.
    Part(u64, u64),
    /// Nothing that there is.
    Nothing,
}

/// Reads a `Range`. Several ranges at once, and what is not understood, mean the whole.
/// <https://www.rfc-editor.org/rfc/rfc9110#name-range>
fn range_of(range: &str, size: u64) -> Range {
    let Some((first, last)) = range
        .strip_prefix("bytes=")
        .and_then(|it| it.split_once('-'))
    else {
        return Range::Whole;
    };
    let (from, end) = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(from), Ok(last)) if from <= last => (from, last.saturating_add(1).min(size)),
        (Ok(from), Err(_)) if last.trim().is_empty() => (from, size),
        (Err(_), Ok(count)) if first.trim().is_empty() => (size.saturating_sub(count), size),
        _ => return Range::Whole,
    };
    if from < end {
        Range::Part(from, end - from)
    } else {
        Range::Nothing
    }
}

fn nothing() -> Response {
    refuse(
        StatusCode::NOT_FOUND,
        "no bundle is handed out here: the teacher adds --serve-bundle FILE to class start",
    )
}

/// `GET /get`: how to get devops-lab, for people.
pub(super) async fn how(State(server): State<Server>) -> Response {
    let (Some(handout), Some(page)) = (&server.0.handout, page("get.html")) else {
        return nothing();
    };
    let contents = &handout.opened().contents;
    let megabytes = handout.0.size.div_ceil(1_000_000);
    let page = page
        .replace("{{class}}", &escape(&server.0.class.title))
        .replace("{{version}}", &escape(&contents.program.version))
        .replace("{{target}}", &escape(&contents.program.target))
        .replace("{{size}}", &megabytes.to_string())
        .replace("{{sha256}}", &handout.0.sha256);
    Html(page).into_response()
}

/// `GET /get.sh`: the installer. It fetches from where it was itself fetched from.
pub(super) async fn script(State(server): State<Server>, headers: HeaderMap) -> Response {
    let Some(handout) = &server.0.handout else {
        return nothing();
    };
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:-[]".contains(&byte);
    let Some(host) = host.filter(|host| !host.is_empty() && host.bytes().all(plain)) else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "the Host of the request is no address",
        );
    };
    let target = &handout.opened().contents.program.target;
    let machine = target.split('-').next().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let machine = if machine.bytes().all(plain) {
        machine
    } else {
        "unknown"
    };
    let script = SCRIPT
        .replace("{{url}}", &format!("http://{host}/get/{FILE}"))
        .replace("{{sha256}}", &handout.0.sha256)
        .replace("{{size}}", &handout.0.size.to_string())
        .replace("{{machine}}", machine);
    (
        [(header::CONTENT_TYPE, "text/x-shellscript; charset=utf-8")],
        script,
    )
        .into_response()
}

/// `GET /get/devops-lab.bundle`
pub(super) async fn bundle(State(server): State<Server>, headers: HeaderMap) -> Response {
    let Some(handout) = &server.0.handout else {
        return nothing();
    };
    let whole = Part {
        offset: 0,
        size: handout.0.size,
    };
    let answer = handout.send(whole, &handout.0.sha256, "application/x-tar", &headers);
    let name = format!("attachment; filename=\"{FILE}\"");
    ([(header::CONTENT_DISPOSITION, name)], answer).into_response()
}

/// `GET /v2/`: yes, images are here.
pub(super) async fn registry(State(server): State<Server>) -> Response {
    match (&server.0.handout, &server.0.registry) {
        (None, None) => nothing(),
        _ => axum::Json(json!({})).into_response(),
    }
}

/// `GET /v2/NAME/manifests/REFERENCE`, `GET /v2/NAME/blobs/DIGEST`: the images of the bundle and of
/// the teacher's registry, read-only, as the OCI distribution specification has it. The registry's
/// host in an image's name is left out: whoever asks has one of her own.
pub(super) async fn image(
    State(server): State<Server>,
    Segments(path): Segments<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    if method != Method::GET && method != Method::HEAD {
        let message = "the class's images can be read only";
        return unknown(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message);
    }
    let handout = server.0.handout.as_ref();
    let packed = handout.and_then(|handout| {
        let (hex, kind) = found(handout.opened(), &path)?;
        let (offset, size) = handout
            .opened()
            .place(&format!("images/blobs/sha256/{hex}"))?;
        Some((handout, hex, kind, Part { offset, size }))
    });
    if let Some((handout, hex, kind, part)) = packed {
        let mut answer = handout.send(part, &hex, kind, &headers);
        if let Ok(digest) = HeaderValue::from_str(&format!("sha256:{hex}")) {
            answer.headers_mut().insert("docker-content-digest", digest);
        }
        return answer;
    }
    match &server.0.registry {
        Some(registry) => ask_registry(registry, &path, method, &headers).await,
        None => unknown(
            StatusCode::NOT_FOUND,
            "MANIFEST_UNKNOWN",
            "the class does not have it",
        ),
    }
}

/// An error as a registry says it.
fn unknown(status: StatusCode, code: &str, message: &str) -> Response {
    let errors = json!({"errors": [{"code": code, "message": message}]});
    (status, axum::Json(errors)).into_response()
}

/// Passes a question on to the teacher's registry (`HOST:PORT`), and its answer back as it comes.
async fn ask_registry(registry: &str, path: &str, method: Method, headers: &HeaderMap) -> Response {
    // Only what pulling an image takes: no lists of what else is there.
    let pulls = path.contains("/manifests/") || path.contains("/blobs/sha256:");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
    if !pulls || !path.bytes().all(plain) {
        return unknown(
            StatusCode::NOT_FOUND,
            "NAME_UNKNOWN",
            "the class does not have it",
        );
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut request = http::Request::builder()
        .method(method)
        .uri(format!("http://{registry}/v2/{path}"))
        // The teacher's own registry may ask a class, too: this one, in the end.
        .header(header::CACHE_CONTROL, "only-if-cached");
    for name in [header::ACCEPT, header::RANGE] {
        for value in headers.get_all(&name) {
            request = request.header(&name, value);
        }
    }
    let answer = match request.body(Empty::new()) {
        Ok(request) => client
            .request(request)
            .await
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match answer {
        Ok(answer) => answer.map(Body::new),
        Err(error) => {
            tracing::warn!(%error, %registry, "the teacher's registry does not answer");
            let message = "the registry on the teacher's machine does not answer";
            unknown(StatusCode::BAD_GATEWAY, "UNKNOWN", message)
        }
    }
}

/// The digits of what a path of the registry asks for, and its media type.
fn found<'a>(opened: &'a Opened, path: &str) -> Option<(String, &'a str)> {
    if let Some((_, digest)) = path.rsplit_once("/blobs/") {
        return Some((
            digest.strip_prefix("sha256:")?.to_owned(),
            "application/octet-stream",
        ));
    }
    let (repository, reference) = path.rsplit_once("/manifests/")?;
    let image = opened.contents.images.iter().find(|image| {
        let Some((_, name)) = image.name.split_once('/') else {
            return false;
        };
        let digest = image.manifest.digest.as_str();
        let tagged = name
            .strip_prefix(repository)
            .and_then(|rest| rest.strip_prefix(':'));
        let tagged = tagged.map(|tag| tag.split('@').next().unwrap_or(tag));
        tagged == Some(reference)
            || reference == digest && name.split([':', '@']).next() == Some(repository)
    })?;
    Some((
        image.manifest.digest.hex().to_owned(),
        &image.manifest.media_type,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file() {
        for (range, expected) in [
            ("bytes=0-3", Range::Part(0, 4)),
            ("bytes=4-", Range::Part(4, 6)),
            ("bytes=-3", Range::Part(7, 3)),
            ("bytes=-30", Range::Part(0, 10)),
            ("bytes=8-100", Range::Part(8, 2)),
            ("bytes=9-18446744073709551615", Range::Part(9, 1)),
            ("bytes=10-", Range::Nothing),
            ("bytes=-0", Range::Nothing),
            ("bytes=5-4", Range::Whole),
            ("bytes=0-1,4-5", Range::Whole),
            ("bytes=-", Range::Whole),
            ("lines=1-2", Range::Whole),
        ] {
            assert_eq!(range_of(range, 10), expected, "{range}");
        }
    }
}
