//! What a fence on a slide becomes: code, a diagram, a lab's commands, a lab to begin, a cluster.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lab_checks::context::Addresses;
use lab_checks::lab::{Lab, Step};
use lab_checks::language::{Language, Text};
use lab_checks::problem::nearest;

use crate::diagram;
use crate::highlight::{self, Class};
use crate::html::escape;
use crate::words::{State, shell_blocks};

/// Sizes of code, in pixels of the stage, largest first; the first that fits is taken.
const SIZES: [u8; 5] = [26, 24, 22, 20, 18];
/// Width of a letter of code, in parts of its size: a monospaced font's.
const LETTER: f64 = 0.605;
/// Height of a line of code, in parts of its size.
const LINE: f64 = 1.45;
/// What the frame of a block of code takes.
const FRAME: f64 = 50.0;
/// What the caption over a lab's commands takes.
const CAPTION: f64 = 48.0;
/// Smaller letters are not read from the last row.
const LEAST_LETTERS: f64 = 16.0;
/// A lab's commands are cut to about so many lines, between blocks.
const COMMAND_LINES: usize = 8;
/// Most bytes of a picture.
const PICTURE_MAX: usize = 1 << 20;

/// A fence as HTML.
pub(crate) fn block(state: &mut State<'_>, line: usize, info: &str, literal: &str) -> String {
    let info = info.trim();
    let (language, rest) = info.split_once(char::is_whitespace).unwrap_or((info, ""));
    let body = literal.trim();
    match language {
        "mermaid" => mermaid(state, line, literal),
        "lab" => commands(state, line, body),
        "start-lab" => start_lab(state, line, body),
        "cluster" => cluster(state, line, body),
        _ => code(state, line, language, rest.trim(), literal),
    }
}

fn mermaid(state: &mut State<'_>, line: usize, source: &str) -> String {
    match diagram::draw(source) {
        Ok(drawing) => {
            let (width, height) = state.room;
            let letters = drawing.letters_in(width, height);
            if letters < LEAST_LETTERS {
                let message = format!(
                    "the diagram is too large for the slide: its letters would be {letters:.0} px high"
                );
                let hint = "make it TD or LR, break its labels with <br/>, or leave something out";
                state.fault(line, message, Some(hint));
            }
            let svg = drawing.svg_in(width, height);
            format!("<figure class=\"diagram\">{svg}</figure>")
        }
        Err(fault) => {
            let at = line + usize::try_from(fault.line).unwrap_or_default();
            state.fault(at, fault.message, fault.hint.as_deref());
            String::new()
        }
    }
}

/// `LAB/STEP`: the step's own commands, from the lab's text.
fn commands(state: &mut State<'_>, line: usize, target: &str) -> String {
    let (lab, step) = match find_step(state, target) {
        Ok(found) => found,
        Err((message, hint)) => {
            state.fault(line, message, Some(&hint));
            return String::new();
        }
    };
    let language = state.around.language;
    let mut lines = Vec::new();
    for block in shell_blocks(step.prose.get(language)) {
        let block = Addresses::default().fill(&block);
        let count = block.lines().count();
        if !lines.is_empty() && lines.len() + count > COMMAND_LINES {
            break;
        }
        lines.extend(block.lines().map(str::to_owned));
    }
    if lines.is_empty() {
        let message = format!("step {target:?} has no commands");
        state.fault(line, message, Some("its text has no ```sh block"));
        return String::new();
    }
    let caption = format!(
        "{} · {}",
        lab.title.get(language),
        step.heading.get(language)
    );
    let room = state.room;
    state.room.1 -= CAPTION;
    let code = code(state, line, "sh", "", &lines.join("\n"));
    state.room = room;
    format!(
        "<figure class=\"commands\"><figcaption>{}</figcaption>{code}</figure>",
        escape(&caption)
    )
}

