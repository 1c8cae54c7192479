//! Events in plain words.
//!
//! What a component writes for operators is told here for somebody who sees a cluster for the
//! first time. What only fills the list (an image was there already, a container was created) is
//! left out; a warning that is not known is told in the words that it came with.

use jiff::Timestamp;
use lab_checks::language::Text;
use serde::Serialize;
use serde_json::Value;

use super::model::text;
use super::versions::Versions;

/// Events that are shown.
const MOST: usize = 40;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// When it happened last.
    pub at: Option<Timestamp>,
    /// `good`, `bad`, or `note` for what is neither.
    pub tone: &'static str,
    /// In words.
    pub text: Text,
    /// How often it happened.
    pub count: i64,
    /// Kind and name of what it concerns, such as `Pod hello-abc`.
    pub about: String,
}

/// The newest events, the newest first.
pub(super) fn newest<'a>(
    events: impl Iterator<Item = &'a Value>,
    versions: &Versions,
) -> Vec<Told> {
    // Times have seconds; within one, the order in which they were written tells.
    let written = |event: &Value| -> u64 {
        let number = text(event, "/metadata/resourceVersion").unwrap_or_default();
        number.parse().unwrap_or_default()
    };
    let told = events.filter_map(|event| Some((written(event), tell(event, versions)?)));
    let mut told: Vec<_> = told.collect();
    told.sort_by_key(|(written, told)| std::cmp::Reverse((told.at, *written)));
    let mut told: Vec<_> = told.into_iter().map(|(_, told)| told).collect();
    told.dedup_by(|one, other| one.text == other.text && one.at == other.at);
    told.truncate(MOST);
    told
}

/// An event in words; none where it is of no interest.
fn tell(event: &Value, versions: &Versions) -> Option<Told> {
    let kind = text(event, "/involvedObject/kind").unwrap_or_default();
    let name = text(event, "/involvedObject/name").unwrap_or_default();
    let reason = text(event, "/reason").unwrap_or_default();
    let message = text(event, "/message").unwrap_or_default();
    let of = |name: &str| match versions.of_pod(name) {
        Some(version) => format!("{} {}", version.app, version.version),
        None => name.to_owned(),
    };
    let known = match kind {
        "Pod" => pod(reason, name, &of(name), message),
        "Node" => node(reason, name),
        "Deployment" | "Rollout" => workload(reason, name, message, &of),
        _ => other(reason, name, message),
    };
    let (tone, en, fr) = match known {
        Some(known) => known?,
        None if text(event, "/type") == Some("Warning") => {
            let en = format!("{kind} {name}: {message}");
            let fr = format!("{kind} {name} : {message}");
            ("bad", en, fr)
        }
        None => return None,
    };
    let times = [
        "/lastTimestamp",
        "/series/lastObservedTime",
        "/eventTime",
        "/firstTimestamp",
    ];
    let mut times = times
        .into_iter()
        .filter_map(|time| text(event, time)?.parse().ok());
    let created = || text(event, "/metadata/creationTimestamp")?.parse().ok();
    Some(Told {
        at: times.next().or_else(created),
        tone,
        text: Text { en, fr },
        count: event.get("count").and_then(Value::as_i64).unwrap_or(1),
        about: format!("{kind} {name}"),
    })
}

