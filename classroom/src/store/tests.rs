use super::*;
use crate::protocol::Verdict;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("class.db")).unwrap();
    (dir, store)
}

fn checked(number: u64) -> Event {
    Event {
        number,
        at: at(10),
        what: What::Checked {
            lab: "canary".into(),
            step: "abort".into(),
            verdict: Verdict::Holds,
            diagnosis: None,
        },
    }
}

fn raised(number: u64) -> Event {
    let what = What::HandRaised {
        lab: "canary".into(),
        step: "abort".into(),
        diagnosis: None,
        note: String::new(),
    };
    Event {
        number,
        at: at(20),
        what,
    }
}

#[test]
fn an_event_is_kept_once_however_often_it_is_sent() {
    let (_dir, store) = store();
    let ada = store.admit("c1", "Ada", "1", "t", at(1)).unwrap();
    let events = [checked(1), checked(2)];
    let (acknowledged, fresh) = store.keep(ada, &events, at(11)).unwrap();
    assert_eq!((acknowledged, fresh.len()), (2, 2));
    let (acknowledged, fresh) = store.keep(ada, &[checked(2), checked(3)], at(12)).unwrap();
    assert_eq!((acknowledged, fresh.len()), (3, 1));
    assert_eq!(store.records(Some(ada)).unwrap().len(), 3);
}

#[test]
fn what_is_missing_in_between_is_not_acknowledged() {
    let (_dir, store) = store();
    let ada = store.admit("c1", "Ada", "1", "t", at(1)).unwrap();
    assert_eq!(
        store.keep(ada, &[checked(2), checked(3)], at(2)).unwrap().0,
        0
    );
    assert_eq!(store.keep(ada, &[checked(1)], at(3)).unwrap().0, 3);
}

#[test]
fn what_was_acknowledged_is_there_when_the_file_is_opened_again() {
    let (dir, store) = store();
    let ada = store.admit("c1", "Ada", "1", "t", at(1)).unwrap();
    store.keep(ada, &[checked(1)], at(2)).unwrap();
    // As after a kill: the connection is never closed.
    std::mem::forget(store);
    let again = Store::open(&dir.path().join("class.db")).unwrap();
    assert_eq!(again.records(None).unwrap()[0].what, checked(1).what);
    assert_eq!(again.student_of("t").unwrap(), Some(ada));
}

#[test]
fn the_same_machine_is_the_same_student_with_a_new_token() {
    let (_dir, store) = store();
    let first = store.admit("c1", "Ada", "1", "old", at(1)).unwrap();
    let again = store.admit("c1", "Ada L.", "1", "new", at(2)).unwrap();
    assert_eq!(first, again);
    assert_eq!(store.student_of("old").unwrap(), None);
    assert_eq!(store.members().unwrap()[0].name, "Ada L.");
}

#[test]
fn a_hand_is_taken_by_one_teacher_and_settled_once() {
    let (_dir, store) = store();
    let ada = store.admit("c1", "Ada", "1", "t", at(1)).unwrap();
    store.keep(ada, &[raised(1)], at(20)).unwrap();
    assert_eq!(store.hands().unwrap().len(), 1);
    assert!(store.take_hand(ada, 1, "Grace", at(21)).unwrap());
    assert!(!store.take_hand(ada, 1, "Edsger", at(22)).unwrap());
    assert_eq!(store.hands().unwrap()[0].taken_by.as_deref(), Some("Grace"));
    assert!(store.close_hand(ada, 1, at(23)).unwrap());
    assert!(!store.close_hand(ada, 1, at(24)).unwrap());
    assert_eq!(store.hands().unwrap(), []);
}

#[test]
fn a_hand_that_is_raised_again_is_one_hand_and_lowering_settles_it() {
    let (_dir, store) = store();
    let ada = store.admit("c1", "Ada", "1", "t", at(1)).unwrap();
    store.keep(ada, &[raised(1), raised(2)], at(20)).unwrap();
    let hands = store.hands().unwrap();
    assert_eq!(
        hands.iter().map(|hand| hand.number).collect::<Vec<_>>(),
        [2]
    );
    let lowered = Event {
        number: 3,
        at: at(30),
        what: What::HandLowered {},
    };
    store.keep(ada, &[lowered], at(30)).unwrap();
    assert_eq!(store.hands().unwrap(), []);
}

#[test]
fn orders_reach_those_they_are_for_and_once() {
    let (_dir, store) = store();
    let ada = store.admit("c1", "Ada", "1", "a", at(1)).unwrap();
    let bob = store.admit("c2", "Bob", "1", "b", at(1)).unwrap();
    let text = |text: &str| Wish::Message { text: text.into() };
    store.wish(None, text("all"), at(2)).unwrap();
    let second = store.wish(Some(bob), text("bob"), at(3)).unwrap();
    assert_eq!(store.orders(ada, 0).unwrap().len(), 1);
    assert_eq!(store.orders(bob, 0).unwrap().len(), 2);
    assert_eq!(store.orders(bob, second.number).unwrap(), []);
}

#[test]
fn a_session_ends_by_itself_and_by_hand() {
    let (_dir, store) = store();
    let grace = Session {
        teacher: "Grace".into(),
        csrf: "c".into(),
    };
    store.log_in("t", &grace, at(100)).unwrap();
    assert_eq!(store.session("t", at(99)).unwrap(), Some(grace));
    assert_eq!(store.session("t", at(100)).unwrap(), None);
    store.log_out("t").unwrap();
    assert_eq!(store.session("t", at(1)).unwrap(), None);
}

#[test]
fn one_who_left_is_let_in_no_more_until_she_joins_again() {
    let (_dir, store) = store();
    let ada = store.admit("c1", "Ada", "1", "t", at(1)).unwrap();
    let left = Event {
        number: 1,
        at: at(5),
        what: What::Left {},
    };
    store.keep(ada, &[left], at(5)).unwrap();
    assert_eq!(store.student_of("t").unwrap(), None);
    store.admit("c1", "Ada", "1", "t2", at(6)).unwrap();
    assert_eq!(store.student_of("t2").unwrap(), Some(ada));
}

#[test]
fn a_file_of_a_newer_program_is_left_alone() {
    let (dir, store) = store();
    store
        .with(|connection| connection.pragma_update(None, "user_version", 9))
        .unwrap();
    let error = Store::open(&dir.path().join("class.db")).unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found: 9, .. }),
        "{error}"
    );
}
