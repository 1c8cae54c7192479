//! Pages: the slides of one deck or several with what is around them.

use std::fmt::Write as _;

use lab_checks::language::{Language, Text};

use crate::deck::{Deck, Layout};
use crate::html::escape;

/// What a page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The projector's.
    Audience,
    /// The speaker's, with notes and time.
    Presenter,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Audience => "audience",
            Self::Presenter => "presenter",
        }
    }
}

/// How a page gets its style and script, and whether it has a server to keep in step with.
pub(crate) enum Means<'a> {
    /// From this server.
    Served,
    /// They are part of the page.
    Inline {
        /// The policy of the page, with the digests of the two.
        policy: &'a str,
        style: &'a str,
        script: &'a str,
    },
}

/// In which language, or in both side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Languages {
    /// In one.
    One(Language),
    /// English and French side by side.
    #[default]
    Both,
}

impl Languages {
    /// As pages call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::One(language) => language.code(),
            Self::Both => "both",
        }
    }

    /// The language of words around the slides.
    #[must_use]
    pub fn first(self) -> Language {
        match self {
            Self::One(language) => language,
            Self::Both => Language::En,
        }
    }
}

/// A page with all slides of some decks, in their order.
pub(crate) fn page(decks: &[&Deck], role: Role, languages: Languages, means: &Means<'_>) -> String {
    let language = languages.first();
    let title = match decks {
        [deck] => deck.title.clone(),
        _ => Text {
            en: "All slides".to_owned(),
            fr: "Toutes les diapos".to_owned(),
        },
    };
    let name = decks.first().map_or("", |deck| deck.name.as_str());
    let title = escape(title.get(language));
    let live = match means {
        Means::Served => " data-live",
        Means::Inline { .. } => "",
    };
    let mut out = format!(
        "<!doctype html>\n<html lang=\"{language}\" data-language=\"{}\" data-role=\"{}\" data-deck=\"{}\" data-title=\"{title}\"{live}>\n\
         <head>\n<meta charset=\"utf-8\">\n",
        languages.name(),
        role.name(),
        escape(name),
    );
    if let Means::Inline { policy, .. } = means {
        let _ = writeln!(
            out,
            "<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">"
        );
    }
    let _ = write!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n{ICON}\n"
    );
    match means {
        Means::Served => out.push_str("<link rel=\"stylesheet\" href=\"/assets/slides.css\">\n"),
        Means::Inline { style, .. } => {
            let _ = writeln!(out, "<style>{style}</style>");
        }
    }
    let _ = write!(
        out,
        "</head>\n<body>\n{}<main id=\"show\" class=\"show\" tabindex=\"-1\">\n",
        panel(&title)
    );
    out.push_str(&frames(decks));
    out.push_str(
        "</main>\n<section id=\"notes-panel\" class=\"notes-panel\" tabindex=\"0\" aria-labelledby=\"notes-title\">\
         <h2 id=\"notes-title\"></h2><div id=\"notes\"></div></section>\n\
         <p id=\"link\" class=\"link\" role=\"status\"></p>\n<pre id=\"fault\" class=\"fault\" role=\"alert\"></pre>\n\
         <dialog id=\"help\" aria-labelledby=\"help-title\"><h2 id=\"help-title\"></h2><dl id=\"help-keys\"></dl>\
         <button type=\"button\" id=\"help-close\"></button></dialog>\n",
    );
    match means {
        Means::Served => {
            out.push_str("<script type=\"module\" src=\"/assets/slides.js\"></script>\n");
        }
        Means::Inline { script, .. } => {
            let _ = writeln!(out, "<script type=\"module\">{script}</script>");
        }
    }
    out.push_str("</body>\n</html>\n");
    out
}

/// The mark in the browser's tab.
const ICON: &str = "<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E%3Crect width='8' height='8' rx='2' fill='%230072b2'/%3E%3C/svg%3E\">";

/// The speaker's figures.
fn panel(title: &str) -> String {
    let figure = |id: &str, word: &str| {
        format!("<div class=\"figure\"><b id=\"{id}\"></b><span id=\"{word}\"></span></div>")
    };
    format!(
        "<header class=\"panel\"><h1>{title}</h1>{}{}\
         <div class=\"figure pace\" id=\"pace\"><b id=\"off\"></b><span id=\"word-pace\"></span></div>{}\
         <div class=\"figure\"><span class=\"dots\" id=\"steps\" aria-hidden=\"true\"></span><span id=\"step-words\"></span></div>\
         <span class=\"grow\"></span><button type=\"button\" id=\"timer\"></button>\
         <a id=\"audience\" href=\"./\" target=\"_blank\"></a><b id=\"wall\"></b></header>\n",
        figure("elapsed", "word-elapsed"),
        figure("planned", "word-planned"),
        figure("number", "word-slide"),
    )
}

