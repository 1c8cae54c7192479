//! Draws a Rollout in the terminal, as `kubectl argo rollouts get rollout` does.

use console::{measure_text_width, truncate_str};
use jiff::Timestamp;

use super::view::{JobView, PodView, ReplicaSetView, RevisionView, RunView, View, is_bad_pod};
use crate::output::{bad, faint, good, strong, warn};

/// Narrowest column for names: fewer letters tell nothing apart.
const NAME_MIN: usize = 20;
/// Narrowest column for what is said last.
const INFO_MIN: usize = 8;
/// Space between two columns.
const GAP: usize = 2;

/// A line of the tree.
pub(super) struct Row {
    /// What leads to it: `├──`, `│  `.
    prefix: String,
    icon: &'static str,
    name: String,
    kind: &'static str,
    status: String,
    age: String,
    info: String,
}

impl Row {
    /// What tells the row apart from others.
    pub(super) fn key(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }

    /// What changes about it; its age does not count.
    pub(super) fn state(&self) -> String {
        format!("{} {}  {}", self.symbol(), self.status, self.info)
            .trim()
            .to_owned()
    }

    /// The symbol of its status. A pod that runs is well; a run that runs is not done.
    fn symbol(&self) -> &'static str {
        match (self.kind, self.status.as_str()) {
            ("AnalysisRun" | "Job", "Running") => "◌",
            (_, status) => symbol(status),
        }
    }

    /// True for rows that say something by themselves.
    pub(super) fn has_state(&self) -> bool {
        !self.status.is_empty()
    }
}

/// The lines above the tree: name, state, strategy, images, replicas.
pub(super) fn head(view: &View) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |label: &str, value: String| {
        lines.push(format!("{label:<17}{value}").trim_end().to_owned());
    };
    line("Name:", strong(&view.name));
    line("Namespace:", view.namespace.clone());
    line("Status:", paint(&view.status));
    if let Some(message) = &view.message {
        line("Message:", message.clone());
    }
    line("Strategy:", view.strategy.to_owned());
    if let Some(step) = &view.step {
        line("  Step:", step.clone());
    }
    if let Some(weight) = view.set_weight {
        line("  SetWeight:", weight.to_string());
    }
    if let Some(weight) = view.actual_weight {
        line("  ActualWeight:", weight.to_string());
    }
    for (index, image) in view.images.iter().enumerate() {
        let label = if index == 0 { "Images:" } else { "" };
        let tags: Vec<String> = image.tags.iter().map(|tag| paint_tag(tag)).collect();
        let tags = match tags.as_slice() {
            [] => String::new(),
            tags => format!(" ({})", tags.join(", ")),
        };
        line(label, format!("{}{tags}", image.image));
    }
    line("Replicas:", String::new());
    let replicas = view.replicas;
    line("  Desired:", replicas.desired.to_string());
    line("  Current:", replicas.current.to_string());
    line("  Updated:", replicas.updated.to_string());
    line("  Ready:", replicas.ready.to_string());
    line("  Available:", replicas.available.to_string());
    lines
}

/// The rows of the tree.
pub(super) fn rows(view: &View, now: Timestamp) -> Vec<Row> {
    let mut rows = vec![Row {
        prefix: String::new(),
        icon: "⟳",
        name: view.name.clone(),
        kind: "Rollout",
        status: view.status.clone(),
        age: age(view.created_at, now),
        info: String::new(),
    }];
    let last = view.revisions.len().saturating_sub(1);
    for (index, revision) in view.revisions.iter().enumerate() {
        revision_rows(revision, index == last, now, &mut rows);
    }
    rows
}

fn revision_rows(revision: &RevisionView, is_last: bool, now: Timestamp, rows: &mut Vec<Row>) {
    let (prefix, below) = branch("", is_last);
    rows.push(Row {
        prefix,
        icon: "#",
        name: format!("revision:{}", revision.revision),
        kind: "",
        status: String::new(),
        age: String::new(),
        info: String::new(),
    });
    let total = revision.replica_sets.len() + revision.analysis_runs.len();
    let mut place = 0;
    for set in &revision.replica_sets {
        place += 1;
        replica_set_rows(set, branch(&below, place == total), now, rows);
    }
    for run in &revision.analysis_runs {
        place += 1;
        run_rows(run, branch(&below, place == total), now, rows);
    }
}

