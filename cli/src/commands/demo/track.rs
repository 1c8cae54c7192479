//! The core track from the first lab to the last, each step done by its solution and checked.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use lab_checks::lab::{Lab, Step};
use lab_checks::language::Language;
use lab_checks::library::Labs;
use lab_checks::runner::StepReport;
use lab_cluster::config::EngineKind;
use lab_cluster::provider::Silent;
use lab_cluster::record::Home;

use super::cluster;
use crate::commands::check::print_check;
use crate::commands::lab::pick;
use crate::labs::journey::{Journey, Narrator};
use crate::labs::scripts::Kubectl;
use crate::markdown::{self, wrap};
use crate::output::{blank, faint, line, strong};
use crate::progress::milliseconds;

/// The folders of the core track: containerize, CI, deploy three replicas, break v2, canary,
/// rollback, and what leads to them.
const CORE: std::ops::RangeInclusive<u32> = 0..=7;
/// Lines of a script that are shown.
const SHOWN: usize = 14;

/// A tour of the core track.
pub(super) struct Track<'a> {
    pub(super) home: &'a Home,
    pub(super) name: &'a str,
    pub(super) labs: &'a Labs,
    pub(super) workspace: &'a Path,
    pub(super) language: Language,
}

impl Track<'_> {
    /// Goes through it in a new cluster.
    ///
    /// # Errors
    /// With the first step that did not work.
    pub(super) async fn run(&self, engine: Option<EngineKind>) -> anyhow::Result<()> {
        let labs: Vec<_> = self.labs.iter().filter(|lab| is_core(lab)).collect();
        let Some(first) = labs.first() else {
            bail!("none of these labs belongs to the core track (folders 00 to 07)");
        };
        self.announce(&labs);
        cluster(self.home, self.name, engine, self.language).await?;
        let dir = self.home.cluster(self.name);
        // The tour needs nothing but this program, so it shows nothing but this program.
        let journey = Journey::alone(self.labs, self.home, &dir, self.workspace, Kubectl::Own)?;
        for lab in &labs {
            self.title(lab);
            if lab.name == first.name {
                journey.begin(lab, self).await?;
            } else {
                let backup = journey.backup();
                journey.go_to(lab, None, &backup, &Silent, self).await?;
            }
            for step in &lab.steps {
                journey.solve(lab, step, self).await?;
            }
        }
        Ok(())
    }

    fn say<'t>(&self, en: &'t str, fr: &'t str) -> &'t str {
        pick(self.language, en, fr)
    }

    fn announce(&self, labs: &[&Lab]) {
        let count = match labs.len() {
            1 => "1 lab".to_owned(),
            count => format!("{count} labs"),
        };
        line(strong(&match self.language {
            Language::En => format!("The core track, {count}, done by the labs’ own solutions"),
            Language::Fr => {
                format!("Le parcours principal, {count}, fait avec les solutions des labs")
            }
        }));
        let how = self.say(
            "Ctrl-C ends the tour at any time and cleans up; --quick shows the main job alone.",
            "Ctrl-C termine la visite à tout moment et nettoie ; --quick ne montre que l’essentiel.",
        );
        for part in wrap(how, "", markdown::width()).lines() {
            line(faint(part));
        }
        blank();
    }

    fn title(&self, lab: &Lab) {
        blank();
        let title = lab.title.get(self.language);
        line(strong(&format!("━━ {title}")));
        line(faint(&format!("   {}", lab.name)));
    }
}

impl Narrator for Track<'_> {
    fn start(&self, _: &Lab) {
        let said = self.say(
            "where this lab begins is brought about …",
            "mise en place du point de départ de ce lab …",
        );
        line(faint(&format!("   {said}")));
    }

    fn doing(&self, lab: &Lab, step: &Step, script: Option<&str>) {
        blank();
        let at = lab.steps.iter().position(|other| other.id == step.id);
        let heading = step.heading.get(self.language);
        let at = at.unwrap_or_default() + 1;
        line(strong(&format!("{at}/{}  {heading}", lab.steps.len())));
        let shown = commands(script.unwrap_or_default());
        for command in shown.iter().take(SHOWN) {
            line(faint(&format!("  $ {command}")));
        }
        if shown.len() > SHOWN {
            line(faint("  …"));
        }
    }

    fn done(&self, _: &Lab, _: &Step, report: &StepReport, took: Duration) {
        for check in &report.checks {
            print_check(check, self.language);
        }
        line(faint(&format!("    {}", milliseconds(took))));
    }
}

/// Whether a lab's folder is one of the core track's.
fn is_core(lab: &Lab) -> bool {
    let number = lab.folder.split_once('-').map_or("", |(number, _)| number);
    number.parse().is_ok_and(|number| CORE.contains(&number))
}

/// What a script does, without what every script says.
fn commands(script: &str) -> Vec<&str> {
    let lines = script.lines().map(str::trim_end);
    let passed = |line: &&str| {
        let text = line.trim_start();
        text.is_empty() || text.starts_with('#') || text == "set -eu"
    };
    lines.filter(|line| !passed(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_script_says_is_left_out() {
        let script = "#!/bin/sh\n# Why.\nset -eu\n\nkubectl get pods |\n    head\n";
        assert_eq!(commands(script), ["kubectl get pods |", "    head"]);
    }

    #[test]
    fn the_core_track_ends_with_the_seventh_folder() {
        let labs = Labs::embedded().unwrap();
        let mut lab = labs.iter().next().unwrap().clone();
        for (folder, is) in [
            ("00-a", true),
            ("07-b", true),
            ("08-c", false),
            ("own", false),
        ] {
            folder.clone_into(&mut lab.folder);
            assert_eq!(is_core(&lab), is, "{folder}");
        }
        assert!(labs.iter().any(is_core));
    }
}