fn find_step<'a>(state: &State<'a>, target: &str) -> Result<(&'a Lab, &'a Step), (String, String)> {
    let (lab, step) = target.split_once('/').ok_or_else(|| {
        (
            format!("{target:?} is no step of a lab"),
            "write LAB/STEP".to_owned(),
        )
    })?;
    let lab = find_lab(state, lab)?;
    let found = lab.step(step).ok_or_else(|| {
        let ids: Vec<_> = lab.steps.iter().map(|step| step.id.as_str()).collect();
        let hint = nearest(step, ids.iter().copied()).map_or_else(
            || format!("there are: {}", ids.join(", ")),
            |near| format!("did you mean {near}?"),
        );
        (format!("lab {} has no step {step:?}", lab.name), hint)
    })?;
    Ok((lab, found))
}

fn find_lab<'a>(state: &State<'a>, name: &str) -> Result<&'a Lab, (String, String)> {
    let labs = state.around.labs;
    labs.iter().find(|lab| lab.name == name).ok_or_else(|| {
        let names: Vec<_> = labs.iter().map(|lab| lab.name.as_str()).collect();
        let hint = nearest(name, names.iter().copied()).map_or_else(
            || format!("there are: {}", names.join(", ")),
            |near| format!("did you mean {near}?"),
        );
        (format!("there is no lab {name:?}"), hint)
    })
}

/// A card with the lab's title, its minutes and the command, and the presenter's button.
fn start_lab(state: &mut State<'_>, line: usize, name: &str) -> String {
    let lab = match find_lab(state, name) {
        Ok(lab) => lab,
        Err((message, hint)) => {
            state.fault(line, message, Some(&hint));
            return String::new();
        }
    };
    let language = state.around.language;
    let (kind, minutes, steps, button) = match language {
        Language::En => ("Lab", "min", "steps", "Open it for the class"),
        Language::Fr => ("Atelier", "min", "étapes", "L’ouvrir pour la classe"),
    };
    let (title, name) = (escape(lab.title.get(language)), escape(&lab.name));
    format!(
        "<div class=\"start-lab\"><p class=\"kind\">{kind}</p>\
         <p class=\"name\">{title}</p>\
         <p class=\"facts\"><span>{} {minutes}</span><span>{} {steps}</span></p>\
         <p class=\"command\"><code>devops-lab lab goto {name}</code></p>\
         <p class=\"open\"><button type=\"button\" data-start-lab=\"{name}\">{button}</button> \
         <span class=\"said\" role=\"status\"></span></p></div>",
        lab.minutes,
        lab.steps.len(),
    )
}

/// The place of the live picture; who has no server to ask reads what would be there.
fn cluster(state: &mut State<'_>, line: usize, body: &str) -> String {
    if !body.is_empty() {
        let hint = "leave the fence empty: the picture is of the presenter's own cluster";
        state.fault(line, "a picture of the cluster needs no words", Some(hint));
    }
    let text = Text {
        en: "Here the talk shows the presenter’s cluster, live.".to_owned(),
        fr: "Ici, l’exposé montre en direct le cluster de la personne qui présente.".to_owned(),
    };
    format!(
        "<div class=\"cluster\" data-cluster><p class=\"quiet\">{}</p></div>",
        escape(text.get(state.around.language))
    )
}

/// Code with its colours; `{1-2|4}` lights lines, step by step.
fn code(state: &mut State<'_>, line: usize, language: &str, rest: &str, literal: &str) -> String {
    let text = literal.trim_end_matches('\n').replace('\t', "    ");
    let count = text.lines().count().max(1);
    let groups = match groups(rest, count) {
        Ok(groups) => groups,
        Err(message) => {
            let hint = "write the language and the lines to light, as in ```yaml {1-2|4}";
            state.fault(line, message, Some(hint));
            Vec::new()
        }
    };
    let first = state.steps;
    for _ in groups.iter().skip(1) {
        state.step();
    }
    let size = fitting(state, line, &text);
    let plain = || {
        text.lines()
            .map(|line| vec![(Class::Plain, line)])
            .collect()
    };
    let lines = highlight::lines(&text, language).unwrap_or_else(plain);
    let mut out = format!("<pre class=\"code s{size}\"");
    if !groups.is_empty() {
        let _ = write!(
            out,
            " data-first=\"{first}\" data-groups=\"{}\"",
            groups.len()
        );
    }
    out.push_str(" tabindex=\"0\"><code>");
    for (pieces, number) in lines.iter().zip(1..) {
        let lit: Vec<_> = groups
            .iter()
            .enumerate()
            .filter(|(_, lines)| lines.contains(&number))
            .map(|(at, _)| at.to_string())
            .collect();
        out.push_str("<span class=\"line\"");
        if !groups.is_empty() {
            let _ = write!(out, " data-lit=\"{}\"", lit.join(" "));
        }
        out.push('>');
        for (class, piece) in pieces {
            let piece = escape(piece);
            match class_name(*class) {
                Some(name) => {
                    let _ = write!(out, "<span class=\"{name}\">{piece}</span>");
                }
                None => out.push_str(&piece),
            }
        }
        out.push_str("\n</span>");
    }
    out.push_str("</code></pre>");
    out
}

