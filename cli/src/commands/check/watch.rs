//! `devops-lab check --watch`: looks again whenever something changes that checks look at, and
//! goes on to the next step once one holds.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use lab_checks::lab::{Lab, Step};
use lab_checks::outcome::Verdict;
use lab_checks::runner::StepReport;
use lab_cluster::traffic;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use super::{Shared, advise, choose, examine, overall, print};
use crate::cli::Format;
use crate::commands::lab::{Learner, progress_path};
use crate::labs::changes::{Changes, Places};
use crate::labs::workspace;
use crate::output::{blank, faint, gather, good, line};
use crate::screen::Screen;

/// Checks of what changes with time alone, or where nobody tells of a change: the state of the
/// load balancer, metrics, whatever a command looks at.
const TIMED: [&str; 5] = [
    "alert",
    "command-succeeds",
    "http-responds",
    "metric",
    "traffic-share",
];
/// How often those are looked at.
pub(crate) const TIMED_PAUSE: Duration = Duration::from_secs(2);

/// How it is watched.
pub(super) struct Watch {
    pub(super) target: Option<String>,
    pub(super) until_holds: bool,
    pub(super) output: Format,
}

/// Why something is done next.
enum Woken {
    Changed,
    Resized,
    Interrupted,
}

impl Watch {
    /// Watches until Ctrl-C, or until everything is done.
    ///
    /// # Errors
    /// Where progress cannot be kept, or there is no such lab or step.
    pub(super) async fn run(mut self, learner: &mut Learner) -> anyhow::Result<ExitCode> {
        let Some(record) = learner.record.clone() else {
            anyhow::bail!("{}", learner.no_cluster());
        };
        let labs = learner.labs.clone();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut resize = signal(SignalKind::window_change())?;
        let mut changes = Changes::of(&record, NAMESPACE, places(learner))?;
        let mut page = Page::new(self.output);
        let mut shared = Shared::default();
        loop {
            let chosen = choose(&labs, &learner.progress, self.target.as_deref())?;
            let Some((lab, steps)) = chosen else {
                page.all_done(learner);
                return Ok(ExitCode::SUCCESS);
            };
            let work = examine(learner, &record, lab, &steps, &mut shared);
            let reports = tokio::select! {
                reports = work => reports?,
                _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
            };
            let holds = overall(&reports) == Verdict::Holds;
            page.show(learner, lab, &steps, &reports)?;
            if holds {
                page.keep();
                if self.until_holds {
                    return Ok(ExitCode::SUCCESS);
                }
                // What was asked for is done; from here on it is her progress that leads.
                self.target = None;
                if goes_on(learner, lab, &steps) {
                    continue;
                }
            }
            let timed = is_timed(&steps);
            match woken(&mut changes, &mut resize, &mut interrupt, timed).await {
                Woken::Changed => {}
                Woken::Resized => page.resized()?,
                Woken::Interrupted => return Ok(ExitCode::SUCCESS),
            }
        }
    }
}

/// The learner's namespace, as checks have it.
pub(crate) const NAMESPACE: &str = "default";

pub(crate) fn places(learner: &Learner) -> Places {
    let mut workspaces = learner.progress.workspaces().map(Path::to_owned);
    let here = std::env::current_dir().unwrap_or_default();
    Places {
        workspace: workspaces.next().unwrap_or(here),
        names: workspace::names(&learner.labs),
        others: vec![
            learner.dir.pipelines(),
            traffic::record_dir(&learner.dir),
            // Answers to questions.
            progress_path(&learner.dir),
        ],
    }
}

/// True where another step is next now.
fn goes_on(learner: &Learner, lab: &Lab, steps: &[&Step]) -> bool {
    let next = learner.progress.next_step(&learner.labs);
    next.is_none_or(|(next_lab, next)| {
        next_lab.name != lab.name || steps.iter().all(|step| step.id != next.id)
    })
}

pub(crate) fn is_timed(steps: &[&Step]) -> bool {
    let mut checks = steps.iter().flat_map(|step| &step.checks);
    checks.any(|check| TIMED.contains(&check.check.as_str()))
}

async fn woken(
    changes: &mut Changes,
    resize: &mut Signal,
    interrupt: &mut Signal,
    timed: bool,
) -> Woken {
    tokio::select! {
        () = changes.next() => Woken::Changed,
        () = sleep(TIMED_PAUSE), if timed => Woken::Changed,
        _ = resize.recv() => Woken::Resized,
        _ = interrupt.recv() => Woken::Interrupted,
    }
}

/// What the learner sees.
struct Page {
    screen: Screen,
    output: Format,
    last: Option<Value>,
}

impl Page {
    fn new(output: Format) -> Self {
        Self {
            screen: Screen::new(),
            output,
            last: None,
        }
    }

    /// Draws what was found; where pages cannot be drawn over one another, only what is new.
    fn show(
        &mut self,
        learner: &Learner,
        lab: &Lab,
        steps: &[&Step],
        reports: &[StepReport],
    ) -> anyhow::Result<()> {
        let found = without_times(&serde_json::to_value(reports)?);
        let is_new = self.last.as_ref() != Some(&found);
        let redraws = self.output == Format::Text && self.screen.is_terminal();
        if !is_new && !redraws {
            return Ok(());
        }
        self.last = Some(found);
        if self.output == Format::Json {
            let answer = serde_json::json!({"verdict": overall(reports), "steps": reports});
            line(serde_json::to_string(&answer)?);
            return Ok(());
        }
        let page = gather(|| {
            print(lab, steps, reports, learner.language);
            if overall(reports) == Verdict::Holds {
                blank();
            } else {
                advise(learner, &learner.labs, lab, steps, reports);
                if self.screen.is_terminal() {
                    blank();
                    let text = "Watching your cluster and your files; Ctrl-C ends.";
                    let texte = "Votre cluster et vos fichiers sont observés ; Ctrl-C pour finir.";
                    line(faint(learner.say(text, texte)));
                }
            }
        });
        self.screen.draw(&page)?;
        Ok(())
    }

    fn all_done(&self, learner: &Learner) {
        if self.output == Format::Text {
            line(good(
                learner.say("All labs are done.", "Tous les labs sont terminés."),
            ));
        }
    }

    fn keep(&mut self) {
        self.screen.keep();
        self.last = None;
    }

    fn resized(&mut self) -> anyhow::Result<()> {
        self.screen.resized()?;
        Ok(())
    }
}

/// A report without the times in it, which change by themselves.
fn without_times(report: &Value) -> Value {
    match report {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| *name != "since")
            .map(|(name, value)| (name.clone(), without_times(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_times).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_times_are_no_news() {
        let report = |since: &str, observed: &str| json!([{"checks": [{"evidence": {"since": since, "observed": observed}}]}]);
        let found = without_times(&report("1", "two"));
        assert_eq!(found, without_times(&report("2", "two")));
        assert_ne!(found, without_times(&report("1", "three")));
    }
}
