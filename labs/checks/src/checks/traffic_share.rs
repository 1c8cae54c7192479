//! K023: how the traffic is divided among versions, measured by asking.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use schemars::JsonSchema;
use serde::Deserialize;

use super::http_responds::{GATEWAY_HEADER, Listener};
use super::{CheckDef, Consistent, accepts_consistent, schema, start_consistent};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::read;
use crate::readers::http::{Answer, Http};

/// How an application says which version it is.
const VERSION_HEADER: &str = "x-devops-lab-version";
/// How it says which pod it runs in.
const POD_HEADER: &str = "x-devops-lab-pod";
/// Requests under way at once: enough to be done within the time limit.
const CONCURRENCY: usize = 8;
/// Fewer requests than these tell a share of a tenth from one of a fifth by luck only.
const FEWEST: usize = 50;
/// More would be a load test.
const MOST: usize = 2000;

pub(super) const DEF: CheckDef = CheckDef {
    code: "K023",
    name: "traffic-share",
    help: "Of `requests` requests (500 by default) to `path` (`/` by default) through `listener` (`production` by \
        default, or `test`), each version of `versions` answers its percentage, give or take `within` points (5 by \
        default), and no other version answers more than that. A version is what header `x-devops-lab-version` of an \
        answer says, and header `x-devops-lab-pod` must name a pod of the learner's namespace.",
    schema: schema::<With>,
    accepts: accepts_consistent::<With>,
    run: |context, input| start_consistent(DEF.name, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    #[serde(default = "root")]
    path: String,
    #[serde(default)]
    listener: Listener,
    versions: BTreeMap<String, f64>,
    #[serde(default = "many")]
    requests: usize,
    #[serde(default = "five")]
    within: f64,
}

fn root() -> String {
    "/".to_owned()
}

fn many() -> usize {
    500
}

fn five() -> f64 {
    5.0
}

impl Consistent for With {
    fn consistent(&self) -> Result<(), String> {
        let sum: f64 = self.versions.values().sum();
        if (sum - 100.0).abs() > 0.5 || self.versions.values().any(|share| *share < 0.0) {
            return Err(format!(
                "the percentages of `versions` add up to {sum}, not to 100"
            ));
        }
        if !(FEWEST..=MOST).contains(&self.requests) {
            return Err(format!("`requests` must be from {FEWEST} to {MOST}"));
        }
        if !(0.5..50.0).contains(&self.within) {
            return Err("`within` must be from 0.5 to 50".to_owned());
        }
        if !self.path.starts_with('/') {
            return Err("`path` must begin with /".to_owned());
        }
        Ok(())
    }
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let listener = match with.listener {
        Listener::Production => &context.addresses.production,
        Listener::Test => &context.addresses.test,
    };
    let url = format!("{listener}{}", with.path);
    let (client, namespace) = (&context.client, context.namespace.as_str());
    // A pod that ends, or one that begins, in the meantime is no stranger.
    let before: Vec<Pod> = read::here(client, namespace).await?;
    let http = Http::new();
    let asked = stream::iter(0..with.requests).map(|_| http.get(&url, &[]));
    let answers: Vec<_> = asked.buffer_unordered(CONCURRENCY).collect().await;
    let answers = answers.into_iter().collect::<Result<Vec<Answer>, _>>();
    let answers = answers.map_err(|problem| Diagnosis::LoadBalancerNotAnswering {
        url: url.clone(),
        problem,
    })?;
    let after: Vec<Pod> = read::here(client, namespace).await?;
    let pods = before
        .iter()
        .chain(&after)
        .map(ResourceExt::name_any)
        .collect();
    Ok(judge(&with, &url, &pods, &answers))
}

fn judge(with: &With, url: &str, pods: &BTreeSet<String>, answers: &[Answer]) -> Outcome {
    let mut counts = BTreeMap::<&str, usize>::new();
    for version in answers
        .iter()
        .filter_map(|answer| answer.header(VERSION_HEADER))
    {
        *counts.entry(version).or_default() += 1;
    }
    let percent = |count: usize| count as f64 * 100.0 / answers.len().max(1) as f64;
    let shares: BTreeMap<&str, f64> = counts
        .iter()
        .map(|(version, count)| (*version, percent(*count)))
        .collect();
    let evidence = Evidence {
        expected: Fact::SharesWanted {
            url: url.to_owned(),
            shares: told(
                with.versions
                    .iter()
                    .map(|(version, share)| (version.as_str(), *share)),
            ),
            within: with.within.to_string(),
        },
        observed: Fact::Shares {
            url: url.to_owned(),
            shares: told(shares.iter().map(|(version, share)| (*version, *share))),
            requests: answers.len().to_string(),
        },
        since: None,
    };
    let found = ours(url, pods, answers).and_then(|()| shared(with, url, answers.len(), &shares));
    Outcome::of(evidence, found)
}

/// `1.0.0 90.0 %, 2.0.0 10.0 %`.
fn told<'a>(shares: impl Iterator<Item = (&'a str, f64)>) -> String {
    let texts: Vec<_> = shares
        .map(|(version, share)| format!("{version} {share:.1} %"))
        .collect();
    if texts.is_empty() {
        "–".to_owned()
    } else {
        texts.join(", ")
    }
}

