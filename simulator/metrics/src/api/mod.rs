//! Prometheus' own HTTP API: what `curl`, Grafana, Prometheus and analysis templates ask.
//!
//! <https://prometheus.io/docs/prometheus/latest/querying/api/>

mod answers;
mod page;
mod params;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use jiff::Timestamp;
use lab_context::Context;
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use crate::eval::{MOST_STEPS, format_value, seconds};
use crate::handle::{Handle, QueryError};
use crate::labels::{Labels, NAME, is_label_name};
use crate::promql::ast::Matcher;
use crate::promql::parse_selector;
use crate::rules::Board;
use crate::scrape::{Expose, Shown};
use params::Params;

/// Queries at a time: they are work for a processor, of which the cluster needs some.
const AT_A_TIME: usize = 2;

/// What the API answers from.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) handle: Handle,
    pub(crate) context: Context,
    pub(crate) shown: Arc<Shown>,
    pub(crate) board: Arc<Board>,
    pub(crate) own: Expose,
    queries: Arc<Semaphore>,
}

/// Why a request is not answered, as Prometheus puts it.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The request makes no sense.
    BadData(String),
    /// The query cannot be evaluated.
    Execution(String),
    /// There is no such thing here.
    NotFound(String),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (code, type_, error) = match self {
            Self::BadData(error) => (StatusCode::BAD_REQUEST, "bad_data", error),
            Self::Execution(error) => (StatusCode::UNPROCESSABLE_ENTITY, "execution", error),
            Self::NotFound(error) => (StatusCode::NOT_FOUND, "not_found", error),
        };
        let body = json!({"status": "error", "errorType": type_, "error": error});
        (code, axum::Json(body)).into_response()
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Parse(error) => {
                Self::BadData(format!("invalid parameter \"query\": {error}"))
            }
            QueryError::Range(problem) => Self::BadData(problem),
            QueryError::Eval(error) => Self::Execution(error.to_string()),
        }
    }
}

type Answered = Result<Response, Refusal>;

impl Api {
    pub(crate) fn new(
        handle: Handle,
        context: Context,
        shown: Arc<Shown>,
        board: Arc<Board>,
        own: Expose,
    ) -> Self {
        Self {
            handle,
            context,
            shown,
            board,
            own,
            queries: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }

    /// Every route.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/", get(page::page))
            .route("/graph", get(page::page))
            .route(
                "/-/healthy",
                get(|| async { "Prometheus Server is Healthy.\n" }),
            )
            .route(
                "/-/ready",
                get(|| async { "Prometheus Server is Ready.\n" }),
            )
            .route("/metrics", get(metrics))
            .route("/federate", get(federate))
            .route("/api/v1/query", any(query))
            .route("/api/v1/query_range", any(query_range))
            .route("/api/v1/series", any(series))
            .route("/api/v1/labels", any(labels))
            .route("/api/v1/label/{name}/values", get(label_values))
            .route("/api/v1/targets", get(targets))
            .route("/api/v1/rules", get(rules))
            .route("/api/v1/alerts", get(alerts))
            .route("/api/v1/metadata", get(metadata))
            .route("/api/v1/status/buildinfo", get(buildinfo))
            .fallback(unknown)
            .layer(middleware::from_fn(refuse_foreign_pages))
            .with_state(self)
    }

    /// Runs a query away from the threads that serve connections, a few at a time.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Handle) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let _place = self.queries.acquire().await;
        let handle = self.handle.clone();
        match tokio::task::spawn_blocking(move || work(&handle)).await {
            Ok(done) => done.map_err(Refusal::from),
            Err(failure) => std::panic::resume_unwind(failure.into_panic()),
        }
    }
}

/// Web pages of others can reach loopback too, and browsers say whose page asks. Our own page
/// asks without, or from the very address that it asks.
async fn refuse_foreign_pages(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let foreign = headers.get(header::ORIGIN).is_some_and(|origin| {
        let own = host
            .filter(|host| is_local(host))
            .map(|host| format!("http://{host}"));
        origin.to_str().ok() != own.as_deref()
    });
    if foreign {
        let said = "requests from web pages of other origins are refused\n";
        return (StatusCode::FORBIDDEN, said).into_response();
    }
    next.run(request).await
}

