//! The labs of a class, as the server and its pages need them: names, headings, minutes.

use lab_checks::language::Text;
use lab_checks::library::Labs;
use serde::{Deserialize, Serialize};

/// What is taught.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// In their order.
    pub labs: Vec<CourseLab>,
}

/// A lab of the course.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CourseLab {
    /// Its id.
    pub name: String,
    /// Its title.
    pub title: Text,
    /// How long it takes, in minutes.
    pub minutes: u16,
    /// Its steps, in their order.
    pub steps: Vec<CourseStep>,
}

/// A step of a lab.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CourseStep {
    /// Its id, unique in the lab.
    pub id: String,
    /// Its heading.
    pub heading: Text,
}

impl Course {
    /// The course that some labs make.
    #[must_use]
    pub fn of(labs: &Labs) -> Self {
        let labs = labs.iter().map(|lab| CourseLab {
            name: lab.name.clone(),
            title: lab.title.clone(),
            minutes: lab.minutes,
            steps: lab
                .steps
                .iter()
                .map(|step| CourseStep {
                    id: step.id.clone(),
                    heading: step.heading.clone(),
                })
                .collect(),
        });
        Self {
            labs: labs.collect(),
        }
    }

    /// True where the course has this step.
    #[must_use]
    pub fn has(&self, lab: &str, step: &str) -> bool {
        let lab = self.labs.iter().find(|candidate| candidate.name == lab);
        lab.is_some_and(|lab| lab.steps.iter().any(|candidate| candidate.id == step))
    }
}
