//! The small page at `/`: a query, its table, and a drawing; no script, nothing from elsewhere.

use std::fmt::Write;

use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;

use super::params::Params;
use super::{Api, Refusal, step_for};
use crate::eval::{Answer, format_value};
use crate::labels::Labels;
use crate::store::Series;

/// Ranges that can be chosen: name and milliseconds.
const RANGES: [(&str, i64); 5] = [
    ("5m", 300_000),
    ("15m", 900_000),
    ("30m", 1_800_000),
    ("1h", 3_600_000),
    ("2h", 7_200_000),
];
/// Lines of a drawing, each of another colour.
const COLOURS: [&str; 8] = [
    "#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#bc4c00", "#0969da", "#57606a",
];
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 260.0;
/// Rows of a table: a page is for looking at.
const MOST_ROWS: usize = 200;

const STYLE: &str = "body{font:15px/1.4 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1f2328;background:#fff}\
input[type=text]{width:100%;font:15px ui-monospace,monospace;padding:.5rem;box-sizing:border-box}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .5rem;border-bottom:1px solid #d1d9e0;font:13px ui-monospace,monospace;overflow-wrap:anywhere}\
.error{color:#d1242f}svg{width:100%;border:1px solid #d1d9e0}nav a{margin-right:1rem}\
@media(prefers-color-scheme:dark){body{color:#f0f6fc;background:#0d1117}a{color:#4493f8}}";

pub(super) async fn page(State(api): State<Api>, request: Request) -> Result<Response, Refusal> {
    let params = Params::of(request).await?;
    let query = params.first("query").unwrap_or("up").to_owned();
    let chosen = params.first("range").unwrap_or("15m").to_owned();
    let range = RANGES.iter().find(|(name, _)| *name == chosen);
    let range_ms = range.map_or(900_000, |(_, ms)| *ms);
    let now = api.context.now();
    let mut text = head(&query, &chosen);
    let asked = query.clone();
    match api.work(move |handle| handle.instant(&asked, now)).await {
        Ok(answer) => {
            if matches!(answer, Answer::Vector(_) | Answer::Scalar(_)) {
                let start = now - std::time::Duration::from_millis(range_ms.unsigned_abs());
                let drawn = api
                    .work(move |handle| handle.range(&query, (start, now), step_for(range_ms)))
                    .await;
                if let Ok(series) = drawn {
                    draw(&mut text, &series, (start, now));
                }
            }
            table(&mut text, &answer);
        }
        Err(refusal) => {
            let said = match refusal {
                Refusal::BadData(said) | Refusal::Execution(said) | Refusal::NotFound(said) => said,
            };
            add(
                &mut text,
                format_args!("<p class=error>{}</p>", html(&said)),
            );
        }
    }
    text.push_str("</body></html>");
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";
    let headers = [(header::CONTENT_SECURITY_POLICY, policy)];
    Ok((headers, Html(text)).into_response())
}

/// A string takes every write.
fn add(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part).expect("a string takes every write");
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn head(query: &str, chosen: &str) -> String {
    let mut text = format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>devops-lab metrics</title><style>{STYLE}</style></head><body><h1>Metrics</h1><form action=\"/\"><label for=query>PromQL</label><input type=text id=query name=query value=\"{}\" autofocus spellcheck=false> <select name=range aria-label=range>",
        html(query)
    );
    for (name, _) in RANGES {
        let selected = if name == chosen { " selected" } else { "" };
        add(&mut text, format_args!("<option{selected}>{name}</option>"));
    }
    text.push_str("</select> <button>Ask</button></form><nav><p>");
    for (example, what) in [
        ("up", "targets"),
        (
            "sum by (code) (rate(gateway_requests_total[1m]))",
            "requests",
        ),
        (
            "histogram_quantile(0.95, sum by (le) (rate(gateway_request_duration_seconds_bucket[1m])))",
            "latency",
        ),
        ("ALERTS", "alerts"),
    ] {
        let encoded: String = url::form_urlencoded::byte_serialize(example.as_bytes()).collect();
        add(
            &mut text,
            format_args!("<a href=\"/?query={encoded}\">{what}</a>"),
        );
    }
    text.push_str("<a href=\"/api/v1/targets\">targets.json</a><a href=\"/api/v1/rules\">rules.json</a></p></nav>");
    text
}

