//! Digests of tables that don't depend on the order of their rows.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::line::Lines;
use super::unit::{Found, Plan};
use crate::Result;
use crate::component::postgres::{Piece, Pieces};

/// A part of a unit's rows, those whose keys have hashes in one range: their number, and the sums of their hashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Part {
    rows: u64,
    sums: [u64; 2],
}

impl Part {
    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.sums = [0, 1].map(|lane| self.sums[lane].wrapping_add(other.sums[lane]));
    }
}

/// Digests of all units of one side.
pub(super) struct Digests {
    plan: Arc<Plan>,
    side: usize,
    parts: Vec<Mutex<Vec<Part>>>,
    /// Rows of each table.
    rows: Vec<AtomicU64>,
}

/// What digests alone say.
pub(super) struct Compared {
    pub(super) units: Vec<Found>,
    /// Of each unit whose rows have to be looked at once more, the parts that differ, and how many rows these have.
    pub(super) unsettled: Vec<Option<Unsettled>>,
}

/// The parts of a unit's rows that differ.
pub(super) struct Unsettled {
    pub(super) parts: Vec<bool>,
    pub(super) rows: u64,
}

/// The part that a key's hash belongs to.
pub(super) fn part_of(key: u64, bits: u32) -> usize {
    usize::try_from(key.checked_shr(64 - bits).unwrap_or(0)).unwrap_or(0)
}

impl Digests {
    pub(super) fn new(plan: Arc<Plan>, side: usize) -> Self {
        let parts = plan.units.iter().map(|unit| Mutex::new(vec![Part::default(); 1 << unit.bits])).collect();
        let rows = plan.unit_of[side].iter().map(|_| AtomicU64::new(0)).collect();
        Self { plan, side, parts, rows }
    }

    /// How many rows each table has.
    pub(super) fn rows(&self) -> Vec<u64> {
        self.rows.iter().map(|rows| rows.load(Relaxed)).collect()
    }

    /// Holds the digests of both sides against one another. A part that one side has no row of needs no closer look.
    pub(super) fn compare(both: &[Arc<Self>; 2]) -> Compared {
        let plan = &both[0].plan;
        let mut compared = Compared { units: Vec::new(), unsettled: Vec::new() };
        for index in 0..plan.units.len() {
            let parts = [0, 1]
                .map(|side: usize| both[side].parts[index].lock().unwrap_or_else(PoisonError::into_inner).clone());
            let mut found = Found::default();
            let mut unsettled = Unsettled { parts: vec![false; parts[0].len()], rows: 0 };
            for (place, (left, right)) in parts[0].iter().zip(&parts[1]).enumerate() {
                if left == right {
                    continue;
                }
                if left.rows == 0 || right.rows == 0 {
                    found.only[0] += left.rows;
                    found.only[1] += right.rows;
                } else {
                    unsettled.parts[place] = true;
                    unsettled.rows += left.rows + right.rows;
                }
            }
            compared.units.push(found);
            compared.unsettled.push((unsettled.rows > 0).then_some(unsettled));
        }
        compared
    }
}

impl Pieces for Digests {
    fn begin(&self, table: usize) -> Box<dyn Piece + '_> {
        let unit = self.plan.unit_of[self.side][table];
        let bits = self.plan.units[unit].bits;
        let fields = self.plan.fields[self.side][table].as_ref();
        let lines = fields.map(|fields| Lines::new(&self.plan.hashes, fields));
        let parts = if lines.is_some() { vec![Part::default(); 1 << bits] } else { Vec::new() };
        Box::new(Digest { digests: self, table, unit, bits, lines, parts, rows: 0 })
    }
}

struct Digest<'d> {
    digests: &'d Digests,
    table: usize,
    unit: usize,
    bits: u32,
    /// None where rows are counted alone.
    lines: Option<Lines<'d>>,
    parts: Vec<Part>,
    rows: u64,
}

impl Piece for Digest<'_> {
    fn row(&mut self, line: &[u8]) -> Result<()> {
        self.rows += 1;
        if let Some(lines) = &mut self.lines {
            let print = lines.print(line)?;
            self.parts[part_of(print.key, self.bits)].add(&Part { rows: 1, sums: print.row });
        }
        Ok(())
    }

    fn end(self: Box<Self>) -> Result<()> {
        self.digests.rows[self.table].fetch_add(self.rows, Relaxed);
        let mut all = self.digests.parts[self.unit].lock().unwrap_or_else(PoisonError::into_inner);
        all.iter_mut().zip(&self.parts).for_each(|(all, part)| all.add(part));
        Ok(())
    }
}
