//! What of the section pre-data must wait for some of post-data. pg_dump puts a view that needs a key behind the rows, and what
//! needs the view stays before them by its section, though behind it in the archive.

use std::collections::{HashMap, HashSet};

use super::archive::id_of;

/// The entries of an archive, as lines of pg_restore's list, in an order in which each has what it needs.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Parts {
    /// What comes first: pre-data that needs nothing of post-data.
    pub(in super::super) first: Vec<Vec<u8>>,
    /// What comes before rows too: other pre-data, and what of post-data it needs.
    pub(in super::super) then: Vec<Vec<u8>>,
    /// What comes after rows.
    pub(in super::super) after: Vec<Vec<u8>>,
}

/// Whether some of pre-data stands behind post-data, by the list of all and the list of pre-data alone.
pub(in super::super) fn is_mixed(all: &[u8], before: &[u8]) -> bool {
    let before: HashSet<u64> = lines(before).filter_map(id_of).collect();
    let mut ids = lines(all).filter_map(id_of).map(|id| before.contains(&id)).skip_while(|is_before| *is_before);
    ids.any(|is_before| is_before)
}

/// Parts an archive, by the list of all, the list of pre-data alone, and a list that says what each entry depends on.
pub(in super::super) fn parts(all: &[u8], before: &[u8], verbose: &[u8]) -> Parts {
    let order: Vec<(u64, &[u8])> = lines(all).filter_map(|line| Some((id_of(line)?, line))).collect();
    let before: HashSet<u64> = lines(before).filter_map(id_of).collect();
    let (mut needs, mut needed_by): (Links, Links) = Default::default();
    let mut last = None;
    for line in lines(verbose) {
        last = id_of(line).or(last);
        let (Some(id), Some(ids)) = (last, line.strip_prefix(b";\tdepends on:")) else { continue };
        for other in String::from_utf8_lossy(ids).split_whitespace().filter_map(|other| other.parse().ok()) {
            needs.entry(id).or_default().push(other);
            needed_by.entry(other).or_default().push(id);
        }
    }
    let after: HashSet<u64> = order.iter().map(|(id, _)| *id).filter(|id| !before.contains(id)).collect();
    let late: HashSet<u64> = reached(&after, &needed_by).intersection(&before).copied().collect();
    let early: HashSet<u64> = reached(&late, &needs).intersection(&after).copied().collect();
    let those = |which: &dyn Fn(&u64) -> bool| {
        order.iter().filter(|(id, _)| which(id)).map(|(_, line)| line.to_vec()).collect::<Vec<_>>()
    };
    Parts {
        first: those(&|id| before.contains(id) && !late.contains(id)),
        then: those(&|id| late.contains(id) || early.contains(id)),
        after: those(&|id| after.contains(id) && !early.contains(id)),
    }
}

/// What hangs on what.
type Links = HashMap<u64, Vec<u64>>;

/// All that can be reached from `begin`.
fn reached(begin: &HashSet<u64>, links: &Links) -> HashSet<u64> {
    let mut found = begin.clone();
    let mut left: Vec<u64> = begin.iter().copied().collect();
    while let Some(id) = left.pop() {
        let next = links.get(&id).into_iter().flatten();
        left.extend(next.filter(|next| found.insert(**next)));
    }
    found
}

fn lines(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split_inclusive(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_something_late_comes_after_it() {
        let all = b";\n1; 1 1 TABLE public t o\n2; 1 1 CONSTRAINT public t k o\n4; 1 1 INDEX public i o\n\
            3; 1 1 MATERIALIZED VIEW public v o\n5; 1 1 FUNCTION public f() o\n6; 0 0 ACL public FUNCTION f() o\n7; 1 1 INDEX public j o\n";
        let before = b"1; 1 1 TABLE public t o\n5; 1 1 FUNCTION public f() o\n6; 0 0 ACL public FUNCTION f() o\n";
        let verbose =
            b"1; 1 1 TABLE public t o\n;\tdepends on: 9\n2; 1 1 CONSTRAINT public t k o\n;\tdepends on: 1 1\n\
            4; 1 1 INDEX public i o\n;\tdepends on: 1\n3; 1 1 MATERIALIZED VIEW public v o\n;\tdepends on: 1 2\n\
            5; 1 1 FUNCTION public f() o\n;\tdepends on: 3\n6; 0 0 ACL public FUNCTION f() o\n;\tdepends on: 5\n\
            7; 1 1 INDEX public j o\n;\tdepends on: 3\n";
        assert!(is_mixed(all, before));
        assert!(!is_mixed(b"1; 1 1 TABLE public t o\n2; 1 1 CONSTRAINT public t k o\n", b"1; 1 1 TABLE public t o\n"));
        let parts = parts(all, before, verbose);
        let ids = |lines: &[Vec<u8>]| lines.iter().filter_map(|line| id_of(line)).collect::<Vec<_>>();
        assert_eq!((ids(&parts.first), ids(&parts.then), ids(&parts.after)), (vec![1], vec![2, 3, 5, 6], vec![4, 7]));
    }
}
