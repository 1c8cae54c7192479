//! What to tell a student whose image cannot be had.

use lab_image::ImageRef;

use crate::EngineError;

/// Why a pull failed, as far as the daemon's words tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The registry answered, and the image is not there (or not for everybody).
    Unknown,
    /// The registry cannot be reached: no such host, no route, nobody listening.
    Unreachable,
    /// The registry speaks HTTP only and the daemon insists on HTTPS.
    NoTls,
    /// Anything else.
    Other,
}

/// Phrases of Docker 20.10 to 28 and of the Go runtime beneath it.
const PHRASES: &[(&str, Cause)] = &[
    ("server gave HTTP response to HTTPS client", Cause::NoTls),
    ("manifest unknown", Cause::Unknown),
    ("name unknown", Cause::Unknown),
    ("pull access denied", Cause::Unknown),
    ("repository does not exist", Cause::Unknown),
    ("failed to resolve reference", Cause::Unknown),
    ("not found", Cause::Unknown),
    ("connection refused", Cause::Unreachable),
    ("no such host", Cause::Unreachable),
    ("server misbehaving", Cause::Unreachable),
    ("network is unreachable", Cause::Unreachable),
    ("no route to host", Cause::Unreachable),
    ("i/o timeout", Cause::Unreachable),
    ("Client.Timeout", Cause::Unreachable),
    ("connection reset", Cause::Unreachable),
    ("dial tcp", Cause::Unreachable),
];

fn cause(daemon_says: &str) -> Cause {
    // What is unreachable may also say "not found" further on, so the more telling phrases
    // of the network go first.
    let network_first = PHRASES.iter().filter(|(_, cause)| *cause != Cause::Unknown);
    let then = PHRASES.iter().filter(|(_, cause)| *cause == Cause::Unknown);
    network_first
        .chain(then)
        .find(|(phrase, _)| daemon_says.contains(phrase))
        .map_or(Cause::Other, |(_, cause)| *cause)
}

/// What the cluster's own registry holds, to name it in a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holdings {
    /// Tags of the repository that was asked for.
    pub(super) tags: Vec<String>,
    /// Names of all repositories.
    pub(super) repositories: Vec<String>,
}

/// The error for a failed pull.
pub(super) fn explain(
    image: &str,
    reference: &ImageRef,
    registry_host: &str,
    daemon_says: &str,
    holdings: Option<&Holdings>,
) -> EngineError {
    let ours = is_same_registry(reference.registry(), registry_host);
    match (cause(daemon_says), ours) {
        (Cause::Unknown, true) => EngineError::ImageNotFound {
            message: not_in_our_registry(image, reference, registry_host, holdings),
        },
        (Cause::Unknown, false) => EngineError::ImageNotFound {
            message: format!(
                "image {image:?} is not on this machine, and its registry does not have it \
                 either (or wants a login): {daemon_says}; {}",
                ways_to_bring_it(reference, registry_host)
            ),
        },
        (Cause::Unreachable, true) => failed(
            image,
            format!(
                "the cluster's registry at {registry_host} does not answer; \
                 devops-lab status says whether it runs ({daemon_says})"
            ),
        ),
        (Cause::Unreachable, false) => EngineError::ImageNotFound {
            message: format!(
                "image {image:?} is not on this machine, and {} cannot be reached, so it may be \
                 that there is no internet here; {}",
                registry_name(reference),
                ways_to_bring_it(reference, registry_host)
            ),
        },
        (Cause::NoTls, _) => failed(
            image,
            format!(
                "Docker talks plain HTTP to registries on this machine only; \
                 write localhost:PORT/NAME:TAG, here {registry_host}/{}:{} ({daemon_says})",
                reference.repository(),
                reference.tag_or_digest()
            ),
        ),
        (Cause::Other, _) => failed(image, daemon_says.to_owned()),
    }
}

fn failed(image: &str, reason: String) -> EngineError {
    EngineError::PullFailed {
        image: image.to_owned(),
        reason,
    }
}

fn not_in_our_registry(
    image: &str,
    reference: &ImageRef,
    registry_host: &str,
    holdings: Option<&Holdings>,
) -> String {
    let repository = reference.repository();
    let push = format!(
        "push it there: docker push {registry_host}/{repository}:{}, or devops-lab image push",
        reference.tag_or_digest()
    );
    let held = match holdings {
        None => String::new(),
        Some(Holdings { tags, .. }) if !tags.is_empty() => {
            format!(", which has {repository} as {}", list(tags))
        }
        Some(Holdings { repositories, .. }) if !repositories.is_empty() => {
            format!(", which has no {repository:?} but {}", list(repositories))
        }
        Some(_) => ", which is empty".to_owned(),
    };
    format!("image {image:?} is not in this cluster's registry{held}; {push}")
}

