//! Paths of entries: relative, plain, inside the bundle's one directory; and what links may point at.
//!
//! File names on Linux are bytes. In the manifest and on the terminal a path is text in which a byte that is not
//! part of valid UTF-8, a control character or a backslash is written `\xNN`; the escape is reversible.

use std::fmt::Write as _;

/// Writes a path's bytes as text, reversibly.
pub fn to_text(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '\\' {
                let mut bytes = [0; 4];
                c.encode_utf8(&mut bytes).bytes().for_each(|byte| push_escaped(&mut text, byte));
            } else {
                text.push(c);
            }
        }
        chunk.invalid().iter().for_each(|byte| push_escaped(&mut text, *byte));
    }
    text
}

fn push_escaped(text: &mut String, byte: u8) {
    // Writing to a String can't fail.
    let _ = write!(text, "\\x{byte:02x}");
}

/// Reads a path back from text; `None` where an escape is malformed.
pub fn from_text(text: &str) -> Option<Vec<u8>> {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'\\' {
            path.push(*first);
            rest = tail;
            continue;
        }
        let digits = tail.strip_prefix(b"x")?.get(..2)?;
        path.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = &tail[3..];
    }
    Some(path)
}

/// The longest path that is accepted, PATH_MAX of Linux.
const LONGEST: usize = 4096;

/// Why a path may not stand in a bundle.
pub fn refuse(path: &[u8]) -> Option<&'static str> {
    if path.is_empty() {
        return Some("an empty path");
    }
    if path.len() > LONGEST {
        return Some("a path of more than 4096 bytes");
    }
    if path.contains(&0) {
        return Some("a path with a NUL byte");
    }
    if path[0] == b'/' {
        return Some("an absolute path");
    }
    path.split(|byte| *byte == b'/').find_map(|part| match part {
        b".." => Some("a path with `..`"),
        b"." | b"" => Some("a path with an empty part or `.`"),
        _ => None,
    })
}

/// Whether a symbolic link at `path`, below the root `root`, would climb above that root.
///
/// The captured machine's `/` is the bundle's `files/`; an absolute target starts again at that root. An empty root stands for itself.
pub fn climbs_out(root: &[u8], path: &[u8], target: &[u8]) -> bool {
    let below = match root {
        b"" => Some(path),
        root => path.strip_prefix(root).and_then(|below| below.strip_prefix(b"/")),
    };
    let Some(below) = below else { return true };
    if target.first() == Some(&b'/') {
        return climbs(0, target);
    }
    climbs(below.iter().filter(|byte| **byte == b'/').count(), target)
}

fn climbs(mut depth: usize, target: &[u8]) -> bool {
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if depth == 0 => return true,
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_plain_relative_paths_are_taken() {
        for good in ["a", "a/b", "files/home/x y", "a..b/..c"] {
            assert_eq!(refuse(good.as_bytes()), None, "{good}");
        }
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a/", "a\0b"] {
            assert!(refuse(bad.as_bytes()).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_link_may_not_climb_above_the_captured_root() {
        let case = |path: &str, target: &str| climbs_out(b"b/files", path.as_bytes(), target.as_bytes());
        assert!(!case("b/files/etc/x", "../opt/y"));
        assert!(!case("b/files/etc/x", "/opt/y"));
        assert!(case("b/files/etc/x", "../../opt"));
        assert!(case("b/files/etc/x", "/../opt"));
        assert!(case("b/files/x", "a/../../y"));
        assert!(case("b/databases/x", "y"));
        assert!(case("b/databases/x", "/y"));
        assert!(case("b/files elsewhere/x", "y"));
        let bare = |path: &str, target: &str| climbs_out(b"", path.as_bytes(), target.as_bytes());
        assert!(!bare("srv/a/x", "../../opt/y") && !bare("srv/x", "/opt/y"));
        assert!(bare("srv/a/x", "../../../opt/y") && bare("x", "..") && bare("x", "/.."));
    }

    proptest! {
        #[test]
        fn every_path_survives_being_text(path in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(from_text(&to_text(&path)), Some(path));
        }
    }
}
