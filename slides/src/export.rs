//! Decks in one file that needs nothing else.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lab_browser::BrowserError;
use sha2::{Digest as _, Sha256};

use crate::deck::Deck;
use crate::page::{Languages, Means, Role, page};
use crate::server::assets::{SCRIPT, STYLE};

/// One page of HTML with everything in it: it opens from a disk, asks nobody for anything, and
/// obeys the same keys. A browser lets nothing run in it but its own script, by digest.
#[must_use]
pub fn html(decks: &[&Deck], languages: Languages) -> String {
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; base-uri 'none'; form-action 'none'",
        digest(STYLE),
        digest(SCRIPT)
    );
    let means = Means::Inline {
        policy: &policy,
        style: STYLE,
        script: SCRIPT,
    };
    page(decks, Role::Audience, languages, &means)
}

/// Prints such a page by the browser that is installed; answers the PDF.
///
/// # Errors
/// Where there is no browser, with what to do, and where it does not print.
pub async fn pdf(html: &str) -> Result<Vec<u8>, PdfError> {
    let browser = lab_browser::find().ok_or(BrowserError::Missing)?;
    let directory = tempfile::tempdir().map_err(PdfError::Files)?;
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("slides.html"), html).map_err(PdfError::Files)?;
    let (page, pdf): (&Path, &Path) = (&at("slides.html"), &at("slides.pdf"));
    lab_browser::print(&browser, page, pdf, &at("profile")).await?;
    std::fs::read(pdf).map_err(PdfError::Files)
}

/// Why there is no PDF.
#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    /// The browser.
    #[error(transparent)]
    Browser(#[from] BrowserError),
    /// The disk.
    #[error("the files for printing cannot be kept in the temporary directory")]
    Files(#[source] std::io::Error),
}

fn digest(text: &str) -> String {
    let digest = BASE64_STANDARD.encode(Sha256::digest(text));
    format!("sha256-{digest}")
}

#[cfg(test)]
mod tests {
    use lab_checks::language::{Language, Text};

    use super::*;
    use crate::deck::Slide;

    fn deck(name: &str) -> Deck {
        let text = |text: &str| Text {
            en: text.to_owned(),
            fr: text.to_owned(),
        };
        Deck {
            name: name.to_owned(),
            title: text("A & B"),
            minutes: 3,
            slides: vec![Slide {
                id: "one".to_owned(),
                html: text("<p>x</p>"),
                notes: text("<p>psst</p>"),
                ..Slide::default()
            }],
            ..Deck::default()
        }
    }

    #[test]
    fn a_file_holds_everything_and_allows_nothing_else() {
        let html = html(&[&deck("a")], Languages::One(Language::Fr));
        assert!(html.contains("<title>A &amp; B</title>"));
        assert!(html.contains("data-language=\"fr\""));
        assert!(html.contains(&format!("script-src '{}'", digest(SCRIPT))));
        for outside in ["src=\"/", "href=\"/", "http://", "https://"] {
            let found: Vec<_> = html.matches(outside).collect();
            let known = html.matches("http://www.w3.org/2000/svg").count();
            assert!(found.len() <= known, "{outside}");
        }
        assert!(!SCRIPT.contains("</script"), "the script would end early");
        assert!(!STYLE.contains("</style"), "the style would end early");
    }

    #[test]
    fn slides_of_several_decks_keep_apart() {
        let html = html(&[&deck("a"), &deck("b")], Languages::Both);
        assert!(html.contains("id=\"a.one\"") && html.contains("id=\"b.one\""));
    }
}
