//! Whole texts, as they are set.

use super::*;

const SAMPLE_EN: &str = include_str!("sample.en.md");
const SAMPLE_FR: &str = include_str!("sample.fr.md");

fn look(columns: usize, colour: bool, language: Language) -> Look {
    Look {
        columns,
        colour,
        language,
    }
}

#[track_caller]
fn case(text: &str, width: usize, expected: &str) {
    assert_eq!(render(text, look(width, false, Language::En)), expected);
}

/// A sample in every look; escapes are made visible.
#[track_caller]
fn sample(name: &str, columns: usize, colour: bool) {
    for (language, text) in [(Language::En, SAMPLE_EN), (Language::Fr, SAMPLE_FR)] {
        let set = render(text, look(columns, colour, language));
        let code = if language == Language::Fr { "fr" } else { "en" };
        insta::assert_snapshot!(format!("{name}_{code}"), set.replace('\u{1b}', "␛"));
        if !colour {
            assert!(!set.contains('\u{1b}'), "nothing but text");
            let code = |line: &str| line.starts_with("    ");
            for line in set.lines().filter(|line| !code(line)) {
                assert!(measure_text_width(line) <= columns, "{line}");
            }
        }
    }
}

#[test]
fn a_lab_at_80_columns_without_colour() {
    sample("plain_80", 80, false);
}

#[test]
fn a_lab_at_120_columns_without_colour() {
    sample("plain_120", 120, false);
}

#[test]
fn a_lab_at_80_columns_in_colour() {
    sample("colour_80", 80, true);
}

#[test]
fn a_lab_at_120_columns_in_colour() {
    sample("colour_120", 120, true);
}

#[test]
fn prose_is_wrapped_and_code_is_not() {
    case(
        "## Look\n\nOne two three four `five six`, seven.\n\n```sh\nkubectl get pods --all-namespaces\n```\n\nEnd.",
        20,
        "Look\n────\n\nOne two three four\n`five six`, seven.\n\n    kubectl get pods --all-namespaces\n\nEnd.",
    );
}

#[test]
fn lists_hang_their_lines() {
    case(
        "- one two three four\n- *five*\n\n1. a\n2. b\n",
        14,
        "• one two\n  three four\n• five\n\n1. a\n2. b",
    );
    case("- a\n\n  ```\n  x\n  ```\n- b", 20, "• a\n\n      x\n\n• b");
    case("9. a\n10. b", 20, " 9. a\n10. b");
    case("- [x] done\n- [ ] not yet", 20, "☑ done\n☐ not yet");
}

#[test]
fn a_quote_has_a_bar_and_a_link_its_address() {
    case("> To be\n> or not", 40, "│ To be or not");
    case(
        "See [the docs](https://k8s.io) now",
        60,
        "See the docs (https://k8s.io) now",
    );
    case(
        "See [below](#end) and <https://k8s.io>",
        60,
        "See below and https://k8s.io",
    );
}

#[test]
fn a_terminal_gets_the_address_behind_the_words() {
    let set = render("[the docs](https://k8s.io)", look(60, true, Language::En));
    assert!(set.contains("\u{1b}]8;;https://k8s.io\u{1b}\\"), "{set:?}");
    assert!(!set.contains("(https"), "{set:?}");
}

#[test]
fn a_callout_says_what_it_is() {
    case("> [!WARNING]\n> Hot.", 40, "┃ Warning\n┃ Hot.");
    let set = render("> [!WARNING]\n> Chaud.", look(40, false, Language::Fr));
    assert_eq!(set, "┃ Attention\n┃ Chaud.");
}

#[test]
fn a_table_is_fitted_or_stacked() {
    let table = "| Name | What it is for |\n|---|--:|\n| a | one two three four |\n| b | x |";
    case(
        table,
        40,
        "Name      What it is for\n────  ──────────────────\na     one two three four\nb                      x",
    );
    case(
        table,
        18,
        "Name    What it is\n               for\n────  ────────────\na          one two\n        three four\n\nb                x",
    );
    case(
        "| Name | Words |\n|---|---|\n| aaaaaaaaaaaa | bbbbbbbbbbbbbbb |",
        20,
        "Name\n  aaaaaaaaaaaa\nWords\n  bbbbbbbbbbbbbbb",
    );
}

#[test]
fn wide_letters_take_their_room() {
    case(
        "| a | b |\n|---|---|\n| 日本 | x |\n| é👍🏽 | y |",
        40,
        "a     b\n────  ─\n日本  x\né👍🏽   y",
    );
}

#[test]
fn an_image_is_told_by_its_caption() {
    case("![Three pods](pods.svg)", 40, "[Image: Three pods]");
    case("![](img/pods.svg)", 40, "[Image: pods.svg]");
}

#[test]
fn comments_of_the_author_are_not_shown() {
    case("a\n\n<!-- todo -->\n\nb", 40, "a\n\nb");
}

#[test]
fn french_punctuation_does_not_begin_a_line() {
    case(
        "Regardez bien : « ceci » !",
        14,
        "Regardez\nbien :\n« ceci » !",
    );
}

#[test]
fn a_hanging_paragraph_is_indented_below_its_lead() {
    assert_eq!(
        wrap("one two three", "  cause  ", 17),
        "  cause  one two\n         three"
    );
}
