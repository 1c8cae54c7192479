//! The student's side of the bundle: fetches it from the class, goes on where it was cut off, and
//! verifies it before it gets its name.
//!
//! `FILE.part` holds what has come and `FILE.part.etag` which file it is of. The rest is asked for
//! only of that very file (`If-Range`): where another one is handed out meanwhile, the download
//! begins anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use lab_bundle::{BundleError, Watch, check_space, verify};
use rustix::fs::{FlockOperation, flock};
use tokio::time::{sleep, timeout};

use crate::server::BUNDLE_FILE;

/// How often in a row nothing may come before it is given up.
const TRIES: u32 = 5;
/// Longest wait for an answer, and longest silence in the middle.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Why the bundle did not come.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// Nobody answers.
    #[error("the class server {server} cannot be reached: {problem}")]
    Unreachable {
        /// Its address.
        server: String,
        /// In words.
        problem: String,
    },
    /// It has none, or says something else than a bundle.
    #[error("the class server {server} hands out no bundle ({status}){message}")]
    Refused {
        /// Its address.
        server: String,
        /// The status.
        status: StatusCode,
        /// In its words, after a colon; may be empty.
        message: String,
    },
    /// It broke off again and again.
    #[error(
        "the download broke off {TRIES} times in a row ({problem}); {have} of {size} bytes are kept in {}, and the same command goes on from there",
        part.display()
    )]
    BrokenOff {
        /// In words.
        problem: String,
        /// Bytes that are there.
        have: u64,
        /// Bytes of the whole.
        size: u64,
        /// Where they are.
        part: PathBuf,
    },
    /// Something else has the name.
    #[error(
        "{} is there already and is not what the class hands out; remove it, or give another name",
        path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another download of the same file is under way.
    #[error("another download into {} is under way; wait for it, or end it", part.display())]
    Busy {
        /// The file.
        part: PathBuf,
    },
    /// The disk failed.
    #[error("cannot write {}; what has come is kept, and the same command goes on from there once there is room", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// What came is damaged, or there is no room for it.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// Somebody who watches a download.
pub trait Progress: Watch {
    /// The whole has so many bytes, of which so many are there.
    fn at(&self, have: u64, size: u64);
    /// It was cut off and goes on.
    fn again(&self, problem: &str);
    /// Everything has come, and is verified now.
    fn verifying(&self, size: u64);
}

/// A bundle that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// Now.
    Now,
    /// It was there already, whole and the same.
    Before,
}

/// Downloads the bundle of the class server at `server` (`http://HOST:PORT`) into a file. `pause`
/// is the wait before it goes on after a failure.
///
/// # Errors
/// Where it cannot be had, or is damaged: what is damaged is removed, what is incomplete kept.
pub async fn download(
    server: &str,
    file: &Path,
    pause: Duration,
    progress: &dyn Progress,
) -> Result<Came, DownloadError> {
    let mut fetch = Fetch::begin(server, file)?;
    let mut idle = 0;
    loop {
        let before = fetch.have;
        match fetch.attempt(file, progress).await {
            Ok(Attempt::Whole) => break,
            Ok(Attempt::SameIsThere) => {
                fetch.forget();
                return Ok(Came::Before);
            }
            Ok(Attempt::Cut(problem)) => {
                idle = if fetch.have > before { 0 } else { idle + 1 };
                if idle >= TRIES {
                    return Err(DownloadError::BrokenOff {
                        problem,
                        have: fetch.have,
                        size: fetch.size,
                        part: fetch.part,
                    });
                }
                progress.again(&problem);
                sleep(pause).await;
            }
            Err(error) => {
                if fetch.have == 0 {
                    fetch.forget();
                }
                return Err(error);
            }
        }
    }
    fetch
        .out
        .sync_all()
        .map_err(|source| fetch.failed(source))?;
    progress.verifying(fetch.size);
    let verified = tokio::task::block_in_place(|| verify(&fetch.part, progress));
    let damage = match verified {
        Ok((_, damage)) => damage.into_iter().next(),
        Err(error) => Some(error),
    };
    match damage {
        Some(error @ BundleError::Interrupted) => return Err(error.into()),
        Some(error) => {
            fetch.forget();
            return Err(error.into());
        }
        None => {}
    }
    fs::rename(&fetch.part, file).map_err(|source| DownloadError::Io {
        path: file.to_owned(),
        source,
    })?;
    let _ = fs::remove_file(&fetch.note);
    Ok(Came::Now)
}

