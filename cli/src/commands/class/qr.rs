//! A QR code for terminals: two rows of squares in a line of text.

use qrcode::{Color, EcLevel, QrCode};

/// Squares of quiet around it; the standard asks for four, and telephones are content with two.
const QUIET: usize = 2;

/// The code as lines of half blocks, dark on light whatever the terminal's colours, or none where
/// the text is too long.
pub(super) fn lines(text: &str) -> Option<Vec<String>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let width = code.width();
    let side = width + 2 * QUIET;
    let light = |x: usize, y: usize| {
        let inside = (QUIET..QUIET + width).contains(&x) && (QUIET..QUIET + width).contains(&y);
        !inside || code[(x - QUIET, y - QUIET)] == Color::Light
    };
    let line = |y: usize| -> String {
        (0..side)
            .map(|x| match (light(x, y), y + 1 < side && light(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            })
            .collect()
    };
    Some((0..side).step_by(2).map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_fits_into_a_terminal_and_is_framed_in_light() {
        let lines = lines("http://192.168.100.200:8888/?code=k7mw-pq2x").unwrap();
        assert!(lines.len() <= 20, "{}", lines.len());
        assert!(lines[0].chars().all(|square| square == '█'), "{}", lines[0]);
        assert!(
            lines
                .iter()
                .all(|line| line.chars().count() == lines[0].chars().count())
        );
    }
}
