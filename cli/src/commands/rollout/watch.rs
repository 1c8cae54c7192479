//! Follows a Rollout and what belongs to it, by watches.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use console::Term;
use futures::StreamExt;
use jiff::Timestamp;
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::view::{self, Objects, View};
use super::{KINDS, Namespace, picture, tree};
use crate::cli::Format;
use crate::output::line;

/// Events that wait to be drawn; a watch that is ahead waits.
const QUEUE: usize = 1024;
/// Time given to what comes together: one change of a Rollout touches many objects.
const SETTLE: Duration = Duration::from_millis(50);
/// Time between two drawings of a terminal in which nothing happens: ages grow.
const TICK: Duration = Duration::from_secs(1);

type Told = (usize, watcher::Result<Event<DynamicObject>>);

/// All objects of the five kinds, as the watches tell of them.
#[derive(Default)]
struct World {
    kinds: [Kind; KINDS.len()],
}

#[derive(Default)]
struct Kind {
    present: BTreeMap<String, Value>,
    /// What a list that is under way has brought so far.
    listing: BTreeMap<String, Value>,
    synced: bool,
}

impl World {
    fn apply(&mut self, (kind, told): Told) -> anyhow::Result<()> {
        let known = &mut self.kinds[kind];
        match told {
            Ok(Event::Init) => known.listing.clear(),
            Ok(Event::InitApply(object)) => {
                let (name, value) = named(object)?;
                known.listing.insert(name, value);
            }
            Ok(Event::InitDone) => {
                known.present = std::mem::take(&mut known.listing);
                known.synced = true;
            }
            Ok(Event::Apply(object)) => {
                let (name, value) = named(object)?;
                known.present.insert(name, value);
            }
            Ok(Event::Delete(object)) => {
                let (name, _) = named(object)?;
                known.present.remove(&name);
            }
            // The watch tries again; meanwhile, what is not served is not there.
            Err(_) => known.synced |= kind != 0,
        }
        Ok(())
    }

    fn is_synced(&self) -> bool {
        self.kinds.iter().all(|kind| kind.synced)
    }

    /// The objects around a Rollout; `None` where it is gone.
    fn objects(&self, rollout: &str) -> Option<Objects> {
        let all = |kind: usize| self.kinds[kind].present.values().cloned().collect();
        Some(Objects {
            rollout: self.kinds[0].present.get(rollout)?.clone(),
            replica_sets: all(1),
            pods: all(2),
            analysis_runs: all(3),
            jobs: all(4),
        })
    }
}

fn named(object: DynamicObject) -> anyhow::Result<(String, Value)> {
    let name = object.metadata.name.clone().unwrap_or_default();
    Ok((name, serde_json::to_value(object)?))
}

/// Watches the first `kinds` kinds; the tasks end when the set is dropped.
fn follow(
    namespace: &Namespace,
    rollout: &str,
    kinds: usize,
) -> (mpsc::Receiver<Told>, JoinSet<()>) {
    let (to, events) = mpsc::channel(QUEUE);
    let mut tasks = JoinSet::new();
    for kind in 0..kinds {
        let config = match kind {
            0 => watcher::Config::default().fields(&format!("metadata.name={rollout}")),
            _ => watcher::Config::default(),
        };
        let stream = watcher(namespace.api(kind), config).default_backoff();
        let to = to.clone();
        tasks.spawn(async move {
            let mut stream = std::pin::pin!(stream);
            while let Some(event) = stream.next().await {
                if to.send((kind, event)).await.is_err() {
                    return;
                }
            }
        });
    }
    (events, tasks)
}

/// Draws a Rollout again and again until Ctrl-C.
pub(super) async fn watch(
    namespace: &Namespace,
    rollout: &str,
    output: Format,
) -> anyhow::Result<ExitCode> {
    let (mut events, _tasks) = follow(namespace, rollout, KINDS.len());
    let mut world = World::default();
    let mut screen = Screen::new(output);
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            told = events.recv() => {
                let Some(told) = told else { return Ok(ExitCode::SUCCESS) };
                world.apply(told)?;
                tokio::time::sleep(SETTLE).await;
                while let Ok(told) = events.try_recv() {
                    world.apply(told)?;
                }
            }
            _ = ticks.tick(), if screen.is_live() => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
        if !world.is_synced() {
            continue;
        }
        let Some(objects) = world.objects(rollout) else {
            bail!("rollout {rollout:?} was deleted");
        };
        screen.show(&view::view(&objects))?;
    }
}

