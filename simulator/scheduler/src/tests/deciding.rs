//! `schedule` as a table: which nodes can win, or what is said.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{node, owned_by, pod, requesting, snapshot};
use crate::{Node, PodInfo, Snapshot, schedule};

/// The nodes that win under different luck, or the message.
#[track_caller]
fn check(pod: &PodInfo, snapshot: &Snapshot, expected: &str) {
    let luck = [0.0, 0.2, 0.4, 0.6, 0.8, 0.999];
    let outcomes: BTreeSet<String> = luck
        .iter()
        .map(|luck| match schedule(pod, snapshot, 0, &mut || *luck) {
            Ok(decision) => decision.node.to_string(),
            Err(unschedulable) => unschedulable.to_string(),
        })
        .collect();
    let outcomes: Vec<_> = outcomes.into_iter().collect();
    assert_eq!(outcomes.join(" "), expected);
}

fn plain(name: &str) -> Node {
    node(name, &json!({}))
}

fn zone(name: &str, zone: &str) -> Node {
    node(name, &json!({"metadata": {"labels": {"zone": zone}}}))
}

fn tainted(name: &str, key: &str, value: &str, effect: &str) -> Node {
    let taint = json!({"key": key, "value": value, "effect": effect});
    node(name, &json!({"spec": {"taints": [taint]}}))
}

#[test]
fn a_cluster_without_nodes_says_so() {
    let empty = Snapshot::default();
    check(
        &pod("web-1", &json!({})),
        &empty,
        "no nodes available to schedule pods",
    );
}

#[test]
fn equal_nodes_share_by_chance() {
    let cluster = snapshot(vec![plain("a"), plain("b"), plain("c")], vec![]);
    check(&pod("web-1", &json!({})), &cluster, "a b c");
}

#[test]
fn every_reason_is_counted_as_kubernetes_words_it() {
    let cluster = snapshot(
        vec![
            node("a", &json!({"status": {"allocatable": {"cpu": "500m"}}})),
            tainted("b", "gpu", "big", "NoSchedule"),
            tainted("c", "gpu", "big", "NoExecute"),
            node("d", &json!({"spec": {"unschedulable": true}})),
            node(
                "e",
                &json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}),
            ),
            node(
                "f",
                &json!({"status": {"allocatable": {"cpu": "500m", "memory": "1Mi", "pods": "0"}}}),
            ),
        ],
        vec![],
    );
    check(
        &pod("web-1", &requesting("1", "1Gi")),
        &cluster,
        "0/6 nodes are available: 1 Insufficient memory, 1 Too many pods, \
         1 node(s) were not ready, 1 node(s) were unschedulable, \
         2 Insufficient cpu, 2 node(s) had untolerated taint {gpu: big}.",
    );
}

#[test]
fn requests_count_what_already_runs_there() {
    let taken = pod("db-1", &requesting("3", "1Gi"));
    let cluster = snapshot(vec![plain("a"), plain("b")], vec![(taken, "a")]);
    check(&pod("web-1", &requesting("2", "1Gi")), &cluster, "b");
    check(
        &pod("web-1", &requesting("4500m", "1Gi")),
        &cluster,
        "0/2 nodes are available: 2 Insufficient cpu.",
    );
}

#[test]
fn a_pod_without_requests_fits_a_full_node() {
    let taken = pod("db-1", &requesting("4", "8Gi"));
    let cluster = snapshot(vec![plain("a")], vec![(taken, "a")]);
    check(&pod("web-1", &json!({})), &cluster, "a");
}

#[test]
fn the_emptier_node_is_preferred() {
    let taken = pod("db-1", &requesting("1", "2Gi"));
    let cluster = snapshot(vec![plain("a"), plain("b")], vec![(taken, "a")]);
    check(&pod("web-1", &requesting("1", "2Gi")), &cluster, "b");
}

#[test]
fn of_nodes_with_equal_room_the_balanced_one_is_preferred() {
    let cluster = snapshot(
        vec![plain("a"), plain("b")],
        vec![
            (pod("db-1", &requesting("2", "0")), "a"),
            (pod("db-2", &requesting("1", "2Gi")), "b"),
        ],
    );
    check(&pod("web-1", &requesting("500m", "1Gi")), &cluster, "b");
}

#[test]
fn the_pods_of_one_replica_set_spread_over_the_nodes() {
    let sibling = |name| pod(name, &owned_by("rs"));
    let cluster = snapshot(
        vec![plain("a"), plain("b"), plain("c")],
        vec![(sibling("web-1"), "a"), (sibling("web-2"), "c")],
    );
    check(&sibling("web-3"), &cluster, "b");
}

