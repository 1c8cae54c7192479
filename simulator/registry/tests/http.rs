//! The distribution specification, verb by verb, without a socket.
#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

mod support;

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use serde_json::json;
use sha2::{Digest, Sha512};
use support::{INDEX, Lab, MANIFEST, files, image, sha256};

const UNKNOWN: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

// Pull.

#[tokio::test]
async fn the_base_path_says_that_this_is_a_registry() {
    let lab = Lab::new();
    for path in ["/v2", "/v2/"] {
        let answer = lab.get(path).await.is(200, "");
        assert_eq!(
            answer.header("docker-distribution-api-version"),
            "registry/2.0"
        );
    }
}

#[tokio::test]
async fn a_pushed_blob_comes_back_whole_and_in_parts() {
    let lab = Lab::new();
    let digest = lab.push_blob("team/hello", b"0123456789").await;
    let path = format!("/v2/team/hello/blobs/{digest}");

    let whole = lab.get(&path).await.is(200, "");
    assert_eq!(whole.body, b"0123456789");
    assert_eq!(whole.header("docker-content-digest"), digest);

    let head = lab.send("HEAD", &path, &[], "").await.is(200, "");
    assert_eq!(head.header("content-length"), "10");
    assert_eq!(head.body, b"");

    let part = lab
        .send("GET", &path, &[("range", "bytes=2-4")], "")
        .await
        .is(206, "");
    assert_eq!(part.body, b"234");
    assert_eq!(part.header("content-range"), "bytes 2-4/10");
    assert_eq!(part.header("content-length"), "3");

    let beyond = lab.send("GET", &path, &[("range", "bytes=10-")], "").await;
    assert_eq!(
        beyond.is(416, "SIZE_INVALID").header("content-range"),
        "bytes */10"
    );
}

#[tokio::test]
async fn a_manifest_comes_back_byte_for_byte_by_tag_and_by_digest() {
    let lab = Lab::new();
    let config = lab.push_blob("hello", b"{}").await;
    // Unusual spacing, as some other program may have written it.
    let manifest = image(&config, &[]).to_string().replace(',', " ,\n\t");
    let headers = [("content-type", MANIFEST)];
    let pushed = lab
        .send("PUT", "/v2/hello/manifests/1.0", &headers, manifest.clone())
        .await;
    let digest = sha256(manifest.as_bytes());
    assert_eq!(pushed.is(201, "").header("docker-content-digest"), digest);
    for reference in ["1.0", &digest] {
        let path = format!("/v2/hello/manifests/{reference}");
        let answer = lab.get(&path).await.is(200, "");
        assert_eq!(answer.body, manifest.as_bytes());
        assert_eq!(answer.header("content-type"), MANIFEST);
        let head = lab.send("HEAD", &path, &[], "").await.is(200, "");
        assert_eq!(head.header("content-length"), manifest.len().to_string());
    }
}