fn is_local(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost"
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

async fn unknown(request: Request) -> Refusal {
    Refusal::NotFound(format!(
        "{} is not served here; there are /api/v1/query, query_range, series, labels, label/NAME/values, targets, rules, alerts, metadata, status/buildinfo, and /metrics, /federate, /-/healthy",
        request.uri().path()
    ))
}

fn success(data: &Value) -> Answered {
    Ok(axum::Json(json!({"status": "success", "data": data})).into_response())
}

async fn query(State(api): State<Api>, request: Request) -> Answered {
    let params = Params::of(request).await?;
    let text = params.required("query")?.to_owned();
    let at = params.time("time")?.unwrap_or_else(|| api.context.now());
    let answer = api.work(move |handle| handle.instant(&text, at)).await?;
    success(&answers::instant(&answer, at))
}

async fn query_range(State(api): State<Api>, request: Request) -> Answered {
    let params = Params::of(request).await?;
    let text = params.required("query")?.to_owned();
    let time = |name: &str| -> Result<Timestamp, Refusal> {
        params.required(name)?;
        let time = params.time(name)?;
        time.ok_or_else(|| Refusal::BadData(format!("invalid parameter {name:?}")))
    };
    let (start, end) = (time("start")?, time("end")?);
    params.required("step")?;
    let step = params.duration("step")?.unwrap_or(0);
    let found = api
        .work(move |handle| handle.range(&text, (start, end), step))
        .await?;
    let result: Vec<_> = found.iter().map(answers::matrix).collect();
    success(&json!({"resultType": "matrix", "result": result}))
}

/// The series of every `match[]`, in the time of `start` and `end`.
fn matching(api: &Api, params: &Params, wanted: bool) -> Result<Vec<Labels>, Refusal> {
    let texts: Vec<_> = params.all("match[]").collect();
    if wanted && texts.is_empty() {
        return Err(Refusal::BadData("no match[] parameter provided".to_owned()));
    }
    let bounds = (
        params
            .time("start")?
            .map_or(i64::MIN, Timestamp::as_millisecond),
        params
            .time("end")?
            .map_or(i64::MAX, Timestamp::as_millisecond),
    );
    if texts.is_empty() {
        return Ok(api.handle.store().labels(&[], bounds));
    }
    let mut found = Vec::new();
    for text in texts {
        found.extend(api.handle.store().labels(&selector(text)?, bounds));
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn selector(text: &str) -> Result<Vec<Matcher>, Refusal> {
    parse_selector(text)
        .map_err(|error| Refusal::BadData(format!("invalid parameter \"match[]\": {error}")))
}

async fn series(State(api): State<Api>, request: Request) -> Answered {
    let params = Params::of(request).await?;
    let found = matching(&api, &params, true)?;
    let found: Vec<_> = found.iter().map(answers::labels).collect();
    success(&Value::Array(found))
}

fn sorted(names: impl Iterator<Item = String>) -> Value {
    let names: std::collections::BTreeSet<_> = names.collect();
    json!(names)
}

async fn labels(State(api): State<Api>, request: Request) -> Answered {
    let params = Params::of(request).await?;
    let found = matching(&api, &params, false)?;
    let names = found
        .iter()
        .flat_map(|labels| labels.iter().map(|(name, _)| name.to_owned()));
    success(&sorted(names))
}

async fn label_values(
    State(api): State<Api>,
    Path(name): Path<String>,
    request: Request,
) -> Answered {
    if !is_label_name(&name) {
        return Err(Refusal::BadData(format!("invalid label name: {name:?}")));
    }
    let params = Params::of(request).await?;
    let found = matching(&api, &params, false)?;
    let values = found.iter().map(|labels| labels.get(&name).to_owned());
    success(&sorted(values.filter(|value| !value.is_empty())))
}

async fn targets(State(api): State<Api>, request: Request) -> Answered {
    let params = Params::of(request).await?;
    let state = params.first("state").unwrap_or("any");
    let active: Vec<_> = if matches!(state, "any" | "active") {
        api.shown.targets().iter().map(answers::target).collect()
    } else {
        Vec::new()
    };
    success(&json!({"activeTargets": active, "droppedTargets": []}))
}

async fn rules(State(api): State<Api>, request: Request) -> Answered {
    let params = Params::of(request).await?;
    let kind = params.first("type");
    let groups = api.board.groups();
    let groups: Vec<_> = groups
        .iter()
        .map(|group| answers::group(group, kind))
        .collect();
    success(&json!({"groups": groups}))
}

async fn alerts(State(api): State<Api>) -> Answered {
    let groups = api.board.groups();
    let rules = groups.iter().flat_map(|group| &group.rules);
    let alerts = rules.filter_map(|rule| rule.alert.as_ref());
    let alerts: Vec<_> = alerts
        .flat_map(|rule| rule.alerts.iter().map(answers::alert))
        .collect();
    success(&json!({"alerts": alerts}))
}

async fn metadata(State(api): State<Api>, request: Request) -> Answered {
    let params = Params::of(request).await?;
    let only = params.first("metric");
    let limit = match params.first("limit") {
        None => usize::MAX,
        Some(text) => text
            .parse::<i64>()
            .map_err(|_| Refusal::BadData("limit must be a number".to_owned()))?
            .try_into()
            .unwrap_or(usize::MAX),
    };
    let mut all = Map::new();
    let known = api.shown.metadata();
    let known = known
        .iter()
        .filter(|one| only.is_none_or(|only| one.metric == only));
    for one in known.take(limit) {
        let kind = if one.kind.is_empty() {
            "unknown"
        } else {
            &one.kind
        };
        let about = json!([{"type": kind, "help": one.help, "unit": one.unit}]);
        all.insert(one.metric.clone(), about);
    }
    success(&Value::Object(all))
}

async fn buildinfo() -> Answered {
    success(&json!({
        // Clients choose what to ask by the version; the answers are those of this one.
        "version": "2.42.0",
        "revision": format!("devops-lab {}", env!("CARGO_PKG_VERSION")),
        "branch": "devops-lab",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

const TEXT: [(header::HeaderName, &str); 1] = [(
    header::CONTENT_TYPE,
    "text/plain; version=0.0.4; charset=utf-8",
)];

async fn metrics(State(api): State<Api>) -> Response {
    (TEXT, (api.own)()).into_response()
}

/// The latest samples of every `match[]`, for another Prometheus.
async fn federate(State(api): State<Api>, request: Request) -> Answered {
    let params = Params::of(request).await?;
    let now = api.context.now();
    let mut found = Vec::new();
    for text in params.all("match[]") {
        selector(text)?;
        let text = text.to_owned();
        let answer = api.work(move |handle| handle.latest(&text, now)).await?;
        found.extend(answer);
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found.dedup_by(|one, other| one.0 == other.0);
    let mut text = String::new();
    let mut last = String::new();
    for (labels, sample) in found {
        let name = labels.get(NAME);
        if name != last {
            name.clone_into(&mut last);
            text.push_str("# TYPE ");
            text.push_str(name);
            text.push_str(" untyped\n");
        }
        let bare = labels.without_name();
        let bare = if bare.is_empty() {
            String::new()
        } else {
            bare.to_string().replace("\", ", "\",")
        };
        text.push_str(&format!(
            "{name}{bare} {} {}\n",
            format_value(sample.value),
            sample.at
        ));
    }
    Ok((TEXT, text).into_response())
}

/// The step that gives a range a few hundred points.
pub(crate) fn step_for(range_ms: i64) -> i64 {
    (range_ms / 240).max(1000).max(range_ms / MOST_STEPS + 1)
}

/// Seconds as a JSON number; whole where they are.
pub(crate) fn json_seconds(ms: i64) -> Value {
    if ms % 1000 == 0 {
        json!(ms / 1000)
    } else {
        json!(seconds(ms))
    }
}

#[cfg(test)]
mod tests;