/// How one request ended.
enum Attempt {
    /// With the last byte.
    Whole,
    /// Early.
    Cut(String),
    /// Before it began: the file is there.
    SameIsThere,
}

/// A download under way.
struct Fetch {
    server: String,
    client: Client<HttpConnector, Empty<Bytes>>,
    part: PathBuf,
    note: PathBuf,
    out: File,
    have: u64,
    size: u64,
    tag: Option<String>,
}

impl Fetch {
    fn begin(server: &str, file: &Path) -> Result<Self, DownloadError> {
        let with = |ending: &str| {
            let mut name = file.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        let (part, note) = (with(".part"), with(".part.etag"));
        let failed = |source| DownloadError::Io {
            path: part.clone(),
            source,
        };
        let mut out = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&part)
            .map_err(failed)?;
        if flock(&out, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(DownloadError::Busy { part });
        }
        let tag = fs::read_to_string(&note).ok().filter(|tag| is_strong(tag));
        // Bytes of which nobody knows what they are of are worth nothing.
        let have = match &tag {
            Some(_) => out.seek(SeekFrom::End(0)).map_err(failed)?,
            None => 0,
        };
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        Ok(Self {
            server: server.trim_end_matches('/').to_owned(),
            client: Client::builder(TokioExecutor::new()).build(connector),
            part,
            note,
            out,
            have,
            size: 0,
            tag,
        })
    }

    fn failed(&self, source: io::Error) -> DownloadError {
        DownloadError::Io {
            path: self.part.clone(),
            source,
        }
    }

    /// Leaves nothing.
    fn forget(&self) {
        let _ = fs::remove_file(&self.part);
        let _ = fs::remove_file(&self.note);
    }

