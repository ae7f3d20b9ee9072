//! The few shapes of markup that the page is made of.

use std::fmt::Display;

pub(super) fn section(body: &mut String, title: &str, content: &str) {
    let title = escaped(title);
    *body += &format!("<section>\n<h2>{title}</h2>\n{content}\n</section>\n");
}

pub(super) fn row<T: Display>(
    cells: impl IntoIterator<Item = T>,
    kind: &str,
    class: &str,
) -> String {
    let cells: String = cells
        .into_iter()
        .map(|cell| format!("<{kind}>{cell}</{kind}>"))
        .collect();
    match class {
        "" => format!("<tr>{cells}</tr>\n"),
        class => format!("<tr class=\"{class}\">{cells}</tr>\n"),
    }
}

/// A table in a box that scrolls by itself.
pub(super) fn table(heads: &[&str], rows: &str) -> String {
    let heads = row(heads.iter().map(|head| escaped(head)), "th", "");
    format!("<div class=\"wide\"><table>\n{heads}{rows}</table></div>")
}

/// A number as it is, shown as people read it.
pub(super) fn data(value: impl Display, shown: &str) -> String {
    format!("<data value=\"{value}\">{shown}</data>")
}

/// Colours with their names.
pub(super) fn keys(keys: &[(&str, &str)]) -> String {
    let keys: String = keys
        .iter()
        .map(|(color, name)| format!("{}<span>{name}</span>", key(color)))
        .collect();
    format!("<p class=\"keys\">{keys}</p>")
}

pub(super) fn key(color: &str) -> String {
    format!("<span class=\"key\" style=\"background:{color}\"></span>")
}

/// Text that means itself in HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_run_is_taken_for_markup() {
        assert_eq!(escaped("a<b>&\"c"), "a&lt;b&gt;&amp;&quot;c");
    }
}