#[tokio::test]
async fn what_is_not_there_is_named_by_its_code() {
    let lab = Lab::new();
    lab.push_image("hello", "1.0", b"layer").await;
    let id = "a".repeat(24);
    for (method, path, status, code) in [
        (
            "GET",
            format!("/v2/hello/blobs/{UNKNOWN}"),
            404,
            "BLOB_UNKNOWN",
        ),
        (
            "DELETE",
            format!("/v2/hello/blobs/{UNKNOWN}"),
            404,
            "BLOB_UNKNOWN",
        ),
        (
            "GET",
            "/v2/hello/blobs/sha256:12".to_owned(),
            400,
            "DIGEST_INVALID",
        ),
        (
            "GET",
            "/v2/hello/manifests/2.0".to_owned(),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            "GET",
            format!("/v2/hello/manifests/{UNKNOWN}"),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            "DELETE",
            "/v2/hello/manifests/2.0".to_owned(),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            "DELETE",
            format!("/v2/hello/manifests/{UNKNOWN}"),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            "GET",
            "/v2/hello/manifests/.x".to_owned(),
            400,
            "MANIFEST_INVALID",
        ),
        (
            "GET",
            "/v2/nothing/tags/list".to_owned(),
            404,
            "NAME_UNKNOWN",
        ),
        ("GET", "/v2/Hello/tags/list".to_owned(), 400, "NAME_INVALID"),
        (
            "POST",
            "/v2/HELLO/blobs/uploads/".to_owned(),
            400,
            "NAME_INVALID",
        ),
        (
            "GET",
            format!("/v2/hello/blobs/uploads/{id}"),
            404,
            "BLOB_UPLOAD_UNKNOWN",
        ),
        (
            "PATCH",
            format!("/v2/hello/blobs/uploads/{id}"),
            404,
            "BLOB_UPLOAD_UNKNOWN",
        ),
        (
            "PUT",
            format!("/v2/hello/blobs/uploads/{id}?digest={UNKNOWN}"),
            404,
            "BLOB_UPLOAD_UNKNOWN",
        ),
        (
            "DELETE",
            "/v2/hello/blobs/uploads/x".to_owned(),
            404,
            "BLOB_UPLOAD_UNKNOWN",
        ),
        ("PUT", "/v2/hello/tags/list".to_owned(), 405, "UNSUPPORTED"),
        ("GET", "/v2/hello".to_owned(), 404, "NAME_UNKNOWN"),
        ("GET", "/v1/hello".to_owned(), 404, "NAME_UNKNOWN"),
        (
            "GET",
            format!("/v2/hello/referrers/{}", "x:y"),
            400,
            "DIGEST_INVALID",
        ),
    ] {
        let answer = lab.send(method, &path, &[], "").await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (status, code),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn no_path_leads_out_of_the_directory() {
    let lab = Lab::new();
    std::fs::write(lab.dir.path().join("secret"), "secret").unwrap();
    for path in [
        "/v2/../secret/manifests/x",
        "/v2/a/../../manifests/secret",
        "/v2/%2e%2e/%2e%2e/manifests/secret",
        "/v2/hello/manifests/..%2f..%2fsecret",
        "/v2/hello/blobs/uploads/..%2f..%2f..%2fsecret",
        "/v2/hello/blobs/sha256:..%2f..%2fsecret",
    ] {
        let answer = lab.get(path).await;
        assert!(answer.status.is_client_error(), "{path}: {answer:?}");
    }
}

// Push.

async fn begin(lab: &Lab, name: &str) -> String {
    let answer = lab
        .send("POST", &format!("/v2/{name}/blobs/uploads/"), &[], "")
        .await;
    answer.is(202, "").header("location").to_owned()
}

#[tokio::test]
async fn a_blob_can_be_pushed_in_one_put() {
    let lab = Lab::new();
    let location = begin(&lab, "hello").await;
    let digest = sha256(b"content");
    let path = format!("{location}?digest={digest}");
    let done = lab.send("PUT", &path, &[], "content").await.is(201, "");
    assert_eq!(done.header("location"), format!("/v2/hello/blobs/{digest}"));
    assert_eq!(lab.get(done.header("location")).await.body, b"content");
    lab.get(&location).await.is(404, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn a_blob_can_be_pushed_in_chunks_in_order() {
    let lab = Lab::new();
    let location = begin(&lab, "hello").await;
    let first = lab
        .send("PATCH", &location, &[("content-range", "0-3")], "abcd")
        .await;
    assert_eq!(first.is(202, "").header("range"), "0-3");

    let gap = lab
        .send("PATCH", &location, &[("content-range", "5-6")], "fg")
        .await;
    let gap = gap.is(416, "BLOB_UPLOAD_INVALID");
    assert_eq!(gap.header("range"), "0-3");
    assert_eq!(gap.header("location"), location);
    let again = lab
        .send("PATCH", &location, &[("content-range", "0-3")], "abcd")
        .await;
    again.is(416, "BLOB_UPLOAD_INVALID");
    let headers = [("content-range", "4-9"), ("content-length", "2")];
    lab.send("PATCH", &location, &headers, "ef")
        .await
        .is(400, "SIZE_INVALID");

    let state = lab.get(&location).await.is(204, "");
    assert_eq!(state.header("range"), "0-3");

    let path = format!("{location}?digest={}", sha256(b"abcdef"));
    lab.send("PUT", &path, &[("content-range", "9-9")], "f")
        .await
        .is(416, "BLOB_UPLOAD_INVALID");
    lab.send("PUT", &path, &[("content-range", "4-5")], "ef")
        .await
        .is(201, "");
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart() {
    let lab = Lab::new();
    let location = begin(&lab, "hello").await;
    lab.send("PATCH", &location, &[], "abc").await.is(202, "");
    let lab = lab.restarted();
    assert_eq!(lab.get(&location).await.is(204, "").header("range"), "0-2");
    lab.send("PATCH", &location, &[("content-range", "3-5")], "def")
        .await
        .is(202, "");
    let path = format!("{location}?digest={}", sha256(b"abcdef"));
    lab.send("PUT", &path, &[], "").await.is(201, "");
}

#[tokio::test]
async fn a_broken_connection_leaves_an_upload_that_can_go_on() {
    let lab = Lab::new();
    let location = begin(&lab, "hello").await;
    let pieces = [Ok(Bytes::from("abc")), Err(std::io::Error::other("reset"))];
    let body = Body::from_stream(stream::iter(pieces));
    lab.send("PATCH", &location, &[], body)
        .await
        .is(400, "BLOB_UPLOAD_INVALID");
    assert_eq!(lab.get(&location).await.header("range"), "0-2");
    lab.send("PATCH", &location, &[("content-range", "3-5")], "def")
        .await
        .is(202, "");
    let path = format!("{location}?digest={}", sha256(b"abcdef"));
    lab.send("PUT", &path, &[], "").await.is(201, "");
}

#[tokio::test]
async fn a_request_that_is_dropped_does_not_block_its_upload() {
    let lab = Lab::new();
    let location = begin(&lab, "hello").await;
    let (sender, receiver) = futures::channel::mpsc::unbounded::<std::io::Result<Bytes>>();
    sender.unbounded_send(Ok(Bytes::from("abc"))).unwrap();
    let hanging = lab.send("PATCH", &location, &[], Body::from_stream(receiver));
    let gone = tokio::time::timeout(Duration::from_millis(20), hanging).await;
    assert!(gone.is_err(), "the body never ended");
    lab.get(&location).await.is(400, "BLOB_UPLOAD_INVALID");
    drop(sender);
    let free = async {
        while lab.get(&location).await.status != 204 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), free)
        .await
        .expect("the upload is free again");
    assert_eq!(lab.get(&location).await.header("range"), "0-2");
}

#[tokio::test]
async fn an_upload_belongs_to_its_repository_and_can_be_cancelled() {
    let lab = Lab::new();
    let location = begin(&lab, "hello").await;
    let elsewhere = location.replace("/hello/", "/other/");
    lab.get(&elsewhere).await.is(404, "BLOB_UPLOAD_UNKNOWN");
    lab.send("DELETE", &location, &[], "").await.is(204, "");
    lab.get(&location).await.is(404, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn a_wrong_digest_is_refused_and_nothing_is_left() {
    let lab = Lab::new();
    let path = format!("/v2/hello/blobs/uploads/?digest={}", sha256(b"other"));
    lab.send("POST", &path, &[], "content")
        .await
        .is(400, "DIGEST_INVALID");
    let location = begin(&lab, "hello").await;
    let path = format!("{location}?digest={}", sha256(b"other"));
    lab.send("PUT", &path, &[], "content")
        .await
        .is(400, "DIGEST_INVALID");
    lab.get(&location).await.is(404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(files(lab.dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_put_without_a_digest_is_refused_and_the_upload_stays() {
    let lab = Lab::new();
    let location = begin(&lab, "hello").await;
    lab.send("PUT", &location, &[], "content")
        .await
        .is(400, "DIGEST_INVALID");
    lab.get(&location).await.is(204, "");
}

#[tokio::test]
async fn sha512_works_as_well() {
    let lab = Lab::new();
    let digest = format!("sha512:{:x}", Sha512::digest(b"content"));
    let path = format!("/v2/hello/blobs/uploads/?digest={digest}");
    lab.send("POST", &path, &[], "content").await.is(201, "");
    let path = format!("/v2/hello/blobs/{digest}");
    assert_eq!(lab.get(&path).await.is(200, "").body, b"content");
}

#[tokio::test]
async fn a_blob_is_stored_once_and_seen_only_where_it_was_pushed_or_mounted() {
    let lab = Lab::new();
    let digest = lab.push_blob("one", b"content").await;
    lab.push_blob("two", b"content").await;
    assert_eq!(lab.stored_blobs(), 1);
    let elsewhere = format!("/v2/three/blobs/{digest}");
    lab.get(&elsewhere).await.is(404, "BLOB_UNKNOWN");

    let path = format!("/v2/three/blobs/uploads/?mount={digest}&from=one");
    let mounted = lab.send("POST", &path, &[], "").await.is(201, "");
    assert_eq!(mounted.header("location"), elsewhere);
    assert_eq!(lab.get(&elsewhere).await.is(200, "").body, b"content");

    let path = format!("/v2/four/blobs/uploads/?mount={digest}");
    lab.send("POST", &path, &[], "").await.is(201, "");
}

#[tokio::test]
async fn a_mount_of_what_is_not_there_becomes_an_upload() {
    let lab = Lab::new();
    let digest = lab.push_blob("one", b"content").await;
    for query in [
        format!("mount={UNKNOWN}&from=one"),
        format!("mount={digest}&from=nobody"),
    ] {
        let path = format!("/v2/three/blobs/uploads/?{query}");
        let answer = lab.send("POST", &path, &[], "").await.is(202, "");
        lab.get(answer.header("location")).await.is(204, "");
    }
}

#[tokio::test]
async fn manifests_that_cannot_be_right_are_refused() {
    let lab = Lab::new();
    let config = lab.push_blob("hello", b"{}").await;
    let good = image(&config, &[]).to_string();
    let lost = image(&config, &[UNKNOWN]).to_string();
    let big = " ".repeat(4 * 1024 * 1024 + 1);
    let wrong = format!("/v2/hello/manifests/{UNKNOWN}");
    let tag = "/v2/hello/manifests/1.0";
    for (path, content_type, body, status, code) in [
        (
            tag,
            MANIFEST,
            "not json".to_owned(),
            400,
            "MANIFEST_INVALID",
        ),
        (tag, MANIFEST, "{}".to_owned(), 400, "MANIFEST_INVALID"),
        (tag, INDEX, good.clone(), 400, "MANIFEST_INVALID"),
        (
            tag,
            MANIFEST,
            good.replace(&config, "sha256:x"),
            400,
            "MANIFEST_INVALID",
        ),
        (tag, MANIFEST, lost, 400, "MANIFEST_BLOB_UNKNOWN"),
        (&wrong, MANIFEST, good.clone(), 400, "DIGEST_INVALID"),
        (tag, MANIFEST, big, 413, "MANIFEST_INVALID"),
    ] {
        lab.send("PUT", path, &[("content-type", content_type)], body)
            .await
            .is(status, code);
    }
    lab.get("/v2/hello/tags/list").await.is(404, "NAME_UNKNOWN");
    // Spaces at the end bring a good manifest to exactly the limit.
    let full = format!("{good}{}", " ".repeat(4 * 1024 * 1024 - good.len()));
    lab.send("PUT", tag, &[("content-type", MANIFEST)], full)
        .await
        .is(201, "");
}

#[tokio::test]
async fn listeners_hear_of_every_push() {
    let lab = Lab::new();
    let mut pushes = lab.registry.on_push();
    let digest = lab.push_image("team/hello", "1.0", b"layer").await;
    let pushed = pushes.recv().await.unwrap();
    assert_eq!(pushed.repository, "team/hello");
    assert_eq!(pushed.tag.as_deref(), Some("1.0"));
    assert_eq!(pushed.digest, digest);
}

// Content discovery.

#[tokio::test]
async fn tags_and_repositories_are_listed_in_pages() {
    let lab = Lab::new();
    for tag in ["b", "a", "c"] {
        lab.push_image("team/hello", tag, b"layer").await;
    }
    lab.push_image("other", "latest", b"layer").await;
    lab.push_blob("only-blobs", b"layer").await;

    let all = lab.get("/v2/team/hello/tags/list").await.is(200, "").json();
    assert_eq!(all, json!({"name": "team/hello", "tags": ["a", "b", "c"]}));
    let page = lab.get("/v2/team/hello/tags/list?n=2").await;
    assert_eq!(page.json()["tags"], json!(["a", "b"]));
    let next = "</v2/team/hello/tags/list?n=2&last=b>; rel=\"next\"";
    assert_eq!(page.header("link"), next);
    let rest = lab.get("/v2/team/hello/tags/list?n=2&last=b").await;
    assert_eq!(rest.json()["tags"], json!(["c"]));
    assert!(!rest.headers.contains_key("link"));
    let none = lab.get("/v2/team/hello/tags/list?n=0").await.is(200, "");
    assert_eq!(none.json()["tags"], json!([]));

    let catalog = lab.get("/v2/_catalog").await.is(200, "").json();
    assert_eq!(catalog, json!({"repositories": ["other", "team/hello"]}));
    let page = lab.get("/v2/_catalog?n=1").await;
    assert_eq!(page.json(), json!({"repositories": ["other"]}));
    assert_eq!(
        page.header("link"),
        "</v2/_catalog?n=1&last=other>; rel=\"next\""
    );
}

#[tokio::test]
async fn referrers_list_what_is_about_a_manifest() {
    let lab = Lab::new();
    // The subject may come after what refers to it.
    let config = lab.push_blob("hello", b"{}").await;
    let subject = image(&config, &[]);
    let digest = sha256(subject.to_string().as_bytes());
    let mut signature = image(&config, &[]);
    signature["subject"] = json!({"mediaType": MANIFEST, "digest": digest, "size": 1});
    signature["artifactType"] = json!("application/x.signature");
    signature["annotations"] = json!({"who": "me"});
    let path = format!(
        "/v2/hello/manifests/{}",
        sha256(signature.to_string().as_bytes())
    );
    let headers = [("content-type", MANIFEST)];
    let pushed = lab
        .send("PUT", &path, &headers, signature.to_string())
        .await
        .is(201, "");
    assert_eq!(pushed.header("oci-subject"), digest);
    let mut note = image(&config, &[]);
    note["subject"] = signature["subject"].clone();
    lab.push_manifest("hello", "note", &note).await;

    let path = format!("/v2/hello/referrers/{digest}");
    let all = lab.get(&path).await.is(200, "");
    assert_eq!(all.header("content-type"), INDEX);
    assert_eq!(all.json()["manifests"].as_array().unwrap().len(), 2);

    let filtered = lab
        .get(&format!("{path}?artifactType=application/x.signature"))
        .await;
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    let expected = json!([{
        "mediaType": MANIFEST,
        "digest": sha256(signature.to_string().as_bytes()),
        "size": signature.to_string().len(),
        "artifactType": "application/x.signature",
        "annotations": {"who": "me"},
    }]);
    assert_eq!(filtered.json()["manifests"], expected);
    let by_config = "?artifactType=application/vnd.oci.image.config.v1%2Bjson";
    let fallback = lab.get(&format!("{path}{by_config}")).await.json();
    assert_eq!(fallback["manifests"].as_array().unwrap().len(), 1);

    let nobody = lab
        .get(&format!("/v2/nothing/referrers/{digest}"))
        .await
        .is(200, "");
    assert_eq!(nobody.json()["manifests"], json!([]));
}

// Content management.

#[tokio::test]
async fn deleting_a_tag_leaves_the_manifest_and_its_other_tags() {
    let lab = Lab::new();
    let config = lab.push_blob("hello", b"{}").await;
    let manifest = image(&config, &[]);
    let digest = lab.push_manifest("hello", "1.0", &manifest).await;
    lab.push_manifest("hello", "latest", &manifest).await;
    lab.send("DELETE", "/v2/hello/manifests/latest", &[], "")
        .await
        .is(202, "");
    lab.get("/v2/hello/manifests/latest")
        .await
        .is(404, "MANIFEST_UNKNOWN");
    lab.get("/v2/hello/manifests/1.0").await.is(200, "");

    let path = format!("/v2/hello/manifests/{digest}");
    lab.send("DELETE", &path, &[], "").await.is(202, "");
    for reference in ["1.0", &digest] {
        let answer = lab.get(&format!("/v2/hello/manifests/{reference}")).await;
        answer.is(404, "MANIFEST_UNKNOWN");
    }
    assert_eq!(
        lab.get("/v2/_catalog").await.json(),
        json!({"repositories": []})
    );
}

#[tokio::test]
async fn deleting_a_blob_hides_it_in_one_repository() {
    let lab = Lab::new();
    let digest = lab.push_blob("one", b"content").await;
    lab.push_blob("two", b"content").await;
    let path = format!("/v2/one/blobs/{digest}");
    lab.send("DELETE", &path, &[], "").await.is(202, "");
    lab.get(&path).await.is(404, "BLOB_UNKNOWN");
    lab.get(&format!("/v2/two/blobs/{digest}"))
        .await
        .is(200, "");
}

// Beside the specification.

#[tokio::test]
async fn web_pages_are_turned_away() {
    let lab = Lab::new();
    let headers = [("origin", "https://example.com")];
    let paths = [
        ("GET", "/v2/"),
        ("POST", "/v2/a/blobs/uploads/"),
        ("POST", "/devops-lab/gc"),
    ];
    for (method, path) in paths {
        lab.send(method, path, &headers, "").await.is(403, "DENIED");
    }
    assert_eq!(files(lab.dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn the_registry_says_whose_it_is() {
    let lab = Lab::new();
    let answer = lab.get("/devops-lab/identity").await.is(200, "").json();
    assert_eq!(answer, json!({"cluster": "test", "program": "devops-lab"}));
}

/// Makes every file look as if it were two hours old.
fn age_all(lab: &Lab) {
    for path in files(lab.dir.path()) {
        let file = std::fs::File::options()
            .append(true)
            .open(lab.dir.path().join(path))
            .unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified - Duration::from_secs(7200))
            .unwrap();
    }
}

#[tokio::test]
async fn garbage_is_what_no_tag_leads_to_and_is_older_than_an_hour() {
    let lab = Lab::new();
    lab.push_image("hello", "1.0", b"shared").await;
    let old = lab.push_image("hello", "2.0", b"replaced").await;
    lab.push_image("hello", "2.0", b"new").await;
    lab.push_blob("hello", b"never used").await;
    age_all(&lab);
    let young = lab.push_blob("hello", b"push in progress").await;

    // 2.0's configuration is the same in both; old manifest, its layer and a stray blob go.
    let report = lab
        .send("POST", "/devops-lab/gc?dry_run=true", &[], "")
        .await
        .is(200, "")
        .json();
    assert_eq!(
        (&report["blobs_removed"], &report["kept"]),
        (&json!(3), &json!(7))
    );
    let before = lab.stored_blobs();
    assert_eq!(before, 10);
    let done = lab.registry.collect_garbage(false).await.unwrap();
    assert_eq!(json!(done), report);
    assert_eq!(lab.stored_blobs(), 7);

    lab.get(&format!("/v2/hello/manifests/{old}"))
        .await
        .is(404, "MANIFEST_UNKNOWN");
    lab.get(&format!("/v2/hello/blobs/{young}"))
        .await
        .is(200, "");
    for tag in ["1.0", "2.0"] {
        lab.get(&format!("/v2/hello/manifests/{tag}"))
            .await
            .is(200, "");
    }
    let again = lab.registry.collect_garbage(false).await.unwrap();
    assert_eq!(
        (again.blobs_removed, again.bytes_freed, again.kept),
        (0, 0, 7)
    );
    let all = lab
        .send("POST", "/devops-lab/gc?grace_seconds=0", &[], "")
        .await
        .is(200, "");
    assert_eq!(all.json()["blobs_removed"], json!(1));
}

#[tokio::test]
async fn a_blob_that_a_client_asked_for_is_not_garbage_yet() {
    let lab = Lab::new();
    let digest = lab.push_blob("hello", b"layer").await;
    age_all(&lab);
    lab.send("HEAD", &format!("/v2/hello/blobs/{digest}"), &[], "")
        .await
        .is(200, "");
    let report = lab.registry.collect_garbage(false).await.unwrap();
    assert_eq!((report.blobs_removed, report.kept), (0, 1));
}

#[tokio::test]
async fn an_upload_in_flight_survives_garbage_collection() {
    let lab = Lab::new();
    let location = begin(&lab, "hello").await;
    lab.send("PATCH", &location, &[], "abc").await.is(202, "");
    lab.send("POST", "/devops-lab/gc?grace_seconds=0", &[], "")
        .await
        .is(200, "");
    let path = format!("{location}?digest={}", sha256(b"abc"));
    lab.send("PUT", &path, &[], "").await.is(201, "");
}

#[tokio::test]
async fn remains_of_a_killed_process_go_when_they_are_a_day_old() {
    let lab = Lab::new();
    let stale = begin(&lab, "hello").await;
    let half_written = lab.dir.path().join("tmp/.tmpAbCdEf");
    std::fs::write(&half_written, "half").unwrap();
    for _ in 0..13 {
        age_all(&lab);
    }
    let young = begin(&lab, "hello").await;
    let lab = lab.restarted();
    lab.get(&stale).await.is(404, "BLOB_UPLOAD_UNKNOWN");
    lab.get(&young).await.is(204, "");
    assert!(!half_written.exists());
}

#[tokio::test]
async fn a_kill_between_content_and_link_shows_nothing_and_can_be_repeated() {
    let lab = Lab::new();
    let digest = lab.push_image("hello", "1.0", b"layer").await;
    let repository = lab.dir.path().join("repositories/hello");
    std::fs::remove_dir_all(repository.join("_tags")).unwrap();
    std::fs::remove_dir_all(repository.join("_manifests")).unwrap();
    let lab = lab.restarted();
    lab.get("/v2/hello/manifests/1.0")
        .await
        .is(404, "MANIFEST_UNKNOWN");
    lab.get(&format!("/v2/hello/manifests/{digest}"))
        .await
        .is(404, "MANIFEST_UNKNOWN");
    assert_eq!(lab.push_image("hello", "1.0", b"layer").await, digest);
    lab.get("/v2/hello/manifests/1.0").await.is(200, "");
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = lab_registry::Registry::open(&file).unwrap_err();
    assert!(
        error.to_string().contains(&file.display().to_string()),
        "{error}"
    );
}
