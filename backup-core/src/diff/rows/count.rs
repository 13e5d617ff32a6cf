//! How many rows differ: what may be the cause is set aside in parts that fit into memory, and then counted part by part.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use super::digest::{Unsettled, part_of};
use super::line::Lines;
use super::unit::{Found, Plan};
use crate::component::postgres::{Piece, Pieces};
use crate::{ErrorContext, Result};

/// Rows of a heap, about: counting them takes some hundred bytes of memory for each that differs from all others.
const HEAP: u64 = 2 << 20;
/// Most heaps, each of which may have a file open.
const MOST: u64 = 512;
/// What all heaps together hold in memory before they write to their files.
const HELD: usize = 64 << 20;
/// A row that is set aside: its side, its unit, its key, and its other hash.
const RECORD: usize = 1 + 4 + 8 + 8;

/// Rows that are set aside.
#[derive(Default)]
struct Heap {
    held: Vec<u8>,
    /// Has no name, so that nothing is left of it whatever happens.
    file: Option<File>,
}

/// Counts the rows of units whose digests differ.
pub(super) struct Counting {
    plan: Arc<Plan>,
    unsettled: Vec<Option<Unsettled>>,
    heaps: Vec<Mutex<Heap>>,
    /// What one heap holds in memory.
    held: usize,
}

/// One side of it.
pub(super) struct OneSide {
    counting: Arc<Counting>,
    side: usize,
}

impl Counting {
    pub(super) fn new(plan: Arc<Plan>, unsettled: Vec<Option<Unsettled>>) -> Self {
        let rows: u64 = unsettled.iter().flatten().map(|unsettled| unsettled.rows).fold(0, u64::saturating_add);
        Self::with_heaps(plan, unsettled, rows.div_ceil(HEAP).clamp(1, MOST) as usize, HELD)
    }

    /// `held` is what all heaps together hold in memory.
    fn with_heaps(plan: Arc<Plan>, unsettled: Vec<Option<Unsettled>>, number: usize, held: usize) -> Self {
        Self { plan, unsettled, heaps: (0..number).map(|_| Mutex::default()).collect(), held: held / number }
    }

    pub(super) fn side(self: &Arc<Self>, side: usize) -> OneSide {
        OneSide { counting: self.clone(), side }
    }

    /// The tables of a side that have to be read.
    pub(super) fn wanted(&self, side: usize) -> Vec<bool> {
        self.plan.unit_of[side].iter().map(|unit| self.unsettled[*unit].is_some()).collect()
    }

    fn keep(&self, side: usize, unit: usize, key: u64, row: u64) -> Result<()> {
        // Not by the bits that chose the digest's part: those of a heap would all be the same.
        let place = usize::try_from(key % self.heaps.len() as u64).unwrap_or(0);
        let mut heap = self.heaps[place].lock().unwrap_or_else(PoisonError::into_inner);
        heap.held.push(u8::try_from(side).unwrap_or(u8::MAX));
        heap.held.extend_from_slice(&u32::try_from(unit).unwrap_or(u32::MAX).to_le_bytes());
        heap.held.extend_from_slice(&key.to_le_bytes());
        heap.held.extend_from_slice(&row.to_le_bytes());
        if heap.held.len() >= self.held { heap.write().context(doing) } else { Ok(()) }
    }

    /// Adds what was counted to what was found before.
    pub(super) fn finish(&self, found: &mut [Found]) -> Result<()> {
        for heap in &self.heaps {
            let heap = std::mem::take(&mut *heap.lock().unwrap_or_else(PoisonError::into_inner));
            let rows = heap.rows().map_err(|cause| crate::Error::new(crate::Kind::Failed, doing()).because(cause))?;
            self.count(rows, found);
        }
        Ok(())
    }

    /// Counts a heap. What both sides have as often is the same on both.
    fn count(&self, rows: HashMap<Row, i64>, found: &mut [Found]) {
        let mut rest: Vec<(u32, u64, i64)> =
            rows.into_iter().filter(|(_, more)| *more != 0).map(|((unit, key, _), more)| (unit, key, more)).collect();
        rest.sort_unstable();
        for same_key in rest.chunk_by(|left, right| (left.0, left.1) == (right.0, right.1)) {
            let unit = same_key[0].0 as usize;
            let sum = |sign: i64| same_key.iter().map(|row| (row.2 * sign).max(0).unsigned_abs()).sum::<u64>();
            let (left, right) = (sum(1), sum(-1));
            let changed = if self.plan.units[unit].has_key() { left.min(right) } else { 0 };
            found[unit].changed += changed;
            found[unit].only[0] += left - changed;
            found[unit].only[1] += right - changed;
        }
    }
}

