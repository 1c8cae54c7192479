//! What a workload's annotations ask for.
//!
//! Labels are read too, as Keel does; annotations win.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::Regex;

use super::policy::Policy;

/// Keel's default.
const POLL: Duration = Duration::from_secs(60);
/// A registry on this machine bears a look per second; more often tells nothing new.
const SHORTEST_POLL: Duration = Duration::from_secs(1);
/// What Keel knows and this does not, and what to do instead.
const NOT_SUPPORTED: &[(&str, &str)] = &[
    ("notify", "remove it; kubectl get events tells of updates"),
    (
        "imagePullSecret",
        "remove it; the cluster's registry asks for no password",
    ),
];
/// Hours that an update waits for its approvals, as in Keel.
const DEADLINE_HOURS: u32 = 24;

/// How a workload follows its images.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) policy: Policy,
    /// Pause between two looks into the registry; none where pushes alone count.
    pub(super) poll: Option<Duration>,
    /// Names of the containers that follow; all where absent.
    pub(super) containers: Option<Regex>,
    pub(super) init_containers: bool,
    /// Approvals that an update needs.
    pub(super) approvals: usize,
    /// How long it waits for them.
    pub(super) deadline: Duration,
}

impl Settings {
    /// `None` where the workload does not follow its images.
    ///
    /// # Errors
    /// In words, naming the annotation.
    pub(super) fn read(
        annotations: &BTreeMap<String, String>,
        labels: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, String> {
        let get = |name: &str| {
            let key = format!("keel.sh/{name}");
            annotations
                .get(&key)
                .or_else(|| labels.get(&key))
                .map(|value| value.trim())
        };
        let Some(policy) = get("policy") else {
            return Ok(None);
        };
        if let Some((name, instead)) = NOT_SUPPORTED.iter().find(|(name, _)| get(name).is_some()) {
            return Err(format!("keel.sh/{name} is not supported: {instead}"));
        }
        let flag = |name, default| match get(name) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(format!(
                "keel.sh/{name} is {other:?}; it must be \"true\" or \"false\""
            )),
        };
        let match_tag = flag("matchTag", false)? || flag("match-tag", false)?;
        let policy = Policy::parse(policy, match_tag, flag("matchPreRelease", true)?)?;
        let number = |name: &str, default: u32| match get(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| format!("keel.sh/{name} is {text:?}; it must be a whole number")),
        };
        let containers = get("monitorContainers").map(|text| {
            Regex::new(text).map_err(|error| {
                format!("keel.sh/monitorContainers {text:?} is no valid pattern: {error}")
            })
        });
        Ok(Some(Self {
            policy,
            poll: poll(get("trigger"), get("pollSchedule"))?,
            containers: containers.transpose()?,
            init_containers: flag("initContainers", false)?,
            approvals: usize::try_from(number("approvals", 0)?).unwrap_or(usize::MAX),
            deadline: Duration::from_secs(
                u64::from(number("approvalDeadline", DEADLINE_HOURS)?) * 3600,
            ),
        }))
    }

    /// True for a container that follows its image.
    pub(super) fn monitors(&self, container: &str) -> bool {
        self.containers
            .as_ref()
            .is_none_or(|pattern| pattern.is_match(container))
    }
}

fn poll(trigger: Option<&str>, schedule: Option<&str>) -> Result<Option<Duration>, String> {
    match trigger {
        None | Some("default") => Ok(None),
        Some("poll") => every(schedule).map(Some),
        Some(other) => Err(format!(
            "keel.sh/trigger is {other:?}; it must be \"poll\", or absent to follow pushes"
        )),
    }
}

fn every(schedule: Option<&str>) -> Result<Duration, String> {
    let pause = match schedule {
        None => POLL,
        Some("@hourly") => Duration::from_secs(3600),
        Some("@daily" | "@midnight") => Duration::from_secs(24 * 3600),
        Some(text) => {
            let pause = text.strip_prefix("@every ").and_then(|pause| {
                Duration::try_from(pause.trim().parse::<jiff::SignedDuration>().ok()?).ok()
            });
            pause.ok_or_else(|| {
                format!("keel.sh/pollSchedule is {text:?}; it must read like \"@every 1m\" (schedules of cron are not supported)")
            })?
        }
    };
    Ok(pause.max(SHORTEST_POLL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        annotations: &[(&str, &str)],
        labels: &[(&str, &str)],
    ) -> Result<Option<Settings>, String> {
        let map = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| (format!("keel.sh/{key}"), (*value).to_owned()))
                .collect()
        };
        Settings::read(&map(annotations), &map(labels))
    }

    #[test]
    fn a_workload_follows_its_images_only_where_it_says_so() {
        assert!(read(&[], &[]).unwrap().is_none());
        assert!(read(&[("trigger", "poll")], &[]).unwrap().is_none());
        let settings = read(&[], &[("policy", "minor")]).unwrap().unwrap();
        assert_eq!((settings.poll, settings.approvals), (None, 0));
        assert_eq!(settings.deadline, Duration::from_secs(24 * 3600));
        assert!(settings.monitors("anything") && !settings.init_containers);
        let both = read(&[("policy", "never")], &[("policy", "minor")])
            .unwrap()
            .unwrap();
        assert!(matches!(both.policy, Policy::Never));
    }

    #[test]
    fn the_other_annotations_are_read() {
        let settings = read(
            &[
                ("policy", "all"),
                ("trigger", "poll"),
                ("pollSchedule", "@every 1h30m"),
                ("monitorContainers", "^app"),
                ("initContainers", "true"),
                ("approvals", "2"),
                ("approvalDeadline", "5"),
            ],
            &[],
        );
        let settings = settings.unwrap().unwrap();
        assert_eq!(settings.poll, Some(Duration::from_secs(5400)));
        assert!(settings.monitors("app-1") && !settings.monitors("sidecar"));
        assert!(settings.init_containers);
        assert_eq!(
            (settings.approvals, settings.deadline.as_secs()),
            (2, 5 * 3600)
        );
    }

    #[test]
    fn what_makes_no_sense_is_told_by_its_name() {
        for (key, value) in [
            ("policy", "some"),
            ("trigger", "pull"),
            ("matchTag", "yes"),
            ("approvals", "two"),
            ("monitorContainers", "("),
            ("notify", "chat"),
            ("imagePullSecret", "secret"),
        ] {
            let problem = read(&[("policy", "all"), (key, value)], &[]).unwrap_err();
            assert!(problem.contains(key), "{problem}");
        }
        let cron = read(
            &[
                ("policy", "all"),
                ("trigger", "poll"),
                ("pollSchedule", "0 * * * *"),
            ],
            &[],
        );
        assert!(cron.unwrap_err().contains("@every 1m"));
    }
}
