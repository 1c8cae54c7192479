//! The patterns of `COPY` and `.dockerignore`: those of Go's `filepath.Match`, and `**`.
//!
//! <https://pkg.go.dev/path/filepath#Match>

/// True where the whole `path` matches; `*` and `?` stop at slashes, `**` does not.
#[must_use]
pub fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    match_parts(&pattern, &path)
}

/// True where the text has a character with a meaning in patterns.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

fn match_parts(pattern: &[&str], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((&"**", rest)) => (0..=path.len()).any(|skip| match_parts(rest, &path[skip..])),
        Some((part, rest)) => path.split_first().is_some_and(|(name, below)| {
            let (part, name): (Vec<char>, Vec<char>) =
                (part.chars().collect(), name.chars().collect());
            match_part(&part, &name) && match_parts(rest, below)
        }),
    }
}

fn match_part(pattern: &[char], name: &[char]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some(('*', rest)) => (0..=name.len()).any(|skip| match_part(rest, &name[skip..])),
        Some(('?', rest)) => !name.is_empty() && match_part(rest, &name[1..]),
        Some(('[', rest)) => match_class(rest, name),
        Some(('\\', rest)) if !rest.is_empty() => match_literal(rest, name),
        Some(_) => match_literal(pattern, name),
    }
}

fn match_literal(pattern: &[char], name: &[char]) -> bool {
    name.first() == pattern.first() && match_part(&pattern[1..], &name[1..])
}

/// Matches `a-z]…` against the next letter. A class that never ends matches nothing.
fn match_class(pattern: &[char], name: &[char]) -> bool {
    let Some(end) = pattern.iter().skip(1).position(|letter| *letter == ']') else {
        return false;
    };
    let (class, rest) = (&pattern[..=end], &pattern[end + 2..]);
    let Some((letter, below)) = name.split_first() else {
        return false;
    };
    let (negated, class) = match class.split_first() {
        Some(('^', class)) => (true, class),
        _ => (false, class),
    };
    in_class(class, *letter) != negated && match_part(rest, below)
}

fn in_class(class: &[char], letter: char) -> bool {
    match class {
        [low, '-', high, rest @ ..] => (*low..=*high).contains(&letter) || in_class(rest, letter),
        [one, rest @ ..] => *one == letter || in_class(rest, letter),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(pattern: &str, path: &str, expected: bool) {
        assert_eq!(matches(pattern, path), expected, "{pattern} on {path}");
    }

    #[test]
    fn stars_stop_at_slashes_unless_there_are_two() {
        case("*.js", "app.js", true);
        case("*.js", "src/app.js", false);
        case("src/*", "src/app.js", true);
        case("**/*.js", "app.js", true);
        case("**/*.js", "a/b/app.js", true);
        case("a/**", "a/b/c", true);
        case("a/**/c", "a/c", true);
        case("a*c", "abbc", true);
        case("a*c", "abbd", false);
        case("", "a", false);
    }

    #[test]
    fn single_letters_and_classes() {
        case("?.js", "a.js", true);
        case("?.js", ".js", false);
        case("[a-c]x", "bx", true);
        case("[a-c]x", "dx", false);
        case("[^a-c]x", "dx", true);
        case("[abc", "a", false);
        case("\\*", "*", true);
        case("\\*", "a", false);
        case("é?", "éa", true);
    }
}
