//! A page that is drawn again in its place.

use std::io::{self, IsTerminal, Write};

use console::{Term, truncate_str};

/// A part of the terminal, from where the cursor was; in a pipe, pages follow one another.
pub(crate) struct Screen {
    term: Term,
    is_terminal: bool,
    /// Lines that the present page takes.
    drawn: usize,
}

impl Screen {
    /// On standard output, from here on.
    pub(crate) fn new() -> Self {
        Self {
            term: Term::stdout(),
            is_terminal: io::stdout().is_terminal(),
            drawn: 0,
        }
    }

    /// True where pages are drawn over one another.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Draws a page where the last one was.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub(crate) fn draw(&mut self, page: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if !self.is_terminal {
            out.write_all(page.as_bytes())?;
            return out.flush();
        }
        let (height, width) = self.term.size();
        let lines = fit(page, usize::from(height), usize::from(width));
        // One write, so that nobody sees a page that is half there.
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}F", self.drawn));
        }
        text.push_str("\x1b[J");
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        self.drawn = lines.len();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Leaves the page where it is; the next is drawn below it.
    pub(crate) fn keep(&mut self) {
        self.drawn = 0;
    }

    /// The terminal has another size now, and may have broken lines anew: what is drawn next
    /// begins at its top.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub(crate) fn resized(&mut self) -> io::Result<()> {
        self.drawn = 0;
        if self.is_terminal {
            self.term.clear_screen()?;
        }
        Ok(())
    }
}

/// The lines of a page that a terminal has room for, each on one row.
fn fit(page: &str, height: usize, width: usize) -> Vec<String> {
    let room = height.saturating_sub(1).max(1);
    let mut lines: Vec<_> = page
        .lines()
        .map(|line| truncate_str(line, width, "…").into_owned())
        .collect();
    if lines.len() > room {
        lines.truncate(room - 1);
        lines.push("…".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_cut_to_the_terminal() {
        assert_eq!(fit("one\ntwo\n", 10, 80), ["one", "two"]);
        assert_eq!(fit("1\n2\n3\n4\n", 4, 80), ["1", "2", "…"]);
        assert_eq!(fit("abcdef", 10, 4), ["abc…"]);
    }
}
