//! K006: requests through the load balancer are answered, and by the learner's own pods.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use http::{HeaderName, Method};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{CheckDef, CheckInput, accepts, read, schema, start};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::pattern::Pattern;
use crate::readers::http::{Answer, Http};
use crate::workload::Workloads;

/// How the load balancer marks answers that it gives itself.
pub(super) const GATEWAY_HEADER: &str = "x-devops-lab-gateway";
/// Requests under way at once: enough to be quick, few enough to be polite.
const CONCURRENCY: usize = 4;

pub(super) const DEF: CheckDef = CheckDef {
    code: "K006",
    name: "http-responds",
    help: "`path` (`/` by default) through `listener` (`production` by default, or `test`), asked for with \
        `method` (GET by default), the `headers` and the name `host`, `requests` times (1 by default), answers \
        `status` (200 by default) with the JSON fields in `json`, header values that match the regular \
        expressions in `header`, and a body that matches `body`. All answers must be so, or `share` percent of \
        them. `share: {json: version, is: \"2.0.0\", atLeast: 10}` (or `header` instead of `json`; with or \
        without `atMost`) asks for a part of the answers that has a value. With `pods`, \
        the JSON field `pods.field` (`pod` by default) of every good answer is the name of a live pod of \
        Deployment `pods.deployment`, and at least `pods.distinct` (1 by default) different ones answer.",
    schema: schema::<With>,
    accepts: accept,
    run: |context, with| start(DEF.name, run, context, with),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    #[serde(default)]
    listener: Listener,
    #[serde(default = "root")]
    path: String,
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    json: BTreeMap<String, Value>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    host: Option<String>,
    #[serde(default)]
    method: Verb,
    #[serde(default)]
    header: BTreeMap<String, Pattern>,
    body: Option<Pattern>,
    #[serde(default = "one")]
    requests: usize,
    #[serde(default)]
    share: Share,
    pods: Option<Pods>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Listener {
    #[default]
    Production,
    Test,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Verb {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
}

impl Verb {
    fn method(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Head => Method::HEAD,
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Delete => Method::DELETE,
            Self::Options => Method::OPTIONS,
        }
    }
}

/// How many answers must be as asked for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Share {
    /// This many percent.
    Good(usize),
    /// All, and a part of them has a value.
    Of(Part),
}

impl Default for Share {
    fn default() -> Self {
        Self::Good(100)
    }
}

/// A part of the answers: those with a value in a JSON field or a header.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Part {
    json: Option<String>,
    header: Option<String>,
    is: Value,
    at_least: usize,
    #[serde(default = "all")]
    at_most: usize,
}

impl Part {
    fn has(&self, answer: &Answer) -> bool {
        if let Some(header) = &self.header {
            return answer.header(header) == Some(text(Some(&self.is)).as_str());
        }
        let body = serde_json::from_slice::<Value>(&answer.body);
        let path = self.json.as_deref().unwrap_or_default();
        body.is_ok_and(|body| field(&body, path) == Some(&self.is))
    }

    /// Whether the share of these answers is so.
    fn find(&self, url: &str, answers: &[Answer]) -> Result<(), Diagnosis> {
        let count = answers.iter().filter(|answer| self.has(answer)).count();
        let (hundredfold, all) = (count * 100, answers.len());
        if (self.at_least * all..=self.at_most * all).contains(&hundredfold) {
            return Ok(());
        }
        let name = self.header.as_ref().or(self.json.as_ref());
        Err(Diagnosis::ShareOff {
            url: url.to_owned(),
            value: format!(
                "{} {}",
                name.map_or("", String::as_str),
                text(Some(&self.is))
            ),
            expected: if self.at_most < 100 {
                format!("{}–{}", self.at_least, self.at_most)
            } else {
                format!("≥ {}", self.at_least)
            },
            found: (hundredfold / all.max(1)).to_string(),
            requests: all.to_string(),
        })
    }
}