fn table(text: &mut String, answer: &Answer) {
    let rows: Vec<(String, String)> = match answer {
        Answer::Scalar(value) => vec![("scalar".to_owned(), format_value(*value))],
        Answer::Text(said) => vec![("string".to_owned(), said.clone())],
        Answer::Vector(elements) => elements
            .iter()
            .map(|one| (one.labels.to_string(), format_value(one.value)))
            .collect(),
        Answer::Matrix(series) => series
            .iter()
            .map(|one| {
                let last = one.samples.last().map(|sample| format_value(sample.value));
                let count = one.samples.len();
                (
                    one.labels.to_string(),
                    format!("{count} samples, last {}", last.unwrap_or_default()),
                )
            })
            .collect(),
    };
    if rows.is_empty() {
        text.push_str("<p>Empty: no series has a value for this at the moment.</p>");
        return;
    }
    text.push_str("<table><tr><th>Series</th><th>Value</th></tr>");
    for (series, value) in rows.iter().take(MOST_ROWS) {
        let (series, value) = (html(series), html(value));
        add(
            text,
            format_args!("<tr><td>{series}</td><td>{value}</td></tr>"),
        );
    }
    text.push_str("</table>");
    if rows.len() > MOST_ROWS {
        add(
            text,
            format_args!("<p>… and {} more</p>", rows.len() - MOST_ROWS),
        );
    }
}

fn draw(text: &mut String, series: &[Series], (start, end): (Timestamp, Timestamp)) {
    let values = || {
        let samples = series.iter().flat_map(|one| &one.samples);
        samples
            .map(|sample| sample.value)
            .filter(|value| value.is_finite())
    };
    let (mut low, mut high) = (
        values().fold(f64::INFINITY, f64::min).min(0.0),
        values().fold(f64::NEG_INFINITY, f64::max),
    );
    if !high.is_finite() {
        return;
    }
    if high <= low {
        (low, high) = (low - 1.0, low + 1.0);
    }
    let (from, span) = (
        start.as_millisecond(),
        end.as_millisecond() - start.as_millisecond(),
    );
    let x = |at: i64| crate::eval::seconds(at - from) / crate::eval::seconds(span.max(1)) * WIDTH;
    let y = |value: f64| HEIGHT - (value - low) / (high - low) * (HEIGHT - 20.0) - 10.0;
    add(
        text,
        format_args!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img aria-label=\"drawing of the query\"><text x=4 y=12 font-size=11 fill=currentColor>{}</text><text x=4 y={} font-size=11 fill=currentColor>{}</text>",
            format_value(high),
            HEIGHT - 2.0,
            format_value(low)
        ),
    );
    let step = step_for(span);
    for (one, colour) in series.iter().zip(COLOURS.iter().cycle()).take(50) {
        let mut path = String::new();
        let mut last = i64::MIN / 2;
        for sample in one.samples.iter().filter(|sample| sample.value.is_finite()) {
            let verb = if sample.at - last > step { 'M' } else { 'L' };
            last = sample.at;
            add(
                &mut path,
                format_args!("{verb}{:.1} {:.1}", x(sample.at), y(sample.value)),
            );
        }
        let title = html(&title(&one.labels));
        add(
            text,
            format_args!(
                "<path d=\"{path}\" fill=none stroke=\"{colour}\" stroke-width=1.5><title>{title}</title></path>"
            ),
        );
    }
    text.push_str("</svg>");
}

fn title(labels: &Labels) -> String {
    labels.to_string()
}
