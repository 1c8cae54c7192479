use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::*;

const YAML: &str = "apiVersion: devops-lab.dev/v1\nkind: Deck\nmetadata:\n  name: sample\ntitle:\n  en: A sample\n  fr: Un exemple\nminutes: 5\n";
const EN: &str = "<!-- id: a; layout: title -->\n# A\n---\n<!-- id: b; minutes: 2 -->\n## B\n\n+ one\n+ two\n\n```start-lab\ncanary\n```\n\n???\nSay it.\n";

/// A show over a real socket, with a class and a cluster that are made up.
struct World {
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
    end: CancellationToken,
    directory: tempfile::TempDir,
    served: tokio::task::JoinHandle<()>,
}

struct MadeUp;

impl Surroundings for MadeUp {
    fn cluster(&self, _: Language) -> BoxFuture<'_, Result<picture::Cluster, String>> {
        Box::pin(async { Err("there is no <cluster>".to_owned()) })
    }

    fn open_lab<'a>(&'a self, lab: &'a str, _: Language) -> BoxFuture<'a, Result<String, String>> {
        Box::pin(async move { Ok(format!("opened {lab}")) })
    }
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let deck = directory.path().join("01-sample");
        std::fs::create_dir(&deck).unwrap();
        for (name, text) in [("deck.yaml", YAML), ("en.md", EN), ("fr.md", EN)] {
            std::fs::write(deck.join(name), text).unwrap();
        }
        let labs = Arc::new(Labs::embedded().unwrap());
        let decks = Decks::from_dir(directory.path(), &labs).unwrap();
        let languages = Languages::One(Language::En);
        let show = Show::new(decks, None, languages, MadeUp);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let end = CancellationToken::new();
        let (follower, path) = (show.clone(), directory.path().to_owned());
        tokio::spawn(async move { follower.follow(path, labs).await });
        let ending = end.clone();
        let served = tokio::spawn(async move { show.serve(listener, ending).await.unwrap() });
        Self {
            base,
            client: Client::builder(TokioExecutor::new()).build_http(),
            end,
            directory,
            served,
        }
    }

    async fn get(&self, path: &str) -> (StatusCode, axum::http::HeaderMap, String) {
        let url = format!("{}{path}", self.base).parse().unwrap();
        let answer = self.client.get(url).await.unwrap();
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (
            parts.status,
            parts.headers,
            String::from_utf8(bytes.to_vec()).unwrap(),
        )
    }

    async fn post(&self, path: &str, body: &Value, origin: Option<&str>) -> (StatusCode, String) {
        let mut request = axum::http::Request::post(format!("{}{path}", self.base))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        let request = request.body(Full::from(body.to_string())).unwrap();
        let answer = self.client.request(request).await.unwrap();
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn go(&self, slide: &str, step: u16) -> StatusCode {
        let position = json!({
            "by": "speaker", "deck": "sample", "slide": slide, "step": step,
            "language": "en", "black": false,
        });
        self.post("/api/position", &position, None).await.0
    }

    async fn window(&self) -> Window {
        let url = format!("{}/api/live", self.base).parse().unwrap();
        let answer = self.client.get(url).await.unwrap();
        Window {
            body: answer.into_body(),
            read: String::new(),
        }
    }
}

/// A window that listens.
struct Window {
    body: hyper::body::Incoming,
    read: String,
}

impl Window {
    /// The next event's name and data; none where the server sent it away.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines();
                    lines.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
                };
                let (name, data) = (field("event:"), field("data:"));
                self.read = rest.to_owned();
                if let (Some(name), Some(data)) = (name, data) {
                    return Some((name, serde_json::from_str(&data).unwrap()));
                }
                continue;
            }
            let frame = tokio::time::timeout(Duration::from_secs(30), self.body.frame());
            let frame = frame.await.expect("an event in time")?.ok()?;
            let bytes = frame.into_data().ok()?;
            self.read.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    async fn until(&mut self, name: &str) -> Value {
        loop {
            let (found, data) = self.next().await.expect("the stream goes on");
            if found == name {
                return data;
            }
        }
    }
}

