//! Where decks come from: this program, or a directory of the author's.
//!
//! ```text
//! NN-slug/deck.yaml      title, minutes, labs
//! NN-slug/en.md, fr.md   the slides, the same ones in every language
//! NN-slug/….png          optional: pictures
//! ```

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lab_checks::language::Language;
use lab_checks::library::Labs;
use lab_checks::problem::{Problem, Problems, nearest};
use rust_embed::RustEmbed;

use crate::deck::{Deck, Layout, Slide};
use crate::manifest::{self, Places};
use crate::parts::{self, Part};
use crate::words::{Around, Renderer, heading};

/// The decks of this program.
#[derive(RustEmbed)]
#[folder = "decks"]
struct Content;

/// Width and height of what is under a heading, in pixels of a stage 1280 × 720.
const ROOM: (f64, f64) = (1104.0, 500.0);
/// Width of a column; its upper edge takes some of the height.
const COLUMN: (f64, f64) = (528.0, 470.0);
/// Letters of a heading in one line, and what a second line takes.
const HEADING: (usize, f64) = (34, 56.0);

/// Where the files of decks are read from. Paths are relative to the decks' root, parted by `/`.
#[derive(Clone, Debug)]
enum Source {
    Program,
    Directory(PathBuf),
    #[cfg(test)]
    Files(BTreeMap<String, String>),
}

/// Decks, in the order of their folders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decks {
    decks: Vec<Deck>,
}

impl Decks {
    /// The decks that this program brings.
    ///
    /// # Errors
    /// All faults in them; a test sees to it that there are none.
    pub fn embedded(labs: &Labs) -> Result<Self, Problems> {
        Self::read(&Source::Program, &Source::Program.folders(), labs)
    }

    /// The decks of a directory: itself, where it has a `deck.yaml`, or its subdirectories.
    ///
    /// # Errors
    /// Every fault in every deck, with file, line and column.
    pub fn from_dir(path: &Path, labs: &Labs) -> Result<Self, Problems> {
        let (source, folders) = open(path).map_err(|problem| Problems(vec![problem]))?;
        Self::read(&source, &folders, labs)
    }

    fn read(source: &Source, folders: &BTreeSet<String>, labs: &Labs) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut decks: Vec<Deck> = Vec::new();
        for folder in folders {
            let before = problems.len();
            let Some((deck, places)) = load(source, folder, labs, &mut problems) else {
                continue;
            };
            if decks.iter().any(|earlier| earlier.name == deck.name) {
                let message = format!("another deck is called {:?} too", deck.name);
                let file = format!("{folder}/deck.yaml");
                problems.push(Problem::of_file(&file, message).at(places.name.0, places.name.1));
            }
            problems[before..].sort_by(|one, other| {
                (&one.file, one.line, one.column).cmp(&(&other.file, other.line, other.column))
            });
            decks.push(deck);
        }
        if problems.is_empty() {
            return Ok(Self { decks });
        }
        if let Source::Directory(root) = source {
            for problem in &mut problems {
                problem.file = root.join(&problem.file).display().to_string();
            }
        }
        Err(Problems(problems))
    }

    /// All decks.
    pub fn iter(&self) -> impl Iterator<Item = &Deck> {
        self.decks.iter()
    }

    /// The deck of this name; its folder, or the beginning of its name where that is clear, do
    /// too.
    ///
    /// # Errors
    /// Where there is none, in words, with what there is.
    pub fn get(&self, name: &str) -> Result<&Deck, String> {
        let exact = |deck: &&Deck| deck.name == name || deck.folder == name;
        let mut starting = self.decks.iter().filter(|deck| deck.name.starts_with(name));
        let only = starting.next().filter(|_| starting.next().is_none());
        let found = self.decks.iter().find(exact).or(only);
        found.ok_or_else(|| {
            let names: Vec<_> = self.decks.iter().map(|deck| deck.name.as_str()).collect();
            let hint = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None if names.is_empty() => "there is none (--decks DIR)".to_owned(),
                None => format!("there are: {}", names.join(", ")),
            };
            format!("there is no deck {name:?}; {hint}")
        })
    }
}

/// Something that differs whenever a file below a directory was changed, for those who look again.
#[must_use]
pub fn stamp(path: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut found = BTreeMap::new();
    let mut open = vec![path.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(about) if about.is_dir() => open.push(entry.path()),
                Ok(about) => {
                    let changed = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                    found.insert(entry.path(), changed);
                }
                Err(_) => {}
            }
        }
    }
    found
}

