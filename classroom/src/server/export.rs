//! What a class has done, to be kept or read by other programs.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::board::{Board, Seen};
use crate::course::Course;
use crate::store::{Class, Record, Store, StoreError};

/// A class, with everybody and everything.
#[derive(Clone, Debug)]
pub struct Export {
    title: String,
    course: Course,
    students: Vec<Seen>,
    records: Vec<Record>,
}

impl Export {
    /// Of a class that is kept here.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn of(
        store: &Store,
        class: &Class,
        course: &Course,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let records = store.records(None)?;
        let board = Board::of(store.members()?, &records);
        Ok(Self {
            title: class.title.clone(),
            course: course.clone(),
            students: board.seen(course, now),
            records,
        })
    }

    /// A line per student and step done, for a spreadsheet.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut csv = String::from("student,name,lab,step,done\r\n");
        for student in &self.students {
            for (step, at) in &student.done {
                let (lab, step) = step.split_once('/').unwrap_or((step, ""));
                let cells = [
                    student.id.to_string(),
                    student.name.clone(),
                    lab.to_owned(),
                    step.to_owned(),
                    at.to_string(),
                ];
                csv.push_str(&cells.map(|cell| cell_of(&cell)).join(","));
                csv.push_str("\r\n");
            }
        }
        csv
    }

    /// Everything, to be merged or kept.
    #[must_use]
    pub fn json(&self) -> String {
        let Self {
            title,
            course,
            students,
            records,
        } = self;
        let events: Vec<Value> = records
            .iter()
            .map(|record| {
                let Record {
                    student,
                    number,
                    at,
                    received,
                    what,
                } = record;
                json!({"student": student, "number": number, "at": at, "received": received, "what": what})
            })
            .collect();
        json!({"class": title, "course": course, "students": students, "events": events})
            .to_string()
    }
}

/// A cell in quotes; a spreadsheet must not take a name for a formula.
fn cell_of(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_formula_in_a_spreadsheet() {
        assert_eq!(cell_of("=1+1"), "\"'=1+1\"");
        assert_eq!(cell_of("Ada \"Countess\""), "\"Ada \"\"Countess\"\"\"");
    }
}
