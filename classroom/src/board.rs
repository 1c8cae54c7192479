//! What the teacher watches: where everybody is, who is stuck and on what.
//!
//! A board is what events make of it, one after the other; what depends on the time (who is
//! silent, who is long on a step) is worked out when it is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::course::Course;
use crate::protocol::{Cause, Finding, Level, Verdict, What};
use crate::store::{Member, Record};

/// As many times the same cause in a row, and she is stuck.
const SAME_CAUSE: u32 = 3;
/// As many times the planned time of a step, and she is long on it.
const LONG: u32 = 3;
/// A step takes at least so long.
const SHORTEST_STEP: Duration = Duration::from_secs(120);
/// Who was not heard of for so long is silent.
const SILENT: Duration = Duration::from_secs(600);
/// Causes of so long ago are not of the moment.
const MOMENT: Duration = Duration::from_secs(900);

/// The state of a class.
#[derive(Clone, Debug, Default)]
pub struct Board {
    students: BTreeMap<u64, Student>,
    /// The causes of the moment: when, whose, which.
    causes: Vec<(Timestamp, u64, Cause)>,
}

/// What is known of a student.
#[derive(Clone, Debug)]
struct Student {
    member: Member,
    /// Steps done, by lab, with the time of the first success.
    done: BTreeMap<(String, String), Timestamp>,
    /// Where she is, and since when.
    place: Option<(String, String, Timestamp)>,
    /// The last check of the step she is at.
    last: Option<(Verdict, Option<Cause>, Timestamp)>,
    /// How often in a row the last cause was found.
    again: u32,
    hints: u32,
    doctor: BTreeMap<String, Finding>,
    agreed_to_faults: bool,
    recoveries: Vec<(u64, String, Option<u64>)>,
}

/// A student as the dashboard shows her.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Her number.
    pub id: u64,
    /// Her name: hostile until it is escaped.
    pub name: String,
    /// The version of her program.
    pub version: String,
    /// When she was heard of last.
    pub seen: Timestamp,
    /// True where she has left.
    pub has_left: bool,
    /// Steps done, as `lab/step`, with the time of the first success.
    pub done: BTreeMap<String, Timestamp>,
    /// The lab that she is at.
    pub lab: Option<String>,
    /// Its step.
    pub step: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The last check there.
    pub verdict: Option<Verdict>,
    /// Its cause.
    pub cause: Option<Cause>,
    /// How often in a row.
    pub again: u32,
    /// Hints seen at this step.
    pub hints: u32,
    /// Why she may need help; none where all is well.
    pub trouble: Vec<Trouble>,
    /// The worst finding of her `doctor`.
    pub health: Option<Level>,
    /// All of them.
    pub doctor: BTreeMap<String, Finding>,
    /// True where the teacher may break things on her cluster.
    pub faults: bool,
    /// Faults and the seconds that recovery took.
    pub recoveries: Vec<Recovery>,
}

/// A fault that was injected for a student.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recovery {
    /// Number of the order.
    pub order: u64,
    /// Name of the fault.
    pub fault: String,
    /// Seconds; none where it has not recovered.
    pub seconds: Option<u64>,
}

/// Why a student may need help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// The same cause again and again.
    SameCause,
    /// Long on a step.
    Long,
    /// Nothing was heard of her.
    Silent,
}

/// A cause that several have at the moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Common {
    /// The cause, in the words of the last who had it.
    pub cause: Cause,
    /// How many students have had it.
    pub students: usize,
}

impl Board {
    /// The board of a class whose members and events these are.
    #[must_use]
    pub fn of(members: Vec<Member>, records: &[Record]) -> Self {
        let mut board = Self::default();
        for member in members {
            board.admit(member);
        }
        for record in records {
            board.apply(record.student, record.at, record.received, &record.what);
        }
        board
    }

    /// A student joins, or joins again.
    pub fn admit(&mut self, member: Member) {
        if let Some(student) = self.students.get_mut(&member.id) {
            student.member = member;
            return;
        }
        let student = Student {
            member,
            done: BTreeMap::new(),
            place: None,
            last: None,
            again: 0,
            hints: 0,
            doctor: BTreeMap::new(),
            agreed_to_faults: false,
            recoveries: Vec::new(),
        };
        self.students.insert(student.member.id, student);
    }

    /// She was heard of.
    pub fn heard_of(&mut self, student: u64, now: Timestamp) {
        if let Some(student) = self.students.get_mut(&student) {
            student.member.seen = student.member.seen.max(now);
        }
    }

