//! Who learns, where, and how far she is.

use anyhow::{Context, bail};
use lab_checks::context::Addresses;
use lab_checks::lab::{Lab, Step};
use lab_checks::language::Language;
use lab_checks::library::Labs;
use lab_checks::progress::{LabChange, Progress};
use lab_cluster::lifecycle::DEFAULT_NAME;
use lab_cluster::record::{ClusterDir, Home, Record, RecordError};
use lab_cluster::status;

use crate::cli::{ClusterArgs, LabArgs, LabsArgs, LanguageArgs};
use crate::labs;
use crate::markdown::{self, Look};
use crate::output::{line, note, strong};

/// Names the cluster where `--name` does not, as in `cli`.
const CLUSTER_VARIABLE: &str = "DEVOPS_LAB_CLUSTER";

/// Who learns: a cluster, its progress, a language, and the labs there are.
pub(crate) struct Learner {
    pub(crate) name: String,
    pub(crate) language: Language,
    pub(crate) dir: ClusterDir,
    /// None where there is no such cluster.
    pub(crate) record: Option<Record>,
    pub(crate) progress: Progress,
    pub(crate) labs: Labs,
}

impl Learner {
    pub(crate) fn of(args: LabArgs) -> anyhow::Result<Self> {
        let LabArgs {
            cluster: ClusterArgs { name },
            language: LanguageArgs { lang },
            labs: LabsArgs { labs },
        } = args;
        let language = language(lang.as_deref())?;
        let labs = labs::load(labs.as_deref())?;
        let dir = Home::from_env()?.cluster(&name);
        let record = load(&dir)?;
        let progress = Progress::load(&progress_path(&dir))?;
        let mut learner = Self {
            name,
            language,
            dir,
            record,
            progress,
            labs,
        };
        learner.meet_labs()?;
        Ok(learner)
    }

    /// The same learner as she is now.
    pub(crate) fn again(&self) -> anyhow::Result<Self> {
        Ok(Self {
            name: self.name.clone(),
            language: self.language,
            dir: self.dir.clone(),
            record: load(&self.dir)?,
            progress: Progress::load(&progress_path(&self.dir))?,
            labs: self.labs.clone(),
        })
    }

    /// Says once what is new in labs that she knows.
    fn meet_labs(&mut self) -> anyhow::Result<()> {
        let labs = self.labs.clone();
        let mut met = self.progress.clone();
        met.meet(&labs);
        if met != self.progress {
            let changes = self.note(|progress| progress.meet(&labs))?;
            for change in &changes {
                note(told(change, self.language));
            }
        }
        Ok(())
    }

    /// One of two texts, by language.
    pub(crate) fn say<'a>(&self, en: &'a str, fr: &'a str) -> &'a str {
        pick(self.language, en, fr)
    }

    /// A command of this program, with the cluster's name where it must be said.
    pub(crate) fn command(&self, words: &str) -> String {
        strong(&command_line(&self.name, words))
    }

    /// Changes what is known of her progress, on disk and here; only here where there is no cluster,
    /// whose directory it is kept in.
    pub(crate) fn note<T>(&mut self, change: impl FnOnce(&mut Progress) -> T) -> anyhow::Result<T> {
        if self.record.is_none() {
            return Ok(change(&mut self.progress));
        }
        let (progress, answer) = Progress::update(&progress_path(&self.dir), change)?;
        self.progress = progress;
        Ok(answer)
    }

    pub(crate) fn addresses(&self) -> Addresses {
        let addresses = |record| addresses(record, &self.dir);
        self.record.as_ref().map(addresses).unwrap_or_default()
    }

    /// `text` with the cluster's addresses in it.
    pub(crate) fn fill(&self, text: &str) -> String {
        self.addresses().fill(text)
    }

    /// The lab and step that she names, or those that she is at: of a lab without a step, its next.
    /// None where all of it is done.
    pub(crate) fn step<'a>(
        &self,
        labs: &'a Labs,
        target: Option<&str>,
    ) -> anyhow::Result<Option<(&'a Lab, &'a Step)>> {
        let Some(target) = target else {
            return Ok(self.progress.next_step(labs));
        };
        let (lab, step) = find(labs, target)?;
        let step = step.or_else(|| self.progress.next_step_of(lab));
        Ok(step.map(|step| (lab, step)))
    }

    /// That there is nothing left to do.
    pub(crate) fn all_done(&self) -> &'static str {
        pick(
            self.language,
            "All labs are done.",
            "Tous les labs sont terminés.",
        )
    }

    /// Where there is no cluster, how to get one.
    pub(crate) fn no_cluster(&self) -> String {
        let text = self.say(
            "There is no cluster yet. Start one: ",
            "Il n’y a pas encore de cluster. Démarrez-en un : ",
        );
        format!("{text}{}", self.command("start 3"))
    }
}

