//! What simulated containers do, chosen by the name of their image.

use std::time::Duration;

/// What a simulated container does with its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Runs and is ready until somebody stops it.
    Runs,
    /// Runs, but every probe of it fails.
    NeverReady,
    /// Ends by itself with an exit code: 0 for a job that is done, anything else for a crash.
    Exits {
        /// How long after its start.
        after: Duration,
        /// The exit code.
        exit_code: i32,
    },
    /// Ends by itself as if the memory limit had killed it (137, OOMKilled).
    RunsOutOfMemory {
        /// How long after its start.
        after: Duration,
    },
    /// Its image cannot be pulled: there is no such image.
    PullFails,
    /// Its start fails: there is no such program in the image.
    StartFails,
}

/// Gives a behaviour to the images whose name matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The image reference, in which `*` stands for any text.
    pub image_glob: String,
    /// What containers of such images do.
    pub behaviour: Behaviour,
}

impl Rule {
    /// A rule for the images that match `image_glob`.
    #[must_use]
    pub fn new(image_glob: impl Into<String>, behaviour: Behaviour) -> Self {
        Self {
            image_glob: image_glob.into(),
            behaviour,
        }
    }
}

/// The tags with a meaning in every simulated cluster, so that a lesson or a test can ask for
/// trouble by naming an image, without configuration.
#[must_use]
pub fn well_known_rules() -> Vec<Rule> {
    let soon = Duration::from_secs(1);
    vec![
        Rule::new("*:fail-pull", Behaviour::PullFails),
        Rule::new("*:fail-start", Behaviour::StartFails),
        Rule::new(
            "*:crash",
            Behaviour::Exits {
                after: soon,
                exit_code: 1,
            },
        ),
        Rule::new(
            "*:done",
            Behaviour::Exits {
                after: soon,
                exit_code: 0,
            },
        ),
        Rule::new("*:oom", Behaviour::RunsOutOfMemory { after: soon }),
        Rule::new("*:never-ready", Behaviour::NeverReady),
    ]
}

/// The behaviour of the first rule that matches; [`Behaviour::Runs`] where none does.
pub(super) fn behaviour_of(image: &str, rules: &[Rule]) -> Behaviour {
    rules
        .iter()
        .find(|rule| matches_glob(&rule.image_glob, image))
        .map_or(Behaviour::Runs, |rule| rule.behaviour)
}

/// Matches `*` against any text, everything else literally.
fn matches_glob(glob: &str, text: &str) -> bool {
    let Some((start, rest)) = glob.split_once('*') else {
        return glob == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    (0..=text.len())
        .filter(|at| text.is_char_boundary(*at))
        .any(|at| matches_glob(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(image: &str, expected: Behaviour) {
        let mut rules = vec![Rule::new("shop/*:2.0.0", Behaviour::NeverReady)];
        rules.extend(well_known_rules());
        assert_eq!(behaviour_of(image, &rules), expected, "{image}");
    }

    #[test]
    fn the_first_rule_whose_glob_matches_the_image_decides() {
        check("nginx:1.27", Behaviour::Runs);
        check("hello:fail-pull", Behaviour::PullFails);
        check(
            "localhost:5001/hello:crash",
            Behaviour::Exits {
                after: Duration::from_secs(1),
                exit_code: 1,
            },
        );
        check("localhost:5001/hello:crashing", Behaviour::Runs);
        check("shop/cart:2.0.0", Behaviour::NeverReady);
        check("shop/cart:2.0.1", Behaviour::Runs);
        check("my-shop/cart:2.0.0", Behaviour::Runs);
    }
}
