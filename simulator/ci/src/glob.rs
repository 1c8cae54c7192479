//! Patterns: of the filters below `on.push`, and of files.

use std::fs;
use std::path::Path;

use regex::Regex;

/// Files that are looked at below a workspace, before a pattern is taken for a mistake.
const FILES_MAX: usize = 100_000;

/// A list of patterns as `branches`, `tags` and `paths` have them: the last one that matches
/// decides, and `!` turns its meaning around.
/// <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#filter-pattern-cheat-sheet>
#[derive(Clone, Debug)]
pub(crate) struct Filter(Vec<(bool, Regex)>);

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        let plain = |filter: &Self| -> Vec<_> {
            let pairs = filter.0.iter();
            pairs
                .map(|(wanted, regex)| (*wanted, regex.as_str().to_owned()))
                .collect()
        };
        plain(self) == plain(other)
    }
}

impl Filter {
    /// Reads the patterns of a list, each with a `!` before it or not.
    ///
    /// # Errors
    /// With the position of the one that is no pattern, and why.
    pub(crate) fn parse(patterns: &[&str]) -> Result<Self, (usize, String)> {
        let one = |(at, pattern): (usize, &&str)| {
            let (wanted, pattern) = match pattern.strip_prefix('!') {
                Some(pattern) => (false, pattern),
                None => (true, *pattern),
            };
            let regex = filter_regex(pattern).map_err(|problem| (at, problem))?;
            Ok((wanted, regex))
        };
        let parsed = patterns.iter().enumerate().map(one);
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// True where the last pattern that matches is one without `!`.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let last = self.0.iter().rev().find(|(_, regex)| regex.is_match(text));
        last.is_some_and(|(wanted, _)| *wanted)
    }
}

/// `*` is anything but a slash, `**` anything, `?` and `+` repeat what is before them, `[]` is one
/// of some characters, and a backslash takes the meaning away.
fn filter_regex(pattern: &str) -> Result<Regex, String> {
    if pattern.is_empty() {
        return Err("a pattern must not be empty".to_owned());
    }
    let mut regex = "^".to_owned();
    let mut chars = pattern.chars().peekable();
    let mut repeatable = false;
    let mut fresh = true; // At the beginning of a path's part.
    while let Some(c) = chars.next() {
        let mut boundary = false;
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                if fresh && chars.next_if_eq(&'/').is_some() {
                    regex.push_str("(?:.*/)?");
                    boundary = true;
                } else {
                    regex.push_str(".*");
                }
                repeatable = false;
            }
            '*' => {
                regex.push_str("[^/]*");
                repeatable = false;
            }
            '?' | '+' if repeatable => {
                regex.push(c);
                repeatable = false;
            }
            '?' | '+' => {
                return Err(format!(
                    "{c:?} in {pattern:?} has no character before it to repeat"
                ));
            }
            '[' => {
                let class: String = chars.by_ref().take_while(|c| *c != ']').collect();
                regex.push_str(&character_class(&class, pattern)?);
                repeatable = true;
            }
            '\\' => {
                let next = chars
                    .next()
                    .ok_or_else(|| format!("{pattern:?} ends in a backslash"))?;
                regex.push_str(&regex::escape(&next.to_string()));
                repeatable = true;
            }
            c => {
                regex.push_str(&regex::escape(&c.to_string()));
                repeatable = true;
                boundary = c == '/';
            }
        }
        fresh = boundary;
    }
    regex.push('$');
    Regex::new(&regex).map_err(|_| format!("{pattern:?} is not a pattern"))
}

fn character_class(class: &str, pattern: &str) -> Result<String, String> {
    let simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '/' | '@');
    if class.is_empty() || !class.chars().all(simple) {
        return Err(format!(
            "the brackets in {pattern:?} must hold letters, digits or ranges such as a-z"
        ));
    }
    Ok(format!("[{class}]"))
}

/// The files below `root` that match patterns of files, sorted, as paths with slashes. Patterns
/// with `!` remove what those before them found; a directory stands for everything in it.
///
/// # Errors
/// Where a pattern leaves `root`, or there are too many files.
pub(crate) fn files(root: &Path, patterns: &[&str]) -> Result<Vec<String>, String> {
    let mut rules = Vec::new();
    for pattern in patterns.iter().map(|pattern| pattern.trim()) {
        if pattern.is_empty() || pattern.starts_with('#') {
            continue;
        }
        let (wanted, pattern) = match pattern.strip_prefix('!') {
            Some(pattern) => (false, pattern),
            None => (true, pattern),
        };
        rules.push((wanted, file_regex(root, pattern)?));
    }
    let mut found = Vec::new();
    let mut left = FILES_MAX;
    walk(root, "", &mut left, &mut |path| {
        let last = rules.iter().rev().find(|(_, regex)| regex.is_match(path));
        if last.is_some_and(|(wanted, _)| *wanted) {
            found.push(path.to_owned());
        }
    })?;
    found.sort();
    Ok(found)
}

fn file_regex(root: &Path, pattern: &str) -> Result<Regex, String> {
    let inside = match pattern.strip_prefix('/') {
        None => pattern,
        Some(_) => Path::new(pattern)
            .strip_prefix(root)
            .ok()
            .and_then(Path::to_str)
            .ok_or_else(|| format!("{pattern} is outside the workspace"))?,
    };
    if inside.split('/').any(|part| part == "..") {
        return Err(format!("{pattern} is outside the workspace"));
    }
    let inside = inside.trim_start_matches("./").trim_end_matches('/');
    if inside.is_empty() || inside == "." {
        return Regex::new("^").map_err(|error| error.to_string());
    }
    let mut regex = "^".to_owned();
    let mut chars = inside.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                if chars.next_if_eq(&'/').is_some() {
                    regex.push_str("(?:.*/)?");
                } else {
                    regex.push_str(".*");
                }
            }
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '[' => {
                let class: String = chars.by_ref().take_while(|c| *c != ']').collect();
                regex.push_str(&character_class(&class, pattern)?);
            }
            c => regex.push_str(&regex::escape(&c.to_string())),
        }
    }
    regex.push_str("(?:/.*)?$");
    Regex::new(&regex).map_err(|_| format!("{pattern:?} is not a pattern"))
}

