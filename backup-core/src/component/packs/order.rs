//! The order of a tree's entries, and what none of them may say. The writer holds to it, and every reader before it believes an entry.

use super::LONGEST;
use crate::bundle::header::{EntryKind, Head};
use crate::bundle::path;

/// The longest target that Linux knows.
const LONGEST_TARGET: usize = 4095;

/// Takes entries in their order.
pub(super) struct Order {
    root: Vec<u8>,
    last: Vec<u8>,
    /// How long the paths are of the directories that the last entry is in, and of itself where it is one.
    open: Vec<usize>,
}

impl Order {
    /// Of a tree whose own path is `root`.
    pub(super) fn new(root: &[u8]) -> Self {
        Self { root: root.to_vec(), last: Vec::new(), open: Vec::new() }
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// Why no tree has it there.
    pub(super) fn take(&mut self, head: &Head) -> Result<(), String> {
        let path = &head.path;
        if let Some(why) = path::refuse(path) {
            return Err(why.into());
        }
        if path.len() > LONGEST {
            return Err(format!("a path of more than {LONGEST} bytes"));
        }
        let mut stay = 0;
        if self.last.is_empty() {
            if *path != self.root || head.kind != EntryKind::Directory {
                return Err("a tree begins with its own directory".into());
            }
        } else {
            if !sorted(&self.last, path) {
                return Err("the same path twice, or out of order".into());
            }
            let last = &self.last;
            let is_above = |length: usize| path.get(length) == Some(&b'/') && path.starts_with(&last[..length]);
            stay = self.open.iter().take_while(|length| is_above(**length)).count();
            let parent = path.iter().rposition(|byte| *byte == b'/');
            if parent.is_none() || parent != self.open[..stay].last().copied() {
                return Err("it is in no directory that stands before it".into());
            }
        }
        self.check_link(head)?;
        // What was refused changes nothing.
        self.open.truncate(stay);
        self.last.clone_from(path);
        if head.kind == EntryKind::Directory {
            self.open.push(path.len());
        }
        Ok(())
    }

    fn check_link(&self, head: &Head) -> Result<(), String> {
        let target = match &head.kind {
            EntryKind::Symlink(target) | EntryKind::Hardlink(target) => target,
            EntryKind::Directory if head.size > 0 => return Err("a directory with content".into()),
            EntryKind::File | EntryKind::Sparse(_) | EntryKind::Directory => return Ok(()),
        };
        let shown = path::to_text(target);
        if head.size > 0 {
            return Err("a link with content".into());
        }
        if matches!(head.kind, EntryKind::Symlink(_)) {
            if target.len() > LONGEST_TARGET {
                return Err(format!("a link to a path of more than {LONGEST_TARGET} bytes"));
            }
            let refused = target.is_empty() || target.contains(&0) || path::climbs_out(b"", &head.path, target);
            return if refused { Err(format!("a link that leads outside: {shown}")) } else { Ok(()) };
        }
        let is_inside = target.strip_prefix(self.root.as_slice()).is_some_and(|rest| rest.first() == Some(&b'/'));
        if path::refuse(target).is_some() || !is_inside || !sorted(target, &head.path) {
            return Err(format!("a hard link to {shown}, which is no earlier entry"));
        }
        Ok(())
    }
}

/// Whether one path comes before another: name by name, so that what is below a directory comes right after it.
pub(super) fn sorted(one: &[u8], other: &[u8]) -> bool {
    let lowered = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    one.iter().map(lowered).lt(other.iter().map(lowered))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: EntryKind) -> Head {
        Head { kind, ..Head::private(path, 0, 0) }
    }

    /// What is said of the last of these entries, if all before are taken.
    fn verdict(entries: &[(&str, EntryKind)]) -> Result<(), String> {
        let mut order = Order::new(b"srv/a");
        let (last, before) = entries.split_last().expect("entries");
        for (path, kind) in before {
            order.take(&entry(path, kind.clone())).unwrap_or_else(|why| panic!("{path}: {why}"));
        }
        order.take(&entry(last.0, last.1.clone()))
    }

