//! A browser in a test's hands.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use tokio::time::timeout;

use crate::print::{arguments, find};

/// A busy machine takes its time.
const LIMIT: Duration = Duration::from_secs(60);
/// The shell gives the browser our pipes as its descriptors 3 and 4, where it looks for them.
const PIPES: &str = "exec 3<&0 4>&1 </dev/null >/dev/null 2>&1; exec \"$@\"";

/// A browser of a test's own; it ends when this is dropped.
pub struct Driver {
    shared: Arc<Shared>,
    _browser: Child,
    _profile: tempfile::TempDir,
}

struct Shared {
    input: AsyncMutex<ChildStdin>,
    number: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    /// What pages complained of: by session, errors and refusals.
    complaints: Mutex<Vec<(String, String)>>,
}

/// A window with a page.
pub struct Page {
    shared: Arc<Shared>,
    session: String,
}

impl Driver {
    /// Starts the browser that is installed. Where none is, says so and answers none.
    ///
    /// # Panics
    /// Where it does not start, and where none is installed though `CI=true`.
    #[expect(clippy::print_stderr, reason = "a test that is skipped must say so")]
    pub async fn open() -> Option<Self> {
        let Some(program) = find() else {
            let ci = std::env::var("CI").is_ok_and(|value| value == "true");
            assert!(!ci, "CI has no Chromium: install it");
            eprintln!("skipped: no Chromium or Chrome is installed");
            return None;
        };
        let profile = tempfile::tempdir().expect("a directory for the browser");
        let mut browser = Command::new("sh")
            .args(["-c", PIPES, "sh"])
            .arg(program)
            .args(arguments(profile.path()))
            .args(["--remote-debugging-pipe", "--force-color-profile=srgb"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the browser starts");
        let input = browser.stdin.take().expect("a pipe");
        let output = browser.stdout.take().expect("a pipe");
        let shared = Arc::new(Shared {
            input: AsyncMutex::new(input),
            number: AtomicU64::new(0),
            waiting: Mutex::default(),
            complaints: Mutex::default(),
        });
        tokio::spawn(listen(shared.clone(), output));
        Some(Self {
            shared,
            _browser: browser,
            _profile: profile,
        })
    }

    /// Opens a window of this size on a page, and waits until it is loaded.
    ///
    /// # Panics
    /// Where it is not.
    pub async fn page(&self, url: &str, width: u32, height: u32) -> Page {
        let target = json!({"url": "about:blank", "newWindow": true});
        let target = self.shared.ask("", "Target.createTarget", target).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.shared.ask("", "Target.attachToTarget", attach).await;
        let page = Page {
            shared: self.shared.clone(),
            session: attached["sessionId"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.ask(domain, json!({})).await;
        }
        page.resize(width, height).await;
        page.goto(url).await;
        page
    }
}

impl Page {
    /// Goes to a page, and waits until it is loaded.
    ///
    /// # Panics
    /// Where it is not.
    pub async fn goto(&self, url: &str) {
        let answer = self.ask("Page.navigate", json!({"url": url})).await;
        assert!(answer.get("errorText").is_none(), "{url}: {answer}");
        self.until("document.readyState === 'complete'").await;
    }

    /// Gives the window another size, in pixels.
    ///
    /// # Panics
    /// Where the browser refuses.
    pub async fn resize(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Makes the system's preference dark or light, and motion reduced or not.
    ///
    /// # Panics
    /// Where the browser refuses.
    pub async fn prefer(&self, dark: bool, still: bool) {
        let features = json!([
            {"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }},
            {"name": "prefers-reduced-motion", "value": if still { "reduce" } else { "no-preference" }},
        ]);
        let media = json!({"features": features});
        self.ask("Emulation.setEmulatedMedia", media).await;
    }

    /// What a script in the page says; a promise is waited for.
    ///
    /// # Panics
    /// Where it throws.
    pub async fn eval(&self, script: &str) -> Value {
        let body = json!({"expression": script, "awaitPromise": true, "returnByValue": true});
        let answer = self.ask("Runtime.evaluate", body).await;
        assert!(
            answer.get("exceptionDetails").is_none(),
            "{script}: {}",
            answer["exceptionDetails"]
        );
        answer["result"]["value"].clone()
    }

    /// Waits until an expression holds in the page.
    ///
    /// # Panics
    /// Where it does not within a minute.
    pub async fn until(&self, expression: &str) {
        let script = format!(
            "new Promise((done) => {{ const end = Date.now() + {};\
             const look = () => {{ let holds = false; try {{ holds = Boolean({expression}); }} catch {{}}\
             if (holds || Date.now() > end) done(holds); else setTimeout(look, 20); }}; look(); }})",
            (LIMIT - Duration::from_secs(5)).as_millis()
        );
        // A page that is left meanwhile takes the promise with it: asked again, in the new one.
        for _ in 0..3 {
            let body = json!({"expression": script, "awaitPromise": true, "returnByValue": true});
            let answer = self
                .shared
                .try_ask(&self.session, "Runtime.evaluate", body)
                .await;
            if let Ok(answer) = answer {
                assert_eq!(answer["result"]["value"], json!(true), "{expression}");
                return;
            }
        }
        panic!("{expression}: the page went away");
    }

    /// Presses a key, by the name that scripts know it by: `ArrowRight`, `o`, `Tab`, `?`.
    ///
    /// # Panics
    /// Where the browser refuses.
    pub async fn press(&self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            " " => (32, " "),
            "Tab" => (9, ""),
            "Escape" => (27, ""),
            "ArrowLeft" => (37, ""),
            "ArrowUp" => (38, ""),
            "ArrowRight" => (39, ""),
            "ArrowDown" => (40, ""),
            "PageUp" => (33, ""),
            "PageDown" => (34, ""),
            "End" => (35, ""),
            "Home" => (36, ""),
            _ => (0, key),
        };
        let down = if text.is_empty() {
            "rawKeyDown"
        } else {
            "keyDown"
        };
        let name = if key == " " { "Space" } else { key };
        for kind in [down, "keyUp"] {
            let mut event = json!({
                "type": kind, "key": key, "code": name, "windowsVirtualKeyCode": code,
            });
            if kind == "keyDown" {
                event["text"] = json!(text);
            }
            self.ask("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Clicks into the middle of the first element that a selector finds.
    ///
    /// # Panics
    /// Where there is none.
    pub async fn click(&self, selector: &str) {
        let script = format!(
            "(() => {{ const it = document.querySelector({}); it.scrollIntoView({{block: 'center'}});\
             const box = it.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()",
            json!(selector)
        );
        let at = self.eval(&script).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1});
            self.ask("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Writes what the window shows into a PNG file.
    ///
    /// # Panics
    /// Where that fails.
    pub async fn screenshot(&self, file: &Path) {
        let answer = self
            .ask("Page.captureScreenshot", json!({"format": "png"}))
            .await;
        let data = answer["data"].as_str().unwrap_or_default();
        let bytes = BASE64_STANDARD.decode(data).expect("a picture");
        std::fs::write(file, bytes).expect("the picture is written");
    }

    /// What the page complained of so far: errors of scripts, requests that failed, what its
    /// policy refused.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let all = lock(&self.shared.complaints);
        let own = all.iter().filter(|(session, _)| *session == self.session);
        own.map(|(_, text)| text.clone()).collect()
    }

    /// Any command of the protocol.
    ///
    /// # Panics
    /// Where the browser refuses it, or does not answer in time.
    pub async fn ask(&self, method: &str, params: Value) -> Value {
        self.shared.ask(&self.session, method, params).await
    }
}

impl Shared {
    async fn ask(&self, session: &str, method: &str, params: Value) -> Value {
        let answer = self.try_ask(session, method, params).await;
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    async fn try_ask(&self, session: &str, method: &str, params: Value) -> Result<Value, Value> {
        let id = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let mut message = json!({"id": id, "method": method, "params": params});
        if !session.is_empty() {
            message["sessionId"] = json!(session);
        }
        let (sender, answer) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        {
            let mut input = self.input.lock().await;
            input.write_all(&bytes).await.expect("the browser listens");
            input.flush().await.expect("the browser listens");
        }
        let mut answer = timeout(LIMIT, answer)
            .await
            .unwrap_or_else(|_| panic!("{method}: no answer"))
            .unwrap_or_else(|_| panic!("{method}: the browser went away"));
        match answer.get_mut("error") {
            Some(error) => Err(error.take()),
            None => Ok(answer["result"].take()),
        }
    }
}

/// Hands answers to those who wait for them.
async fn listen(shared: Arc<Shared>, output: ChildStdout) {
    let mut output = BufReader::new(output);
    let mut message = Vec::new();
    while output
        .read_until(0, &mut message)
        .await
        .is_ok_and(|read| read > 0)
    {
        message.pop_if(|last| *last == 0);
        let said: Value = serde_json::from_slice(&message).unwrap_or_default();
        message.clear();
        if let Some(id) = said["id"].as_u64() {
            if let Some(waiting) = lock(&shared.waiting).remove(&id) {
                let _ = waiting.send(said);
            }
            continue;
        }
        let complaint = match said["method"].as_str() {
            Some("Runtime.exceptionThrown") => &said["params"]["exceptionDetails"],
            Some("Log.entryAdded") if said["params"]["entry"]["level"] == "error" => {
                &said["params"]["entry"]["text"]
            }
            _ => continue,
        };
        let session = said["sessionId"].as_str().unwrap_or_default();
        let complaint = (session.to_owned(), complaint.to_string());
        lock(&shared.complaints).push(complaint);
    }
    // Nobody waits for ever for a browser that went away.
    lock(&shared.waiting).clear();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
