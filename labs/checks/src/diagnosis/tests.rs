use std::collections::HashSet;

use super::*;
use crate::lab::Cause;
use crate::language::Language;
use crate::language::Text;

#[test]
fn every_diagnosis_is_said_in_both_languages_with_its_details() {
    let samples = Diagnosis::samples().into_iter();
    for diagnosis in samples.filter(|sample| sample.id() != AUTHORED) {
        let en = diagnosis.text(Language::En);
        let fr = diagnosis.text(Language::Fr);
        assert_ne!(en, fr, "{} is not translated", diagnosis.id());
        let holes = |text: &str| -> HashSet<String> {
            text.split('<')
                .skip(1)
                .filter_map(|rest| Some(rest.split_once('>')?.0.to_owned()))
                .collect()
        };
        assert_eq!(
            holes(&en),
            holes(&fr),
            "{}: one language tells more",
            diagnosis.id()
        );
        assert!(
            !en.ends_with('.') && !fr.ends_with('.'),
            "{}: full stop",
            diagnosis.id()
        );
    }
}

#[test]
fn ids_are_unique() {
    let unique: HashSet<_> = Diagnosis::IDS.iter().collect();
    assert_eq!(unique.len(), Diagnosis::IDS.len());
}

#[test]
fn a_cause_of_the_labs_own_is_known_by_its_own_id() {
    let cause = Cause {
        id: "not-paused".to_owned(),
        when: None,
        text: Text {
            en: "it runs on".to_owned(),
            fr: "il continue".to_owned(),
        },
        look: None,
    };
    let diagnosis = Diagnosis::authored(&cause);
    assert_eq!(
        serde_json::to_value(&diagnosis).unwrap(),
        serde_json::json!({"id": "not-paused", "en": "it runs on", "fr": "il continue"})
    );
    assert_eq!(diagnosis.look(), None);
    assert!(!Diagnosis::is_built_in("not-paused") && !Diagnosis::is_built_in("authored"));
    assert!(Diagnosis::is_built_in("missing"));
}