#[tokio::test]
async fn windows_are_in_step() {
    let world = World::new().await;
    let mut projector = world.window().await;
    let first = projector.until("position").await;
    assert_eq!(
        (&first["slide"], &first["running"]),
        (&json!("a"), &json!(false))
    );
    assert_eq!(world.go("b", 1).await, StatusCode::NO_CONTENT);
    let moved = projector.until("position").await;
    assert_eq!((&moved["slide"], &moved["step"]), (&json!("b"), &json!(1)));
    assert_eq!(moved["running"], json!(true), "the talk has begun");
    // One that comes late, or again, is told at once.
    let late = world.window().await.until("position").await;
    assert_eq!((&late["slide"], &late["step"]), (&json!("b"), &json!(1)));
    world.go("b", 99).await;
    assert_eq!(
        projector.until("position").await["step"],
        json!(2),
        "there are but two steps"
    );
}

#[tokio::test]
async fn the_time_is_kept_for_every_window() {
    let world = World::new().await;
    world
        .post("/api/timer", &json!({"running": true}), None)
        .await;
    let mut window = world.window().await;
    assert_eq!(window.until("position").await["running"], json!(true));
    world
        .post("/api/timer", &json!({"running": false, "zero": true}), None)
        .await;
    let stopped = window.until("position").await;
    assert_eq!(
        (&stopped["running"], &stopped["elapsed"]),
        (&json!(false), &json!(0))
    );
}

#[tokio::test]
async fn a_place_that_is_not_there_is_refused() {
    let world = World::new().await;
    assert_eq!(world.go("nowhere", 0).await, StatusCode::NOT_FOUND);
    let odd = json!({"by": "", "deck": "sample", "slide": "a", "step": 0, "language": "<b>", "black": false});
    assert_eq!(
        world.post("/api/position", &odd, None).await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(world.get("/d/nothing").await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        world.get("/assets/../Cargo.toml").await.0,
        StatusCode::NOT_FOUND
    );
    let large = json!({"lab": "x".repeat(BODY_MAX), "language": "en"});
    assert_eq!(
        world.post("/api/start-lab", &large, None).await.0,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn another_page_of_the_same_browser_cannot_steer() {
    let world = World::new().await;
    let position = json!({"by": "", "deck": "sample", "slide": "b", "step": 0, "language": "en", "black": false});
    let (status, _) = world
        .post("/api/position", &position, Some("http://evil.example"))
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let own = world.base.clone();
    let (status, _) = world.post("/api/position", &position, Some(&own)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn pages_have_no_script_or_style_of_their_own() {
    let world = World::new().await;
    for path in ["/", "/d/sample", "/d/sample/present"] {
        let (status, headers, html) = world.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"));
        for inline in ["<style", "style=", "onclick", "javascript:"] {
            assert!(!html.contains(inline), "{path}: {inline}");
        }
        let scripts = html.matches("<script").count();
        assert_eq!(
            scripts,
            html.matches("<script type=\"module\" src=\"/assets/")
                .count()
        );
    }
    let (_, _, html) = world.get("/d/sample").await;
    assert!(
        html.contains("id=\"a\"") && html.contains("id=\"b\""),
        "{html}"
    );
}

#[tokio::test]
async fn a_lab_is_opened_and_the_cluster_shown_by_what_the_show_is_given() {
    let world = World::new().await;
    let (_, said) = world
        .post(
            "/api/start-lab",
            &json!({"lab": "canary", "language": "en"}),
            None,
        )
        .await;
    assert_eq!(said, "{\"opened\":true,\"said\":\"opened canary\"}");
    let (_, _, html) = world.get("/api/cluster?language=en").await;
    assert_eq!(html, "<p class=\"quiet\">there is no &lt;cluster&gt;</p>");
}

#[tokio::test]
async fn an_authors_change_is_shown_and_a_fault_keeps_what_was_sound() {
    let world = World::new().await;
    let mut window = world.window().await;
    let file = world.directory.path().join("01-sample/en.md");
    std::fs::write(&file, format!("{EN}\n<b>")).unwrap();
    let fault = window.until("fault").await;
    assert!(
        fault["text"]
            .as_str()
            .unwrap()
            .contains("HTML is not shown"),
        "{fault}"
    );
    assert!(world.get("/d/sample").await.2.contains("<h1>A</h1>"));
    std::fs::write(&file, EN.replace("# A", "# Another title")).unwrap();
    window.until("anew").await;
    assert!(world.get("/d/sample").await.2.contains("Another title"));
}

#[tokio::test]
async fn the_end_sends_listening_windows_away() {
    let world = World::new().await;
    let mut window = world.window().await;
    window.until("position").await;
    world.end.cancel();
    while window.next().await.is_some() {}
    tokio::time::timeout(Duration::from_secs(30), world.served)
        .await
        .expect("it ends")
        .unwrap();
}