/// Whether every answer is from one of the learner's pods, or from the load balancer in their
/// place.
fn ours(url: &str, pods: &BTreeSet<String>, answers: &[Answer]) -> Result<(), Diagnosis> {
    let url = url.to_owned();
    let by_gateway = |answer: &&Answer| {
        answer.header(GATEWAY_HEADER).is_some() && answer.header(VERSION_HEADER).is_none()
    };
    if let Some(answer) = answers
        .iter()
        .find(|answer| !by_gateway(answer) && !is_from(answer, pods))
    {
        let found = answer
            .header(POD_HEADER)
            .map_or_else(|| answer.excerpt(), str::to_owned);
        return Err(Diagnosis::AnsweredByStranger {
            url,
            found,
            pods: pods.iter().cloned().collect::<Vec<_>>().join(", "),
        });
    }
    let refused = answers.iter().filter(by_gateway).count();
    match answers.iter().find(by_gateway) {
        Some(answer) if refused == answers.len() => Err(match answer.status {
            404 => Diagnosis::NoRoute { url },
            _ => Diagnosis::NoReadyBackend {
                url,
                message: answer.excerpt(),
            },
        }),
        Some(_) | None => Ok(()),
    }
}

fn is_from(answer: &Answer, pods: &BTreeSet<String>) -> bool {
    answer.header(VERSION_HEADER).is_some()
        && answer
            .header(POD_HEADER)
            .is_some_and(|pod| pods.contains(pod))
}

