//! A Dockerfile as far as checks judge it: stages and their instructions, whoever builds it.
//!
//! The cluster's own builder refuses what needs Docker; a check must understand it, since many
//! learners have Docker.
//! <https://docs.docker.com/reference/dockerfile/>

use std::collections::BTreeMap;

use lab_image::dockerfile::{expand, join};

/// A Dockerfile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dockerfile {
    /// Before the first stage: only `ARG`.
    before: Vec<Instruction>,
    pub(crate) stages: Vec<Stage>,
    escape: char,
}

/// What one `FROM` begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    pub(crate) from: Instruction,
    pub(crate) instructions: Vec<Instruction>,
}

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// Of its first line, from 1.
    pub(crate) line: usize,
    /// In capitals.
    pub(crate) keyword: String,
    /// Words after the keyword, with single spaces between them.
    pub(crate) rest: String,
}

impl Instruction {
    /// The whole of it, on one line.
    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.keyword, self.rest)
            .trim_end()
            .to_owned()
    }

    /// The words that are no flags.
    fn words(&self) -> impl Iterator<Item = &str> {
        self.rest
            .split_whitespace()
            .filter(|word| !word.starts_with("--"))
    }
}

impl Stage {
    /// The name after `AS`.
    fn name(&self) -> Option<&str> {
        let mut words = self.from.words().skip(1);
        let is_as = words.next()?.eq_ignore_ascii_case("as");
        words.next().filter(|_| is_as)
    }
}

impl Dockerfile {
    /// Reads one. What makes no sense is kept as it is: a check asks for what is there.
    pub(crate) fn parse(text: &str) -> Self {
        let (lines, escape) = join(text);
        let mut file = Self {
            escape,
            ..Self::default()
        };
        let mut lines = lines.into_iter();
        while let Some(line) = lines.next() {
            let mut words = line.text.split_whitespace();
            let instruction = Instruction {
                line: line.number,
                keyword: words.next().unwrap_or_default().to_ascii_uppercase(),
                rest: words.collect::<Vec<_>>().join(" "),
            };
            for end in here_documents(&instruction) {
                // What stands in a here-document is a file or a script, not an instruction.
                let _ = lines.by_ref().find(|line| line.text.trim() == end);
            }
            match file.stages.last_mut() {
                _ if instruction.keyword == "FROM" => file.stages.push(Stage {
                    from: instruction,
                    instructions: Vec::new(),
                }),
                Some(stage) => stage.instructions.push(instruction),
                None => file.before.push(instruction),
            }
        }
        file
    }

    /// The stages that the image is made of: the last one, then those that it is built on, as
    /// `FROM` names them.
    pub(crate) fn chain(&self) -> Vec<&Stage> {
        let mut chain = Vec::new();
        let mut below = self.stages.len();
        let mut next = self.stages.last();
        while let Some(stage) = next {
            chain.push(stage);
            let image = self.image_of(stage);
            below = self.stages[..below]
                .iter()
                .rposition(|other| std::ptr::eq(other, stage))
                .unwrap_or(0);
            let named = |other: &&Stage| {
                let name = other.name();
                name.is_some_and(|name| name.eq_ignore_ascii_case(&image))
            };
            next = self.stages[..below].iter().rev().find(named);
        }
        chain
    }

    /// The image that the last stage is built on in the end.
    pub(crate) fn base(&self) -> Option<String> {
        self.chain().last().map(|stage| self.image_of(stage))
    }

    /// What `FROM` names, with its variables replaced.
    fn image_of(&self, stage: &Stage) -> String {
        let word = stage.from.words().next().unwrap_or_default();
        self.expanded(word, &self.arguments())
    }

    /// The `USER` that the image ends up with: the line and the user, with variables replaced.
    pub(crate) fn user(&self) -> Option<(usize, String)> {
        for stage in self.chain() {
            let mut variables = BTreeMap::new();
            let mut user = None;
            for instruction in &stage.instructions {
                match instruction.keyword.as_str() {
                    "USER" => {
                        let text = self.expanded(&instruction.rest, &variables);
                        user = Some((instruction.line, text));
                    }
                    "ARG" => self.declare(instruction, &mut variables),
                    "ENV" => self.set(instruction, &mut variables),
                    _ => {}
                }
            }
            if user.is_some() {
                return user;
            }
        }
        None
    }

    /// The defaults of the `ARG`s before the first stage.
    fn arguments(&self) -> BTreeMap<String, String> {
        let mut variables = BTreeMap::new();
        for instruction in &self.before {
            self.set(instruction, &mut variables);
        }
        variables
    }

    /// `ARG`: one without a value has that of before the first stage.
    fn declare(&self, instruction: &Instruction, variables: &mut BTreeMap<String, String>) {
        let outer = self.arguments();
        for word in instruction.rest.split_whitespace() {
            if let (None, Some(value)) = (word.split_once('='), outer.get(word)) {
                variables.insert(word.to_owned(), value.clone());
            }
        }
        self.set(instruction, variables);
    }

