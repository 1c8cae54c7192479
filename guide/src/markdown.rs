//! Markdown of labs as HTML that is safe to put into a page.

use comrak::{Options, markdown_to_html};

/// HTML of a text. Raw HTML in it is shown as text, and addresses that could run something
/// (`javascript:`, `data:`) are left out.
#[must_use]
pub fn html(text: &str) -> String {
    let mut options = Options::default();
    options.extension.table = true;
    options.extension.tasklist = true;
    options.extension.alerts = true;
    options.extension.strikethrough = true;
    options.render.r#unsafe = false;
    options.render.escape = true;
    markdown_to_html(text, &options)
}

/// HTML of a text of one paragraph, without the paragraph.
#[must_use]
pub fn inline(text: &str) -> String {
    let html = html(text);
    let html = html.trim();
    let inner = html
        .strip_prefix("<p>")
        .and_then(|rest| rest.strip_suffix("</p>"));
    match inner {
        Some(inner) if !inner.contains("<p>") => inner.to_owned(),
        _ => html.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_bring_markup_of_its_own() {
        for hostile in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "[go](javascript:alert(1))",
            "![x](data:text/html,<script>)",
            "<div onclick='x'>\n\nhello\n\n</div>",
        ] {
            let html = html(hostile);
            for part in ["<script", "<img src=x", "javascript:", "<div", "data:text"] {
                assert!(!html.contains(part), "{hostile}: {html}");
            }
        }
    }

    #[test]
    fn commands_stay_commands_and_one_paragraph_can_stand_in_a_line() {
        let set = html("Do:\n\n```sh\nkubectl get nodes\n```\n");
        assert!(
            set.contains("<pre><code class=\"language-sh\">kubectl get nodes"),
            "{set}"
        );
        assert_eq!(inline("*one* `word`"), "<em>one</em> <code>word</code>");
        assert!(inline("one\n\ntwo").starts_with("<p>"));
    }
}
