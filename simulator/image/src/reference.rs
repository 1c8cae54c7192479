//! Names of images, as people write them after `docker pull` and in pod specifications.
//!
//! <https://pkg.go.dev/github.com/distribution/reference>

use std::fmt;

use crate::Digest;

/// The registry that a name without one means.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The tag that a name without tag and digest means.
const DEFAULT_TAG: &str = "latest";

/// An image's full name: registry, repository, and tag or digest or both.
///
/// Its text form is complete (`docker.io/library/nginx:latest`) and parses to the same name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// The text is not an image's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("image name {text:?} is not valid: {reason}")]
pub struct InvalidReference {
    /// What was to be parsed.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl ImageRef {
    /// Parses a name as `docker pull` does: `nginx` is `docker.io/library/nginx:latest`, and what
    /// stands before the first slash is a registry if it has a dot, a colon or is `localhost`.
    ///
    /// # Errors
    /// Where a part breaks the pattern of the distribution specification.
    pub fn parse(text: &str) -> Result<Self, InvalidReference> {
        let invalid = |reason| InvalidReference {
            text: text.to_owned(),
            reason,
        };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                let parsed = Digest::parse(digest);
                (
                    name,
                    Some(parsed.map_err(|_| invalid("what follows the @ is no digest"))?),
                )
            }
            None => (text, None),
        };
        let (registry, rest) = match name.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest),
            Some(_) | None => (DEFAULT_REGISTRY, name),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        check_registry(registry).map_err(invalid)?;
        check_repository(repository).map_err(invalid)?;
        tag.map_or(Ok(()), check_tag).map_err(invalid)?;
        let official = registry == DEFAULT_REGISTRY && !repository.contains('/');
        let tag = tag.or(if digest.is_none() {
            Some(DEFAULT_TAG)
        } else {
            None
        });
        Ok(Self {
            registry: registry.to_owned(),
            repository: if official {
                format!("library/{repository}")
            } else {
                repository.to_owned()
            },
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// Host of the registry, with its port where it has one.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Repository in the registry.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; where there is none, there is a digest.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, which wins over the tag.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What to ask the registry for: the digest where there is one, otherwise the tag.
    #[must_use]
    pub fn tag_or_digest(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => DEFAULT_TAG,
        }
    }

    /// True for a registry on this machine, which is spoken to without TLS.
    #[must_use]
    pub fn is_local_registry(&self) -> bool {
        let host = match self.registry.rsplit_once(':') {
            Some((host, _)) => host,
            None => &self.registry,
        };
        let loopback = host.parse::<std::net::Ipv4Addr>();
        host == "localhost" || loopback.is_ok_and(|address| address.is_loopback())
    }

    /// The name without what is understood anyway: `nginx:latest`.
    #[must_use]
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        match full.strip_prefix("docker.io/") {
            Some(short) => short.strip_prefix("library/").unwrap_or(short).to_owned(),
            None => full,
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for ImageRef {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        Self::parse(text)
    }
}

fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':'])
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (registry, None),
    };
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let label = |label: &str| !label.is_empty() && label.bytes().all(letter);
    if !host.split('.').all(label) {
        return Err("the registry's host has an empty part or a forbidden character");
    }
    match port {
        Some(port) if port.parse::<u16>().is_err() => Err("the registry's port is no port number"),
        Some(_) | None => Ok(()),
    }
}

fn check_repository(repository: &str) -> Result<(), &'static str> {
    if repository.is_empty() {
        return Err("it is empty");
    }
    if repository.len() > 255 {
        return Err("it has more than 255 letters");
    }
    if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("it must be lower case");
    }
    if repository.split('/').all(is_component) {
        Ok(())
    } else {
        Err("its parts may have lower-case letters, digits, and single . _ or - between them")
    }
}

fn is_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_are_words =
        bytes.first().copied().is_some_and(is_word) && bytes.last().copied().is_some_and(is_word);
    let is_separator =
        |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    ends_are_words
        && component
            .split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit())
            .all(is_separator)
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let rest = |byte: u8| word(byte) || byte == b'.' || byte == b'-';
    let valid = tag.len() <= 128 && tag.bytes().next().is_some_and(word) && tag.bytes().all(rest);
    if valid {
        Ok(())
    } else {
        Err("its tag may have 128 letters, digits, _ . and -, not starting with . or -")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[track_caller]
    fn case(text: &str, full: &str, familiar: &str) {
        let parsed = ImageRef::parse(text).unwrap();
        assert_eq!(parsed.to_string(), full);
        assert_eq!(parsed.familiar(), familiar);
        assert_eq!(ImageRef::parse(full).unwrap(), parsed, "round trip");
        assert_eq!(
            ImageRef::parse(familiar).unwrap(),
            parsed,
            "familiar round trip"
        );
    }

    #[track_caller]
    fn refused(text: &str, reason: &str) {
        let error = ImageRef::parse(text).unwrap_err();
        assert!(error.reason.contains(reason), "{text:?}: {error}");
    }

    #[test]
    fn names_are_completed_as_docker_does_it() {
        case("nginx", "docker.io/library/nginx:latest", "nginx:latest");
        case("team/web:1.2", "docker.io/team/web:1.2", "team/web:1.2");
        let local = "localhost:5001/hello:1.0.0";
        case(local, local, local);
        case(
            "localhost/hello",
            "localhost/hello:latest",
            "localhost/hello:latest",
        );
        case("ghcr.io/a/b", "ghcr.io/a/b:latest", "ghcr.io/a/b:latest");
        let by_digest = format!("127.0.0.1:5001/a/b@{HEX}");
        case(&by_digest, &by_digest, &by_digest);
        let both = format!("localhost:5001/a:1@{HEX}");
        case(&both, &both, &both);
    }

    #[test]
    fn a_digest_wins_over_a_tag() {
        let both = ImageRef::parse(&format!("localhost:5001/a:1@{HEX}")).unwrap();
        assert_eq!(both.tag_or_digest(), HEX);
        assert_eq!(ImageRef::parse("a:1").unwrap().tag_or_digest(), "1");
    }

    #[test]
    fn registries_on_this_machine_are_known() {
        for (text, local) in [
            ("localhost:5001/a", true),
            ("localhost/a", true),
            ("127.0.0.1:5001/a", true),
            ("127.9.0.1:5001/a", true),
            ("10.0.0.1:5001/a", false),
            ("nginx", false),
            ("localhost.example.com/a", false),
        ] {
            assert_eq!(
                ImageRef::parse(text).unwrap().is_local_registry(),
                local,
                "{text}"
            );
        }
    }

    #[test]
    fn wrong_names_are_refused_with_a_reason() {
        refused("", "empty");
        refused("Hello", "lower case");
        refused("localhost:5001/Hello", "lower case");
        refused("a//b", "parts");
        refused("a/../b", "parts");
        refused("hello:", "tag");
        refused("hello:.x", "tag");
        refused("hello:a b", "tag");
        refused("localhost:99999/a", "port");
        refused("-..x/a", "host");
        refused("hello@sha256:12", "digest");
    }
}
