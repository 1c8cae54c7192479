//! Reading a command line as kubectl does: flags anywhere, `-n=x`, `-nx`, `--name value`.

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing, or `=true` and `=false`.
    Nothing,
    /// A value, in the same word or in the next.
    Value,
    /// A value in the same word, or else this one.
    Maybe(&'static str),
}

/// A flag that a command knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) short: Option<char>,
    pub(super) takes: Takes,
}

/// A flag without a value.
pub(super) const fn switch(name: &'static str) -> Flag {
    Flag {
        name,
        short: None,
        takes: Takes::Nothing,
    }
}

/// A flag with a value.
pub(super) const fn value(name: &'static str) -> Flag {
    Flag {
        name,
        short: None,
        takes: Takes::Value,
    }
}

/// A flag whose value may be left out.
pub(super) const fn maybe(name: &'static str, otherwise: &'static str) -> Flag {
    Flag {
        name,
        short: None,
        takes: Takes::Maybe(otherwise),
    }
}

impl Flag {
    /// With a letter too.
    pub(super) const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }
}

/// Flags of every command.
pub(super) const GLOBAL: [Flag; 7] = [
    value("namespace").short('n'),
    value("context"),
    value("kubeconfig"),
    value("request-timeout"),
    value("v").short('v'),
    switch("help").short('h'),
    switch("warnings-as-errors"),
];

/// The words of a command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Args {
    /// What is no flag.
    pub(super) words: Vec<String>,
    flags: Vec<(&'static str, String)>,
}

impl Args {
    /// Reads words one by one. Where `stop` is set, the first word that is no flag ends the reading.
    ///
    /// # Errors
    /// As kubectl words them.
    pub(super) fn read(
        &mut self,
        words: &mut std::vec::IntoIter<String>,
        known: &[&[Flag]],
        stop: bool,
    ) -> Result<(), String> {
        while let Some(word) = words.next() {
            if word == "--" {
                self.words.extend(words);
                break;
            }
            if let Some(long) = word.strip_prefix("--") {
                self.long(long, words, known)?;
            } else if word.len() > 1 && word.starts_with('-') {
                self.letters(&word, words, known)?;
            } else {
                self.words.push(word);
                if stop {
                    break;
                }
            }
        }
        Ok(())
    }

    fn long(
        &mut self,
        word: &str,
        rest: &mut std::vec::IntoIter<String>,
        known: &[&[Flag]],
    ) -> Result<(), String> {
        let (name, given) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        let flag = known
            .iter()
            .copied()
            .flatten()
            .find(|flag| flag.name == name);
        let flag = flag.ok_or_else(|| format!("unknown flag: --{name}"))?;
        let value = match (flag.takes, given) {
            (Takes::Nothing, given) => boolean(flag, given.as_deref())?,
            (_, Some(given)) => given,
            (Takes::Maybe(otherwise), None) => otherwise.to_owned(),
            (Takes::Value, None) => rest
                .next()
                .ok_or_else(|| format!("flag needs an argument: --{name}"))?,
        };
        self.flags.push((flag.name, value));
        Ok(())
    }

    /// `-A`, `-ojson`, `-o=json`, `-o json`, `-fA`.
    fn letters(
        &mut self,
        word: &str,
        rest: &mut std::vec::IntoIter<String>,
        known: &[&[Flag]],
    ) -> Result<(), String> {
        let mut letters = word[1..].chars();
        while let Some(letter) = letters.next() {
            let flag = known
                .iter()
                .copied()
                .flatten()
                .find(|flag| flag.short == Some(letter));
            let flag =
                flag.ok_or_else(|| format!("unknown shorthand flag: {letter:?} in {word}"))?;
            let tail = letters.as_str();
            if flag.takes == Takes::Nothing {
                let given = tail.strip_prefix('=');
                self.flags.push((flag.name, boolean(flag, given)?));
                if given.is_some() {
                    break;
                }
                continue;
            }
            let value = match (flag.takes, tail) {
                (Takes::Maybe(otherwise), "") => otherwise.to_owned(),
                (_, "") => rest
                    .next()
                    .ok_or_else(|| format!("flag needs an argument: {letter:?} in {word}"))?,
                (_, tail) => tail.strip_prefix('=').unwrap_or(tail).to_owned(),
            };
            self.flags.push((flag.name, value));
            break;
        }
        Ok(())
    }

    /// The last value of a flag.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    /// Every value of a flag that may be repeated.
    pub(super) fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        self.flags
            .iter()
            .filter(move |(flag, _)| *flag == name)
            .map(|(_, value)| value.as_str())
    }

    /// True where a switch is on.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }

    /// False where a switch that is on by itself was turned off.
    pub(super) fn is_off(&self, name: &str) -> bool {
        self.value(name) == Some("false")
    }
}

fn boolean(flag: &Flag, given: Option<&str>) -> Result<String, String> {
    match given {
        None | Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok("true".to_owned()),
        Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok("false".to_owned()),
        Some(other) => Err(format!(
            "invalid argument {other:?} for \"--{}\" flag: it is neither true nor false",
            flag.name
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 4] = [
        value("output").short('o'),
        switch("all-namespaces").short('A'),
        switch("wait"),
        maybe("dry-run", "unchanged"),
    ];

    fn read(words: &[&str]) -> Result<Args, String> {
        let mut args = Args::default();
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        args.read(&mut words.into_iter(), &[&GLOBAL, &FLAGS], false)?;
        Ok(args)
    }

    #[test]
    fn flags_stand_anywhere_and_in_every_form() {
        for words in [
            &["get", "pods", "-o", "json", "-A"][..],
            &["-A", "get", "-ojson", "pods"],
            &["get", "-Aojson", "pods"],
            &["get", "-o=json", "--all-namespaces", "pods"],
            &["get", "--output=json", "pods", "--all-namespaces=true"],
        ] {
            let args = read(words).unwrap();
            assert_eq!(args.words, ["get", "pods"], "{words:?}");
            assert_eq!(args.value("output"), Some("json"), "{words:?}");
            assert!(args.is_set("all-namespaces"), "{words:?}");
        }
    }

    #[test]
    fn a_switch_can_be_turned_off_and_an_optional_value_left_out() {
        let args = read(&["--wait=false", "--dry-run", "x", "--dry-run=server"]).unwrap();
        assert!(args.is_off("wait") && !args.is_set("wait"));
        let values: Vec<_> = args.all("dry-run").collect();
        assert_eq!(values, ["unchanged", "server"]);
        assert_eq!(args.words, ["x"]);
    }

    #[test]
    fn after_two_dashes_nothing_is_a_flag_and_a_single_dash_is_a_word() {
        let args = read(&["-", "--", "-A", "--wait"]).unwrap();
        assert_eq!(args.words, ["-", "-A", "--wait"]);
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (words, expected) in [
            (&["--zzz"][..], "unknown flag: --zzz"),
            (&["-z"], "unknown shorthand flag: 'z' in -z"),
            (&["--output"], "flag needs an argument: --output"),
            (&["-o"], "flag needs an argument: 'o' in -o"),
        ] {
            assert_eq!(read(words), Err(expected.to_owned()));
        }
    }
}