    /// An event of hers, which happened `at` and came in at `received`.
    pub fn apply(&mut self, id: u64, at: Timestamp, received: Timestamp, what: &What) {
        let Some(student) = self.students.get_mut(&id) else {
            return;
        };
        student.member.seen = student.member.seen.max(received);
        if let Some((lab, step)) = what.place().filter(|(_, step)| !step.is_empty()) {
            student.goes_to(lab, step, at);
        }
        match what {
            What::Checked {
                lab,
                step,
                verdict,
                diagnosis,
            } => {
                student.checks(lab, step, at, *verdict, diagnosis.clone());
                let cause = diagnosis.iter().filter(|_| *verdict == Verdict::NotYet);
                self.causes
                    .extend(cause.map(|cause| (at, id, cause.clone())));
            }
            What::Hinted { seen, .. } => student.hints = *seen,
            What::Doctor { findings } => student.doctor = findings.clone(),
            What::Faults { agreed } => student.agreed_to_faults = *agreed,
            What::Recovered {
                order,
                fault,
                seconds,
            } => {
                student.recoveries.push((*order, fault.clone(), *seconds));
            }
            What::Left {} => student.member.has_left = true,
            What::Opened { .. } | What::HandRaised { .. } | What::HandLowered {} => {}
        }
        let old = received
            .checked_sub(jiff::SignedDuration::try_from(MOMENT).unwrap_or_default())
            .unwrap_or(Timestamp::MIN);
        self.causes.retain(|(at, _, _)| *at >= old);
    }

    /// True where the student agreed to faults.
    #[must_use]
    pub fn agreed_to_faults(&self, student: u64) -> bool {
        self.students
            .get(&student)
            .is_some_and(|student| student.agreed_to_faults && !student.member.has_left)
    }

    /// Everybody, in the order of joining.
    #[must_use]
    pub fn seen(&self, course: &Course, now: Timestamp) -> Vec<Seen> {
        self.students
            .values()
            .map(|student| student.seen(course, now))
            .collect()
    }

    /// One student.
    #[must_use]
    pub fn student(&self, id: u64, course: &Course, now: Timestamp) -> Option<Seen> {
        Some(self.students.get(&id)?.seen(course, now))
    }

    /// The causes of the moment, those of most students first.
    #[must_use]
    pub fn common(&self) -> Vec<Common> {
        let mut found: BTreeMap<&str, (&Cause, BTreeSet<u64>)> = BTreeMap::new();
        for (_, student, cause) in &self.causes {
            let entry = found
                .entry(&cause.id)
                .or_insert_with(|| (cause, BTreeSet::new()));
            entry.0 = cause;
            entry.1.insert(*student);
        }
        let mut common: Vec<_> = found
            .into_values()
            .map(|(cause, students)| Common {
                cause: cause.clone(),
                students: students.len(),
            })
            .collect();
        common.sort_by_key(|common| std::cmp::Reverse(common.students));
        common
    }
}

impl Student {
    fn goes_to(&mut self, lab: &str, step: &str, at: Timestamp) {
        let stays = self
            .place
            .as_ref()
            .is_some_and(|(at_lab, at_step, _)| at_lab == lab && at_step == step);
        if !stays {
            self.place = Some((lab.to_owned(), step.to_owned(), at));
            (self.last, self.again, self.hints) = (None, 0, 0);
        }
    }

    fn checks(
        &mut self,
        lab: &str,
        step: &str,
        at: Timestamp,
        verdict: Verdict,
        cause: Option<Cause>,
    ) {
        if verdict == Verdict::Holds {
            self.done
                .entry((lab.to_owned(), step.to_owned()))
                .or_insert(at);
        }
        let id = |cause: &Option<Cause>| cause.as_ref().map(|cause| cause.id.clone());
        let before = self.last.as_ref().and_then(|(_, cause, _)| id(cause));
        self.again = match id(&cause) {
            Some(now) if before.as_ref() == Some(&now) => self.again + 1,
            Some(_) => 1,
            None => 0,
        };
        self.last = Some((verdict, cause, at));
    }

    fn seen(&self, course: &Course, now: Timestamp) -> Seen {
        let Self {
            member,
            done,
            place,
            last,
            again,
            hints,
            doctor,
            agreed_to_faults,
            recoveries,
        } = self;
        let done = done
            .iter()
            .map(|((lab, step), at)| (format!("{lab}/{step}"), *at));
        let (lab, step, since) = match place {
            Some((lab, step, since)) => (Some(lab.clone()), Some(step.clone()), Some(*since)),
            None => (None, None, None),
        };
        let recoveries = recoveries.iter().map(|(order, fault, seconds)| Recovery {
            order: *order,
            fault: fault.clone(),
            seconds: *seconds,
        });
        Seen {
            id: member.id,
            name: member.name.clone(),
            version: member.version.clone(),
            seen: member.seen,
            has_left: member.has_left,
            done: done.collect(),
            lab,
            step,
            since,
            verdict: last.as_ref().map(|(verdict, _, _)| *verdict),
            cause: last.as_ref().and_then(|(_, cause, _)| cause.clone()),
            again: *again,
            hints: *hints,
            trouble: self.trouble(course, now),
            health: doctor.values().map(|finding| finding.level).max(),
            doctor: doctor.clone(),
            faults: *agreed_to_faults,
            recoveries: recoveries.collect(),
        }
    }

    fn trouble(&self, course: &Course, now: Timestamp) -> Vec<Trouble> {
        let mut trouble = Vec::new();
        if self.member.has_left {
            return trouble;
        }
        if self.again >= SAME_CAUSE {
            trouble.push(Trouble::SameCause);
        }
        let open = self.place.as_ref().filter(|(lab, step, _)| {
            !self.done.contains_key(&(lab.clone(), step.clone())) && course.has(lab, step)
        });
        if let Some((lab, _, since)) = open
            && passed(*since, now) > planned(course, lab) * LONG
        {
            trouble.push(Trouble::Long);
        }
        if passed(self.member.seen, now) > SILENT {
            trouble.push(Trouble::Silent);
        }
        trouble
    }
}

