//! Characters of texts from outside: what bundles, stores, servers and machines say.

/// Whether a character is not seen and changes what is: control characters, those that turn the direction of writing or are nothing
/// but invisible, and separators of lines that are none to a terminal.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// JSON whose texts hold such characters as escapes, which mean the same. Outside of texts it has none but line ends.
pub fn json(document: &str) -> String {
    let mut escaped = String::with_capacity(document.len());
    for c in document.chars() {
        if is_unseen(c) && c != '\n' {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| escaped.push_str(&format!("\\u{unit:04x}")));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_a_line_around_is_escaped_and_json_still_says_the_same() {
        let name = "a\u{202e}gpj.exe\u{2066}\u{61c}\u{9b}\u{7f}\u{e0041}é\u{200d}\u{5e9}";
        assert!(name.chars().filter(|c| is_unseen(*c)).count() == 6);
        let document = serde_json::json!({ name: [name] }).to_string();
        let escaped = json(&document);
        assert!(!escaped.chars().any(is_unseen), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).expect("JSON")[name][0], name);
    }
}