/// What leads to a child, and what leads to the child's children.
fn branch(above: &str, is_last: bool) -> (String, String) {
    if is_last {
        (format!("{above}└──"), format!("{above}   "))
    } else {
        (format!("{above}├──"), format!("{above}│  "))
    }
}

fn replica_set_rows(
    set: &ReplicaSetView,
    (prefix, below): (String, String),
    now: Timestamp,
    rows: &mut Vec<Row>,
) {
    let mut info: Vec<String> = set.tags.iter().map(|tag| (*tag).to_owned()).collect();
    if let Some(at) = set.scale_down_at.filter(|at| *at > now) {
        let left = at.as_second() - now.as_second();
        info.push(format!("delay:{}", duration(left)));
    }
    rows.push(Row {
        prefix,
        icon: "⧉",
        name: set.name.clone(),
        kind: "ReplicaSet",
        status: set.status.to_owned(),
        age: age(set.created_at, now),
        info: info.join(","),
    });
    let last = set.pods.len().saturating_sub(1);
    for (index, pod) in set.pods.iter().enumerate() {
        rows.push(pod_row(pod, branch(&below, index == last).0, now));
    }
}

fn pod_row(pod: &PodView, prefix: String, now: Timestamp) -> Row {
    let mut info = format!("ready:{}", pod.ready);
    if pod.restarts > 0 {
        info.push_str(&format!(",restarts:{}", pod.restarts));
    }
    Row {
        prefix,
        icon: "□",
        name: pod.name.clone(),
        kind: "Pod",
        status: pod.status.clone(),
        age: age(pod.created_at, now),
        info,
    }
}

fn run_rows(run: &RunView, (prefix, below): (String, String), now: Timestamp, rows: &mut Vec<Row>) {
    let counts = [
        ("✔", run.successful),
        ("✖", run.failed),
        ("?", run.inconclusive),
        ("⚠", run.error),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(symbol, count)| format!("{symbol} {count}"))
        .collect();
    rows.push(Row {
        prefix,
        icon: "α",
        name: run.name.clone(),
        kind: "AnalysisRun",
        status: run.status.clone(),
        age: age(run.created_at, now),
        info: counts.join(","),
    });
    let last = run.jobs.len().saturating_sub(1);
    for (index, job) in run.jobs.iter().enumerate() {
        let JobView {
            name,
            status,
            created_at,
        } = job;
        rows.push(Row {
            prefix: branch(&below, index == last).0,
            icon: "⊞",
            name: name.clone(),
            kind: "Job",
            status: (*status).to_owned(),
            age: age(*created_at, now),
            info: String::new(),
        });
    }
}

/// The tree as lines. Where `width` is given, long names are shortened to fit into it.
pub(super) fn lines(rows: &[Row], width: Option<usize>) -> Vec<String> {
    let shown: Vec<[String; 5]> = rows
        .iter()
        .map(|row| {
            let status = match row.status.as_str() {
                "" => String::new(),
                status => format!("{} {status}", row.symbol()),
            };
            [
                format!("{}{} {}", row.prefix, row.icon, row.name),
                row.kind.to_owned(),
                status,
                row.age.clone(),
                row.info.clone(),
            ]
        })
        .collect();
    let head = ["NAME", "KIND", "STATUS", "AGE", "INFO"].map(str::to_owned);
    let mut widths = [0; 5];
    for cells in shown.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(measure_text_width(cell));
        }
    }
    if let Some(width) = width {
        let others: usize = widths[1..].iter().sum::<usize>() + 4 * GAP;
        let room = width.saturating_sub(others).max(NAME_MIN);
        widths[0] = widths[0].min(room);
        let before: usize = widths[..4].iter().sum::<usize>() + 4 * GAP;
        widths[4] = widths[4].min(width.saturating_sub(before).max(INFO_MIN));
    }
    let mut lines = vec![faint(&join(&head, widths, |_, text| text))];
    for (cells, row) in shown.iter().zip(rows) {
        lines.push(join(cells, widths, |column, text| match column {
            2 if !row.status.is_empty() => colour(row.symbol(), &text),
            4 => paint_info(row, &text),
            _ => text,
        }));
    }
    lines
}

/// Cells side by side; `look` colours a padded cell.
fn join(cells: &[String; 5], widths: [usize; 5], look: impl Fn(usize, String) -> String) -> String {
    let mut line = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let text = match column {
            0 => shorten(cell, width),
            _ => truncate_str(cell, width, "…").into_owned(),
        };
        let padding = width.saturating_sub(measure_text_width(&text)) + GAP;
        line.push_str(&look(column, text));
        line.push_str(&" ".repeat(padding));
    }
    line.trim_end().to_owned()
}

