use super::*;

const YAML: &str = "apiVersion: devops-lab.dev/v1\nkind: Deck\nmetadata:\n  name: sample\ntitle:\n  en: A sample\n  fr: Un exemple\nminutes: 5\n";
const EN: &str = "<!-- id: a; layout: title -->\n# A\n---\n<!-- id: b; minutes: 2 -->\n## B\n\n+ one\n+ two\n\n???\nSay it.\n";

fn lint(changes: &[(&str, &str)]) -> Vec<String> {
    match read(changes) {
        Ok(_) => Vec::new(),
        Err(Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn read(changes: &[(&str, &str)]) -> Result<Decks, Problems> {
    let mut files = BTreeMap::from([
        ("01-sample/deck.yaml".to_owned(), YAML.to_owned()),
        ("01-sample/en.md".to_owned(), EN.to_owned()),
        ("01-sample/fr.md".to_owned(), EN.to_owned()),
    ]);
    for (path, text) in changes {
        files.insert((*path).to_owned(), (*text).to_owned());
    }
    let source = Source::Files(files);
    Decks::read(&source, &source.folders(), &Labs::embedded().unwrap())
}

#[test]
fn a_deck_is_read_with_both_its_languages() {
    let french = EN.replace("# A", "# Ah");
    let decks = read(&[("01-sample/fr.md", &french)]).unwrap();
    let deck = decks.get("sample").unwrap();
    assert_eq!(deck.title.fr, "Un exemple");
    let (first, second) = (&deck.slides[0], &deck.slides[1]);
    assert_eq!(
        (first.title.en.as_str(), first.title.fr.as_str()),
        ("A", "Ah")
    );
    assert_eq!((second.id.as_str(), second.steps), ("b", 2));
    assert_eq!((first.seconds, second.seconds), (180, 120));
    assert!(second.html.en.contains("<h2>B</h2>"), "{}", second.html.en);
    assert!(
        !second.html.en.contains("Say it"),
        "notes are not for the room"
    );
    assert_eq!(second.notes.en.trim(), "<p>Say it.</p>");
}

#[test]
fn a_name_is_enough_where_it_is_clear() {
    let decks = read(&[]).unwrap();
    for name in ["sample", "01-sample", "sam"] {
        assert_eq!(decks.get(name).unwrap().name, "sample");
    }
    let other = decks.get("samlpe").unwrap_err();
    assert_eq!(other, "there is no deck \"samlpe\"; did you mean sample?");
}

/// A change of the slides in one language, and all that is said about it.
#[track_caller]
fn english(from: &str, to: &str, expected: &[&str]) {
    assert!(EN.contains(from), "{from}");
    let text = EN.replacen(from, to, 1);
    assert_eq!(lint(&[("01-sample/en.md", &text)]), expected);
}

/// A change of the slides in both languages, and what is said about the English ones.
#[track_caller]
fn both(from: &str, to: &str, expected: &[&str]) {
    assert!(EN.contains(from), "{from}");
    let text = EN.replacen(from, to, 1);
    let found = lint(&[("01-sample/en.md", &text), ("01-sample/fr.md", &text)]);
    let english = found
        .iter()
        .filter(|line| line.starts_with("01-sample/en.md"));
    assert_eq!(english.collect::<Vec<_>>(), expected);
}

#[test]
fn languages_must_agree() {
    english(
        "id: b",
        "id: c",
        &[
            "01-sample/en.md: slide \"b\" of 01-sample/fr.md is missing",
            "01-sample/fr.md: slide \"c\" of 01-sample/en.md is missing",
        ],
    );
    english(
        "+ two\n",
        "",
        &[
            "01-sample/fr.md:4:1: slide \"b\" has 2 steps, and 1 in 01-sample/en.md; lists with + and lines to light must be as many in every language",
        ],
    );
    english(
        "; layout: title",
        "",
        &["01-sample/fr.md:1:1: layout of slide \"a\" is another than in 01-sample/en.md"],
    );
    english(
        "minutes: 2",
        "minutes: 1",
        &["01-sample/fr.md:4:1: minutes of slide \"b\" is another than in 01-sample/en.md"],
    );
    let swapped =
        "<!-- id: b; minutes: 2 -->\n+ one\n+ two\n---\n<!-- id: a; layout: title -->\n# A\n";
    assert_eq!(
        lint(&[("01-sample/fr.md", swapped)]),
        ["01-sample/fr.md:1:1: slide \"b\" is in another place than in 01-sample/en.md"]
    );
}

#[test]
fn a_second_slide_of_an_id_is_a_fault() {
    both(
        "id: b",
        "id: a; layout: default",
        &["01-sample/en.md:4:1: another slide has the id \"a\" too"],
    );
}

#[test]
fn the_time_of_the_slides_is_that_of_the_deck() {
    let text = EN.replace("minutes: 2", "minutes: 7");
    assert_eq!(
        lint(&[("01-sample/en.md", &text), ("01-sample/fr.md", &text)]),
        ["01-sample/deck.yaml:8:10: the slides take 7 minutes, the deck 5"]
    );
}

#[test]
fn what_a_slide_shows_of_labs_must_be_there() {
    both(
        "+ one",
        "```lab\ncanary/nothing\n```\n",
        &[
            "01-sample/en.md:7:1: lab canary has no step \"nothing\"; there are: rollout, alarm, bad, count, fix, promote",
        ],
    );
    both(
        "+ one",
        "```lab\ncanari/route\n```\n",
        &["01-sample/en.md:7:1: there is no lab \"canari\"; did you mean canary?"],
    );
    both(
        "+ one",
        "```lab\ncanary\n```\n",
        &["01-sample/en.md:7:1: \"canary\" is no step of a lab; write LAB/STEP"],
    );
    both(
        "+ one",
        "```start-lab\ncanry\n```\n",
        &["01-sample/en.md:7:1: there is no lab \"canry\"; did you mean canary?"],
    );
    both(
        "+ one",
        "```cluster\nplease\n```\n",
        &[
            "01-sample/en.md:7:1: a picture of the cluster needs no words; leave the fence empty: the picture is of the presenter's own cluster",
        ],
    );
}

#[test]
fn code_and_diagrams_must_be_sound_and_fit() {
    both(
        "+ one",
        "```yaml {1|3}\na: 1\n```\n",
        &[
            "01-sample/en.md:7:1: the code has no line \"3\": it has 1; write the language and the lines to light, as in ```yaml {1-2|4}",
        ],
    );
    both(
        "+ one",
        "```mermaid\nflowchart LR\nA -> B\n```\n",
        &[
            "01-sample/en.md:9:1: here an edge is missing: \"-> B\"; edges are -->, ---, -.->, ==>, -- text -->, -->|text|",
        ],
    );
    let long = format!("```sh\n{}\n```\n", "x".repeat(120));
    both(
        "+ one",
        &long,
        &[
            "01-sample/en.md:7:1: 1 lines of 120 letters are too much code for the slide; show what matters, or split it over two slides",
        ],
    );
}

#[test]
fn commands_of_a_lab_are_the_labs_own() {
    let text = EN.replace("+ one", "```lab\nci/remote\n```\n");
    let decks = read(&[("01-sample/en.md", &text), ("01-sample/fr.md", &text)]).unwrap();
    let html = &decks.get("sample").unwrap().slides[1].html.en;
    assert!(html.contains("A place to push to"), "{html}");
    assert!(html.contains("devops-lab</span> ci init hello"), "{html}");
}

#[test]
fn a_directory_of_decks_is_read_like_the_embedded_ones() {
    let labs = Labs::embedded().unwrap();
    let content = Path::new(env!("CARGO_MANIFEST_DIR")).join("decks");
    let embedded = Decks::embedded(&labs).unwrap_or_else(|problems| panic!("{problems}"));
    if embedded.iter().next().is_some() {
        let read = Decks::from_dir(&content, &labs).unwrap();
        assert_eq!(read, embedded);
    }
    let nothing = Decks::from_dir(Path::new("/nonexistent"), &labs).unwrap_err();
    assert!(
        nothing
            .to_string()
            .starts_with("/nonexistent: cannot be read"),
        "{nothing}"
    );
}

#[test]
fn a_single_deck_of_a_directory_has_its_own_place_in_messages() {
    let root = tempfile::tempdir().unwrap();
    let deck = root.path().join("07-mine");
    fs::create_dir(&deck).unwrap();
    for (name, text) in [("deck.yaml", YAML), ("en.md", EN), ("fr.md", "x\n")] {
        fs::write(deck.join(name), text).unwrap();
    }
    let labs = Labs::embedded().unwrap();
    let problems = Decks::from_dir(&deck, &labs).unwrap_err().to_string();
    let file = deck.join("fr.md").display().to_string();
    assert!(
        problems.contains(&format!("{file}:1:1: the slide has no id")),
        "{problems}"
    );
    let before = stamp(root.path());
    fs::write(deck.join("fr.md"), EN).unwrap();
    fs::write(deck.join("new.png"), "x").unwrap();
    assert_ne!(stamp(root.path()), before);
    assert!(Decks::from_dir(root.path(), &labs).is_ok());
}
