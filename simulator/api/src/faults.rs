//! Faults that are injected on purpose, as annotations.
//!
//! A fault that a component has to play is written on the object that it concerns: the component
//! watches that object anyway, the API's authentication guards it, it outlives restarts, and
//! removing the annotation heals it. `devops-lab fault` writes them; so can `kubectl annotate`.
//!
//! | Annotation | On | Read by |
//! |---|---|---|
//! | [`PARTITION`] | Node | its agent: it no longer speaks to the control plane |
//! | [`SLOW`] | Node | its agent: its pods get a share of their time only |
//! | [`MEMORY`] | Pod | its node's agent: its containers are OOM-killed |
//! | [`DNS`] | Service `kube-system/kube-dns` | the cluster's DNS server |
//! | [`DELAY`], [`ABORT`] | HTTPRoute, GRPCRoute, Ingress | the load balancer |
//!
//! A value that makes no sense is no fault: the parsers answer `None`.

use std::collections::BTreeMap;
use std::time::Duration;

/// Cuts a node off from the control plane; any value but `false`.
pub const PARTITION: &str = "faults.devops-lab.dev/partition";
/// Slows a node's pods down; the share of their time that they keep, such as `20%`.
pub const SLOW: &str = "faults.devops-lab.dev/slow";
/// Lets a pod's containers run out of memory once; any value. Its node takes it away when done.
pub const MEMORY: &str = "faults.devops-lab.dev/memory";
/// Breaks the cluster's DNS: `servfail`, `nxdomain` or `timeout`, and perhaps a name.
pub const DNS: &str = "faults.devops-lab.dev/dns";
/// Delays a share of a route's requests, such as `50% 2s`.
pub const DELAY: &str = "faults.devops-lab.dev/delay";
/// Fails a share of a route's requests, such as `20% 503`.
pub const ABORT: &str = "faults.devops-lab.dev/abort";

/// Longest delay of a request: beyond it clients have given up anyway.
pub const MAX_DELAY: Duration = Duration::from_secs(300);

/// Annotations of an object, as its metadata has them.
pub type Annotations = BTreeMap<String, String>;

/// A share of requests, in hundredths of a per cent: 10 000 is all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u16);

impl Share {
    /// All.
    pub const ALL: Self = Self(10_000);

    /// From `20%` or `2.5%`; 0 and more than 100 are none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let percent: f64 = text.trim().strip_suffix('%')?.trim().parse().ok()?;
        if !(percent > 0.0 && percent <= 100.0) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 10 000"
        )]
        let share = (percent * 100.0).round() as u16;
        Some(Self(share.max(1)))
    }

    /// Of ten thousand.
    #[must_use]
    pub fn of_ten_thousand(self) -> u64 {
        self.0.into()
    }

    /// Between 0 and 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 100.0)
    }
}

/// A share of a route's requests that waits before it is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// How many of them.
    pub share: Share,
    /// How long; never scaled, since clients live in real time.
    pub wait: Duration,
}

/// A share of a route's requests that is answered with an error instead of forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// How many of them.
    pub share: Share,
    /// HTTP status, 400 to 599.
    pub status: u16,
}

/// How the cluster's DNS fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsFailure {
    /// Every question is answered SERVFAIL.
    ServFail,
    /// Every name is said not to exist.
    NxDomain,
    /// Questions are not answered at all.
    Timeout,
}

/// A broken DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsFault {
    /// How.
    pub failure: DnsFailure,
    /// Only names that begin with these labels, in lower case; all names when absent.
    pub name: Option<String>,
}

/// True where the annotations cut a node off.
#[must_use]
pub fn is_cut_off(annotations: Option<&Annotations>) -> bool {
    value(annotations, PARTITION).is_some_and(|value| value != "false")
}

/// The share of time that a slow node's pods keep.
#[must_use]
pub fn slow_share(annotations: Option<&Annotations>) -> Option<Share> {
    Share::parse(value(annotations, SLOW)?).filter(|share| *share != Share::ALL)
}

/// The delay of a route's requests: share and length, such as `50% 2s` or `100% 300ms`.
#[must_use]
pub fn delay(annotations: Option<&Annotations>) -> Option<Delay> {
    let (share, wait) = value(annotations, DELAY)?.split_once(' ')?;
    let wait = duration(wait.trim())?;
    let share = Share::parse(share)?;
    (!wait.is_zero() && wait <= MAX_DELAY).then_some(Delay { share, wait })
}

