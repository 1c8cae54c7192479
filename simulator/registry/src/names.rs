//! Names that clients choose, checked against the specification's patterns so that they can be
//! used as paths: no component can be `..`, empty, absolute or one of our own directories.

use std::fmt;

use crate::digest::Digest;
use crate::error::Refusal;

/// Longest repository name; the specification's advice, and below every file system's limit.
const MAX_NAME: usize = 255;
/// Longest tag, by the specification.
const MAX_TAG: usize = 128;

/// A repository's name, such as `team/hello`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RepositoryName(String);

impl RepositoryName {
    /// Checks `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, joined by slashes.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let valid = text.len() <= MAX_NAME && text.split('/').all(is_name_component);
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Refusal::NameInvalid {
                name: text.to_owned(),
            })
        }
    }

    /// The name as text; safe as a relative path.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn is_name_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_are_words =
        bytes.first().copied().is_some_and(is_word) && bytes.last().copied().is_some_and(is_word);
    ends_are_words
        && component
            .split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit())
            .all(is_separator)
}

fn is_separator(text: &str) -> bool {
    matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-')
}

/// A tag, such as `1.0.0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Tag(String);

impl Tag {
    /// Checks `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let rest = |byte: u8| word(byte) || byte == b'.' || byte == b'-';
        let valid = text.len() <= MAX_TAG
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(rest);
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Refusal::TagInvalid {
                tag: text.to_owned(),
            })
        }
    }

    /// The tag as text; safe as a file name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What names a manifest within a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    /// A name that can move.
    Tag(Tag),
    /// The content itself.
    Digest(Digest),
}

impl Reference {
    /// A digest where the text has a colon, which no tag can have.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        if text.contains(':') {
            Digest::parse(text).map(Self::Digest)
        } else {
            Tag::parse(text).map(Self::Tag)
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(formatter),
            Self::Digest(digest) => digest.fmt(formatter),
        }
    }
}

/// Names an upload session: the random end of its file's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UploadId(String);

impl UploadId {
    /// Letters in an id; with 62 to choose from, nobody guesses one.
    pub(crate) const LENGTH: usize = 24;

    /// Checks that the text can be one of ours.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let valid =
            text.len() == Self::LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Refusal::UploadUnknown)
        }
    }

    /// The id as text; safe as a file name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn name(text: &str, valid: bool) {
        assert_eq!(RepositoryName::parse(text).is_ok(), valid, "{text:?}");
    }

    #[track_caller]
    fn tag(text: &str, valid: bool) {
        assert_eq!(Tag::parse(text).is_ok(), valid, "{text:?}");
    }

    #[test]
    fn repository_names_follow_the_specification() {
        name("hello", true);
        name("team/hello", true);
        name("a.b/c__d/e---f/0_1", true);
        name(&"a".repeat(255), true);
        name(&"a".repeat(256), false);
        name("", false);
        name("Hello", false);
        name("a//b", false);
        name("/a", false);
        name("a/", false);
        name("a..b", false);
        name("a___b", false);
        name("a-_b", false);
        name("-a", false);
        name("é", false);
    }

    #[test]
    fn no_repository_name_leads_out_of_the_directory_or_into_our_own_files() {
        name("..", false);
        name("a/../../etc", false);
        name("a/./b", false);
        name("a\\b", false);
        name("a\0b", false);
        name("_tags", false);
        name("a/_manifests/sha256", false);
    }

    #[test]
    fn tags_follow_the_specification() {
        tag("latest", true);
        tag("v1.0.0-rc.1_A", true);
        tag("_", true);
        tag(&"a".repeat(128), true);
        tag(&"a".repeat(129), false);
        tag("", false);
        tag(".hidden", false);
        tag("..", false);
        tag("-x", false);
        tag("a/b", false);
        tag("a:b", false);
        tag("a b", false);
    }
}
