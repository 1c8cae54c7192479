//! A client that asks once per connection, so that every failure is seen and nothing is retried.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

/// How long one answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// What a server said.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    /// A member of a JSON body; empty where there is none.
    pub(crate) fn member(&self, name: &str) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body[name].as_str().unwrap_or_default().to_owned()
    }
}

/// Asks for `http://host:port/path`.
pub(crate) fn get(url: &str) -> io::Result<Answer> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| io::Error::other(format!("{url} is not http")))?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/" } else { path };
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    parse(&String::from_utf8_lossy(&text))
        .ok_or_else(|| io::Error::other("the connection ended in mid-answer"))
}

/// An answer with a length or until the end; none where it is cut short.
fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        line.to_lowercase()
            .strip_prefix("content-length:")?
            .trim()
            .parse()
            .ok()
    });
    let complete = length.is_none_or(|length: usize| body.len() == length);
    complete.then(|| Answer {
        status,
        body: body.to_owned(),
    })
}

/// Requests without a pause from a thread of its own.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What the requests met.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How many were answered with 200.
    pub(crate) answered: usize,
    /// How many were not, by what came instead.
    pub(crate) failed: BTreeMap<String, usize>,
    /// The versions that answered.
    pub(crate) versions: BTreeSet<String>,
    /// The pods that answered.
    pub(crate) pods: BTreeSet<String>,
}

impl Traffic {
    /// Begins asking.
    pub(crate) fn on(url: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (url, stopped) = (url.to_owned(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut seen = Seen::default();
            while !stopped.load(Ordering::Relaxed) {
                seen.note(get(&url));
            }
            seen
        });
        Self { stop, thread }
    }

    /// Ends asking.
    pub(crate) fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .expect("the thread that asks does not panic")
    }
}

impl Seen {
    fn note(&mut self, outcome: io::Result<Answer>) {
        match outcome {
            Ok(answer) if answer.status == 200 => {
                self.answered += 1;
                self.versions.insert(answer.member("version"));
                self.pods.insert(answer.member("pod"));
            }
            Ok(answer) => {
                *self
                    .failed
                    .entry(format!("{} {}", answer.status, answer.body))
                    .or_default() += 1
            }
            Err(error) => *self.failed.entry(error.to_string()).or_default() += 1,
        }
    }
}
