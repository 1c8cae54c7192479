//! Variables of a Dockerfile: `ARG` before and after `FROM`, `ENV`, and what the command line
//! gives.
//!
//! <https://docs.docker.com/reference/dockerfile/#understand-how-arg-and-from-interact>

use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfile::{self, Problem};

/// Build arguments that need no `ARG`: they are for programs that a build runs.
/// <https://docs.docker.com/reference/dockerfile/#predefined-args>
const PREDEFINED: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// What `$NAME` stands for.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    escape: char,
    /// From the command line.
    given: BTreeMap<String, String>,
    /// Names from the command line that some `ARG` declares.
    used: BTreeSet<String>,
    /// Declared before `FROM`; seen after it only where declared again.
    global: BTreeMap<String, String>,
    /// Declared after `FROM`.
    args: BTreeMap<String, String>,
    /// The image's environment, which wins.
    pub(super) env: BTreeMap<String, String>,
    /// True after `FROM`.
    pub(super) begun: bool,
}

impl Variables {
    /// Variables before the first line; `given` is from the command line.
    pub(super) fn new(escape: char, given: BTreeMap<String, String>) -> Self {
        let architecture = crate::spec::host_architecture();
        let platform = format!("linux/{architecture}");
        // Every build here is for the machine that it runs on.
        let global = ["TARGET", "BUILD"].into_iter().flat_map(|whose| {
            [
                ("PLATFORM", platform.as_str()),
                ("OS", "linux"),
                ("ARCH", architecture),
                ("VARIANT", ""),
            ]
            .map(|(what, value)| (format!("{whose}{what}"), value.to_owned()))
        });
        Self {
            escape,
            global: global.collect(),
            given,
            ..Self::default()
        }
    }

    /// As they are at the `FROM` of the next stage.
    pub(super) fn next_stage(&self) -> Self {
        Self {
            args: BTreeMap::new(),
            env: BTreeMap::new(),
            begun: false,
            ..self.clone()
        }
    }

    pub(super) fn expand(&self, word: &str) -> Result<String, Problem> {
        let lookup = |name: &str| {
            let declared = if self.begun { &self.args } else { &self.global };
            self.env.get(name).or_else(|| declared.get(name)).cloned()
        };
        dockerfile::expand(word, self.escape, &lookup)
    }

    fn value(&mut self, name: &str, default: Option<&String>) -> Result<Option<String>, Problem> {
        if let Some(given) = self.given.get(name) {
            self.used.insert(name.to_owned());
            return Ok(Some(given.clone()));
        }
        default.map(|default| self.expand(default)).transpose()
    }

    pub(super) fn declare_global(
        &mut self,
        found: &[(String, Option<String>)],
    ) -> Result<(), Problem> {
        for (name, default) in found {
            if let Some(value) = self.value(name, default.as_ref())? {
                self.global.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    pub(super) fn declare(&mut self, found: &[(String, Option<String>)]) -> Result<(), Problem> {
        for (name, default) in found {
            let value = self.value(name, default.as_ref())?;
            if let Some(value) = value.or_else(|| self.global.get(name).cloned()) {
                self.args.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    pub(super) fn unused(&self) -> impl Iterator<Item = &String> {
        let known = |name: &str| self.used.contains(name) || PREDEFINED.contains(&name);
        self.given.keys().filter(move |name| !known(name))
    }
}
