//! Lists in pages: `n` entries after `last`, with a `Link` to the rest.

use crate::error::Refusal;

/// One page of a sorted list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// The entries.
    pub(crate) entries: Vec<String>,
    /// Value of the `Link` header where more follow.
    pub(crate) link: Option<String>,
}

/// Cuts the page that a query asks for out of `all`, which it sorts; `path` is what the link
/// leads back to.
pub(crate) fn cut(
    mut all: Vec<String>,
    path: &str,
    n: Option<&str>,
    last: Option<&str>,
) -> Result<Page, Refusal> {
    all.sort_unstable();
    if let Some(last) = last {
        all.retain(|entry| entry.as_str() > last);
    }
    let limit = n.map(parse_limit).transpose()?.unwrap_or(usize::MAX);
    let more = all.len() > limit;
    all.truncate(limit);
    // With n=0 there is no last entry to go on from, and so no next page.
    let link = all
        .last()
        .filter(|_| more)
        .map(|last| format!("<{path}?n={limit}&last={last}>; rel=\"next\""));
    Ok(Page { entries: all, link })
}

fn parse_limit(n: &str) -> Result<usize, Refusal> {
    n.parse().map_err(|_| Refusal::QueryInvalid {
        reason: format!("n={n} is not a number of entries"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(n: Option<&str>, last: Option<&str>, entries: &[&str], link: Option<&str>) {
        let all = ["c", "a", "d", "b"].map(str::to_owned).to_vec();
        let page = cut(all, "/v2/x/tags/list", n, last).unwrap();
        assert_eq!(page.entries, entries);
        assert_eq!(page.link.as_deref(), link);
    }

    #[test]
    fn pages_are_sorted_and_lead_to_the_next_one() {
        case(None, None, &["a", "b", "c", "d"], None);
        let link = "</v2/x/tags/list?n=2&last=b>; rel=\"next\"";
        case(Some("2"), None, &["a", "b"], Some(link));
        case(Some("2"), Some("b"), &["c", "d"], None);
        case(None, Some("bb"), &["c", "d"], None);
        case(Some("9"), Some("z"), &[], None);
        case(Some("0"), None, &[], None);
    }

    #[test]
    fn a_limit_that_is_no_number_is_refused() {
        assert!(cut(Vec::new(), "/", Some("-1"), None).is_err());
        assert!(cut(Vec::new(), "/", Some("many"), None).is_err());
    }
}