/// Calls `look` with every file below. The repository's own `.git` is no file of the project, and
/// links are not followed: they may lead out or around in circles.
fn walk(
    root: &Path,
    below: &str,
    left: &mut usize,
    look: &mut dyn FnMut(&str),
) -> Result<(), String> {
    let dir = root.join(below);
    let Ok(entries) = fs::read_dir(&dir) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else {
            continue;
        };
        let path = if below.is_empty() {
            name.clone()
        } else {
            format!("{below}/{name}")
        };
        if kind.is_dir() && !(below.is_empty() && name == ".git") {
            walk(root, &path, left, look)?;
        } else if kind.is_file() {
            *left = left.checked_sub(1).ok_or_else(|| {
                format!(
                    "there are more than {FILES_MAX} files below {}",
                    root.display()
                )
            })?;
            look(&path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(patterns: &[&str], matching: &[&str], other: &[&str]) {
        let filter = Filter::parse(patterns).unwrap();
        for text in matching {
            assert!(filter.matches(text), "{patterns:?} should match {text}");
        }
        for text in other {
            assert!(
                !filter.matches(text),
                "{patterns:?} should not match {text}"
            );
        }
    }

    /// The examples of GitHub's cheat sheet.
    #[test]
    fn filters_follow_the_cheat_sheet() {
        case(&["feature/*"], &["feature/my-branch"], &["feature/a/b"]);
        case(
            &["feature/**"],
            &["feature/a", "feature/a/b/c"],
            &["features"],
        );
        case(
            &["main", "releases/mona-the-octocat"],
            &["main"],
            &["mainly"],
        );
        case(&["*"], &["main", "releases"], &["all/the/branches"]);
        case(&["**"], &["all/the/branches", "main"], &[]);
        case(&["*feature"], &["mona-feature", "feature"], &["a/feature"]);
        case(&["v2*"], &["v2", "v2.0", "v2.9"], &["v1"]);
        case(
            &["v[12].[0-9]+.[0-9]+"],
            &["v1.10.1", "v2.0.0"],
            &["v3.0.0", "v1.1"],
        );
        case(
            &["*.jsx?"],
            &["page.js", "page.jsx"],
            &["page.jsxx", "a/page.js"],
        );
        case(
            &["**.js"],
            &["index.js", "js/index.js", "src/js/app.js"],
            &["a.ts"],
        );
        case(&["docs/*"], &["docs/README.md"], &["docs/a/b.md"]);
        case(
            &["docs/**"],
            &["docs/README.md", "docs/mona/octocat.txt"],
            &["docs"],
        );
        case(
            &["docs/**/*.md"],
            &["docs/README.md", "docs/mona/hello.md"],
            &["README.md"],
        );
        case(
            &["**/docs/**"],
            &["docs/hello.md", "dir/docs/my-file.txt"],
            &["dir/doc"],
        );
        case(
            &["**/README.md"],
            &["README.md", "js/README.md"],
            &["README.txt"],
        );
        case(
            &["**/*src/**"],
            &["a/src/app.js", "my-src/code/js/app.js"],
            &["srcs/a"],
        );
        case(
            &["**/*-post.md"],
            &["my-post.md", "path/their-post.md"],
            &["post.md"],
        );
        case(
            &["**/migrate-*.sql"],
            &["migrate-10909.sql", "db/migrate-v1.0.sql"],
            &[],
        );
    }

    #[test]
    fn the_last_match_decides() {
        case(&["*.md", "!README.md"], &["hello.md"], &["README.md"]);
        case(
            &["*.md", "!README.md", "README*"],
            &["README.md", "hello.md"],
            &["a.txt"],
        );
        case(
            &["releases/**", "!releases/**-alpha"],
            &["releases/10"],
            &["releases/beta/3-alpha"],
        );
    }

    #[test]
    fn what_is_no_pattern_is_refused_by_its_number() {
        for pattern in ["", "?x", "*?", "[", "[^a]", "a\\"] {
            let (at, _) = Filter::parse(&["main", pattern]).unwrap_err();
            assert_eq!(at, 1, "{pattern}");
        }
    }

    #[test]
    fn files_are_found_by_pattern_and_directories_stand_for_what_is_in_them() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "a.js",
            "lib/b.js",
            "lib/deep/c.js",
            "lib/d.txt",
            ".git/config",
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let find = |patterns: &[&str]| files(dir.path(), patterns).unwrap();
        assert_eq!(find(&["**/*.js"]), ["a.js", "lib/b.js", "lib/deep/c.js"]);
        assert_eq!(find(&["*.js"]), ["a.js"]);
        assert_eq!(find(&["lib/"]), ["lib/b.js", "lib/d.txt", "lib/deep/c.js"]);
        assert_eq!(find(&["lib", "!**/*.txt"]), ["lib/b.js", "lib/deep/c.js"]);
        assert_eq!(find(&["lib/?.js"]), ["lib/b.js"]);
        assert_eq!(find(&["."]).len(), 4, "without .git");
        let absolute = dir.path().join("lib/*.txt");
        assert_eq!(find(&[absolute.to_str().unwrap()]), ["lib/d.txt"]);
        assert!(
            files(dir.path(), &["../x"])
                .unwrap_err()
                .contains("outside")
        );
    }
}