fn ways_to_bring_it(reference: &ImageRef, registry_host: &str) -> String {
    let name = reference
        .repository()
        .rsplit('/')
        .next()
        .unwrap_or_default();
    format!(
        "bring it with docker load -i FILE, or push it to this cluster's registry as \
         {registry_host}/{name}:TAG (docker push, or devops-lab image push)"
    )
}

fn registry_name(reference: &ImageRef) -> &str {
    match reference.registry() {
        "docker.io" => "Docker Hub",
        registry => registry,
    }
}

/// `localhost:5001` and `127.0.0.1:5001` are the same place.
pub(super) fn is_same_registry(left: &str, right: &str) -> bool {
    fn port(host: &str) -> Option<&str> {
        host.strip_prefix("localhost:")
            .or_else(|| host.strip_prefix("127.0.0.1:"))
    }
    left == right || (port(left).is_some() && port(left) == port(right))
}

/// At most five names; a longer list would hide the sentence.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(image: &str, daemon_says: &str, holdings: Option<&Holdings>, expected: &[&str]) {
        let reference = ImageRef::parse(image).unwrap();
        let error = explain(image, &reference, "localhost:5001", daemon_says, holdings);
        let text = error.to_string();
        for part in expected {
            assert!(text.contains(part), "{text:?} does not say {part:?}");
        }
    }

    fn held(tags: &[&str], repositories: &[&str]) -> Option<Holdings> {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Some(Holdings {
            tags: own(tags),
            repositories: own(repositories),
        })
    }

    const UNKNOWN: &str = "manifest for localhost:5001/hello:2 not found: manifest unknown";

    #[test]
    fn an_unknown_tag_names_the_tags_there_are() {
        let tags = held(&["1.0.0", "1.0.1"], &["hello"]);
        check(
            "localhost:5001/hello:2",
            UNKNOWN,
            tags.as_ref(),
            &[
                "has hello as 1.0.0, 1.0.1",
                "docker push localhost:5001/hello:2",
            ],
        );
        let tags = held(&["1", "2", "3", "4", "5", "6", "7"], &[]);
        check(
            "127.0.0.1:5001/hello:9",
            UNKNOWN,
            tags.as_ref(),
            &["1, 2, 3, 4, 5 and 2 more"],
        );
    }

    #[test]
    fn an_unknown_name_names_the_names_there_are() {
        check(
            "localhost:5001/helo:1",
            UNKNOWN,
            held(&[], &["hello"]).as_ref(),
            &["no \"helo\" but hello"],
        );
        check(
            "localhost:5001/hello:1",
            UNKNOWN,
            held(&[], &[]).as_ref(),
            &["which is empty"],
        );
        check(
            "localhost:5001/hello:1",
            UNKNOWN,
            None,
            &["is not in this cluster's registry;"],
        );
    }

    #[test]
    fn without_internet_the_message_says_how_to_bring_the_image() {
        let offline = "Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host";
        check(
            "nginx:1.27",
            offline,
            None,
            &[
                "Docker Hub cannot be reached",
                "no internet",
                "docker load",
                "localhost:5001/nginx:TAG",
            ],
        );
    }

    #[test]
    fn a_silent_registry_of_ours_leads_to_status() {
        let refused = "Get \"http://localhost:5001/v2/\": dial tcp 127.0.0.1:5001: connect: connection refused";
        check(
            "localhost:5001/hello:1",
            refused,
            None,
            &["localhost:5001 does not answer", "devops-lab status"],
        );
    }

    #[test]
    fn a_registry_named_by_another_address_leads_to_localhost() {
        let no_tls = "http: server gave HTTP response to HTTPS client";
        check(
            "10.89.0.3:5001/hello:1",
            no_tls,
            None,
            &["localhost:5001/hello:1"],
        );
    }

    #[test]
    fn what_is_not_understood_is_passed_on() {
        check(
            "nginx",
            "toomanyrequests: slow down",
            None,
            &["pull of \"nginx\" failed: toomanyrequests"],
        );
    }
}