/// Tone, English, French.
type Words = (&'static str, String, String);
/// The outer is none where the reason is not known, the inner where it is of no interest.
type Known = Option<Option<Words>>;

fn pod(reason: &str, name: &str, what: &str, message: &str) -> Known {
    let words = match reason {
        "Scheduled" => {
            let node = message.rsplit(" to ").next().unwrap_or_default();
            (
                "note",
                format!("A pod of {what} goes to {node}."),
                format!("Un pod de {what} va sur {node}."),
            )
        }
        "Started" => (
            "good",
            format!("A pod of {what} has started ({name})."),
            format!("Un pod de {what} a démarré ({name})."),
        ),
        "Killing" if message.contains("liveness") => (
            "bad",
            format!(
                "A pod of {what} is started again: it does not pass its liveness probe ({name})."
            ),
            format!("Un pod de {what} est relancé : sa sonde liveness échoue ({name})."),
        ),
        "Killing" => (
            "note",
            format!("A pod of {what} is told to end ({name})."),
            format!("Un pod de {what} reçoit l’ordre de s’arrêter ({name})."),
        ),
        "Unhealthy" => {
            let probe = message.split_whitespace().next().unwrap_or_default();
            let probe = probe.to_lowercase();
            let effect = match probe.as_str() {
                "readiness" => (
                    "it gets no requests meanwhile",
                    "il ne reçoit pas de requêtes en attendant",
                ),
                _ => ("it may be started again", "il risque d’être relancé"),
            };
            (
                "bad",
                format!(
                    "A pod of {what} does not pass its {probe} probe; {} ({name}).",
                    effect.0
                ),
                format!(
                    "Un pod de {what} échoue à sa sonde {probe} ; {} ({name}).",
                    effect.1
                ),
            )
        }
        "BackOff" if message.contains("image") => (
            "bad",
            format!("The image of {what} cannot be fetched; the node waits before it tries again."),
            format!("L’image de {what} est introuvable ; le nœud attend avant de réessayer."),
        ),
        "BackOff" => (
            "bad",
            format!("A pod of {what} crashed again; it waits before the next start ({name})."),
            format!("Un pod de {what} a encore planté ; il attend avant de redémarrer ({name})."),
        ),
        "Failed" if message.starts_with("Error: ") => return Some(None),
        "Failed" => (
            "bad",
            format!("A pod of {what} cannot start: {message}"),
            format!("Un pod de {what} ne peut pas démarrer : {message}"),
        ),
        "FailedScheduling" => (
            "bad",
            format!("No node takes a pod of {what}: {message}"),
            format!("Aucun nœud n’accepte un pod de {what} : {message}"),
        ),
        "TaintManagerEviction" if message.starts_with("Marking") => (
            "bad",
            format!("A pod of {what} was on a lost node; another takes its place ({name})."),
            format!("Un pod de {what} était sur un nœud perdu ; un autre le remplace ({name})."),
        ),
        "TaintManagerEviction" => (
            "good",
            format!("The node of a pod of {what} is back in time: the pod stays ({name})."),
            format!("Le nœud d’un pod de {what} est revenu à temps : le pod reste ({name})."),
        ),
        // Told of the node.
        "NodeNotReady" | "Pulling" | "Pulled" | "Created" => return Some(None),
        _ => return None,
    };
    Some(Some(words))
}

fn node(reason: &str, name: &str) -> Known {
    let words = match reason {
        "NodeNotReady" => (
            "bad",
            format!("Node {name} does not answer any more."),
            format!("Le nœud {name} ne répond plus."),
        ),
        "NodeReady" => (
            "good",
            format!("Node {name} is ready."),
            format!("Le nœud {name} est prêt."),
        ),
        "Starting" => (
            "note",
            format!("Node {name} starts."),
            format!("Le nœud {name} démarre."),
        ),
        "RemovingNode" => (
            "note",
            format!("Node {name} is removed."),
            format!("Le nœud {name} est retiré."),
        ),
        _ => return None,
    };
    Some(Some(words))
}

fn workload(reason: &str, name: &str, message: &str, of: &impl Fn(&str) -> String) -> Known {
    // "Scaled up replica set hello-abc from 0 to 3", and Argo's "… ReplicaSet hello-abc (…) …".
    let scaled = || {
        let mut words = message.split_whitespace().skip_while(|word| {
            !word.eq_ignore_ascii_case("set") && !word.eq_ignore_ascii_case("replicaset")
        });
        let set = words.nth(1)?;
        let from = message.split(" from ").nth(1)?.split(' ').next()?;
        let to = message.rsplit(" to ").next()?;
        Some((of(set), from.to_owned(), to.to_owned()))
    };
    let words = match reason {
        "ScalingReplicaSet" => {
            let Some((what, from, to)) = scaled() else {
                return Some(Some(("note", message.to_owned(), message.to_owned())));
            };
            (
                "note",
                format!("{what}: from {from} to {to} pods."),
                format!("{what} : de {from} à {to} pods."),
            )
        }
        "RolloutUpdated" => (
            "note",
            format!("{name}: a new revision is rolled out."),
            format!("{name} : une nouvelle révision est déployée."),
        ),
        "RolloutPaused" => (
            "note",
            format!("{name}: the rollout waits."),
            format!("{name} : le déploiement attend."),
        ),
        "RolloutResumed" => (
            "note",
            format!("{name}: the rollout goes on."),
            format!("{name} : le déploiement reprend."),
        ),
        "RolloutCompleted" => (
            "good",
            format!("{name}: the new version serves everybody."),
            format!("{name} : la nouvelle version sert tout le monde."),
        ),
        "RolloutAborted" | "RolloutAbortedByAlert" => (
            "bad",
            format!("{name}: the rollout was given up; the old version serves again."),
            format!("{name} : déploiement abandonné ; l’ancienne version sert à nouveau."),
        ),
        "TrafficWeightUpdated" => {
            let weight = message.rsplit(" to ").next().unwrap_or_default();
            (
                "note",
                format!("{name}: the new version is to get {weight} % of the traffic."),
                format!("{name} : la nouvelle version doit recevoir {weight} % du trafic."),
            )
        }
        "SwitchService" => (
            "note",
            format!("{name}: a Service points to other pods now."),
            format!("{name} : un Service désigne maintenant d’autres pods."),
        ),
        "AnalysisRunSuccessful" => (
            "good",
            format!("{name}: the measurements are good."),
            format!("{name} : les mesures sont bonnes."),
        ),
        "AnalysisRunFailed" => (
            "bad",
            format!("{name}: the measurements are bad."),
            format!("{name} : les mesures sont mauvaises."),
        ),
        "AlertFiring" => (
            "bad",
            format!("Alarm for {name}: {message}"),
            format!("Alarme pour {name} : {message}"),
        ),
        "AlertResolved" => (
            "good",
            format!("The alarm for {name} is over."),
            format!("L’alarme pour {name} est terminée."),
        ),
        "NewReplicaSetCreated"
        | "RolloutStepCompleted"
        | "RolloutNotCompleted"
        | "SkipSteps"
        | "FoundNewReplicaSet" => return Some(None),
        _ => return None,
    };
    Some(Some(words))
}

fn other(reason: &str, name: &str, message: &str) -> Known {
    let words = match reason {
        "SuccessfulRescale" => {
            let size = message.split("New size: ").nth(1);
            let size = size.and_then(|rest| rest.split(';').next()).unwrap_or("?");
            (
                "note",
                format!("The autoscaler {name} wants {size} pods."),
                format!("L’autoscaler {name} veut {size} pods."),
            )
        }
        "AlertFiring" => (
            "bad",
            format!("An alarm fires: {message}"),
            format!("Une alarme se déclenche : {message}"),
        ),
        "AlertResolved" => (
            "good",
            format!("An alarm is over: {name}."),
            format!("Une alarme est terminée : {name}."),
        ),
        "SuccessfulCreate" | "SuccessfulDelete" => return Some(None),
        _ => return None,
    };
    Some(Some(words))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::versions::Version;
    use super::*;

    fn versions() -> Versions {
        let mut versions = Versions::default();
        for (pod, version) in [("hello-1-a", "1.0.0"), ("hello-2", "2.0.0")] {
            versions.remember(
                pod,
                &Version {
                    app: "hello".to_owned(),
                    version: version.to_owned(),
                },
            );
        }
        versions
    }

    fn event(type_: &str, kind: &str, name: &str, reason: &str, message: &str) -> Value {
        json!({"type": type_, "reason": reason, "message": message, "count": 2,
            "involvedObject": {"kind": kind, "name": name}, "lastTimestamp": "2026-01-01T00:00:00Z"})
    }

    #[test]
    fn events_are_told_in_plain_words_in_both_languages() {
        for (event, tone, en, fr) in [
            (
                event(
                    "Normal",
                    "Pod",
                    "hello-1-a",
                    "Scheduled",
                    "Successfully assigned default/hello-1-a to node-2",
                ),
                "note",
                "A pod of hello 1.0.0 goes to node-2.",
                "Un pod de hello 1.0.0 va sur node-2.",
            ),
            (
                event(
                    "Warning",
                    "Pod",
                    "hello-1-a",
                    "Unhealthy",
                    "Readiness probe failed: HTTP probe failed with statuscode: 503",
                ),
                "bad",
                "A pod of hello 1.0.0 does not pass its readiness probe; it gets no requests meanwhile (hello-1-a).",
                "Un pod de hello 1.0.0 échoue à sa sonde readiness ; il ne reçoit pas de requêtes en attendant (hello-1-a).",
            ),
            (
                event(
                    "Normal",
                    "Node",
                    "node-2",
                    "NodeNotReady",
                    "Node node-2 status is now: NodeNotReady",
                ),
                "bad",
                "Node node-2 does not answer any more.",
                "Le nœud node-2 ne répond plus.",
            ),
            (
                event(
                    "Normal",
                    "Deployment",
                    "hello",
                    "ScalingReplicaSet",
                    "Scaled up replica set hello-2 from 0 to 3",
                ),
                "note",
                "hello 2.0.0: from 0 to 3 pods.",
                "hello 2.0.0 : de 0 à 3 pods.",
            ),
            (
                event(
                    "Normal",
                    "Rollout",
                    "hello",
                    "ScalingReplicaSet",
                    "Scaled down ReplicaSet hello-2 (revision 2) from 3 to 1",
                ),
                "note",
                "hello 2.0.0: from 3 to 1 pods.",
                "hello 2.0.0 : de 3 à 1 pods.",
            ),
            (
                event(
                    "Normal",
                    "Rollout",
                    "hello",
                    "TrafficWeightUpdated",
                    "Traffic weight updated from 20 to 40",
                ),
                "note",
                "hello: the new version is to get 40 % of the traffic.",
                "hello : la nouvelle version doit recevoir 40 % du trafic.",
            ),
            (
                event(
                    "Normal",
                    "HorizontalPodAutoscaler",
                    "hello",
                    "SuccessfulRescale",
                    "New size: 4; reason: cpu above target",
                ),
                "note",
                "The autoscaler hello wants 4 pods.",
                "L’autoscaler hello veut 4 pods.",
            ),
            (
                event(
                    "Warning",
                    "Job",
                    "load",
                    "BackoffLimitExceeded",
                    "it failed",
                ),
                "bad",
                "Job load: it failed",
                "Job load : it failed",
            ),
        ] {
            let told = tell(&event, &versions()).unwrap();
            assert_eq!(
                (told.tone, told.text.en.as_str(), told.text.fr.as_str()),
                (tone, en, fr)
            );
            assert_eq!(told.count, 2);
        }
    }

    #[test]
    fn the_newest_comes_first_also_within_one_second() {
        let mut events =
            ["1.0.0", "2.0.0", "3.0.0"].map(|name| event("Normal", "Node", name, "NodeReady", ""));
        for (event, number) in events.iter_mut().zip(["9", "10", "8"]) {
            event["metadata"] = json!({"resourceVersion": number});
        }
        events[2]["lastTimestamp"] = json!("2026-01-01T00:00:01Z");
        let told = newest(events.iter(), &versions());
        let names: Vec<_> = told.iter().map(|told| told.about.as_str()).collect();
        assert_eq!(names, ["Node 3.0.0", "Node 2.0.0", "Node 1.0.0"]);
    }

    #[test]
    fn what_only_fills_the_list_is_left_out() {
        for (type_, kind, reason) in [
            ("Normal", "Pod", "Pulled"),
            ("Normal", "ReplicaSet", "SuccessfulCreate"),
            ("Normal", "Service", "EnsuredLoadBalancer"),
        ] {
            let event = event(type_, kind, "x", reason, "…");
            assert_eq!(tell(&event, &versions()), None, "{reason}");
        }
    }
}
