//! What the room is handed, over real sockets.

use std::fs;
use std::process::{Command, Stdio};

use http::{Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lab_image::client::RegistryClient;
use lab_image::{Digest, ImageRef};

use super::BUNDLE_FILE;
use crate::testing::{IMAGE, LAYER, Room, bundle};

struct Said {
    status: u16,
    headers: http::HeaderMap,
    body: Vec<u8>,
}

async fn ask(room: &Room, method: &str, path: &str, headers: &[(&str, &str)]) -> Said {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", room.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = client
        .request(request.body(Empty::new()).unwrap())
        .await
        .unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.into_body().collect().await;
    Said {
        status,
        headers,
        body: body
            .map(|body| body.to_bytes().to_vec())
            .unwrap_or_default(),
    }
}

fn path() -> String {
    format!("/get/{BUNDLE_FILE}")
}

#[tokio::test]
async fn parts_are_sent_as_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = bundle(dir.path(), 1);
    let packed = fs::read(&file).unwrap();
    let size = packed.len();
    let room = Room::open(Some(&file)).await;
    let head = ask(&room, "HEAD", &path(), &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers[header::CONTENT_LENGTH], size.to_string());
    assert_eq!(head.headers[header::ACCEPT_RANGES], "bytes");
    let tag = head.headers[header::ETAG].to_str().unwrap().to_owned();
    let part = |range: &'static str, same: Option<String>| {
        let room = &room;
        async move {
            let mut headers = vec![("range", range)];
            headers.extend(same.as_deref().map(|tag| ("if-range", tag)));
            ask(room, "GET", &path(), &headers).await
        }
    };
    let said = part("bytes=1000-1999", Some(tag.clone())).await;
    assert_eq!(said.status, 206);
    assert!(said.body == packed[1000..2000]);
    assert_eq!(
        said.headers[header::CONTENT_RANGE],
        format!("bytes 1000-1999/{size}")
    );
    let said = part("bytes=-700", None).await;
    assert!(said.status == 206 && said.body == packed[size - 700..]);
    let said = part("bytes=1000-", Some("\"other\"".into())).await;
    assert!(
        said.status == 200 && said.body == packed,
        "another file begins anew"
    );
    let said = part("bytes=99999999-", None).await;
    assert_eq!(said.status, 416);
    assert_eq!(
        said.headers[header::CONTENT_RANGE],
        format!("bytes */{size}")
    );
    let said = ask(&room, "GET", &path(), &[("if-none-match", &tag)]).await;
    assert_eq!(said.status, 304);
}