#[test]
fn tolerations_open_tainted_and_cordoned_nodes() {
    let cluster = snapshot(
        vec![
            tainted("a", "gpu", "big", "NoSchedule"),
            node("b", &json!({"spec": {"unschedulable": true}})),
        ],
        vec![],
    );
    let tolerating =
        |toleration: Value| pod("web-1", &json!({"spec": {"tolerations": [toleration]}}));
    check(
        &tolerating(json!({"key": "gpu", "operator": "Exists"})),
        &cluster,
        "a",
    );
    let cordon = json!({"key": "node.kubernetes.io/unschedulable", "operator": "Exists"});
    check(&tolerating(cordon), &cluster, "b");
}

#[test]
fn a_soft_taint_only_puts_off() {
    let soft = || tainted("a", "old", "", "PreferNoSchedule");
    let web = pod("web-1", &json!({}));
    check(&web, &snapshot(vec![soft(), plain("b")], vec![]), "b");
    check(&web, &snapshot(vec![soft()], vec![]), "a");
}

#[test]
fn node_selectors_must_match() {
    let cluster = snapshot(
        vec![zone("a", "east"), zone("b", "west"), plain("c")],
        vec![],
    );
    let selecting = |zone: &str| pod("web-1", &json!({"spec": {"nodeSelector": {"zone": zone}}}));
    check(&selecting("west"), &cluster, "b");
    check(
        &selecting("north"),
        &cluster,
        "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
    );
}

#[track_caller]
fn affinity_case(requirement: &Value, expected: &str) {
    let numbered =
        |name: &str, size: &str| node(name, &json!({"metadata": {"labels": {"size": size}}}));
    let cluster = snapshot(
        vec![numbered("a", "1"), numbered("b", "2"), plain("c")],
        vec![],
    );
    let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [requirement]}]});
    let affinity =
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}});
    check(
        &pod("web-1", &json!({"spec": {"affinity": affinity}})),
        &cluster,
        expected,
    );
}

#[test]
fn node_affinity_knows_all_operators() {
    affinity_case(
        &json!({"key": "size", "operator": "In", "values": ["1", "2"]}),
        "a b",
    );
    affinity_case(
        &json!({"key": "size", "operator": "NotIn", "values": ["1"]}),
        "b c",
    );
    affinity_case(&json!({"key": "size", "operator": "Exists"}), "a b");
    affinity_case(&json!({"key": "size", "operator": "DoesNotExist"}), "c");
    affinity_case(
        &json!({"key": "size", "operator": "Gt", "values": ["1"]}),
        "b",
    );
    affinity_case(
        &json!({"key": "size", "operator": "Lt", "values": ["2"]}),
        "a",
    );
}

#[test]
fn a_preferred_zone_wins_while_it_has_room() {
    let preference =
        json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["west"]}]});
    let preferred = json!([{"weight": 10, "preference": preference}]);
    let affinity =
        json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}});
    let web = |cpu: &str| {
        let mut changes = requesting(cpu, "1Gi");
        changes["spec"]["affinity"] = affinity.clone();
        pod("web-1", &changes)
    };
    let small =
        json!({"metadata": {"labels": {"zone": "west"}}, "status": {"allocatable": {"cpu": "1"}}});
    let cluster = snapshot(vec![zone("a", "east"), node("b", &small)], vec![]);
    check(&web("500m"), &cluster, "b");
    check(&web("2"), &cluster, "a");
}

fn spread(when: &str) -> Value {
    json!({"spec": {"topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": when,
        "labelSelector": {"matchLabels": {"app": "web"}}}]}})
}

#[test]
fn a_hard_spread_keeps_zones_level() {
    let nodes = || {
        vec![
            zone("a", "east"),
            zone("b", "east"),
            zone("c", "west"),
            plain("d"),
        ]
    };
    let web = |name| pod(name, &spread("DoNotSchedule"));
    check(&web("web-1"), &snapshot(nodes(), vec![]), "a b c");
    let one = snapshot(nodes(), vec![(web("web-1"), "a")]);
    check(&web("web-2"), &one, "c");
    let mut nodes = nodes();
    nodes[2].cordoned = true;
    let closed = snapshot(nodes, vec![(web("web-1"), "a")]);
    check(
        &web("web-2"),
        &closed,
        "0/4 nodes are available: \
         1 node(s) didn't match pod topology spread constraints (missing required label), \
         1 node(s) were unschedulable, \
         2 node(s) didn't match pod topology spread constraints.",
    );
}

#[test]
fn a_soft_spread_gives_way() {
    let web = |name| pod(name, &spread("ScheduleAnyway"));
    let both = || vec![zone("a", "east"), zone("b", "west")];
    let cluster = snapshot(both(), vec![(web("web-1"), "a")]);
    check(&web("web-2"), &cluster, "b");
    let mut nodes = both();
    nodes[1].cordoned = true;
    let cluster = snapshot(nodes, vec![(web("web-1"), "a")]);
    check(&web("web-2"), &cluster, "a");
}

