//! `devops-lab lab`: what there is to learn, and the next step.

mod desk;
mod goto;
mod reset;
mod solve;
mod test;

use std::process::ExitCode;

use anyhow::{Context, bail};
use lab_checks::context::Addresses;
use lab_checks::lab::{Lab, Step};
use lab_checks::language::Language;
use lab_checks::library::Labs;
use lab_checks::progress::Progress;
use lab_classroom::protocol::What;
use lab_cluster::lifecycle::DEFAULT_NAME;
use lab_cluster::record::{ClusterDir, Home, Record, RecordError};
use lab_cluster::status;

use crate::class;
use crate::cli::{ClusterArgs, LabArgs, LabCommand, LabShowArgs, LabsArgs, LanguageArgs};
use crate::labs::{self, workspace};
use crate::markdown;
use crate::output::{blank, faint, good, line, strong, table};

/// Names the cluster where `--name` does not, as in `cli`.
const CLUSTER_VARIABLE: &str = "DEVOPS_LAB_CLUSTER";

pub(crate) async fn run(args: LabCommand) -> anyhow::Result<ExitCode> {
    match args {
        LabCommand::List(args) => list(args)?,
        LabCommand::Next(args) => next(args)?,
        LabCommand::Show(args) => show(args)?,
        LabCommand::Goto(args) => goto::run(args).await?,
        LabCommand::Reset(args) => reset::run(args).await?,
        LabCommand::Solve(args) => solve::run(args).await?,
        LabCommand::Test(args) => return test::run(args).await,
    }
    Ok(ExitCode::SUCCESS)
}

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
    pub(super) fn of(args: LabArgs) -> anyhow::Result<Self> {
        let LabArgs {
            cluster: ClusterArgs { name },
            language: LanguageArgs { lang },
            labs: LabsArgs { labs },
        } = args;
        let language = language(lang.as_deref())?;
        let labs = labs::load(labs.as_deref())?;
        let dir = Home::from_env()?.cluster(&name);
        let record = match dir.load() {
            Ok(record) => Some(record),
            Err(RecordError::NotFound { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let progress = Progress::load(&progress_path(&dir))?;
        Ok(Self {
            name,
            language,
            dir,
            record,
            progress,
            labs,
        })
    }

    /// One of two texts, by language.
    pub(crate) fn say<'a>(&self, en: &'a str, fr: &'a str) -> &'a str {
        pick(self.language, en, fr)
    }

    /// A command of this program, with the cluster's name where it must be said.
    pub(super) fn command(&self, words: &str) -> String {
        let said = std::env::var(CLUSTER_VARIABLE).is_ok_and(|name| name == self.name);
        let flag = if said || self.name == DEFAULT_NAME {
            String::new()
        } else {
            format!(" --name {}", self.name)
        };
        strong(&format!("devops-lab {words}{flag}"))
    }

    /// Changes what is known of her progress, on disk and here.
    pub(crate) fn note<T>(&mut self, change: impl FnOnce(&mut Progress) -> T) -> anyhow::Result<T> {
        let (progress, answer) = Progress::update(&progress_path(&self.dir), change)?;
        self.progress = progress;
        Ok(answer)
    }

    fn addresses(&self) -> Addresses {
        let addresses = |record| addresses(record, &self.dir);
        self.record.as_ref().map(addresses).unwrap_or_default()
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
pub(super) fn language(asked: Option<&str>) -> anyhow::Result<Language> {
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

fn list(args: LabArgs) -> anyhow::Result<()> {
    let learner = Learner::of(args)?;
    let labs = &learner.labs;
    let rows: Vec<_> = labs
        .iter()
        .map(|lab| {
            let (done, all) = (learner.progress.done_of(lab), lab.steps.len());
            let bar = "●".repeat(done) + &"○".repeat(all - done);
            let bar = if done == all { good(&bar) } else { bar };
            let title = lab.title.get(learner.language).to_owned();
            vec![
                lab.name.clone(),
                title,
                format!("{bar} {done}/{all}"),
                format!("{} min", lab.minutes),
            ]
        })
        .collect();
    let head = learner.say("LAB TITLE STEPS TIME", "LAB TITRE ÉTAPES DURÉE");
    table(&head.split(' ').collect::<Vec<_>>(), &rows);
    blank();
    if learner.record.is_none() {
        line(learner.no_cluster());
    } else {
        line(format_args!(
            "{}{}",
            learner.say("Next: ", "Ensuite : "),
            learner.command("lab next")
        ));
    }
    Ok(())
}

fn next(args: LabArgs) -> anyhow::Result<()> {
    let learner = Learner::of(args)?;
    let labs = &learner.labs;
    let Some((lab, step)) = learner.progress.next_step(labs) else {
        line(good(
            learner.say("All labs are done.", "Tous les labs sont terminés."),
        ));
        return Ok(());
    };
    if let Ok(home) = Home::from_env() {
        class::notices(&home, learner.language);
        let (lab, step) = (lab.name.clone(), step.id.clone());
        class::share(&home, What::Opened { lab, step });
    }
    print_step(&learner, lab, step);
    blank();
    if learner.record.is_none() {
        line(learner.no_cluster());
        return Ok(());
    }
    hand_out(&learner, lab)?;
    line(format_args!(
        "{}{}",
        learner.say("When it is done: ", "Quand c’est fait : "),
        learner.command("check")
    ));
    Ok(())
}

fn show(args: LabShowArgs) -> anyhow::Result<()> {
    let LabShowArgs { lab, options } = args;
    let learner = Learner::of(options)?;
    let labs = &learner.labs;
    let (lab, step) = find(labs, &lab)?;
    if let Some(step) = step {
        print_step(&learner, lab, step);
        return Ok(());
    }
    let title = format!(
        "# {}\n\n{}",
        lab.title.get(learner.language),
        lab.intro.get(learner.language)
    );
    set(&learner, &title);
    for step in &lab.steps {
        blank();
        set(&learner, &section(&learner, step));
    }
    blank();
    set(&learner, lab.ending.get(learner.language));
    Ok(())
}

fn print_step(learner: &Learner, lab: &Lab, step: &Step) {
    let at = lab
        .steps
        .iter()
        .position(|other| other.id == step.id)
        .unwrap_or_default();
    let title = lab.title.get(learner.language);
    if at == 0 {
        set(
            learner,
            &format!("# {title}\n\n{}", lab.intro.get(learner.language)),
        );
        blank();
    }
    line(faint(&format!(
        "{title} · {}/{} · {}/{}",
        at + 1,
        lab.steps.len(),
        lab.name,
        step.id
    )));
    blank();
    set(learner, &section(learner, step));
}

fn section(learner: &Learner, step: &Step) -> String {
    format!(
        "## {}\n\n{}",
        step.heading.get(learner.language),
        step.prose.get(learner.language)
    )
}

/// Prints Markdown with the cluster's addresses in it.
pub(super) fn set(learner: &Learner, text: &str) {
    line(markdown::render(
        &learner.addresses().fill(text),
        markdown::width(),
    ));
}

/// Gives the lab's files to the learner, and says so.
fn hand_out(learner: &Learner, lab: &Lab) -> anyhow::Result<()> {
    let workspace = std::env::current_dir().context("the current directory is gone")?;
    let given = workspace::hand_out(&learner.labs, lab, &workspace, &learner.addresses())?;
    if !given.is_empty() {
        let said = learner.say(
            "The lab's files are now in",
            "Les fichiers du lab sont maintenant dans",
        );
        let places: Vec<_> = given
            .iter()
            .map(|place| strong(&format!("./{place}")))
            .collect();
        line(format_args!("{said} {}", places.join(", ")));
    }
    Ok(())
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
