//! `devops-lab metrics`

use std::process::ExitCode;

use lab_cluster::metrics::ask;
use serde_json::Value;

use crate::cli::{
    ClusterArgs, Format, MetricsCommand, MetricsQueryArgs, MetricsTargetsArgs, OutputArgs,
};
use crate::output::{bad, blank, faint, good, json, line, table, warn};

/// Letters of a drawing in one line.
const SPARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Points of a drawing.
const POINTS: i64 = 40;

pub(crate) async fn run(command: MetricsCommand) -> anyhow::Result<ExitCode> {
    match command {
        MetricsCommand::Query(args) => query(args).await,
        MetricsCommand::Targets(args) => targets(args).await,
    }
}

async fn query(args: MetricsQueryArgs) -> anyhow::Result<ExitCode> {
    let MetricsQueryArgs {
        query,
        cluster: ClusterArgs { name },
        output: OutputArgs { output },
        range,
    } = args;
    let (_, record) = super::open(&name)?;
    let answer = match range {
        None => ask(&record, "query", &[("query", &query)]).await?,
        Some(range_ms) => {
            // The cluster's clock is this machine's.
            let end = ask(&record, "query", &[("query", "time()")]).await?;
            let end = end["result"][0].as_f64().unwrap_or_default();
            let seconds = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000);
            let step = (range_ms / POINTS).max(1000);
            #[expect(clippy::cast_possible_truncation, reason = "seconds since 1970")]
            let end = (end * 1000.0) as i64;
            let (start, end, step) = (seconds(end - range_ms), seconds(end), seconds(step));
            let parameters = [
                ("query", query.as_str()),
                ("start", &start),
                ("end", &end),
                ("step", &step),
            ];
            ask(&record, "query_range", &parameters).await?
        }
    };
    match output {
        Format::Json => json(&answer)?,
        Format::Text => print(&answer),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(answer: &Value) {
    let result = &answer["result"];
    match answer["resultType"].as_str() {
        Some("scalar" | "string") => line(text(&result[1])),
        Some("vector") => {
            let rows = rows(result, |one| vec![text(&one["value"][1])]);
            print_rows(&["SERIES", "VALUE"], &rows);
        }
        _ => {
            let rows = rows(result, |one| {
                let values: Vec<f64> = one["values"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|pair| pair[1].as_str()?.parse().ok())
                    .collect();
                let last = values.last().map_or_else(String::new, |last| short(*last));
                let low = values.iter().copied().fold(f64::INFINITY, f64::min);
                let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                vec![sparkline(&values), short(low), short(high), last]
            });
            print_rows(&["SERIES", "COURSE", "LOWEST", "HIGHEST", "LAST"], &rows);
        }
    }
}

fn rows(result: &Value, cells: impl Fn(&Value) -> Vec<String>) -> Vec<Vec<String>> {
    let series = result.as_array().into_iter().flatten();
    series
        .map(|one| {
            let mut row = vec![series_name(&one["metric"])];
            row.extend(cells(one));
            row
        })
        .collect()
}

fn print_rows(head: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        line("Empty: no series has a value for this at the moment.");
        line(faint(
            "What is scraped, and what stands in the way: devops-lab metrics targets",
        ));
    } else {
        table(head, rows);
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// As PromQL writes a series.
fn series_name(metric: &Value) -> String {
    let labels = metric.as_object().into_iter().flatten();
    let pairs: Vec<_> = labels
        .filter(|(name, _)| *name != "__name__")
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let name = metric["__name__"].as_str().unwrap_or_default();
    if pairs.is_empty() && !name.is_empty() {
        return name.to_owned();
    }
    format!("{name}{{{}}}", pairs.join(", "))
}

/// Four digits are enough beside a drawing.
fn short(value: f64) -> String {
    if !value.is_finite() || value.abs() >= 1000.0 || value.fract() == 0.0 {
        return format!("{value:.0}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn sparkline(values: &[f64]) -> String {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    let spark = |value: &f64| {
        if !value.is_finite() {
            return ' ';
        }
        let share = if high > low {
            (value - low) / (high - low)
        } else {
            0.0
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of seven"
        )]
        let level = (share * 7.0).round() as usize;
        SPARKS[level.min(7)]
    };
    values.iter().map(spark).collect()
}

async fn targets(args: MetricsTargetsArgs) -> anyhow::Result<ExitCode> {
    let MetricsTargetsArgs {
        cluster: ClusterArgs { name },
        output: OutputArgs { output },
    } = args;
    let (_, record) = super::open(&name)?;
    let answer = ask(&record, "targets", &[("state", "active")]).await?;
    if output == Format::Json {
        json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let targets = answer["activeTargets"].as_array();
    let targets: Vec<_> = targets.into_iter().flatten().collect();
    let rows: Vec<_> = targets
        .iter()
        .map(|target| {
            let labels = &target["labels"];
            let health = match target["health"].as_str() {
                Some("up") => good("up"),
                Some("down") => bad("down"),
                _ => warn("unknown"),
            };
            vec![
                text(&labels["job"]),
                text(&labels["pod"]),
                health,
                text(&target["scrapeUrl"]),
                target["lastSamplesScraped"].to_string(),
                text(&target["lastError"]),
            ]
        })
        .collect();
    table(&["JOB", "POD", "STATE", "URL", "SAMPLES", "PROBLEM"], &rows);
    if targets
        .iter()
        .all(|target| target["labels"]["pod"].is_null())
    {
        blank();
        line(faint(
            "No pod is scraped yet. A pod asks for it by annotations on its template: prometheus.io/scrape: \"true\", prometheus.io/port: \"8080\".",
        ));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_course_is_drawn_from_its_lowest_to_its_highest() {
        assert_eq!(sparkline(&[0.0, 3.5, 7.0]), "▁▅█");
        assert_eq!(sparkline(&[2.0, 2.0]), "▁▁");
        assert_eq!(sparkline(&[1.0, f64::NAN, 2.0]), "▁ █");
    }

    #[test]
    fn a_series_is_named_as_in_promql() {
        let metric = json!({"__name__": "up", "job": "web"});
        assert_eq!(series_name(&metric), r#"up{job="web"}"#);
        assert_eq!(series_name(&json!({"__name__": "up"})), "up");
        assert_eq!(series_name(&json!({})), "{}");
    }
}