/// A command of this program, with the cluster's name where it must be said.
pub(crate) fn command_line(name: &str, words: &str) -> String {
    let said = std::env::var(CLUSTER_VARIABLE).is_ok_and(|said| said == name);
    if said || name == DEFAULT_NAME {
        format!("devops-lab {words}")
    } else {
        format!("devops-lab {words} --name {name}")
    }
}

/// A cluster's record; none where there is no such cluster.
fn load(dir: &ClusterDir) -> anyhow::Result<Option<Record>> {
    match dir.load() {
        Ok(record) => Ok(Some(record)),
        Err(RecordError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// How a lab differs from what it was.
fn told(change: &LabChange, language: Language) -> String {
    let LabChange { lab, new, gone } = change;
    let (new, gone) = (new.join(", "), gone.join(", "));
    match (language, new.as_str(), gone.as_str()) {
        (Language::En, new, "") => format!("The lab {lab} has changed; new in it: {new}."),
        (Language::En, "", gone) => format!("The lab {lab} has changed; gone from it: {gone}."),
        (Language::En, new, gone) => {
            format!("The lab {lab} has changed; new in it: {new}; gone from it: {gone}.")
        }
        (Language::Fr, new, "") => format!("Le lab {lab} a changé ; ajouté : {new}."),
        (Language::Fr, "", gone) => format!("Le lab {lab} a changé ; supprimé : {gone}."),
        (Language::Fr, new, gone) => {
            format!("Le lab {lab} a changé ; ajouté : {new} ; supprimé : {gone}.")
        }
    }
}

/// Where a cluster's progress is kept.
pub(crate) fn progress_path(dir: &ClusterDir) -> std::path::PathBuf {
    dir.join("labs/progress.json")
}

/// The addresses that labs speak of.
pub(crate) fn addresses(record: &Record, dir: &ClusterDir) -> Addresses {
    let status::Addresses {
        api: _,
        production,
        test,
        https: _,
        registry,
        metrics,
    } = status::Addresses::of(record);
    Addresses {
        production,
        test,
        registry,
        metrics: metrics.unwrap_or_default(),
        git: dir.git().display().to_string(),
    }
}

/// One of two texts.
pub(crate) fn pick<'a>(language: Language, en: &'a str, fr: &'a str) -> &'a str {
    match language {
        Language::En => en,
        Language::Fr => fr,
    }
}

/// The language asked for, or that of the locale, or English.
pub(crate) fn language(asked: Option<&str>) -> anyhow::Result<Language> {
    if let Some(asked) = asked.filter(|asked| !asked.is_empty()) {
        return Language::parse(asked).with_context(|| {
            format!("the labs are told in en and fr, not in {asked:?} (--lang, DEVOPS_LAB_LANG)")
        });
    }
    // The first that is set decides, as in POSIX.
    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok());
    let locale = locale.into_iter().find(|value| !value.is_empty());
    Ok(locale
        .and_then(|locale| Language::parse(&locale))
        .unwrap_or_default())
}

/// The lab and step that `LAB` or `LAB/STEP` name.
pub(crate) fn find<'a>(
    labs: &'a Labs,
    target: &str,
) -> anyhow::Result<(&'a Lab, Option<&'a Step>)> {
    let (name, step) = target
        .split_once('/')
        .map_or((target, None), |(name, step)| (name, Some(step)));
    let Some(lab) = labs.get(name) else {
        let names: Vec<_> = labs.iter().map(|lab| lab.name.as_str()).collect();
        bail!(
            "there is no lab {name:?}; there are: {} (devops-lab lab list)",
            names.join(", ")
        );
    };
    let Some(id) = step else {
        return Ok((lab, None));
    };
    let Some(step) = lab.step(id) else {
        let ids: Vec<_> = lab.steps.iter().map(|step| step.id.as_str()).collect();
        bail!(
            "lab {} has no step {id:?}; it has: {}",
            lab.name,
            ids.join(", ")
        );
    };
    Ok((lab, Some(step)))
}

/// Prints Markdown with the cluster's addresses in it.
pub(crate) fn set(learner: &Learner, text: &str) {
    line(markdown::render(
        &learner.fill(text),
        Look::here(learner.language),
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_a_lab_or_a_step_of_it() {
        let labs = Labs::embedded().unwrap();
        let (lab, step) = find(&labs, "deploy/route").unwrap();
        assert_eq!(
            (lab.name.as_str(), step.map(|step| step.id.as_str())),
            ("deploy-three-replicas", Some("route"))
        );
        assert_eq!(find(&labs, "deploy-three-replicas").unwrap().1, None);
        assert!(
            find(&labs, "depoly")
                .unwrap_err()
                .to_string()
                .contains("deploy-three-replicas")
        );
        assert!(
            find(&labs, "deploy/rout")
                .unwrap_err()
                .to_string()
                .contains("look, image")
        );
    }

    #[test]
    fn a_language_that_is_not_ours_is_refused_by_name() {
        assert_eq!(language(Some("fr_CA")).unwrap(), Language::Fr);
        assert!(
            language(Some("de"))
                .unwrap_err()
                .to_string()
                .contains("en and fr")
        );
    }
}