/// Follows a Rollout until it is Healthy or Degraded; `tell` hears of every other state first.
pub(super) async fn until_done(
    namespace: &Namespace,
    rollout: &str,
    tell: impl Fn(&str, Option<&str>),
) -> anyhow::Result<(String, Option<String>)> {
    let (mut events, _tasks) = follow(namespace, rollout, 1);
    let mut world = World::default();
    let mut last = None;
    while let Some(told) = events.recv().await {
        world.apply(told)?;
        if !world.kinds[0].synced {
            continue;
        }
        let Some(object) = world.kinds[0].present.get(rollout) else {
            bail!("rollout {rollout:?} was deleted");
        };
        let state = view::phase(object);
        if last.as_ref() == Some(&state) {
            continue;
        }
        tell(&state.0, state.1.as_deref());
        if matches!(state.0.as_str(), "Healthy" | "Degraded") {
            return Ok(state);
        }
        last = Some(state);
    }
    bail!("the watch of rollout {rollout:?} ended")
}

/// Where a Rollout is drawn.
enum Screen {
    /// A terminal, drawn over.
    Live { term: Term, drawn: bool },
    /// A pipe or a file: the whole picture once, then what changes.
    Log {
        rows: Option<BTreeMap<String, String>>,
    },
    /// JSON, one line for each change.
    Json { last: Option<String> },
}

impl Screen {
    fn new(output: Format) -> Self {
        let term = Term::stdout();
        match output {
            Format::Json => Self::Json { last: None },
            Format::Text if term.is_term() => Self::Live { term, drawn: false },
            Format::Text => Self::Log { rows: None },
        }
    }

    fn is_live(&self) -> bool {
        matches!(self, Self::Live { .. })
    }

    fn show(&mut self, view: &View) -> anyhow::Result<()> {
        match self {
            Self::Live { term, drawn } => {
                if !*drawn {
                    term.clear_screen()?;
                    *drawn = true;
                }
                draw_over(term, &picture(view, Timestamp::now()))?;
            }
            Self::Log { rows } => match rows {
                None => {
                    for text in picture(view, Timestamp::now()) {
                        line(text);
                    }
                    *rows = Some(states(view));
                }
                Some(known) => {
                    let now = states(view);
                    for text in changes(known, &now) {
                        line(text);
                    }
                    *known = now;
                }
            },
            Self::Json { last } => {
                let text = serde_json::to_string(view)?;
                if last.as_ref() != Some(&text) {
                    line(&text);
                    *last = Some(text);
                }
            }
        }
        Ok(())
    }
}

/// Draws lines from the top, each over what was there: nothing flickers.
fn draw_over(term: &Term, lines: &[String]) -> anyhow::Result<()> {
    let height = usize::from(term.size().0).saturating_sub(1).max(1);
    let mut text = String::new();
    for line in lines.iter().take(height) {
        text.push_str(line);
        // Clears what an earlier, longer line left.
        text.push_str("\u{1b}[K\n");
    }
    term.move_cursor_to(0, 0)?;
    term.write_str(&text)?;
    term.clear_to_end_of_screen()?;
    Ok(())
}

/// What each part of the picture says, by what it is.
fn states(view: &View) -> BTreeMap<String, String> {
    let rows = tree::rows(view, Timestamp::UNIX_EPOCH);
    let mut states: BTreeMap<String, String> = rows
        .iter()
        .filter(|row| row.has_state())
        .map(|row| (row.key(), row.state()))
        .collect();
    let mut rollout = tree::paint(&view.status);
    if let Some(message) = &view.message {
        rollout.push_str(&format!(" - {message}"));
    }
    if let Some(step) = &view.step {
        rollout.push_str(&format!("  step {step}"));
    }
    if let (Some(set), Some(actual)) = (view.set_weight, view.actual_weight) {
        rollout.push_str(&format!("  weight {actual} of {set}"));
    }
    states.insert(format!("Rollout {}", view.name), rollout);
    states
}

fn changes(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let changed = now
        .iter()
        .filter(|(key, state)| before.get(*key) != Some(state))
        .map(|(key, state)| format!("{key}: {state}"));
    let gone = before
        .keys()
        .filter(|key| !now.contains_key(*key))
        .map(|key| format!("{key}: gone"));
    changed.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(key, state): &(&str, &str)| ((*key).to_owned(), (*state).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn only_what_changed_is_said_again() {
        let before = map(&[("Pod a", "✔ Running"), ("Pod b", "✔ Running")]);
        let now = map(&[("Pod b", "◌ Terminating"), ("Pod c", "◌ Pending")]);
        assert_eq!(
            changes(&before, &now),
            ["Pod b: ◌ Terminating", "Pod c: ◌ Pending", "Pod a: gone"]
        );
        assert!(changes(&now, &now).is_empty());
    }
}