/// A name cut in its middle: its end tells pods apart.
fn shorten(name: &str, width: usize) -> String {
    let chars: Vec<char> = name.chars().collect();
    if chars.len() <= width {
        return name.to_owned();
    }
    let end = (width / 3).max(1);
    let start = width.saturating_sub(end + 1);
    let (start, end) = (&chars[..start], &chars[chars.len() - end..]);
    start.iter().chain(&['…']).chain(end).collect()
}

fn paint_info(row: &Row, text: &str) -> String {
    match row.kind {
        "ReplicaSet" => {
            let parts: Vec<String> = text.split(',').map(paint_tag).collect();
            parts.join(",")
        }
        _ => text.to_owned(),
    }
}

fn paint_tag(tag: &str) -> String {
    match tag {
        "stable" | "active" => good(tag),
        "canary" | "preview" => warn(tag),
        _ => tag.to_owned(),
    }
}

/// A status with its symbol, in its colour.
pub(super) fn paint(status: &str) -> String {
    let symbol = symbol(status);
    colour(symbol, &format!("{symbol} {status}"))
}

fn colour(symbol: &str, text: &str) -> String {
    match symbol {
        "✔" => good(text),
        "✖" | "⚠" => bad(text),
        "॥" | "◌" | "?" => warn(text),
        _ => faint(text),
    }
}

/// The symbol of a status.
pub(super) fn symbol(status: &str) -> &'static str {
    match status {
        "Healthy" | "Running" | "Successful" | "Completed" | "Succeeded" => "✔",
        "Degraded" | "Failed" => "✖",
        "Error" => "⚠",
        "Paused" => "॥",
        "ScaledDown" => "•",
        "Inconclusive" | "Unknown" => "?",
        status if is_bad_pod(status) => "✖",
        _ => "◌",
    }
}

/// The time since `since`, as kubectl prints it.
pub(super) fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    since.map_or_else(String::new, |since| {
        duration(now.as_second() - since.as_second())
    })
}

fn duration(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..600 => match seconds % 60 {
            0 => format!("{}m", seconds / 60),
            rest => format!("{}m{rest}s", seconds / 60),
        },
        seconds @ 600..10_800 => format!("{}m", seconds / 60),
        seconds @ 10_800..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "a table whose cells are json!(…) reads best without references"
)]
mod tests {
    use serde_json::{Value, json};

    use super::super::view::{Objects, view};
    use super::*;

    const NOW: &str = "2026-01-01T00:10:00Z";

    /// The picture of a Rollout, 80 columns wide and without colour.
    fn picture(objects: &Objects) -> String {
        console::set_colors_enabled(false);
        let view = view(objects);
        let tree = super::lines(&rows(&view, NOW.parse().unwrap()), Some(80));
        for line in &tree {
            assert!(measure_text_width(line) <= 80, "{line}");
        }
        format!("{}\n\n{}", head(&view).join("\n"), tree.join("\n"))
    }