    /// One request, and what comes of it.
    async fn attempt(
        &mut self,
        file: &Path,
        progress: &dyn Progress,
    ) -> Result<Attempt, DownloadError> {
        let answer = match self.ask().await {
            Ok(answer) => answer,
            // The server may be back in a moment; one that was never there is said at once.
            Err(problem) if self.size > 0 => return Ok(Attempt::Cut(problem)),
            Err(problem) => {
                return Err(DownloadError::Unreachable {
                    server: self.server.clone(),
                    problem,
                });
            }
        };
        let text = |name| {
            let value = answer.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let (tag, range) = (text(header::ETAG), text(header::CONTENT_RANGE));
        match answer.status() {
            StatusCode::PARTIAL_CONTENT => {
                let begins = format!("bytes {}-", self.have);
                let size = range
                    .rsplit_once('/')
                    .and_then(|(_, size)| size.parse().ok());
                let Some(size) = size.filter(|_| range.starts_with(&begins)) else {
                    return self.anew("the server sent another part than was asked for");
                };
                self.size = size;
            }
            StatusCode::OK => {
                let Ok(size) = text(header::CONTENT_LENGTH).parse() else {
                    return Err(self.refused(StatusCode::OK, ": it does not say how long it is"));
                };
                self.size = size;
                self.start_over(&tag)?;
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let whole = range
                    .strip_prefix("bytes */")
                    .and_then(|size| size.parse().ok());
                if whole == Some(self.have) && self.tag.as_ref() == Some(&tag) {
                    self.size = self.have;
                    return Ok(Attempt::Whole);
                }
                return self.anew("the file on the server is another one now");
            }
            StatusCode::SERVICE_UNAVAILABLE if self.size > 0 => {
                return Ok(Attempt::Cut("the server is busy".to_owned()));
            }
            status => {
                let message = message_of(answer).await;
                return Err(self.refused(status, &message));
            }
        }
        if file.exists() {
            return if is_file(file, &tag) {
                Ok(Attempt::SameIsThere)
            } else {
                let path = file.to_owned();
                self.forget();
                Err(DownloadError::Exists { path })
            };
        }
        let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
        check_space(
            dir.unwrap_or(Path::new(".")),
            self.size - self.have.min(self.size),
        )?;
        progress.at(self.have, self.size);
        self.receive(answer.into_body(), progress).await
    }

    async fn ask(&self) -> Result<Response<Incoming>, String> {
        let mut request = Request::builder().uri(format!("{}/get/{BUNDLE_FILE}", self.server));
        if let Some(tag) = self.tag.as_ref().filter(|_| self.have > 0) {
            request = request
                .header(header::RANGE, format!("bytes={}-", self.have))
                .header(header::IF_RANGE, tag);
        }
        let request = request
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        match timeout(SILENCE, self.client.request(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(crate::agent::root(&error)),
            Err(_) => Err(format!("no answer after {} s", SILENCE.as_secs())),
        }
    }

    async fn receive(
        &mut self,
        mut body: Incoming,
        progress: &dyn Progress,
    ) -> Result<Attempt, DownloadError> {
        self.out
            .seek(SeekFrom::Start(self.have))
            .map_err(|source| self.failed(source))?;
        loop {
            let frame = match timeout(SILENCE, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => return Ok(Attempt::Cut(crate::agent::root(&error))),
                Ok(None) => break,
                Err(_) => return Ok(Attempt::Cut("nothing comes any more".to_owned())),
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if self.have + data.len() as u64 > self.size {
                return self.anew("more came than was announced");
            }
            // Pieces are small, and the page cache takes them; the sync at the end waits.
            if let Err(source) = self.out.write_all(&data) {
                // What of the piece is written counts for nothing; it is cut away where it can.
                let _ = self.out.set_len(self.have);
                return Err(self.failed(source));
            }
            self.have += data.len() as u64;
            progress.passed(data.len() as u64);
        }
        Ok(if self.have == self.size {
            Attempt::Whole
        } else {
            Attempt::Cut("the connection was closed".to_owned())
        })
    }

    /// Throws away what has come and tries again.
    fn anew(&mut self, problem: &str) -> Result<Attempt, DownloadError> {
        self.tag = None;
        self.have = 0;
        self.out.set_len(0).map_err(|source| self.failed(source))?;
        Ok(Attempt::Cut(problem.to_owned()))
    }

    /// Begins with another file than before, or for the first time.
    fn start_over(&mut self, tag: &str) -> Result<(), DownloadError> {
        // In this order: bytes of one file must never stand beside the tag of another.
        self.out.set_len(0).map_err(|source| self.failed(source))?;
        self.have = 0;
        self.tag = is_strong(tag).then(|| tag.to_owned());
        let noted = match &self.tag {
            Some(tag) => fs::write(&self.note, tag),
            None => fs::remove_file(&self.note).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
        };
        noted.map_err(|source| DownloadError::Io {
            path: self.note.clone(),
            source,
        })
    }

    fn refused(&self, status: StatusCode, message: &str) -> DownloadError {
        DownloadError::Refused {
            server: self.server.clone(),
            status,
            message: message.to_owned(),
        }
    }
}

/// An entity tag by which bytes can be told apart.
fn is_strong(tag: &str) -> bool {
    tag.len() > 2 && tag.len() < 200 && tag.starts_with('"') && tag.ends_with('"')
}

/// True where the file is the one with this tag, which is its SHA-256.
fn is_file(file: &Path, tag: &str) -> bool {
    tokio::task::block_in_place(|| {
        let found = File::open(file)
            .map_err(|_| ())
            .and_then(|open| lab_bundle::verify_and_hash(file, &open, &()).map_err(|_| ()));
        matches!(found, Ok((_, damage, sum)) if damage.is_empty() && tag == format!("\"{sum}\""))
    })
}

/// What a refusal says, after a colon.
async fn message_of(answer: Response<Incoming>) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        message: String,
    }
    let body = http_body_util::Limited::new(answer.into_body(), 64 * 1024).collect();
    let Ok(Ok(body)) = timeout(SILENCE, body).await else {
        return String::new();
    };
    match serde_json::from_slice::<Said>(&body.to_bytes()) {
        Ok(Said { message }) => {
            let plain: String = message
                .chars()
                .filter(|letter| !letter.is_control())
                .collect();
            format!(": {plain}")
        }
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests;
