//! Slides from the command line. What windows show is tested in `slides/`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::http::get;
use crate::lab::Lab;
use crate::process::interrupt;

#[test]
fn decks_are_listed_exported_and_shown() {
    let lab = Lab::new("slides");
    let said = lab.ok(&["slides", "list", "-o", "json", "--lang", "fr"]);
    let listed: Value = serde_json::from_str(&said).expect("it is JSON");
    let decks = listed["decks"].as_array().expect("decks");
    let name = decks[0]["name"].as_str().expect("a name");
    assert!(decks.len() >= 6 && !decks[0]["slides"].as_array().expect("slides").is_empty());

    let file = lab.file("slides.html");
    lab.ok(&[
        "slides",
        "export",
        name,
        "--html",
        &file.display().to_string(),
    ]);
    let html = std::fs::read_to_string(&file).expect("it is written");
    assert!(html.contains("Content-Security-Policy") && html.contains("class=\"slide title\""));

    let mut command = lab.program(&["slides", "show", name, "--port", "0", "--lang", "en"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut lines = stdout.lines().map_while(Result::ok);
    let line = lines
        .find(|line| line.contains("http://"))
        .expect("it says where it is");
    let url = &line[line.find("http://").expect("an address")..];
    let page = get(url.trim()).expect("it answers").body;
    assert!(page.contains("data-role=\"presenter\""), "{page}");
    interrupt(child.id());
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn what_is_wrong_with_slides_is_told_with_its_place() {
    let lab = Lab::new("slides-lint");
    let said = lab.devops_lab(&["slides", "export", "nothing-like-it", "--html", "x.html"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.stderr
            .contains("there is no deck \"nothing-like-it\"; there are: ")
    );

    let deck = lab.file("decks/01-mine");
    std::fs::create_dir_all(&deck).expect("a directory can be made");
    let write = |name: &str, text: &str| {
        std::fs::write(deck.join(name), text).expect("a file can be written");
    };
    write(
        "deck.yaml",
        "apiVersion: devops-lab.dev/v1\nkind: Deck\nmetadata: {name: mine}\ntitle: {en: A, fr: B}\nminutes: 5\n",
    );
    write("en.md", "<!-- id: one -->\n# One\n\n<b>bold</b>\n");
    write("fr.md", "<!-- id: one -->\n# Un\n");
    let directory = lab.file("decks").display().to_string();
    let said = lab.devops_lab(&["slides", "lint", &directory]);
    assert_eq!(said.code, Some(1));
    let place = deck.join("en.md").display().to_string();
    assert!(
        said.stdout
            .contains(&format!("{place}:4:1: HTML is not shown")),
        "{said}"
    );
    assert!(said.stdout.trim_end().ends_with("2 problems"), "{said}");
    write("en.md", "<!-- id: one -->\n# One\n");
    assert_eq!(
        lab.ok(&["slides", "lint", &directory]).trim(),
        "1 deck, no problem"
    );
}