    fn replica_set(revision: i64, hash: &str, replicas: i64, image: &str) -> Value {
        json!({
            "metadata": {"name": format!("shop-{hash}"), "uid": hash,
                "creationTimestamp": format!("2026-01-01T00:0{revision}:00Z"),
                "labels": {"rollouts-pod-template-hash": hash},
                "annotations": {"rollout.argoproj.io/revision": revision.to_string()},
                "ownerReferences": [{"controller": true, "uid": "u", "kind": "Rollout"}]},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "app", "image": image}]}}},
            "status": {"replicas": replicas, "availableReplicas": replicas},
        })
    }

    fn pods(hash: &str, count: usize) -> Vec<Value> {
        let pod = |number: usize| {
            json!({
                "metadata": {"name": format!("shop-{hash}-pod{number}"), "creationTimestamp": "2026-01-01T00:05:00Z",
                    "ownerReferences": [{"controller": true, "uid": hash, "kind": "ReplicaSet"}]},
                "spec": {"containers": [{"name": "app"}]},
                "status": {"phase": "Running", "containerStatuses": [{"ready": true, "restartCount": 0}]},
            })
        };
        (1..=count).map(pod).collect()
    }

    fn canary(status: &Value) -> Objects {
        let mut rollout = json!({
            "metadata": {"name": "shop", "namespace": "default", "uid": "u", "generation": 2,
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"replicas": 3, "strategy": {"canary": {"steps": [
                {"setWeight": 10}, {"pause": {}}, {"setWeight": 50}, {"analysis": {}}]}}},
            "status": {"observedGeneration": "2", "currentPodHash": "bbb", "stableRS": "aaa",
                "replicas": 4, "updatedReplicas": 1, "readyReplicas": 4, "availableReplicas": 4},
        });
        for (key, value) in status.as_object().unwrap() {
            rollout["status"][key] = value.clone();
        }
        let mut pods = pods("aaa", 3);
        pods.extend(self::pods("bbb", 1));
        Objects {
            rollout,
            replica_sets: vec![
                replica_set(1, "aaa", 3, "hello:1.0.0"),
                replica_set(2, "bbb", 1, "hello:2.0.0"),
            ],
            pods,
            ..Objects::default()
        }
    }

    fn run(name: &str, phase: &str, results: Value) -> Value {
        json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:06:00Z",
                "annotations": {"rollout.argoproj.io/revision": "2"},
                "ownerReferences": [{"controller": true, "uid": "u", "kind": "Rollout"}]},
            "status": {"phase": phase, "metricResults": results},
        })
    }

    #[test]
    fn a_canary_under_way_shows_both_revisions_and_its_analysis() {
        let mut objects = canary(&json!({"phase": "Progressing", "currentStepIndex": 3,
            "message": "more replicas need to be updated",
            "canary": {"weights": {"canary": {"weight": 50}}}}));
        objects.analysis_runs = vec![run(
            "shop-bbb-2-3",
            "Running",
            json!([{"successful": 3, "failed": 1}, {"error": 2}]),
        )];
        objects.jobs = vec![
            json!({"metadata": {"name": "smoke.1", "creationTimestamp": "2026-01-01T00:09:00Z",
            "labels": {"analysisrun.argoproj.io/uid": "shop-bbb-2-3"}}}),
        ];
        insta::assert_snapshot!(picture(&objects));
    }

    #[test]
    fn a_paused_canary_says_at_which_step() {
        let objects = canary(&json!({"phase": "Paused", "message": "CanaryPauseStep",
            "currentStepIndex": 1, "controllerPause": true,
            "pauseConditions": [{"reason": "CanaryPauseStep"}]}));
        insta::assert_snapshot!(picture(&objects));
    }

    #[test]
    fn an_aborted_canary_says_why_and_who_serves() {
        let mut objects = canary(
            &json!({"phase": "Degraded", "abort": true, "currentStepIndex": 0,
            "message": "RolloutAborted: Rollout aborted update to revision 2: metric \"errors\" failed",
            "canary": {"weights": {"canary": {"weight": 0}}}}),
        );
        objects.replica_sets[1]["metadata"]["annotations"]["scale-down-deadline"] =
            json!("2026-01-01T00:10:25Z");
        objects.pods[3]["status"]["containerStatuses"][0] = json!({"ready": false, "restartCount": 4,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
        objects.analysis_runs = vec![run("shop-bbb-2", "Failed", json!([{"failed": 1}]))];
        insta::assert_snapshot!(picture(&objects));
    }

    #[test]
    fn blue_green_shows_what_is_active_and_what_is_previewed() {
        let mut objects = canary(&json!({"phase": "Paused", "message": "BlueGreenPause",
            "blueGreen": {"activeSelector": "aaa", "previewSelector": "bbb"}}));
        objects.rollout["spec"]["strategy"] = json!({"blueGreen": {"activeService": "shop"}});
        objects
            .replica_sets
            .push(replica_set(0, "old", 0, "hello:0.9.0"));
        insta::assert_snapshot!(picture(&objects));
    }

    #[test]
    fn a_change_that_nobody_has_seen_yet_is_progress() {
        let objects = canary(&json!({"phase": "Healthy", "observedGeneration": "1"}));
        let view = view(&objects);
        assert_eq!(view.status, "Progressing");
        assert_eq!(
            view.message.as_deref(),
            Some("waiting for rollout spec update to be observed")
        );
    }

    #[test]
    fn long_names_are_shortened_to_the_terminal() {
        let mut objects = canary(&json!({"phase": "Healthy"}));
        objects.replica_sets[0]["metadata"]["name"] = json!("n".repeat(120));
        assert!(picture(&objects).contains('…'));
    }
}