#[tokio::test]
async fn without_a_bundle_there_is_nothing_to_get() {
    let room = Room::open(None).await;
    for path in [
        "/get",
        "/get.sh",
        &path(),
        "/v2/",
        "/v2/team/hello/manifests/1.0.0",
    ] {
        assert_eq!(ask(&room, "GET", path, &[]).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_bundle_that_is_written_into_is_not_served_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let file = bundle(dir.path(), 1);
    let room = Room::open(Some(&file)).await;
    let mut bytes = fs::read(&file).unwrap();
    bytes.push(0);
    fs::write(&file, bytes).unwrap();
    let said = ask(&room, "GET", &path(), &[]).await;
    assert_eq!(said.status, 503);
}

#[tokio::test]
async fn the_page_and_the_installer_name_what_is_served_and_nothing_foreign() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(Some(&bundle(dir.path(), 1))).await;
    let tag = ask(&room, "HEAD", &path(), &[]).await.headers[header::ETAG].clone();
    let sum = tag.to_str().unwrap().trim_matches('"').to_owned();
    let page = ask(&room, "GET", "/get", &[]).await;
    let text = String::from_utf8(page.body).unwrap();
    assert!(
        text.contains(&sum) && text.contains("linux-gnu") && !text.contains("{{"),
        "{text}"
    );
    assert!(!text.contains("<1>"), "{text}");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'"));
    let script = ask(&room, "GET", "/get.sh", &[("host", "192.168.1.20:8888")]).await;
    let text = String::from_utf8(script.body).unwrap();
    assert!(text.contains("'http://192.168.1.20:8888/get/"), "{text}");
    assert!(text.contains(&sum) && !text.contains("{{"), "{text}");
    for hostile in ["x';touch /tmp/x;'", "a b", "$(id)"] {
        let said = ask(&room, "GET", "/get.sh", &[("host", hostile)]).await;
        assert_eq!(said.status, 400, "{hostile}");
    }
}

/// Runs the installer in a home of its own; answers whether it went well, and what it said.
async fn install(room: &Room, home: &std::path::Path) -> (bool, String) {
    let script = ask(room, "GET", "/get.sh", &[]).await.body;
    let file = home.join("get.sh");
    fs::write(&file, script).unwrap();
    let mut command = Command::new("sh");
    command
        .arg(&file)
        .env("HOME", home)
        .env("LANG", "C")
        .env_remove("LC_ALL")
        .env_remove("XDG_CACHE_HOME")
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

/// True where a command is there; with `CI=true` it must be.
fn has(tool: &str) -> bool {
    let there = Command::new("sh")
        .args(["-c", &format!("command -v {tool}")])
        .output();
    let there = there.is_ok_and(|output| output.status.success());
    assert!(there || std::env::var("CI").is_err(), "{tool} is missing");
    there
}

#[tokio::test]
async fn the_installer_goes_on_with_what_is_there_and_loads_the_bundle() {
    if !has("curl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = bundle(dir.path(), 1);
    let packed = fs::read(&file).unwrap();
    let room = Room::open(Some(&file)).await;
    let tag = ask(&room, "HEAD", &path(), &[]).await.headers[header::ETAG].clone();
    let sum = tag.to_str().unwrap().trim_matches('"').to_owned();
    let home = dir.path().join("home");
    let kept = home.join(".cache/devops-lab");
    fs::create_dir_all(&kept).unwrap();
    fs::write(kept.join(format!("{sum}.bundle")), &packed[..1_000_000]).unwrap();
    let (fine, said) = install(&room, &home).await;
    assert!(fine, "{said}");
    assert_eq!(
        fs::read_to_string(home.join("called")).unwrap(),
        "bundle load\n"
    );
    assert!(fs::read(home.join("loaded")).unwrap() == packed);
    assert_eq!(
        fs::read_dir(&kept).unwrap().count(),
        0,
        "nothing is left in the cache"
    );
}

#[tokio::test]
async fn the_installer_refuses_what_is_damaged() {
    if !has("curl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = bundle(dir.path(), 1);
    let room = Room::open(Some(&file)).await;
    let tag = ask(&room, "HEAD", &path(), &[]).await.headers[header::ETAG].clone();
    let sum = tag.to_str().unwrap().trim_matches('"').to_owned();
    let home = dir.path().join("home");
    let kept = home.join(".cache/devops-lab");
    fs::create_dir_all(&kept).unwrap();
    fs::write(kept.join(format!("{sum}.bundle")), vec![9; 1_000_000]).unwrap();
    let (fine, said) = install(&room, &home).await;
    assert!(!fine && said.contains("damaged"), "{said}");
    assert!(!home.join("called").exists());
}

#[tokio::test]
async fn a_registry_client_pulls_the_images_of_the_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(Some(&bundle(dir.path(), 1))).await;
    let client = RegistryClient::new(room.url.trim_start_matches("http://"));
    let name = ImageRef::parse(IMAGE).unwrap();
    let (fetched, manifest) = client
        .image_manifest(name.repository(), "1.0.0")
        .await
        .unwrap();
    let by_digest = client
        .manifest(name.repository(), fetched.digest.as_str())
        .await
        .unwrap();
    assert_eq!(by_digest.content, fetched.content);
    let layer = client
        .blob_bytes(name.repository(), &manifest.layers[0])
        .await
        .unwrap();
    assert_eq!(layer.len(), LAYER);
    let absent = Digest::of(b"absent");
    assert!(!client.has_blob(name.repository(), &absent).await.unwrap());
    assert!(client.manifest("team/other", "1.0.0").await.is_err());
    for method in ["PUT", "POST", "DELETE"] {
        let said = ask(&room, method, "/v2/team/hello/manifests/1.0.0", &[]).await;
        assert_eq!(said.status, 405, "{method}");
    }
}

#[tokio::test]
async fn images_of_the_teachers_registry_are_handed_on_and_nothing_else_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = Room::open(Some(&bundle(dir.path(), 1))).await;
    // A class's images are read like a registry's, so that one can stand for the other.
    let registry = first.url.trim_start_matches("http://");
    let room = Room::with(None, Some(registry)).await;
    let client = RegistryClient::new(room.url.trim_start_matches("http://"));
    let (_, manifest) = client.image_manifest("team/hello", "1.0.0").await.unwrap();
    let layer = client
        .blob_bytes("team/hello", &manifest.layers[0])
        .await
        .unwrap();
    assert_eq!(layer.len(), LAYER);
    for path in [
        "/v2/_catalog",
        "/v2/team/hello/tags/list",
        "/v2/a/manifests/x%3Fy",
        "/get",
    ] {
        assert_eq!(ask(&room, "GET", path, &[]).await.status, 404, "{path}");
    }
    drop(first);
}
