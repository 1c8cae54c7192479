//! `.dockerignore`: what of a directory is not sent to a builder.
//!
//! <https://docs.docker.com/build/concepts/context/#dockerignore-files>

use crate::glob;

/// The rules of one file, in order; the last one that matches a path decides.
#[derive(Clone, Debug, Default)]
pub struct Ignore(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    pattern: String,
    /// Brings back what an earlier rule left out.
    exception: bool,
}

impl Ignore {
    /// Reads a file's rules. Patterns that can match nothing are kept and match nothing.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(lines.map(Rule::parse).collect())
    }

    /// True where the path, relative to the context and without a leading slash, is left out.
    #[must_use]
    pub fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for rule in &self.0 {
            if rule.exception == excluded && rule.matches(path) {
                excluded = !rule.exception;
            }
        }
        excluded
    }

    /// True where some rule brings files back, so that an excluded directory has to be looked
    /// through nevertheless.
    pub(crate) fn has_exceptions(&self) -> bool {
        self.0.iter().any(|rule| rule.exception)
    }
}

impl Rule {
    fn parse(line: &str) -> Self {
        let (exception, pattern) = match line.strip_prefix('!') {
            Some(pattern) => (true, pattern.trim()),
            None => (false, line),
        };
        let parts = pattern.split('/').filter(|part| !matches!(*part, "" | "."));
        Self {
            pattern: parts.collect::<Vec<_>>().join("/"),
            exception,
        }
    }

    /// A pattern that matches a directory matches all in it.
    fn matches(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(index, _)| index);
        ends.chain([path.len()])
            .any(|end| glob::matches(&self.pattern, &path[..end]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(rules: &str, path: &str, excluded: bool) {
        assert_eq!(
            Ignore::parse(rules).excludes(path),
            excluded,
            "{path} under {rules:?}"
        );
    }

    #[test]
    fn directories_go_with_all_that_is_in_them() {
        case("node_modules", "node_modules/a/b.js", true);
        case("/node_modules/", "node_modules/a", true);
        case("node_modules", "src/node_modules", false);
        case("**/node_modules", "src/node_modules/x", true);
        case("# node_modules\n\n", "node_modules", false);
    }

    #[test]
    fn the_last_rule_decides() {
        case("*.md\n!README.md", "README.md", false);
        case("*.md\n!README.md", "CHANGES.md", true);
        case("!README.md\n*.md", "README.md", true);
        case("docs\n!docs/a.txt", "docs/a.txt", false);
        case("*", "app.js", true);
        case("*\n!app.js", "app.js", false);
    }
}