/// How long a step of this lab should take.
fn planned(course: &Course, lab: &str) -> Duration {
    let lab = course.labs.iter().find(|candidate| candidate.name == lab);
    let planned = lab.map_or(SHORTEST_STEP, |lab| {
        let steps = u32::try_from(lab.steps.len()).unwrap_or(u32::MAX).max(1);
        Duration::from_secs(u64::from(lab.minutes) * 60) / steps
    });
    planned.max(SHORTEST_STEP)
}

/// How long ago; nothing where the clocks disagree.
fn passed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::{CourseLab, CourseStep};
    use lab_checks::language::Text;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn course() -> Course {
        let step = |id: &str| CourseStep {
            id: id.into(),
            heading: Text::default(),
        };
        Course {
            labs: vec![CourseLab {
                name: "canary".into(),
                title: Text::default(),
                minutes: 10,
                steps: vec![step("one"), step("two")],
            }],
        }
    }

    fn member(id: u64) -> Member {
        Member {
            id,
            client: format!("c{id}"),
            name: format!("s{id}"),
            version: "1".into(),
            joined: at(0),
            seen: at(0),
            has_left: false,
        }
    }

    fn checked(step: &str, cause: Option<&str>) -> What {
        What::Checked {
            lab: "canary".into(),
            step: step.into(),
            verdict: cause.map_or(Verdict::Holds, |_| Verdict::NotYet),
            diagnosis: cause.map(|id| Cause {
                id: id.into(),
                text: Text::default(),
            }),
        }
    }

    fn board(events: &[(u64, i64, What)]) -> Board {
        let mut board = Board::default();
        board.admit(member(1));
        board.admit(member(2));
        for (student, second, what) in events {
            board.apply(*student, at(*second), at(*second), what);
        }
        board
    }

    #[test]
    fn the_same_cause_three_times_is_being_stuck_until_it_changes() {
        let fails = |second, cause| (1, second, checked("one", Some(cause)));
        let mut events = vec![fails(1, "wrong-image"), fails(2, "wrong-image")];
        let trouble = |events: &[_]| board(events).seen(&course(), at(10))[0].trouble.clone();
        assert_eq!(trouble(&events), []);
        events.push(fails(3, "wrong-image"));
        assert_eq!(trouble(&events), [Trouble::SameCause]);
        events.push(fails(4, "too-few-replicas"));
        assert_eq!(trouble(&events), []);
    }

    #[test]
    fn long_is_measured_by_the_plan_and_silent_by_the_clock() {
        let events = [(1, 0, checked("one", Some("x")))];
        let trouble = |second| {
            board(&events).seen(&course(), at(second))[0]
                .trouble
                .clone()
        };
        // Two steps in ten minutes: five each.
        assert_eq!(trouble(600), []);
        assert_eq!(trouble(601), [Trouble::Silent]);
        assert_eq!(trouble(901), [Trouble::Long, Trouble::Silent]);
    }

    #[test]
    fn a_step_stays_done_and_the_next_one_begins_anew() {
        let events = [
            (1, 5, checked("one", None)),
            (1, 6, checked("one", Some("x"))),
            (1, 7, checked("two", Some("x"))),
        ];
        let seen = board(&events).seen(&course(), at(8)).remove(0);
        assert_eq!(seen.done, [("canary/one".to_owned(), at(5))].into());
        assert_eq!((seen.step.as_deref(), seen.again), (Some("two"), 1));
        assert_eq!(seen.since, Some(at(7)));
    }

    #[test]
    fn common_causes_count_students_not_attempts_and_are_forgotten() {
        let mut events = vec![
            (1, 1, checked("one", Some("a"))),
            (1, 2, checked("one", Some("a"))),
            (1, 3, checked("one", Some("b"))),
            (2, 4, checked("one", Some("b"))),
        ];
        let common = |events: &[_]| -> Vec<_> {
            let common = board(events).common().into_iter();
            common.map(|c| (c.cause.id, c.students)).collect()
        };
        assert_eq!(common(&events), [("b".to_owned(), 2), ("a".to_owned(), 1)]);
        events.push((2, 2000, checked("two", Some("c"))));
        assert_eq!(common(&events), [("c".to_owned(), 1)]);
    }

    #[test]
    fn the_board_after_a_restart_is_the_board_before() {
        let events = [
            (1, 5, checked("one", None)),
            (2, 6, checked("one", Some("x"))),
        ];
        let records: Vec<_> = events
            .iter()
            .map(|(student, second, what)| Record {
                student: *student,
                number: 1,
                at: at(*second),
                received: at(*second),
                what: what.clone(),
            })
            .collect();
        let again = Board::of(vec![member(1), member(2)], &records);
        assert_eq!(
            again.seen(&course(), at(9)),
            board(&events).seen(&course(), at(9))
        );
    }
}
