//! Texts as parts of a page.

use backup_core::text::is_unseen;

/// A text from outside, of which nothing is read as markup.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if is_unseen(c) && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A text whose commands stand between backticks.
pub(super) fn prose(text: &str) -> String {
    let parts: Vec<String> = text.split('`').map(escaped).collect();
    // Without its fellow a backtick is a letter like any other.
    if parts.len().is_multiple_of(2) {
        return escaped(text);
    }
    let code = |(at, part): (usize, &String)| if at % 2 == 1 { format!("<code>{part}</code>") } else { part.clone() };
    parts.iter().enumerate().map(code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_stand_out_and_a_lone_backtick_is_a_letter() {
        assert_eq!(prose("run `list <x>`, then `prune`"), "run <code>list &lt;x&gt;</code>, then <code>prune</code>");
        assert_eq!(prose("a ` b"), "a ` b");
    }
}