#[test]
fn pods_of_other_namespaces_and_dying_pods_do_not_count_for_spreading() {
    let web = |changes: Value| {
        let mut all = spread("DoNotSchedule");
        super::overlay(&mut all, &changes);
        pod("web-9", &all)
    };
    let other = web(json!({"metadata": {"namespace": "other", "uid": "1"}}));
    let dying = json!({"uid": "2", "deletionTimestamp": "2026-01-01T00:00:00Z"});
    let dying = web(json!({"metadata": dying}));
    let nodes = vec![zone("a", "east"), zone("b", "west")];
    let cluster = snapshot(nodes, vec![(other, "a"), (dying, "a")]);
    let level = schedule(&web(json!({})), &cluster, 0, &mut || 0.0);
    assert!(level.is_ok(), "{level:?}");
    let mut blocked = cluster;
    blocked.set_node(node(
        "b",
        &json!({"metadata": {"labels": {"zone": "west"}}, "spec": {"unschedulable": true}}),
    ));
    check(&web(json!({})), &blocked, "a");
}

fn near(kind: &str, app: &str) -> Value {
    let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app}}});
    json!({"spec": {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}})
}

#[test]
fn affinity_goes_where_the_other_pod_is() {
    let nodes = vec![zone("a", "east"), zone("b", "west"), zone("c", "west")];
    let cluster = snapshot(nodes, vec![(pod("db-1", &json!({})), "b")]);
    // Near means in the zone, of which c is the emptier node.
    check(&pod("web-1", &near("podAffinity", "db")), &cluster, "c");
    check(
        &pod("web-1", &near("podAffinity", "cache")),
        &cluster,
        "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.",
    );
}

#[test]
fn the_first_pod_of_a_group_may_be_near_itself() {
    let cluster = snapshot(vec![zone("a", "east"), plain("b")], vec![]);
    check(&pod("web-1", &near("podAffinity", "web")), &cluster, "a");
}

#[test]
fn anti_affinity_holds_in_both_directions() {
    let both = || vec![zone("a", "east"), zone("b", "west")];
    let wary = |name| pod(name, &near("podAntiAffinity", "web"));
    let cluster = snapshot(both(), vec![(pod("web-1", &json!({})), "a")]);
    check(&wary("db-1"), &cluster, "b");
    let cluster = snapshot(both(), vec![(wary("db-1"), "a")]);
    check(&pod("web-1", &json!({})), &cluster, "b");
    let cluster = snapshot(both(), vec![(wary("db-1"), "a"), (wary("db-2"), "b")]);
    check(
        &pod("web-1", &json!({})),
        &cluster,
        "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules.",
    );
}

#[test]
fn preferred_affinity_is_followed_where_possible() {
    let term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "db"}}});
    let preferring = |kind: &str| {
        let terms = json!([{"weight": 50, "podAffinityTerm": term}]);
        pod(
            "web-1",
            &json!({"spec": {"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": terms}}}}),
        )
    };
    let nodes = vec![zone("a", "east"), zone("b", "west")];
    let cluster = snapshot(nodes, vec![(pod("db-1", &json!({})), "b")]);
    check(&preferring("podAffinity"), &cluster, "b");
    check(&preferring("podAntiAffinity"), &cluster, "a");
}

#[test]
fn a_search_ends_at_a_hundred_nodes_and_begins_where_it_is_told() {
    let nodes = (0..500).map(|i| plain(&format!("node-{i}"))).collect();
    let cluster = snapshot(nodes, vec![]);
    let decision = schedule(&pod("web-1", &json!({})), &cluster, 450, &mut || 0.999).unwrap();
    assert_eq!(decision.examined, 100);
    assert_eq!(&*decision.node, "node-49");
}

#[test]
fn a_sibling_on_its_way_out_leaves_its_place_to_its_replacement() {
    let mut dying = owned_by("rs");
    dying["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let mut cluster = snapshot(
        vec![node("a", &json!({})), node("b", &json!({}))],
        vec![
            (pod("web-1", &owned_by("rs")), "a"),
            (pod("web-2", &owned_by("rs")), "b"),
        ],
    );
    cluster.place(Arc::new(pod("web-2", &dying)), "b");
    assert_eq!(cluster.nodes()[1].usage.by_owner.get("rs"), None);
    check(&pod("web-3", &owned_by("rs")), &cluster, "b");
    cluster.remove_pod("uid-web-2");
    assert_eq!(cluster.nodes()[0].usage.by_owner.get("rs"), Some(&1));
}