fn doing() -> String {
    "set rows aside that differ, in a file of the directory for temporary files".into()
}

/// Unit, key and other hash of a row.
type Row = (u32, u64, u64);

impl Heap {
    fn write(&mut self) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        file.write_all(&self.held)?;
        self.held.clear();
        Ok(())
    }

    /// Every row, with how many more of it the bundle has than the other.
    fn rows(self) -> std::io::Result<HashMap<Row, i64>> {
        let mut rows = HashMap::new();
        if let Some(mut file) = self.file {
            file.seek(SeekFrom::Start(0))?;
            let mut reader = BufReader::with_capacity(1 << 18, file);
            let mut record = [0; RECORD];
            while !std::io::BufRead::fill_buf(&mut reader)?.is_empty() {
                reader.read_exact(&mut record)?;
                add(&mut rows, &record);
            }
        }
        let (records, _) = self.held.as_chunks::<RECORD>();
        records.iter().for_each(|record| add(&mut rows, record));
        Ok(rows)
    }
}

fn add(rows: &mut HashMap<Row, i64>, record: &[u8; RECORD]) {
    let number =
        |from: usize| record[from..from + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let unit = record[1..5].iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
    *rows.entry((unit, number(5), number(13))).or_default() += if record[0] == 0 { 1 } else { -1 };
}

impl Pieces for OneSide {
    fn begin(&self, table: usize) -> Box<dyn Piece + '_> {
        let plan = &self.counting.plan;
        let unit = plan.unit_of[self.side][table];
        let lines = plan.fields[self.side][table].as_ref().map(|fields| Lines::new(&plan.hashes, fields));
        Box::new(Aside { side: self, unit, lines })
    }
}

struct Aside<'a> {
    side: &'a OneSide,
    unit: usize,
    lines: Option<Lines<'a>>,
}

impl Piece for Aside<'_> {
    fn row(&mut self, line: &[u8]) -> Result<()> {
        let counting = &self.side.counting;
        let (Some(lines), Some(unsettled)) = (&mut self.lines, &counting.unsettled[self.unit]) else { return Ok(()) };
        let print = lines.print(line)?;
        match unsettled.parts[part_of(print.key, counting.plan.units[self.unit].bits)] {
            true => counting.keep(self.side.side, self.unit, print.key, print.row[1]),
            false => Ok(()),
        }
    }

    fn end(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::unit::Shape;
    use super::*;
    use crate::component::postgres::{Head, Keys};

    /// Counts the lines of a table on both sides, by its first column or by none.
    fn counted(keyed: bool, heaps: usize, held: usize, sides: [&[(u32, u32)]; 2]) -> Found {
        let table = (b"s".to_vec(), b"t".to_vec());
        let head = Head { table: table.clone(), columns: vec![b"k".to_vec(), b"v".to_vec()] };
        let shape = || vec![Shape { schema: "s".into(), name: "t".into(), head: Some(head.clone()), rows: 1 }];
        let keys = if keyed { Keys::from([(table, vec![vec![b"k".to_vec()]])]) } else { Keys::new() };
        let plan = Arc::new(Plan::new([shape(), shape()], [keys, Keys::new()]));
        let unsettled = Unsettled { parts: vec![true; 1 << plan.units[0].bits], rows: 1 };
        let counting = Arc::new(Counting::with_heaps(plan, vec![Some(unsettled)], heaps, held));
        for (side, rows) in sides.into_iter().enumerate() {
            let side = counting.side(side);
            let mut piece = side.begin(0);
            rows.iter().for_each(|(key, value)| piece.row(format!("{key}\t{value}").as_bytes()).expect("a row"));
            piece.end().expect("an end");
        }
        let mut found = [Found::default()];
        counting.finish(&mut found).expect("counted");
        found[0]
    }

    #[test]
    fn rows_are_counted_in_memory_and_in_files_alike() {
        let left: Vec<(u32, u32)> =
            (0..5000).map(|row| (row, row % 7)).chain([(9000, 1), (9000, 1), (9000, 2)]).collect();
        let right: Vec<(u32, u32)> = (10..5001)
            .rev()
            .map(|row| (row, if row < 110 { 8 } else { row % 7 }))
            .chain([(9000, 1), (9000, 3)])
            .collect();
        for (heaps, held) in [(1, 1 << 20), (1, 64), (7, 700), (5, 0)] {
            let keyed = counted(true, heaps, held, [&left, &right]);
            assert_eq!(keyed, Found { changed: 101, only: [11, 1] }, "{heaps} {held}");
            let bag = counted(false, heaps, held, [&left, &right]);
            assert_eq!(bag, Found { changed: 0, only: [112, 102] }, "{heaps} {held}");
        }
    }
}
