//! The cookies of one user: what a service that keeps users at one backend goes by.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue, header};

/// Tells users apart, for services that want to.
const IDENTITY: &str = "devops-lab-user";
/// Cookies kept per user; a service that sets more has its oldest names kept.
const LIMIT: usize = 20;
/// Longest cookie that is kept, in bytes, as browsers have it.
const LENGTH: usize = 4096;

#[derive(Debug)]
pub(super) struct Cookies {
    kept: BTreeMap<String, String>,
    header: Option<HeaderValue>,
}

impl Cookies {
    pub(super) fn of_user(number: u32) -> Self {
        let mut cookies = Self {
            kept: BTreeMap::from([(IDENTITY.to_owned(), number.to_string())]),
            header: None,
        };
        cookies.render();
        cookies
    }

    /// The `Cookie` header.
    pub(super) fn header(&self) -> Option<&HeaderValue> {
        self.header.as_ref()
    }

    /// Keeps what a response sets. Attributes are passed over: users ask one service only, and
    /// no lesson lasts until a cookie expires. One that is set to nothing is dropped.
    pub(super) fn learn(&mut self, headers: &HeaderMap) {
        let mut changed = false;
        for value in headers.get_all(header::SET_COOKIE) {
            let Some((name, value)) = value.to_str().ok().and_then(pair) else {
                continue;
            };
            if value.is_empty() {
                changed |= self.kept.remove(name).is_some();
            } else if self.kept.len() < LIMIT || self.kept.contains_key(name) {
                self.kept.insert(name.to_owned(), value.to_owned());
                changed = true;
            }
        }
        if changed {
            self.render();
        }
    }

    fn render(&mut self) {
        let pairs: Vec<_> = self
            .kept
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        self.header = HeaderValue::try_from(pairs.join("; ")).ok();
    }
}

fn pair(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split(';').next()?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    (!name.is_empty() && text.len() <= LENGTH).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_keeps_the_cookies_of_the_service_beside_its_own() {
        let mut cookies = Cookies::of_user(3);
        assert_eq!(cookies.header().unwrap(), "devops-lab-user=3");
        let mut headers = HeaderMap::new();
        headers.append(
            header::SET_COOKIE,
            HeaderValue::from_static("sticky=abc; Path=/; HttpOnly"),
        );
        headers.append(header::SET_COOKIE, HeaderValue::from_static("nonsense"));
        cookies.learn(&headers);
        assert_eq!(cookies.header().unwrap(), "devops-lab-user=3; sticky=abc");
        headers.insert(header::SET_COOKIE, HeaderValue::from_static("sticky="));
        cookies.learn(&headers);
        assert_eq!(cookies.header().unwrap(), "devops-lab-user=3");
    }
}
