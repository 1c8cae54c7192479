use super::*;
use crate::store::Sample;
use axum::body::{Body, to_bytes};
use tower::ServiceExt;

fn router() -> Router {
    let context = Context::simulated(1, 1.0);
    let handle = Handle::new(15_000);
    for step in 0..=4 {
        let labels = Labels::new([(NAME, "up"), ("job", "shop")]);
        let sample = Sample {
            at: context.now().as_millisecond() - step * 15_000,
            value: 1.0,
        };
        // Newest first would be refused.
        let _ = (step == 0).then(|| handle.store().append(&labels, sample));
    }
    let own: Expose = Arc::new(|| "own 1\n".to_owned());
    Api::new(handle, context, Arc::default(), Arc::default(), own).router()
}

async fn ask(request: axum::http::Request<Body>) -> (StatusCode, String) {
    let response = router().oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(path: &str) -> (StatusCode, String) {
    ask(Request::get(path).body(Body::empty()).unwrap()).await
}

const NOW: &str = "1767225600";

#[tokio::test(start_paused = true)]
async fn queries_are_answered_in_prometheus_format() {
    let query = format!("/api/v1/query?query=up&time={NOW}");
    let (status, body) = get(&query).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        body,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"shop"},"value":[1767225600,"1"]}]}}"#
    );
    let (_, body) = get("/api/v1/query?query=1%2B1&time=1.5").await;
    assert!(
        body.contains(r#""resultType":"scalar","result":[1.5,"2"]"#),
        "{body}"
    );
    let range = format!("/api/v1/query_range?query=up&start={NOW}&end=1767225630&step=15s");
    let (_, body) = get(&range).await;
    assert!(
        body.contains(r#""values":[[1767225600,"1"],[1767225615,"1"],[1767225630,"1"]]"#),
        "{body}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_form_is_as_good_as_a_query() {
    let request = Request::post("/api/v1/query")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(format!("query=count(up)&time={NOW}")))
        .unwrap();
    let (status, body) = ask(request).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains(r#""value":[1767225600,"1"]"#), "{body}");
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_bad_data_with_its_place() {
    for (path, said) in [
        (
            "/api/v1/query?query=up%7B",
            "invalid parameter \\\"query\\\": 1:4: parse error",
        ),
        ("/api/v1/query", "invalid parameter \\\"query\\\""),
        ("/api/v1/query?query=up&time=soon", "valid timestamp"),
        (
            "/api/v1/query_range?query=up&start=2&end=1&step=1",
            "before start time",
        ),
        (
            "/api/v1/query_range?query=up&start=1&end=2&step=0",
            "zero or negative",
        ),
        (
            "/api/v1/query_range?query=up&start=1&end=99999&step=1",
            "11000 points",
        ),
        ("/api/v1/series", "no match[]"),
        ("/api/v1/label/a-b/values", "invalid label name"),
    ] {
        let (status, body) = get(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
        assert!(
            body.contains("\"errorType\":\"bad_data\"") && body.contains(said),
            "{path}: {body}"
        );
    }
    let (status, body) = get("/api/v1/write").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("/api/v1/write is not served here"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn names_values_and_series_are_listed() {
    let (_, body) = get("/api/v1/labels").await;
    assert!(body.contains(r#"["__name__","job"]"#), "{body}");
    let (_, body) = get("/api/v1/label/job/values").await;
    assert!(body.contains(r#"["shop"]"#), "{body}");
    let (_, body) = get("/api/v1/series?match[]=up").await;
    assert!(
        body.contains(r#"[{"__name__":"up","job":"shop"}]"#),
        "{body}"
    );
    let (_, body) = get("/federate?match[]=up").await;
    assert_eq!(
        body,
        "# TYPE up untyped\nup{job=\"shop\"} 1 1767225600000\n"
    );
    let (_, body) = get("/metrics").await;
    assert_eq!(body, "own 1\n");
    for path in [
        "/api/v1/targets",
        "/api/v1/rules",
        "/api/v1/alerts",
        "/api/v1/metadata",
        "/api/v1/status/buildinfo",
        "/-/healthy",
        "/-/ready",
    ] {
        assert_eq!(get(path).await.0, StatusCode::OK, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_page_shows_table_and_drawing_without_script() {
    let (status, body) = get("/?query=up&range=5m").await;
    assert_eq!(status, StatusCode::OK);
    for part in ["<svg", "up{job=&quot;shop&quot;}", "<option selected>5m"] {
        assert!(body.contains(part), "{part} is not in {body}");
    }
    assert!(!body.contains("<script"));
    let (_, body) = get("/?query=%3Cscript%3E").await;
    assert!(
        !body.contains("<script>") && body.contains("parse error"),
        "{body}"
    );
}

#[tokio::test(start_paused = true)]
async fn pages_of_other_origins_are_turned_away() {
    let from = |origin: &str, host: &str| {
        Request::get("/api/v1/query?query=up")
            .header("origin", origin)
            .header("host", host)
            .body(Body::empty())
            .unwrap()
    };
    let foreign = ask(from("https://example.com", "127.0.0.1:9090")).await;
    assert_eq!(foreign.0, StatusCode::FORBIDDEN);
    let rebound = ask(from("http://evil.example:9090", "evil.example:9090")).await;
    assert_eq!(rebound.0, StatusCode::FORBIDDEN);
    let own = ask(from("http://localhost:9090", "localhost:9090")).await;
    assert_eq!(own.0, StatusCode::OK);
}
