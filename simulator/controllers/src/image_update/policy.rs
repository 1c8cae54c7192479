//! Whether a tag may follow another: Keel's policies.
//!
//! <https://keel.sh/docs/#policies>

use std::cmp::Ordering;

use regex::Regex;
use semver::Version;

/// How far a workload follows its image.
#[derive(Clone, Debug)]
pub(super) enum Policy {
    /// Not at all.
    Never,
    /// By version numbers.
    Semver {
        /// The largest step that is taken.
        step: Step,
        /// Whether the pre-release part must stay the same.
        match_pre_release: bool,
    },
    /// Every tag, or every new content of the same tag.
    Force {
        /// Only the tag that runs.
        match_tag: bool,
    },
    /// Tags of a pattern that sort after the present one.
    Pattern {
        /// As it was written.
        text: String,
        /// What it means.
        pattern: Regex,
    },
}

/// Steps between versions, the smallest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// 1.0.3 → 1.0.4
    Patch,
    /// 1.0.3 → 1.1.0
    Minor,
    /// 1.0.3 → 2.0.0
    Major,
    /// As major, and to and from pre-releases.
    All,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Major => "major",
            Self::All => "all",
        }
    }
}

/// What a policy says of a tag, with the reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is to be taken.
    Take(String),
    /// It is not.
    Leave(String),
}

impl Policy {
    /// Reads `keel.sh/policy` with the annotations that go with it.
    ///
    /// # Errors
    /// In words, where there is no such policy.
    pub(super) fn parse(
        text: &str,
        match_tag: bool,
        match_pre_release: bool,
    ) -> Result<Self, String> {
        let semver = |step| Self::Semver {
            step,
            match_pre_release,
        };
        let pattern = |expression: &str| {
            let pattern = Regex::new(expression)
                .map_err(|error| format!("keel.sh/policy {text:?} is no valid pattern: {error}"))?;
            let text = text.to_owned();
            Ok(Self::Pattern { text, pattern })
        };
        match text {
            "never" | "none" => Ok(Self::Never),
            "all" => Ok(semver(Step::All)),
            "major" => Ok(semver(Step::Major)),
            "minor" => Ok(semver(Step::Minor)),
            "patch" => Ok(semver(Step::Patch)),
            "force" => Ok(Self::Force { match_tag }),
            _ => match (text.strip_prefix("glob:"), text.strip_prefix("regexp:")) {
                (Some(glob), _) => pattern(&of_glob(glob)),
                (_, Some(expression)) => pattern(expression),
                (None, None) => Err(format!(
                    "keel.sh/policy is {text:?}; it must be all, major, minor, patch, force, never, glob:PATTERN or regexp:PATTERN"
                )),
            },
        }
    }

    /// Whether a workload that runs tag `current` takes tag `candidate`.
    pub(super) fn judge(&self, current: &str, candidate: &str) -> Verdict {
        match self {
            Self::Never => Verdict::Leave("policy never".to_owned()),
            Self::Semver {
                step,
                match_pre_release,
            } => by_version(*step, *match_pre_release, current, candidate),
            Self::Force { match_tag } => by_force(*match_tag, current, candidate),
            Self::Pattern { text, pattern } => by_pattern(text, pattern, current, candidate),
        }
    }

    /// True where the tag that runs may be taken again with other content.
    pub(super) fn follows_content(&self) -> bool {
        matches!(self, Self::Force { .. })
    }
}

fn by_version(step: Step, match_pre_release: bool, current: &str, candidate: &str) -> Verdict {
    let policy = step.name();
    if current == "latest" {
        return Verdict::Take(format!("policy {policy}: any version follows latest"));
    }
    let Some(new) = version(candidate) else {
        return Verdict::Leave(format!("policy {policy}: {candidate} is no version"));
    };
    let Some(old) = version(current) else {
        return Verdict::Leave(format!(
            "policy {policy}: {current}, which runs, is no version"
        ));
    };
    if step != Step::All && match_pre_release && old.pre != new.pre {
        return Verdict::Leave(format!(
            "policy {policy}: {candidate} has another pre-release part than {current} (keel.sh/matchPreRelease: \"false\" takes it)"
        ));
    }
    match new.cmp_precedence(&old) {
        Ordering::Less => {
            return Verdict::Leave(format!(
                "policy {policy}: {candidate} is older than {current}"
            ));
        }
        Ordering::Equal => {
            return Verdict::Leave(format!(
                "policy {policy}: {candidate} is not newer than {current}"
            ));
        }
        Ordering::Greater => {}
    }
    let taken = if new.major != old.major {
        Step::Major
    } else if new.minor != old.minor {
        Step::Minor
    } else {
        Step::Patch
    };
    let words = format!(
        "policy {policy}: {candidate} is a {} step from {current}",
        taken.name()
    );
    if taken <= step {
        Verdict::Take(words)
    } else {
        Verdict::Leave(words)
    }
}

fn by_force(match_tag: bool, current: &str, candidate: &str) -> Verdict {
    if current == candidate {
        return Verdict::Take(format!("policy force: {candidate} was pushed anew"));
    }
    if match_tag {
        return Verdict::Leave(format!(
            "policy force: keel.sh/matchTag asks for the tag {current}"
        ));
    }
    match (version(current), version(candidate)) {
        (Some(old), Some(new)) if new.cmp_precedence(&old).is_lt() => {
            Verdict::Leave(format!("policy force: {candidate} is older than {current}"))
        }
        _ => Verdict::Take(format!("policy force: {candidate} was pushed")),
    }
}