/// The failure of a route's requests: share and status, such as `20% 503`.
#[must_use]
pub fn abort(annotations: Option<&Annotations>) -> Option<Abort> {
    let (share, status) = value(annotations, ABORT)?.split_once(' ')?;
    let status = status.trim().parse().ok()?;
    let share = Share::parse(share)?;
    (400..600)
        .contains(&status)
        .then_some(Abort { share, status })
}

/// How DNS is broken.
#[must_use]
pub fn dns(annotations: Option<&Annotations>) -> Option<DnsFault> {
    let mut words = value(annotations, DNS)?.split_whitespace();
    let failure = match words.next()? {
        "servfail" => DnsFailure::ServFail,
        "nxdomain" => DnsFailure::NxDomain,
        "timeout" => DnsFailure::Timeout,
        _ => return None,
    };
    let name = words
        .next()
        .map(|name| name.trim_matches('.').to_lowercase());
    Some(DnsFault { failure, name })
}

impl DnsFault {
    /// Whether a question for this name (lower case, no dot at its end) fails.
    #[must_use]
    pub fn hits(&self, name: &str) -> bool {
        match &self.name {
            None => true,
            Some(prefix) => name
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        }
    }
}

fn value<'a>(annotations: Option<&'a Annotations>, key: &str) -> Option<&'a str> {
    annotations?.get(key).map(|value| value.trim())
}

/// `300ms`, `2s`, `1.5s` or `1m`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = if let Some(number) = text.strip_suffix("ms") {
        (number, 0.001)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, 1.0)
    } else {
        (text.strip_suffix('m')?, 60.0)
    };
    let seconds = number.parse::<f64>().ok()? * unit;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> Annotations {
        [(key.to_owned(), value.to_owned())].into()
    }

    #[test]
    fn shares_are_percentages_above_nothing() {
        let parsed = |text| Share::parse(text).map(|share| share.to_string());
        assert_eq!(parsed("20%").as_deref(), Some("20%"));
        assert_eq!(parsed(" 2.5 % ").as_deref(), Some("2.5%"));
        assert_eq!(Share::parse("100%"), Some(Share::ALL));
        for bad in ["0%", "-1%", "101%", "20", "", "a%", "NaN%"] {
            assert_eq!(Share::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn requests_are_delayed_and_failed_as_written() {
        let found = delay(Some(&one(DELAY, "50% 300ms"))).unwrap();
        assert_eq!(found.wait, Duration::from_millis(300));
        assert_eq!(found.share.to_string(), "50%");
        for bad in ["50%", "50% 0s", "50% 400s", "50% -1s", "50% 3h", "x 1s"] {
            assert_eq!(delay(Some(&one(DELAY, bad))), None, "{bad}");
        }
        let found = abort(Some(&one(ABORT, "20% 503"))).unwrap();
        assert_eq!((found.status, found.share.of_ten_thousand()), (503, 2_000));
        for bad in ["20%", "20% 200", "20% 600", "20% x"] {
            assert_eq!(abort(Some(&one(ABORT, bad))), None, "{bad}");
        }
    }

    #[test]
    fn dns_fails_for_all_names_or_for_some() {
        let all = dns(Some(&one(DNS, "servfail"))).unwrap();
        assert!(all.hits("anything.at.all"));
        let some = dns(Some(&one(DNS, "nxdomain Hello.default."))).unwrap();
        assert_eq!(some.failure, DnsFailure::NxDomain);
        assert!(some.hits("hello.default") && some.hits("hello.default.svc.cluster.local"));
        assert!(!some.hits("hello.defaults") && !some.hits("hello"));
        assert_eq!(dns(Some(&one(DNS, "weather"))), None);
        assert_eq!(dns(None), None);
    }

    #[test]
    fn a_node_is_cut_off_or_slow_while_it_says_so() {
        assert!(is_cut_off(Some(&one(PARTITION, "true"))));
        assert!(!is_cut_off(Some(&one(PARTITION, "false"))) && !is_cut_off(None));
        let share = slow_share(Some(&one(SLOW, "10%"))).unwrap();
        assert!((share.fraction() - 0.1).abs() < 1e-9);
        assert_eq!(slow_share(Some(&one(SLOW, "100%"))), None);
    }
}