    #[test]
    fn entries_come_in_order_below_their_directories() {
        use EntryKind::{Directory, File, Hardlink, Symlink};
        let root = ("srv/a", Directory);
        let link = |target: &str| Symlink(target.into());
        let good: [&[(&str, EntryKind)]; 6] = [
            &[root.clone(), ("srv/a/d", Directory), ("srv/a/d/x", File), ("srv/a/d-e", File)],
            &[
                root.clone(),
                ("srv/a/d", Directory),
                ("srv/a/d/e", Directory),
                ("srv/a/d/e/x", File),
                ("srv/a/d/x", File),
            ],
            &[root.clone(), ("srv/a/l", link("../../etc/x"))],
            &[root.clone(), ("srv/a/l", link("/etc/x"))],
            &[root.clone(), ("srv/a/x", File), ("srv/a/y", Hardlink("srv/a/x".into()))],
            &[root.clone(), ("srv/a/d", Directory), ("srv/a/e", Directory)],
        ];
        for entries in good {
            assert_eq!(verdict(entries), Ok(()), "{entries:?}");
        }
        let bad: [(&[(&str, EntryKind)], &str); 18] = [
            (&[("srv/a", File)], "own directory"),
            (&[("srv", Directory)], "own directory"),
            (&[root.clone(), ("srv/a", Directory)], "twice"),
            (&[root.clone(), ("srv/a/x", File), ("srv/a/x", File)], "twice"),
            (&[root.clone(), ("srv/a/y", File), ("srv/a/x", File)], "out of order"),
            (&[root.clone(), ("srv/a/d", Directory), ("srv/a/d-e", File), ("srv/a/d/x", File)], "out of order"),
            (&[root.clone(), ("srv/b", File)], "no directory"),
            (&[root.clone(), ("t", File)], "no directory"),
            (&[root.clone(), ("srv/a/d/x", File)], "no directory"),
            (&[root.clone(), ("srv/a/l", link("/etc")), ("srv/a/l/x", File)], "no directory"),
            (&[root.clone(), ("srv/a/../x", File)], "`..`"),
            (&[root.clone(), ("/srv/a/x", File)], "absolute"),
            (&[root.clone(), ("srv/a//x", File)], "empty part"),
            (&[root.clone(), ("srv/a/l", link("../../../x"))], "outside"),
            (&[root.clone(), ("srv/a/l", link(""))], "outside"),
            (&[root.clone(), ("srv/a/y", Hardlink("srv/a/z".into()))], "no earlier"),
            (&[root.clone(), ("srv/a/y", Hardlink("etc/passwd".into()))], "no earlier"),
            (&[root.clone(), ("srv/a/y", Hardlink("srv/a/../../etc/passwd".into()))], "no earlier"),
        ];
        for (entries, word) in bad {
            let why = verdict(entries).expect_err(word);
            assert!(why.contains(word), "{why}: {entries:?}");
        }
        let mut order = Order::new(b"srv/a");
        for (path, kind, taken) in [
            ("srv/a", Directory, true),
            ("srv/a/d", Directory, true),
            ("srv/a/e/x", File, false),
            ("srv/a/e", link("../../../x"), false),
            ("srv/a/d/x", File, true),
        ] {
            assert_eq!(order.take(&entry(path, kind)).is_ok(), taken, "{path}");
        }
        for (length, taken) in [(LONGEST, true), (LONGEST + 1, false)] {
            let long = format!("srv/a/{}", "n".repeat(length - 6));
            assert_eq!(verdict(&[root.clone(), (&long, File)]).is_ok(), taken, "{length}");
        }
        for (length, taken) in [(LONGEST_TARGET, true), (LONGEST_TARGET + 1, false)] {
            assert_eq!(verdict(&[root.clone(), ("srv/a/l", link(&"n".repeat(length)))]).is_ok(), taken, "{length}");
        }
        let mut order = Order::new(b"srv/a");
        assert!(order.take(&Head { size: 1, ..entry("srv/a", Directory) }).is_err());
    }
}
