//! Numbers, times and texts as people read them.

use std::path::Path;
use std::time::Duration;

use backup_core::bundle::manifest::Items;
pub(crate) use backup_core::finding::bytes;
use backup_core::shell::quoted;
use backup_core::text::is_unseen;

/// A whole number with its thousands apart, such as `1 234 567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun, such as `1 row` or `2 rows`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let vowel = |stem: &&str| !stem.ends_with(['a', 'e', 'o', 'u']);
    let many = noun.strip_suffix('y').filter(vowel).map_or_else(|| format!("{noun}s"), |stem| format!("{stem}ies"));
    format!("{} {}", count(number), if number == 1 { noun } else { &many })
}

/// How much a component has, such as `8 keys`.
pub(crate) fn items(items: &Items) -> String {
    plain(&counted(items.count, &items.unit))
}

/// Days that something is enough for; of very many nobody wants the number.
pub(crate) fn days(days: u64) -> String {
    if days > 3650 { "over 10 years".into() } else { counted(days, "day") }
}

/// A text from outside, whose control characters would speak to the terminal, or turn what it shows around; line ends stay.
pub(crate) fn plain(text: &str) -> String {
    let unseen = |c: char| is_unseen(c) && c != '\n';
    text.chars().map(|c| if unseen(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// A path as a word of a shell's command line.
pub(crate) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:=@".contains(c);
    if text.chars().all(plain) { text } else { quoted(&text) }
}

/// A text after a label, its further lines under its first.
pub(crate) fn indented(label: &str, text: &str) -> String {
    format!("{label}{}\n", text.trim_end().replace('\n', &format!("\n{:1$}", "", label.len())))
}

/// A duration to the tenth of a second below a minute, such as `4.2 s`, and `3 min 05 s` above.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(u64::MAX)], ["0 B", "1023 B", "1.5 KiB", "16.0 EiB"]);
        assert_eq!([count(7), count(1234), count(1_234_567)], ["7", "1 234", "1 234 567"]);
        assert_eq!([counted(1, "row"), counted(0, "row")], ["1 row", "0 rows"]);
        assert_eq!([counted(2, "entry"), counted(2, "day")], ["2 entries", "2 days"]);
        assert_eq!(["/a/b.tgz", "it's"].map(|path| shell_word(Path::new(path))), ["/a/b.tgz", r"'it'\''s'"]);
        assert_eq!(shell_word(Path::new("a`b")), r"'a'$'\140''b'");
        assert_eq!(plain("a\x1b[31m\nb"), "a\\u{1b}[31m\nb");
        assert_eq!(plain("gpj.\u{202e}exe é"), "gpj.\\u{202e}exe é");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 05 s");
    }
}