/// The decks of a directory.
fn open(path: &Path) -> Result<(Source, BTreeSet<String>), Problem> {
    let name = path.display().to_string();
    let unreadable =
        |error: &std::io::Error| Problem::of_file(&name, format!("cannot be read: {error}"));
    if path.join("deck.yaml").is_file() {
        // Also where it is called `.` or `..`.
        let deck = fs::canonicalize(path).map_err(|error| unreadable(&error))?;
        let folder = deck.file_name().unwrap_or_default().to_string_lossy();
        let root = if path.file_name() == deck.file_name() {
            path.parent()
        } else {
            deck.parent()
        };
        let root = root.unwrap_or(Path::new("")).to_owned();
        return Ok((
            Source::Directory(root),
            BTreeSet::from([folder.into_owned()]),
        ));
    }
    let entries = fs::read_dir(path).map_err(|error| unreadable(&error))?;
    let folders: BTreeSet<_> = entries
        .flatten()
        .filter(|entry| entry.path().join("deck.yaml").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    if folders.is_empty() {
        let problem = Problem::of_file(&name, "there is no deck");
        return Err(problem.hint("a deck is a folder with a deck.yaml, en.md and fr.md"));
    }
    Ok((Source::Directory(path.to_owned()), folders))
}

impl Source {
    /// The folders that are decks.
    fn folders(&self) -> BTreeSet<String> {
        let of = |path: &str| Some(path.strip_suffix("/deck.yaml")?.to_owned());
        match self {
            Self::Program => Content::iter().filter_map(|path| of(&path)).collect(),
            Self::Directory(root) => open(root).map(|(_, folders)| folders).unwrap_or_default(),
            #[cfg(test)]
            Self::Files(files) => files.keys().filter_map(|path| of(path)).collect(),
        }
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        match self {
            Self::Program => Content::get(path).map(|file| Cow::into_owned(file.data)),
            Self::Directory(root) => fs::read(root.join(path)).ok(),
            #[cfg(test)]
            Self::Files(files) => files.get(path).map(|text| text.clone().into_bytes()),
        }
    }

    fn text(&self, path: &str) -> Option<String> {
        String::from_utf8(self.read(path)?).ok()
    }
}

/// Reads one deck. None where it cannot be read at all.
fn load(
    source: &Source,
    folder: &str,
    labs: &Labs,
    problems: &mut Vec<Problem>,
) -> Option<(Deck, Places)> {
    let file = format!("{folder}/deck.yaml");
    let Some(text) = source.text(&file) else {
        problems.push(Problem::of_file(&file, "cannot be read"));
        return None;
    };
    let (mut deck, places) = manifest::parse(&file, &text, labs, problems)?;
    folder.clone_into(&mut deck.folder);
    let mut told: Vec<(String, Vec<Part>)> = Vec::new();
    for language in Language::ALL {
        let file = format!("{folder}/{language}.md");
        let Some(text) = source.text(&file) else {
            let problem = Problem::of_file(&file, "is missing");
            problems.push(problem.hint("a deck is told in every language"));
            continue;
        };
        let parts = parts::parse(&file, &text, problems);
        twice(&file, &parts, problems);
        told.push((file, parts));
    }
    let [(english, first), (french, second)] = &told[..] else {
        return Some((deck, places));
    };
    compare((english, first), (french, second), problems);
    for part in first {
        let mut slide = Slide {
            id: part.id.clone(),
            layout: part.layout,
            ..Slide::default()
        };
        let other = second.iter().find(|other| other.id == part.id);
        let versions = [
            (english, Language::En, Some(part)),
            (french, Language::Fr, other),
        ];
        let mut steps = Vec::new();
        for (file, language, part) in versions {
            let Some(part) = part else { continue };
            let around = Around {
                file,
                language,
                labs,
                picture: &|name| source.read(&format!("{folder}/{name}")),
            };
            steps.push((render(&mut slide, part, &around, problems), part.line));
        }
        if let [(one, _), (two, line)] = steps[..]
            && one != two
        {
            let message = format!(
                "slide {:?} has {two} steps, and {one} in {english}",
                part.id
            );
            let hint = "lists with + and lines to light must be as many in every language";
            problems.push(Problem::of_file(french, message).at(line, 1).hint(hint));
        }
        deck.slides.push(slide);
    }
    plan(&mut deck, first, &file, places, problems);
    Some((deck, places))
}

/// Renders a slide in one language; answers how many steps it has.
fn render(slide: &mut Slide, part: &Part, around: &Around<'_>, problems: &mut Vec<Problem>) -> u16 {
    let mut renderer = Renderer::new(around);
    let columns = part.layout == Layout::TwoColumns;
    let (head, rest, title) = heading(&part.columns[0]);
    let mut html = String::new();
    if part.layout == Layout::Title || part.layout == Layout::Statement {
        let words = renderer.words(&part.columns[0], ROOM, problems);
        html.push_str(&format!("<div class=\"body\">{words}</div>"));
    } else {
        if !head.text.is_empty() {
            let words = renderer.words(&head, ROOM, problems);
            html.push_str(&format!("<header>{words}</header>"));
        }
        let chunks = std::iter::once(&rest).chain(&part.columns[1..]);
        for chunk in chunks {
            let mut room = if columns { COLUMN } else { ROOM };
            if title.chars().count() > HEADING.0 {
                room.1 -= HEADING.1;
            }
            let words = renderer.words(chunk, room, problems);
            html.push_str(&format!("<div class=\"body\">{words}</div>"));
        }
    }
    slide.steps = renderer.steps;
    let notes = renderer.notes(&part.notes, problems);
    let title = if title.is_empty() { &part.id } else { &title };
    title.clone_into(slide.title.get_mut(around.language));
    *slide.html.get_mut(around.language) = html;
    *slide.notes.get_mut(around.language) = notes;
    slide.steps
}

/// Ids that are there twice.
fn twice(file: &str, parts: &[Part], problems: &mut Vec<Problem>) {
    for (at, part) in parts.iter().enumerate() {
        let before = || parts[..at].iter().any(|earlier| earlier.id == part.id);
        if !part.id.is_empty() && before() {
            let message = format!("another slide has the id {:?} too", part.id);
            problems.push(Problem::of_file(file, message).at(part.line, 1));
        }
    }
}

/// Whether both languages have the same slides, in the same order, laid out alike.
fn compare(
    (english, first): (&str, &[Part]),
    (french, second): (&str, &[Part]),
    problems: &mut Vec<Problem>,
) {
    let mut lacks = |file: &str, parts: &[Part], other: &str, of: &[Part]| {
        for part in of.iter().filter(|part| !part.id.is_empty()) {
            if !parts.iter().any(|known| known.id == part.id) {
                let message = format!("slide {:?} of {other} is missing", part.id);
                problems.push(Problem::of_file(file, message));
            }
        }
    };
    lacks(french, second, english, first);
    lacks(english, first, french, second);
    let order = |parts: &[Part], others: &[Part]| {
        let both = parts.iter().map(|part| part.id.clone());
        let shared = both.filter(|id| others.iter().any(|other| other.id == *id));
        shared.collect::<Vec<_>>()
    };
    let (one, two) = (order(first, second), order(second, first));
    if let Some((_, id)) = one.iter().zip(&two).find(|(left, right)| left != right) {
        let line = second
            .iter()
            .find(|part| part.id == *id)
            .map_or(0, |part| part.line);
        let message = format!("slide {id:?} is in another place than in {english}");
        problems.push(Problem::of_file(french, message).at(line, 1));
    }
    for part in second.iter().filter(|part| !part.id.is_empty()) {
        let Some(other) = first.iter().find(|other| other.id == part.id) else {
            continue;
        };
        for (what, differs) in [
            ("layout", other.layout != part.layout),
            (
                "minutes",
                part.seconds.is_some() && other.seconds != part.seconds,
            ),
        ] {
            if differs {
                let message = format!("{what} of slide {:?} is another than in {english}", part.id);
                problems.push(Problem::of_file(french, message).at(part.line, 1));
            }
        }
    }
}

/// Gives every slide its time.
fn plan(deck: &mut Deck, parts: &[Part], file: &str, places: Places, problems: &mut Vec<Problem>) {
    let planned: Vec<_> = parts.iter().map(|part| part.seconds).collect();
    let sum: u32 = planned.iter().flatten().sum();
    let all = planned.iter().all(Option::is_some);
    let minutes = u32::from(deck.minutes) * 60;
    if sum > minutes || (all && sum < minutes) {
        let message = format!(
            "the slides take {} minutes, the deck {}",
            f64::from(sum) / 60.0,
            deck.minutes
        );
        let (line, column) = places.minutes;
        problems.push(Problem::of_file(file, message).at(line, column));
    }
    deck.spread(&planned);
}

#[cfg(test)]
mod tests;