/// Every slide in its frame, in every language, with its notes.
fn frames(decks: &[&Deck]) -> String {
    let mut out = String::new();
    let several = decks.len() > 1;
    for deck in decks {
        let count = deck.slides.len();
        for (at, slide) in deck.slides.iter().enumerate() {
            let id = if several {
                format!("{}.{}", deck.name, slide.id)
            } else {
                slide.id.clone()
            };
            let title = escape(&slide.title.en);
            let _ = write!(
                out,
                "<section class=\"frame\" id=\"{id}\" data-steps=\"{}\" data-seconds=\"{}\" aria-roledescription=\"slide\" aria-label=\"{} / {count}: {title}\">",
                slide.steps,
                slide.seconds,
                at + 1,
            );
            for language in Language::ALL {
                let _ = write!(
                    out,
                    "<div class=\"fit\" lang=\"{language}\" data-title=\"{}\"><div class=\"slide {}\">{}{}{}</div></div>",
                    escape(slide.title.get(language)),
                    slide.layout.name(),
                    slide.html.get(language),
                    if slide.layout == Layout::Title {
                        MOTIF
                    } else {
                        ""
                    },
                    footer(deck, at, language),
                );
            }
            for language in Language::ALL {
                let _ = write!(
                    out,
                    "<template class=\"notes\" lang=\"{language}\">{}</template>",
                    slide.notes.get(language)
                );
            }
            let _ = writeln!(
                out,
                "<a class=\"cover\" href=\"#{id}\"><span class=\"visually-hidden\">{title}</span></a></section>"
            );
        }
    }
    out
}

/// Pods on their nodes, and a class on its way: squares that are done, one that is being worked on.
const MOTIF: &str = "<svg class=\"motif\" viewBox=\"0 0 268 720\" aria-hidden=\"true\">\
    <rect x=\"20\" y=\"64\" width=\"64\" height=\"64\" rx=\"16\" class=\"calm\"/>\
    <rect x=\"100\" y=\"64\" width=\"64\" height=\"64\" rx=\"16\" class=\"done\"/>\
    <rect x=\"180\" y=\"64\" width=\"64\" height=\"64\" rx=\"16\" class=\"done\"/>\
    <rect x=\"100\" y=\"144\" width=\"64\" height=\"64\" rx=\"16\" class=\"calm\"/>\
    <rect x=\"180\" y=\"144\" width=\"64\" height=\"64\" rx=\"16\" class=\"done\"/>\
    <rect x=\"20\" y=\"224\" width=\"64\" height=\"64\" rx=\"16\" class=\"done\"/>\
    <rect x=\"100\" y=\"224\" width=\"64\" height=\"64\" rx=\"16\" class=\"done\"/>\
    <rect x=\"182\" y=\"226\" width=\"60\" height=\"60\" rx=\"15\" class=\"here\"/>\
    <rect x=\"100\" y=\"304\" width=\"64\" height=\"64\" rx=\"16\" class=\"leaf\"/>\
    <rect x=\"181\" y=\"305\" width=\"62\" height=\"62\" rx=\"16\"/>\
    <rect x=\"21\" y=\"385\" width=\"62\" height=\"62\" rx=\"16\"/>\
    <rect x=\"100\" y=\"384\" width=\"64\" height=\"64\" rx=\"16\" class=\"calm\"/>\
    <rect x=\"180\" y=\"384\" width=\"64\" height=\"64\" rx=\"16\" class=\"leaf\"/>\
    <rect x=\"101\" y=\"465\" width=\"62\" height=\"62\" rx=\"16\"/>\
    <rect x=\"180\" y=\"464\" width=\"64\" height=\"64\" rx=\"16\" class=\"calm\"/>\
    <rect x=\"181\" y=\"545\" width=\"62\" height=\"62\" rx=\"16\"/></svg>";

/// The deck's title, and where in it one is.
fn footer(deck: &Deck, at: usize, language: Language) -> String {
    let cells: String = (0..deck.slides.len())
        .map(|slide| match slide.cmp(&at) {
            std::cmp::Ordering::Less => "<i class=\"past\"></i>",
            std::cmp::Ordering::Equal => "<i class=\"now\"></i>",
            std::cmp::Ordering::Greater => "<i></i>",
        })
        .collect();
    format!(
        "<footer><span>{}</span><span class=\"cells\" aria-hidden=\"true\">{cells}</span><span>{} / {}</span></footer>",
        escape(deck.title.get(language)),
        at + 1,
        deck.slides.len(),
    )
}

/// The page that lists decks, with the addresses of their windows.
pub(crate) fn list(decks: &[&Deck], languages: Languages) -> String {
    let language = languages.first();
    let (title, present, project, minutes, slides) = match language {
        Language::En => ("Slides", "present", "for the projector", "min", "slides"),
        Language::Fr => ("Diapos", "présenter", "pour le projecteur", "min", "diapos"),
    };
    let mut items = String::new();
    for deck in decks {
        let name = escape(&deck.name);
        let _ = writeln!(
            items,
            "<li><b>{}</b><span class=\"quiet\">{} {slides} · {} {minutes}</span>\
             <a href=\"/d/{name}/present\">{present}</a> <a href=\"/d/{name}\">{project}</a></li>",
            escape(deck.title.get(language)),
            deck.slides.len(),
            deck.minutes,
        );
    }
    format!(
        "<!doctype html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n{ICON}\n\
         <link rel=\"stylesheet\" href=\"/assets/slides.css\">\n</head>\n<body>\n\
         <main class=\"decks\"><h1>{title}</h1><ol>\n{items}</ol></main>\n</body>\n</html>\n"
    )
}
