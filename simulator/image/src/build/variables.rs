//! Variables of a Dockerfile: `ARG` before and after `FROM`, `ENV`, and what the command line
//! gives.
//!
//! <https://docs.docker.com/reference/dockerfile/#understand-how-arg-and-from-interact>

use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfile::{self, Problem};

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
        Self {
            escape,
            given,
            ..Self::default()
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
        self.given.keys().filter(|name| !self.used.contains(*name))
    }
}
