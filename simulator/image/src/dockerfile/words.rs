//! Words of a line: splitting at blanks, quotes, escapes and variables.

use std::iter::Peekable;
use std::str::Chars;

use super::Problem;

/// Splits at blanks outside of quotes. Quotes and escapes stay in the words.
pub(crate) fn split(text: &str, escape: char) -> Result<Vec<String>, Problem> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match quote {
            None if letter.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            Some(open) if letter == open => quote = None,
            None | Some(_) => {}
        }
        word.push(letter);
        // Nothing is escaped between single quotes.
        if letter == escape && quote != Some('\'') {
            word.extend(letters.next());
        }
    }
    match quote {
        Some(open) => Err(Problem::Quote(open)),
        None => {
            if !word.is_empty() {
                words.push(word);
            }
            Ok(words)
        }
    }
}

/// Takes quotes and escapes away and replaces variables; those that are not set are empty.
///
/// # Errors
/// Where a quote is not closed, or a variable is written wrong.
pub fn expand(
    word: &str,
    escape: char,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Problem> {
    Expansion {
        letters: word.chars().peekable(),
        escape,
        lookup,
    }
    .run()
}

struct Expansion<'a> {
    letters: Peekable<Chars<'a>>,
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Expansion<'_> {
    fn run(mut self) -> Result<String, Problem> {
        let mut out = String::new();
        let mut quote = None;
        while let Some(letter) = self.letters.next() {
            match (letter, quote) {
                ('\'', Some('\'')) | ('"', Some('"')) => quote = None,
                (_, Some('\'')) => out.push(letter),
                ('\'' | '"', None) => quote = Some(letter),
                ('$', _) => out.push_str(&self.variable()?),
                (_, Some(_)) if letter == self.escape => self.escaped_in_quotes(&mut out),
                (_, None) if letter == self.escape => out.extend(self.letters.next()),
                _ => out.push(letter),
            }
        }
        match quote {
            Some(open) => Err(Problem::Quote(open)),
            None => Ok(out),
        }
    }

    /// Between double quotes only what has a meaning there can be escaped.
    fn escaped_in_quotes(&mut self, out: &mut String) {
        let escape = self.escape;
        match self
            .letters
            .next_if(|next| matches!(next, '"' | '$') || *next == escape)
        {
            Some(next) => out.push(next),
            None => out.push(escape),
        }
    }

    fn variable(&mut self) -> Result<String, Problem> {
        if self.letters.next_if_eq(&'{').is_some() {
            let inside = self.braced()?;
            return self.with_default(&inside);
        }
        let name = self.name();
        if name.is_empty() {
            // A dollar alone is a dollar.
            return Ok("$".to_owned());
        }
        Ok((self.lookup)(&name).unwrap_or_default())
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(letter) = self
            .letters
            .next_if(|it| it.is_ascii_alphanumeric() || *it == '_')
        {
            name.push(letter);
        }
        name
    }

    /// What stands between `${` and its `}`; braces inside (of a default) come in pairs.
    fn braced(&mut self) -> Result<String, Problem> {
        let mut inside = String::new();
        let mut depth = 1;
        for letter in self.letters.by_ref() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(inside);
            }
            inside.push(letter);
        }
        Err(Problem::Variable(inside))
    }

    fn with_default(&self, inside: &str) -> Result<String, Problem> {
        let end = inside.find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
        let (name, operator) = inside.split_at(end.unwrap_or(inside.len()));
        let value = (self.lookup)(name);
        let set = value.clone().filter(|value| !value.is_empty());
        let word = |word: &str| expand(word, self.escape, self.lookup);
        if name.is_empty() {
            return Err(Problem::Variable(inside.to_owned()));
        }
        if operator.is_empty() {
            Ok(value.unwrap_or_default())
        } else if let Some(default) = operator.strip_prefix(":-") {
            set.map_or_else(|| word(default), Ok)
        } else if let Some(default) = operator.strip_prefix('-') {
            value.map_or_else(|| word(default), Ok)
        } else if let Some(other) = operator.strip_prefix(":+") {
            set.map_or_else(|| Ok(String::new()), |_| word(other))
        } else if let Some(other) = operator.strip_prefix('+') {
            value.map_or_else(|| Ok(String::new()), |_| word(other))
        } else {
            Err(Problem::Variable(inside.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "NAME" => Some("web".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[track_caller]
    fn case(word: &str, expected: &str) {
        assert_eq!(expand(word, '\\', &lookup).unwrap(), expected, "{word}");
    }

    #[test]
    fn words_are_split_outside_of_quotes() {
        let words = split(r#"a "b c" 'd e' f\ g  h=" i" "#, '\\').unwrap();
        assert_eq!(words, ["a", "\"b c\"", "'d e'", "f\\ g", "h=\" i\""]);
        assert_eq!(split("'a", '\\'), Err(Problem::Quote('\'')));
    }

    #[test]
    fn quotes_and_escapes_go() {
        case(r#""a b"'c d'e\ f"#, "a bc de f");
        case(r"'\n $NAME'", r"\n $NAME");
        case(r#""\" \$NAME \n""#, r#"" $NAME \n"#);
    }

    #[test]
    fn variables_are_replaced() {
        case("$NAME-${NAME}x", "web-webx");
        case("\"$NAME\" $UNSET.", "web .");
        case(r"\$NAME", "$NAME");
        case("a$", "a$");
        case("${UNSET:-${NAME:+x}}", "x");
        case("${EMPTY:-d}${EMPTY-d}", "d");
        case("${NAME:+y}${UNSET+y}", "y");
        assert!(expand("${NAME", '\\', &lookup).is_err());
        assert!(expand("${NAME:?x}", '\\', &lookup).is_err());
        assert!(expand("${}", '\\', &lookup).is_err());
    }
}