fn by_pattern(text: &str, pattern: &Regex, current: &str, candidate: &str) -> Verdict {
    let Some(new) = compared(pattern, candidate) else {
        return Verdict::Leave(format!("policy {text}: {candidate} does not match"));
    };
    match compared(pattern, current) {
        Some(old) if new <= old => Verdict::Leave(format!(
            "policy {text}: {candidate} does not sort after {current}"
        )),
        Some(_) | None => Verdict::Take(format!("policy {text}: {candidate} matches")),
    }
}

/// What of a tag is compared: the group called `compare`, else all of it.
fn compared<'a>(pattern: &Regex, tag: &'a str) -> Option<&'a str> {
    let found = pattern.captures(tag)?;
    Some(found.name("compare").map_or(tag, |part| part.as_str()))
}

/// `1.2.3`, `v1.2.3`, `1.2`. A lone number is a build number rather than a version.
pub(super) fn version(tag: &str) -> Option<Version> {
    let text = tag.strip_prefix('v').unwrap_or(tag);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at(end);
    match core.split('.').count() {
        2 => Version::parse(&format!("{core}.0{rest}")).ok(),
        3 => Version::parse(text).ok(),
        _ => None,
    }
}

fn of_glob(glob: &str) -> String {
    let parts: Vec<_> = glob.split('*').map(regex::escape).collect();
    format!("^{}$", parts.join(".*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `policy` may carry `+tag` (matchTag) and `+pre` (matchPreRelease: false).
    #[track_caller]
    fn case(policy: &str, current: &str, candidate: &str, expected: &str) {
        let tag = policy.strip_suffix("+tag");
        let pre = policy.strip_suffix("+pre");
        let name = tag.or(pre).unwrap_or(policy);
        let policy = Policy::parse(name, tag.is_some(), pre.is_none()).unwrap();
        let found = match policy.judge(current, candidate) {
            Verdict::Take(words) => format!("take: {words}"),
            Verdict::Leave(words) => format!("leave: {words}"),
        };
        assert!(
            found.starts_with(expected),
            "{name} {current} {candidate}: {found}"
        );
    }

    #[test]
    fn steps_between_versions_are_taken_up_to_the_policys() {
        case(
            "patch",
            "1.0.3",
            "1.0.4",
            "take: policy patch: 1.0.4 is a patch step from 1.0.3",
        );
        case(
            "patch",
            "1.0.3",
            "1.1.0",
            "leave: policy patch: 1.1.0 is a minor step from 1.0.3",
        );
        case(
            "patch",
            "1.0.3",
            "2.0.0",
            "leave: policy patch: 2.0.0 is a major step from 1.0.3",
        );
        case("minor", "1.0.3", "1.1.0", "take");
        case("minor", "1.0.3", "1.0.4", "take");
        case("minor", "1.0.3", "2.0.0", "leave");
        case("major", "1.0.3", "2.0.0", "take");
        case("major", "1.0.3", "1.0.4", "take");
        case("all", "1.0.3", "2.0.0", "take");
        for policy in ["patch", "minor", "major", "all"] {
            case(policy, "1.0.3", "1.0.3", "leave");
            case(policy, "1.0.3", "1.0.2", "leave");
            case(policy, "1.0.3", "0.9.9", "leave");
            case(policy, "1.0.3", "latest", "leave");
            case(policy, "1.0.3", "42", "leave");
            case(policy, "main", "1.0.4", "leave");
            case(policy, "latest", "1.0.4", "take");
        }
        case("major", "v1.2", "v1.3", "take");
        case("patch", "v1.2", "1.2.1", "take");
    }

    #[test]
    fn pre_releases_are_followed_only_among_themselves() {
        case(
            "major",
            "1.0.0",
            "1.1.0-rc1",
            "leave: policy major: 1.1.0-rc1 has another pre-release",
        );
        case("major", "1.0.0-dev", "1.1.0", "leave");
        case("major", "1.0.0-dev", "1.1.0-dev", "take");
        case("major+pre", "1.0.0", "1.1.0-rc1", "take");
        case("patch+pre", "1.0.0-rc1", "1.0.0-rc2", "take");
        case("all", "1.0.0-rc1", "1.0.0", "take");
        case("all", "1.0.0", "1.0.0-rc1", "leave");
    }

    #[test]
    fn force_takes_whatever_is_pushed_and_is_not_older() {
        case("force", "main", "feature-x", "take");
        case(
            "force",
            "latest",
            "latest",
            "take: policy force: latest was pushed anew",
        );
        case(
            "force",
            "1.1.0",
            "1.0.0",
            "leave: policy force: 1.0.0 is older",
        );
        case("force", "1.0.0", "main", "take");
        case("force+tag", "main", "main", "take");
        case(
            "force+tag",
            "main",
            "other",
            "leave: policy force: keel.sh/matchTag",
        );
        case("never", "1.0.0", "1.0.1", "leave: policy never");
    }

    #[test]
    fn patterns_take_what_matches_and_sorts_after() {
        case("glob:build-*", "build-001", "build-002", "take");
        case("glob:build-*", "build-002", "build-001", "leave");
        case("glob:build-*", "build-002", "other-003", "leave");
        case("glob:build-*", "1.0.0", "build-001", "take");
        case("glob:1.*", "1.1", "1x2", "leave");
        case("regexp:^[0-9a-f]{7}$", "aaaaaaa", "bbbbbbb", "take");
        case("regexp:^[0-9a-f]{7}$", "aaaaaaa", "zzz", "leave");
        case("regexp:^\\w+-(?P<compare>\\d+)$", "z-100", "a-200", "take");
    }

    #[test]
    fn a_policy_that_does_not_exist_is_told_with_those_that_do() {
        let problem = Policy::parse("ptach", false, true).unwrap_err();
        assert!(
            problem.contains("\"ptach\"") && problem.contains("patch"),
            "{problem}"
        );
        assert!(Policy::parse("regexp:(", false, true).is_err());
    }
}