fn accept(input: &CheckInput) -> Result<(), String> {
    accepts::<With>(input)?;
    let with: With = read(&input.with)?;
    if let Share::Of(part) = &with.share {
        if part.json.is_some() == part.header.is_some() {
            return Err("`share` names one of `json` and `header`".to_owned());
        }
        if part.at_least > part.at_most || part.at_most > 100 {
            return Err("`share` goes from `atLeast` to `atMost` percent".to_owned());
        }
    }
    for name in with.headers.keys().chain(with.header.keys()) {
        HeaderName::try_from(name.as_str()).map_err(|_| format!("{name:?} is no header's name"))?;
    }
    Ok(())
}

/// Whose answers count.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Pods {
    deployment: String,
    #[serde(default = "pod")]
    field: String,
    #[serde(default = "one")]
    distinct: usize,
}

fn root() -> String {
    "/".to_owned()
}

fn ok() -> u16 {
    200
}

fn one() -> usize {
    1
}

fn all() -> usize {
    100
}

fn pod() -> String {
    "pod".to_owned()
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let listener = match with.listener {
        Listener::Production => &context.addresses.production,
        Listener::Test => &context.addresses.test,
    };
    let url = format!("{listener}{}", with.path);
    // The API comes first: where it does not answer, neither does the load balancer, and it is
    // the API whose silence explains.
    let workloads = match with.pods {
        Some(_) => Workloads::read(&context).await?,
        None => Workloads::default(),
    };
    let http = Http::new();
    let mut headers: Vec<(&str, &str)> = Vec::new();
    headers.extend(
        with.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    headers.extend(with.host.as_deref().map(|host| ("host", host)));
    let method = with.method.method();
    let asked = stream::iter(0..with.requests.max(1)).map(|_| http.send(&method, &url, &headers));
    let answers: Vec<_> = asked.buffer_unordered(CONCURRENCY).collect().await;
    let answers = answers.into_iter().collect::<Result<Vec<_>, _>>();
    let answers = answers.map_err(|problem| Diagnosis::LoadBalancerNotAnswering {
        url: url.clone(),
        problem,
    })?;
    Ok(judge(&with, &url, &context.namespace, &answers, &workloads))
}

fn judge(
    with: &With,
    url: &str,
    namespace: &str,
    answers: &[Answer],
    workloads: &Workloads,
) -> Outcome {
    let own = with.pods.as_ref().map(|pods| {
        let workload = workloads.of(&pods.deployment, namespace)?;
        Ok(workload
            .all_pods()
            .iter()
            .filter_map(|pod| pod.metadata.name.clone())
            .collect::<BTreeSet<_>>())
    });
    let (own, missing) = match own {
        None => (None, None),
        Some(Ok(own)) => (Some(own), None),
        Some(Err(diagnosis)) => (Some(BTreeSet::new()), Some(diagnosis)),
    };
    let judged: Vec<_> = answers
        .iter()
        .map(|answer| fault(with, url, own.as_ref(), answer))
        .collect();
    let good: Vec<_> = judged
        .iter()
        .filter_map(|fault| fault.as_ref().ok())
        .collect();
    let pods: BTreeSet<_> = good.iter().filter_map(|pod| pod.as_deref()).collect();
    let pods_text = pods.iter().copied().collect::<Vec<_>>().join(", ");
    let distinct = with.pods.as_ref().map_or(1, |pods| pods.distinct);
    let evidence = Evidence {
        expected: Fact::AnswersWanted {
            url: url.to_owned(),
            status: with.status.to_string(),
            requests: answers.len().to_string(),
            pods: distinct.to_string(),
        },
        observed: Fact::Answers {
            url: url.to_owned(),
            good: good.len().to_string(),
            requests: answers.len().to_string(),
            pods: if pods.is_empty() {
                "–".to_owned()
            } else {
                pods_text.clone()
            },
        },
        since: None,
    };
    let share = match &with.share {
        Share::Good(share) => *share,
        Share::Of(_) => 100,
    };
    let enough = good.len() * 100 >= share * answers.len() && !good.is_empty();
    let found = if let Some(diagnosis) = missing {
        Err(diagnosis)
    } else if !enough {
        Err(likeliest(&judged, answers.len()))
    } else if own.is_some() && pods.len() < distinct {
        Err(Diagnosis::TooFewPodsAnswer {
            expected: distinct.to_string(),
            found: pods.len().to_string(),
            pods: pods_text,
            requests: answers.len().to_string(),
        })
    } else if let Share::Of(part) = &with.share {
        part.find(url, answers)
    } else {
        Ok(())
    };
    Outcome::of(evidence, found)
}

/// The fault that most of the bad answers have, with their count where the sentence has a place
/// for it.
fn likeliest(judged: &[Result<Option<String>, Diagnosis>], requests: usize) -> Diagnosis {
    let mut counts = BTreeMap::<&str, (usize, &Diagnosis)>::new();
    for diagnosis in judged.iter().filter_map(|fault| fault.as_ref().err()) {
        counts.entry(diagnosis.id()).or_insert((0, diagnosis)).0 += 1;
    }
    let (of_them, diagnosis) = counts
        .into_values()
        .max_by_key(|(count, _)| *count)
        .expect("some answer is bad");
    match diagnosis.clone() {
        Diagnosis::WrongStatus {
            url,
            expected,
            found,
            ..
        } => Diagnosis::WrongStatus {
            url,
            expected,
            found,
            count: of_them.to_string(),
            requests: requests.to_string(),
        },
        other => other,
    }
}

/// What is wrong with one answer; for a good one, the pod that gave it.
fn fault(
    with: &With,
    url: &str,
    own: Option<&BTreeSet<String>>,
    answer: &Answer,
) -> Result<Option<String>, Diagnosis> {
    let url = url.to_owned();
    if answer.status != with.status {
        return Err(wrong_status(with, url, answer));
    }
    for (header, expected) in &with.header {
        let found = answer.header(header);
        if !found.is_some_and(|found| expected.matches(found)) {
            return Err(Diagnosis::HeaderDiffers {
                url,
                header: header.clone(),
                expected: format!("/{}/", expected.source()),
                found: found.unwrap_or("–").to_owned(),
            });
        }
    }
    if let Some(expected) = &with.body
        && !expected.matches(&String::from_utf8_lossy(&answer.body))
    {
        return Err(Diagnosis::BodyDiffers {
            url,
            expected: format!("/{}/", expected.source()),
            found: answer.excerpt(),
        });
    }
    if with.json.is_empty() && with.pods.is_none() {
        return Ok(None);
    }
    let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
        return Err(Diagnosis::NotJson {
            url,
            body: answer.excerpt(),
        });
    };
    for (path, expected) in &with.json {
        let found = field(&body, path);
        if found != Some(expected) {
            let (expected, found) = (text(Some(expected)), text(found));
            return Err(Diagnosis::WrongField {
                url,
                field: path.clone(),
                expected,
                found,
            });
        }
    }
    let (Some(pods), Some(own)) = (&with.pods, own) else {
        return Ok(None);
    };
    match field(&body, &pods.field).and_then(Value::as_str) {
        Some(pod) if own.contains(pod) => Ok(Some(pod.to_owned())),
        found => Err(Diagnosis::AnsweredByStranger {
            url,
            found: found.map_or_else(|| answer.excerpt(), str::to_owned),
            pods: if own.is_empty() {
                "–".to_owned()
            } else {
                own.iter().cloned().collect::<Vec<_>>().join(", ")
            },
        }),
    }
}

