//! In which order chunks are loaded, and which of them together.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::RangeInclusive;

use super::Load;
use crate::bundle::manifest::Entry;
use crate::bundle::manifest::postgres::Chunk;

/// A table is loaded whole, by one connection in one transaction, if it is at least so long: shorter ones aren't worth it.
const WHOLE_FROM: u64 = 1 << 20;
/// And at most so long: what a crash interrupts is loaded anew.
const WHOLE_TO: u64 = 1 << 30;

/// What a loader does before it looks for more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// A chunk, by its place in the manifest.
    Chunk(usize),
    /// All chunks of a table.
    Table(Vec<usize>),
}

impl Task {
    /// Its first chunk.
    pub(super) fn first(&self) -> Option<usize> {
        match self {
            Self::Chunk(index) => Some(*index),
            Self::Table(chunks) => chunks.first().copied(),
        }
    }
}

impl Load {
    /// What is to be done to load `missing`. Whole tables come first, the largest of them before all others.
    pub(super) fn tasks(&self, missing: Vec<usize>) -> VecDeque<Task> {
        let entries = &self.bundle.manifest().entries;
        let total: u64 = missing.iter().map(|index| entries[*index].size).sum();
        // One that takes longer than that would end after all others.
        let longest = WHOLE_TO.min(total / (2 * self.target.jobs.max(1) as u64));
        let whole_from = if self.database().encoding == "UTF8" { WHOLE_FROM } else { u64::MAX };
        let (whole, rest) = split(entries, missing, whole_from..=longest);
        whole.into_iter().chain(interleaved(entries, rest)).collect()
    }
}

/// Parts tables of a length in `range`, as tasks, the longest first, from the chunks of all others.
fn split(entries: &[Entry], chunks: Vec<usize>, range: RangeInclusive<u64>) -> (Vec<Task>, Vec<usize>) {
    let mut tables: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in chunks {
        if let Some(chunk) = &entries[index].chunk {
            tables.entry(chunk.table).or_default().push(index);
        }
    }
    let length = |chunks: &[usize]| chunks.iter().map(|index| entries[*index].size).sum::<u64>();
    let (mut whole, rest): (Vec<_>, Vec<_>) = tables.into_values().partition(|chunks| range.contains(&length(chunks)));
    whole.sort_by_key(|chunks| std::cmp::Reverse(length(chunks)));
    (whole.into_iter().map(Task::Table).collect(), rest.concat())
}

/// The order in which every table comes to its end at the same time, so that neighbours seldom extend the same one.
fn interleaved(entries: &[Entry], tasks: Vec<usize>) -> impl Iterator<Item = Task> {
    let mut parts: HashMap<usize, u64> = HashMap::new();
    let chunks: Vec<(usize, &Chunk)> =
        tasks.into_iter().filter_map(|index| Some((index, entries[index].chunk.as_ref()?))).collect();
    for (_, chunk) in &chunks {
        let last = parts.entry(chunk.table).or_default();
        *last = chunk.part.max(*last);
    }
    let share = |chunk: &Chunk| (chunk.part + 1) as f64 / (parts[&chunk.table] + 1) as f64;
    let mut order: Vec<(f64, usize)> = chunks.iter().map(|(index, chunk)| (share(chunk), *index)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    order.into_iter().map(|(_, index)| Task::Chunk(index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;

    #[test]
    fn every_table_comes_to_its_end_with_the_others() {
        let entry = |(table, part): (usize, u64)| Entry {
            path: format!("{table}/{part}"),
            kind: Default::default(),
            link: None,
            size: 0,
            sha256: Sha256Digest([0; 32]),
            expanded: None,
            offset: 0,
            stored: 0,
            stored_sha256: Sha256Digest([0; 32]),
            chunk: Some(Chunk { database: 0, table, part, rows: 0, preamble: 0 }),
        };
        let entries: Vec<Entry> = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)].map(entry).into();
        let order: Vec<Task> = interleaved(&entries, (0..entries.len()).collect()).collect();
        assert_eq!(order, [0, 1, 4, 2, 3, 5].map(Task::Chunk));
        let (whole, rest) = split(&entries, (0..entries.len()).collect(), 0..=u64::MAX);
        assert_eq!((whole, rest), (vec![Task::Table(vec![0, 1, 2, 3]), Task::Table(vec![4, 5])], vec![]));
        let (whole, rest) = split(&entries, vec![1, 4, 5], 1..=u64::MAX);
        assert_eq!((whole, rest), (vec![], vec![1, 4, 5]));
    }
}
