//! URL paths of the Kubernetes API.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>

/// A path below `/api/v1` or `/apis/GROUP/VERSION`, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    /// API group; empty for core.
    pub(crate) group: String,
    /// Version.
    pub(crate) version: String,
    /// Namespace, where the path goes through one.
    pub(crate) namespace: Option<String>,
    /// Plural of the kind.
    pub(crate) plural: String,
    /// Name of the object, where there is one.
    pub(crate) name: Option<String>,
    /// Part of the object, where there is one.
    pub(crate) subresource: Option<String>,
}

/// Takes a path apart; `None` where it cannot name a resource.
pub(crate) fn parse(path: &str) -> Option<ResourcePath> {
    let segments: Vec<String> = path
        .trim_matches('/')
        .split('/')
        .map(decode)
        .collect::<Option<_>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        // A Namespace object has paths of its own under the same word.
        ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => (None, rest),
        ["namespaces", namespace, rest @ ..] => (Some(*namespace), rest),
        rest => (None, rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, None, None),
        [plural, name] => (*plural, Some(*name), None),
        [plural, name, subresource] => (*plural, Some(*name), Some(*subresource)),
        _ => return None,
    };
    Some(ResourcePath {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.map(str::to_owned),
        plural: plural.to_owned(),
        name: name.map(str::to_owned),
        subresource: subresource.map(str::to_owned),
    })
}

/// Percent-decodes a segment; `None` where that is not UTF-8 or hides a slash, which could
/// otherwise reach into another namespace.
pub(crate) fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains('/')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(path: &str, expected: Option<[&str; 6]>) {
        let parsed = parse(path).map(|path| {
            [
                path.group,
                path.version,
                path.namespace.unwrap_or_default(),
                path.plural,
                path.name.unwrap_or_default(),
                path.subresource.unwrap_or_default(),
            ]
        });
        assert_eq!(
            parsed,
            expected.map(|parts| parts.map(str::to_owned)),
            "{path}"
        );
    }

    #[test]
    fn paths_come_apart_as_the_api_conventions_say() {
        case("/api/v1/pods", Some(["", "v1", "", "pods", "", ""]));
        case("/api/v1/nodes/a", Some(["", "v1", "", "nodes", "a", ""]));
        case(
            "/api/v1/namespaces",
            Some(["", "v1", "", "namespaces", "", ""]),
        );
        case(
            "/api/v1/namespaces/x",
            Some(["", "v1", "", "namespaces", "x", ""]),
        );
        case(
            "/api/v1/namespaces/x/finalize",
            Some(["", "v1", "", "namespaces", "x", "finalize"]),
        );
        case(
            "/api/v1/namespaces/x/pods",
            Some(["", "v1", "x", "pods", "", ""]),
        );
        case(
            "/apis/apps/v1/namespaces/x/deployments/web/scale",
            Some(["apps", "v1", "x", "deployments", "web", "scale"]),
        );
        case(
            "/api/v1/nodes/system%3Anode/status",
            Some(["", "v1", "", "nodes", "system:node", "status"]),
        );
        case("/api/v1", None);
        case("/api/v1/namespaces/x%2Fy/pods", None);
        case("/metrics", None);
        case("/api/v1/nodes/a/b/c", None);
    }
}