fn class_name(class: Class) -> Option<&'static str> {
    match class {
        Class::Plain => None,
        Class::Comment => Some("t-comment"),
        Class::Text => Some("t-text"),
        Class::Number => Some("t-number"),
        Class::Keyword => Some("t-keyword"),
        Class::Name => Some("t-name"),
        Class::Variable => Some("t-variable"),
        Class::Flag => Some("t-flag"),
    }
}

/// The largest size in which a text fits.
fn fitting(state: &mut State<'_>, line: usize, text: &str) -> u8 {
    #[expect(clippy::cast_precision_loss)]
    let (columns, rows) = (
        text.lines()
            .map(|line| line.chars().count())
            .max()
            .unwrap_or(0) as f64,
        text.lines().count() as f64,
    );
    let (width, height) = state.room;
    let fits = |size: u8| {
        let size = f64::from(size);
        columns * size * LETTER + FRAME <= width && rows * size * LINE + FRAME <= height
    };
    let found = SIZES.into_iter().find(|size| fits(*size));
    found.unwrap_or_else(|| {
        let message = format!("{rows} lines of {columns} letters are too much code for the slide");
        let hint = "show what matters, or split it over two slides";
        state.fault(line, message, Some(hint));
        SIZES[SIZES.len() - 1]
    })
}

/// `{1-2|4|6-8}`: the lines of every step.
fn groups(text: &str, count: usize) -> Result<Vec<Vec<usize>>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let inner = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or_else(|| format!("{text:?} behind the language is not understood"))?;
    let number = |text: &str| {
        let found = text.trim().parse::<usize>().ok();
        found
            .filter(|number| (1..=count).contains(number))
            .ok_or_else(|| format!("the code has no line {:?}: it has {count}", text.trim()))
    };
    inner
        .split('|')
        .map(|group| {
            let mut lines = Vec::new();
            for range in group.split(',') {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                lines.extend(number(from)?..=number(to)?);
            }
            Ok(lines)
        })
        .collect()
}

/// A picture from beside the deck's text, inside of the page.
pub(crate) fn picture(state: &mut State<'_>, line: usize, url: &str, text: &str) -> String {
    let kind = match url.rsplit_once('.').map(|(_, ending)| ending) {
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("svg") => "image/svg+xml",
        _ => {
            let message = format!("{url:?} is no picture that is shown");
            state.fault(line, message, Some("use png, jpg, webp or svg"));
            return String::new();
        }
    };
    if text.trim().is_empty() {
        let hint = "say between the brackets what there is to see";
        state.fault(
            line,
            format!("the picture {url:?} has no words"),
            Some(hint),
        );
    }
    let plain = !url.contains(['/', '\\', ':']);
    match plain.then(|| (state.around.picture)(url)).flatten() {
        Some(bytes) if bytes.len() <= PICTURE_MAX => {
            let data = BASE64_STANDARD.encode(bytes);
            format!(
                "<img src=\"data:{kind};base64,{data}\" alt=\"{}\">",
                escape(text)
            )
        }
        Some(_) => {
            let message = format!("the picture {url:?} is larger than 1 MiB");
            state.fault(line, message, None);
            String::new()
        }
        None => {
            let message = format!("there is no picture {url:?} beside the deck's text");
            state.fault(line, message, None);
            String::new()
        }
    }
}