fn shared(
    with: &With,
    url: &str,
    requests: usize,
    shares: &BTreeMap<&str, f64>,
) -> Result<(), Diagnosis> {
    let measured = |version: &str| shares.get(version).copied().unwrap_or(0.0);
    let near = |one: f64, other: f64| (one - other).abs() <= with.within;
    let off = |version: &str| {
        let expected = with.versions.get(version).copied().unwrap_or(0.0);
        (!near(measured(version), expected)).then_some(expected)
    };
    let absent = with
        .versions
        .iter()
        .find(|(version, share)| **share > 0.0 && !shares.contains_key(version.as_str()));
    if let Some((version, _)) = absent {
        return Err(Diagnosis::VersionAbsent {
            version: version.clone(),
            requests: requests.to_string(),
            found: told(shares.iter().map(|(version, share)| (*version, *share))),
        });
    }
    let versions = with
        .versions
        .keys()
        .map(String::as_str)
        .chain(shares.keys().copied());
    let Some((version, expected)) = versions
        .filter_map(|version| Some((version, off(version)?)))
        .next()
    else {
        return Ok(());
    };
    let pair: Vec<_> = with.versions.iter().collect();
    if let [(one, first), (other, second)] = pair.as_slice()
        && near(measured(one), **second)
        && near(measured(other), **first)
    {
        return Err(Diagnosis::WeightsSwapped {
            expected: told(
                with.versions
                    .iter()
                    .map(|(version, share)| (version.as_str(), *share)),
            ),
            found: told(shares.iter().map(|(version, share)| (*version, *share))),
        });
    }
    Err(Diagnosis::ShareOff {
        url: url.to_owned(),
        value: version.to_owned(),
        expected: format!("{expected}"),
        found: format!("{:.1}", measured(version)),
        requests: requests.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::{Value, json};

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)]) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        Answer {
            status,
            headers: headers.collect::<HeaderMap>(),
            body: "somebody".into(),
        }
    }

    fn from(version: &str, count: usize) -> Vec<Answer> {
        vec![answer(200, &[(VERSION_HEADER, version), (POD_HEADER, "hello-1")]); count]
    }

    #[track_caller]
    fn case(expected: Option<&str>, answers: &[Vec<Answer>]) {
        let with = json!({"versions": {"1.0.0": 90, "2.0.0": 10}});
        let with: With = serde_json::from_value(with).unwrap();
        assert_eq!(with.consistent(), Ok(()));
        let pods = BTreeSet::from(["hello-1".to_owned()]);
        let outcome = judge(&with, "http://127.0.0.1:8080/", &pods, &answers.concat());
        assert_eq!(outcome.diagnosis().map(Diagnosis::id), expected);
    }

    #[test]
    fn shares_within_the_tolerance_hold() {
        case(None, &[from("1.0.0", 90), from("2.0.0", 10)]);
        case(None, &[from("1.0.0", 85), from("2.0.0", 15)]);
        case(None, &[from("1.0.0", 95), from("2.0.0", 5)]);
        // What it answers is another question.
        let failing = answer(500, &[(VERSION_HEADER, "2.0.0"), (POD_HEADER, "hello-1")]);
        case(None, &[from("1.0.0", 90), vec![failing; 10]]);
    }

    #[test]
    fn other_shares_do_not_pass() {
        case(Some("share-off"), &[from("1.0.0", 84), from("2.0.0", 16)]);
        case(Some("share-off"), &[from("1.0.0", 50), from("2.0.0", 50)]);
        case(
            Some("weights-swapped"),
            &[from("1.0.0", 10), from("2.0.0", 90)],
        );
        case(Some("version-absent"), &[from("1.0.0", 100)]);
        case(
            Some("version-absent"),
            &[from("1.0.0", 90), from("3.0.0", 10)],
        );
        case(
            Some("share-off"),
            &[from("1.0.0", 86), from("2.0.0", 6), from("3.0.0", 8)],
        );
        // Requests that nobody answered are missing to every share.
        let refused = answer(503, &[(GATEWAY_HEADER, "no-endpoints")]);
        case(
            Some("share-off"),
            &[from("1.0.0", 80), from("2.0.0", 10), vec![refused; 10]],
        );
    }

    #[test]
    fn somebody_else_on_the_port_does_not_pass() {
        let page = answer(200, &[]);
        case(Some("answered-by-stranger"), &[vec![page.clone(); 100]]);
        case(
            Some("answered-by-stranger"),
            &[from("1.0.0", 90), from("2.0.0", 9), vec![page]],
        );
        let copy = answer(200, &[(VERSION_HEADER, "2.0.0"), (POD_HEADER, "stranger")]);
        case(
            Some("answered-by-stranger"),
            &[from("1.0.0", 90), vec![copy; 10]],
        );
        let bare = answer(200, &[(VERSION_HEADER, "2.0.0")]);
        case(
            Some("answered-by-stranger"),
            &[from("1.0.0", 90), vec![bare; 10]],
        );
        case(
            Some("no-route"),
            &[vec![answer(404, &[(GATEWAY_HEADER, "no-route")]); 100]],
        );
        case(
            Some("no-ready-backend"),
            &[vec![answer(503, &[(GATEWAY_HEADER, "no-endpoints")]); 100]],
        );
    }

    #[test]
    fn faults_of_the_author_are_told() {
        let problem = |with: Value| {
            let with: With = serde_json::from_value(with).unwrap();
            with.consistent().unwrap_err()
        };
        assert!(problem(json!({"versions": {"1.0.0": 90, "2.0.0": 20}})).contains("110"));
        assert!(problem(json!({"versions": {"1.0.0": 100}, "requests": 3})).contains("requests"));
        assert!(problem(json!({"versions": {"1.0.0": 100}, "within": 0})).contains("within"));
        assert!(problem(json!({"versions": {"1.0.0": 100}, "path": "x"})).contains("path"));
    }
}