    fn set(&self, instruction: &Instruction, variables: &mut BTreeMap<String, String>) {
        let rest = instruction.rest.as_str();
        // The old form of `ENV`, with a space.
        if instruction.keyword == "ENV"
            && let Some((name, value)) = rest.split_once(' ')
            && !name.contains('=')
        {
            let value = self.expanded(value, variables);
            variables.insert(name.to_owned(), value);
            return;
        }
        for word in rest.split_whitespace() {
            if let Some((name, value)) = word.split_once('=') {
                let value = self.expanded(value, variables);
                variables.insert(name.to_owned(), value);
            }
        }
    }

    fn expanded(&self, text: &str, variables: &BTreeMap<String, String>) -> String {
        let lookup = |name: &str| variables.get(name).cloned();
        expand(text, self.escape, &lookup).unwrap_or_else(|_| text.to_owned())
    }
}

/// The words that end the here-documents of an instruction (`RUN <<EOF`).
fn here_documents(instruction: &Instruction) -> Vec<String> {
    if !matches!(instruction.keyword.as_str(), "RUN" | "COPY" | "ADD") {
        return Vec::new();
    }
    let words = instruction.rest.split_whitespace();
    let ends = words.filter_map(|word| {
        let word = word.split_once("<<")?.1;
        let word = word.trim_start_matches('-').trim_matches(['"', '\'']);
        let is_name = word.starts_with(|letter: char| letter.is_alphabetic() || letter == '_');
        is_name.then(|| word.to_owned())
    });
    ends.collect()
}

/// Whether a user, as `USER` and image configurations name it, is root.
pub(crate) fn is_root(user: &str) -> bool {
    let name = user.split(':').next().unwrap_or_default().trim();
    name.is_empty() || name == "root" || name.parse() == Ok(0_u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn user(text: &str, expected: Option<(usize, &str)>) {
        let found = Dockerfile::parse(text).user();
        let found = found.as_ref().map(|(line, user)| (*line, user.as_str()));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn the_last_user_of_the_last_stage_counts() {
        user("FROM a\nUSER 1\nUSER 2\n", Some((3, "2")));
        user("FROM a\n# USER 1\n", None);
        user("FROM a AS b\nUSER 1\nFROM c\nCOPY --from=b /x /x\n", None);
        user("FROM a AS b\nUSER 1\nFROM B\nCOPY x x\n", Some((2, "1")));
        user("FROM a AS b\nUSER 1\nFROM c AS b\nFROM b\n", None);
        user(
            "FROM --platform=linux/amd64 a as b\nUSER 1\nFROM b\nUSER 0",
            Some((4, "0")),
        );
        user("FROM a\nRUN echo \\\n USER 1\n", None);
        user("FROM a\nONBUILD USER 1\n", None);
        user("from a\nuser 1:2\n", Some((2, "1:2")));
        // A name of itself is an image, not an endless chain.
        user("FROM a AS a\nCOPY x x", None);
    }

    #[test]
    fn variables_are_replaced() {
        user("FROM a\nARG ID=10001\nUSER $ID", Some((3, "10001")));
        user("ARG ID=7\nFROM a\nARG ID\nUSER ${ID}", Some((4, "7")));
        user("ARG ID=7\nFROM a\nUSER ${ID}", Some((3, "")));
        user("FROM a\nENV ID 0\nUSER $ID", Some((3, "0")));
        user("FROM a\nUSER ${ID:-0}", Some((2, "0")));
    }

    #[test]
    fn what_stands_in_a_here_document_is_no_instruction() {
        user("FROM a\nRUN <<EOF\nUSER 1\nEOF\nCOPY a b", None);
        user(
            "FROM a\nCOPY <<-\"END\" /x\nUSER 1\n\tEND\nUSER 2",
            Some((5, "2")),
        );
        let file = Dockerfile::parse("FROM a\nRUN cat <<EOF\nEOF\nCOPY a b");
        assert_eq!(file.stages[0].instructions[1].text(), "COPY a b");
    }

    #[test]
    fn the_base_is_that_of_the_last_stage_through_the_others() {
        let base = |text: &str| Dockerfile::parse(text).base();
        assert_eq!(
            base("FROM go AS b\nFROM scratch\n").as_deref(),
            Some("scratch")
        );
        assert_eq!(base("FROM go AS b\nFROM b\n").as_deref(), Some("go"));
        assert_eq!(base("ARG V=1\nFROM x:${V}\n").as_deref(), Some("x:1"));
        assert_eq!(base("# FROM x\n"), None);
    }

    #[test]
    fn root_has_several_names() {
        for user in ["", "root", "0", "00", "0:0", "root:app", ":1", "+0"] {
            assert!(is_root(user), "{user:?}");
        }
        for user in ["10001", "app", "1:0", "rooty", "nobody:root"] {
            assert!(!is_root(user), "{user:?}");
        }
    }
}
