use super::*;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::ApiResource;

fn owner(uid: &str) -> OwnerReference {
    OwnerReference {
        uid: uid.to_owned(),
        block_owner_deletion: Some(true),
        ..OwnerReference::default()
    }
}

fn object(uid: &str, owners: &[&str]) -> Object {
    Object {
        kind: Arc::new(Served {
            resource: ApiResource::erase::<ConfigMap>(&()),
            namespaced: true,
        }),
        key: Key::new("default", uid),
        uid: uid.to_owned(),
        resource_version: "1".to_owned(),
        owners: owners.iter().map(|uid| owner(uid)).collect(),
        finalizers: Vec::new(),
        deleting: false,
    }
}

fn deleting(mut object: Object, finalizer: &str) -> Object {
    object.deleting = true;
    object.finalizers = vec![finalizer.to_owned()];
    object
}

fn sorted(mut uids: Vec<Uid>) -> Vec<Uid> {
    uids.sort();
    uids
}

#[track_caller]
fn case(owners: &[Owner], has_dependents: bool, finalizer: Option<&str>, expected: &Fate) {
    let uids = ["a", "b", "c"];
    let mut dependent = object("d", &uids[..owners.len()]);
    dependent.finalizers = finalizer.iter().map(|text| (*text).to_owned()).collect();
    let owners: Vec<_> = dependent
        .owners
        .clone()
        .into_iter()
        .zip(owners.iter().copied())
        .collect();
    assert_eq!(fate(&dependent, &owners, has_dependents), *expected);
}

#[test]
fn a_dependent_lives_as_long_as_one_owner_keeps_it() {
    use Owner::{Absent, Awaiting, Present};
    let delete = Fate::Delete;
    case(&[Present], false, None, &Fate::Keep);
    case(&[Absent], false, None, &delete(Propagation::Background));
    case(&[Absent], false, Some(ORPHAN), &delete(Propagation::Orphan));
    case(
        &[Absent],
        false,
        Some(FOREGROUND),
        &delete(Propagation::Foreground),
    );
    case(
        &[Present, Absent],
        false,
        None,
        &Fate::Disown(vec!["b".into()]),
    );
    case(
        &[Awaiting, Present, Absent],
        true,
        None,
        &Fate::Disown(vec!["a".into(), "c".into()]),
    );
    case(
        &[Absent, Absent],
        true,
        None,
        &delete(Propagation::Background),
    );
    case(&[Awaiting], false, None, &delete(Propagation::Background));
    case(
        &[Awaiting, Absent],
        true,
        None,
        &delete(Propagation::Foreground),
    );
}

#[test]
fn when_an_owner_goes_its_dependents_are_looked_at() {
    let mut graph = Graph::default();
    assert_eq!(graph.apply(object("owner", &[])), Vec::<Uid>::new());
    assert_eq!(graph.apply(object("d1", &["owner"])), Vec::<Uid>::new());
    assert_eq!(graph.apply(object("d2", &["owner"])), Vec::<Uid>::new());
    assert_eq!(sorted(graph.remove("owner")), ["d1", "d2"]);
    match graph.task("d1") {
        Task::CheckOwners { owners, .. } => assert_eq!(owners[0].1, Owner::Absent),
        task => panic!("{task:?}"),
    }
}

#[test]
fn a_dependent_seen_before_its_owner_is_looked_at() {
    let mut graph = Graph::default();
    assert_eq!(graph.apply(object("d", &["owner"])), ["d"]);
    graph.apply(object("owner", &[]));
    match graph.task("d") {
        Task::CheckOwners { owners, .. } => assert_eq!(owners[0].1, Owner::Present),
        task => panic!("{task:?}"),
    }
}

#[test]
fn a_foreground_deletion_waits_for_the_dependents_that_block_it() {
    let mut graph = Graph::default();
    graph.apply(object("owner", &[]));
    graph.apply(object("d", &["owner"]));
    let affected = graph.apply(deleting(object("owner", &[]), FOREGROUND));
    assert_eq!(affected, ["owner"]);
    match graph.task("owner") {
        Task::AwaitDependents { dependents } => assert_eq!(dependents, ["d"]),
        task => panic!("{task:?}"),
    }
    match graph.task("d") {
        Task::CheckOwners { owners, .. } => assert_eq!(owners[0].1, Owner::Awaiting),
        task => panic!("{task:?}"),
    }
    assert_eq!(graph.remove("d"), ["owner"]);
    assert!(matches!(graph.task("owner"), Task::Release { .. }));
}

#[test]
fn orphaning_names_every_dependent() {
    let mut graph = Graph::default();
    graph.apply(object("d1", &["owner"]));
    graph.apply(object("d2", &["owner"]));
    graph.apply(deleting(object("owner", &[]), ORPHAN));
    match graph.task("owner") {
        Task::Orphan { dependents, .. } => {
            let uids = dependents.iter().map(|object| object.uid.clone()).collect();
            assert_eq!(sorted(uids), ["d1", "d2"]);
        }
        task => panic!("{task:?}"),
    }
}

#[test]
fn a_dependent_that_is_going_already_is_left_alone() {
    let mut graph = Graph::default();
    let mut going = object("d", &["owner"]);
    going.deleting = true;
    graph.apply(going);
    assert!(matches!(graph.task("d"), Task::Nothing));
    assert!(matches!(graph.task("nobody"), Task::Nothing));
}

#[test]
fn what_a_fresh_list_does_not_name_is_missing() {
    let mut graph = Graph::default();
    graph.apply(object("a", &[]));
    graph.apply(object("b", &[]));
    let kind = object("a", &[]).kind;
    assert_eq!(graph.missing(&kind, &[object("a", &[])]), ["b"]);
}