fn wrong_status(with: &With, url: String, answer: &Answer) -> Diagnosis {
    match (answer.header(GATEWAY_HEADER), answer.status) {
        (Some(_), 404) => Diagnosis::NoRoute { url },
        (Some(_), 500 | 503) => Diagnosis::NoReadyBackend {
            url,
            message: answer.excerpt(),
        },
        (_, found) => Diagnosis::WrongStatus {
            url,
            expected: with.status.to_string(),
            found: found.to_string(),
            count: "1".to_owned(),
            requests: "1".to_owned(),
        },
    }
}

/// The value at a dotted path.
fn field<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(body, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        value => value.get(key),
    })
}

fn text(value: Option<&Value>) -> String {
    match value {
        None => "–".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::World;
    use hyper::body::Bytes;
    use serde_json::json;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            headers: http::HeaderMap::new(),
            body: Bytes::from(body.to_owned()),
        }
    }

    fn from_gateway(status: u16) -> Answer {
        let mut answer = answer(status, "no ready endpoints for service default/hello");
        answer
            .headers
            .insert(GATEWAY_HEADER, "reason".parse().unwrap());
        answer
    }

    fn by(pod: &str) -> Answer {
        answer(
            200,
            &json!({"message": "Hello", "version": "1.0.0", "pod": pod}).to_string(),
        )
    }

    #[track_caller]
    fn case(expected: Option<&str>, with: Value, answers: &[Answer]) {
        let with: With = serde_json::from_value(with).unwrap();
        let outcome = judge(
            &with,
            "http://127.0.0.1:8080/",
            "default",
            answers,
            &World::new().workloads(),
        );
        let said = outcome
            .diagnosis()
            .map(|diagnosis| diagnosis.text(crate::language::Language::En));
        assert_eq!(outcome.diagnosis().map(Diagnosis::id), expected, "{said:?}");
    }

    fn three() -> Value {
        json!({"json": {"version": "1.0.0"}, "requests": 3, "pods": {"deployment": "hello", "distinct": 3}})
    }

    #[test]
    fn answers_of_all_three_pods_hold() {
        case(
            None,
            three(),
            &[by("hello-5-1"), by("hello-5-2"), by("hello-5-3")],
        );
        case(None, json!({}), &[answer(200, "hello")]);
        case(None, json!({"status": 404}), &[answer(404, "")]);
    }

    #[test]
    fn answers_of_somebody_else_do_not_pass() {
        case(Some("answered-by-stranger"), three(), &[by("impostor")]);
        case(
            Some("not-json"),
            three(),
            &[answer(200, "<h1>It works!</h1>")],
        );
        case(
            Some("answered-by-stranger"),
            three(),
            &[answer(200, r#"{"version": "1.0.0"}"#)],
        );
        case(
            Some("answered-by-stranger"),
            three(),
            &[
                by("hello-5-1"),
                by("hello-5-2"),
                by("hello-5-3"),
                by("impostor"),
            ],
        );
        case(
            Some("named-otherwise"),
            json!({"pods": {"deployment": "none"}}),
            &[by("hello-5-1")],
        );
    }

    #[test]
    fn too_few_pods_or_another_version_do_not_pass() {
        case(
            Some("too-few-pods-answer"),
            three(),
            &[by("hello-5-1"), by("hello-5-1"), by("hello-5-2")],
        );
        let old = answer(200, r#"{"version": "0.9.0", "pod": "hello-5-1"}"#);
        case(Some("wrong-field"), three(), &[old]);
    }

    #[test]
    fn headers_and_bodies_are_matched() {
        let colored = |color: &str| {
            let mut answer = answer(200, "<h1>Hello from Lyon</h1>");
            answer.headers.insert("x-color", color.parse().unwrap());
            answer
        };
        let green = || json!({"header": {"X-Color": "^(dark )?green$"}});
        case(None, green(), &[colored("dark green")]);
        case(Some("header-differs"), green(), &[colored("greenish")]);
        case(Some("header-differs"), green(), &[answer(200, "green")]);
        let body = |pattern: &str| json!({"body": pattern});
        case(None, body("from \\w+"), &[colored("green")]);
        case(Some("body-differs"), body("From"), &[colored("green")]);
        case(Some("body-differs"), body("."), &[answer(200, "")]);
        // The right words of an answer that fails do not count.
        case(Some("wrong-status"), body("Hello"), &[answer(500, "Hello")]);
    }

    #[test]
    fn a_part_of_the_answers_has_a_value_within_bounds() {
        let answers: Vec<_> = (0..10)
            .map(|number| {
                let version = if number < 8 { "1.0.0" } else { "2.0.0" };
                let mut answer = answer(200, &json!({"version": version}).to_string());
                answer
                    .headers
                    .insert("x-devops-lab-version", version.parse().unwrap());
                answer
            })
            .collect();
        let json = |least: usize, most: usize| json!({"share": {"json": "version", "is": "2.0.0", "atLeast": least, "atMost": most}});
        case(None, json(10, 30), &answers);
        case(None, json(20, 20), &answers);
        case(Some("share-off"), json(21, 100), &answers);
        case(Some("share-off"), json(0, 19), &answers);
        let header = |version: &str| json!({"share": {"header": "x-devops-lab-version", "is": version, "atLeast": 50}});
        case(None, header("1.0.0"), &answers);
        // The weights the other way round.
        case(Some("share-off"), header("2.0.0"), &answers);
        case(Some("share-off"), header("3.0.0"), &answers);
        // Answers that fail are no part of anything.
        let mut broken = answers.clone();
        broken[0].status = 500;
        case(Some("wrong-status"), json(10, 30), &broken);
    }

    #[test]
    fn faults_of_a_lab_are_found_before_it_is_run() {
        let accepts = |with: Value| {
            accept(&CheckInput {
                with,
                ..CheckInput::default()
            })
        };
        accepts(json!({"method": "POST", "host": "shop.lab", "headers": {"x-user": "1"}})).unwrap();
        accepts(json!({"share": 90})).unwrap();
        accepts(json!({"share": {"is": 1, "atLeast": 1}})).unwrap_err();
        accepts(json!({"share": {"json": "a", "header": "b", "is": 1, "atLeast": 1}})).unwrap_err();
        accepts(json!({"share": {"json": "a", "is": 1, "atLeast": 60, "atMost": 50}})).unwrap_err();
        accepts(json!({"body": "("})).unwrap_err();
        accepts(json!({"header": {"x": "["}})).unwrap_err();
        accepts(json!({"headers": {"x y": "1"}})).unwrap_err();
        accepts(json!({"method": "BREW"})).unwrap_err();
    }

    #[test]
    fn the_load_balancers_own_answers_are_told_from_the_applications() {
        case(Some("no-route"), three(), &[from_gateway(404)]);
        case(Some("no-ready-backend"), three(), &[from_gateway(503)]);
        case(Some("wrong-status"), three(), &[answer(404, "not found")]);
        case(Some("wrong-status"), three(), &[answer(500, "")]);
    }

    #[test]
    fn a_share_of_bad_answers_is_tolerated_only_where_the_lab_says_so() {
        let nine: Vec<_> = (0..9)
            .map(|_| by("hello-5-1"))
            .chain([answer(500, "")])
            .collect();
        let with = |share: usize| json!({"share": share, "pods": {"deployment": "hello"}});
        case(None, with(90), &nine);
        case(Some("wrong-status"), with(91), &nine);
        case(Some("wrong-status"), with(0), &[answer(500, "")]);
    }

    #[test]
    fn a_dotted_path_leads_into_objects_and_arrays() {
        let body = json!({"a": {"b": [1, {"c": 2}]}});
        assert_eq!(field(&body, "a.b.1.c"), Some(&json!(2)));
        assert_eq!(field(&body, "a.x"), None);
    }
}
