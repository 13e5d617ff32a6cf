//! What two equal rows have in common, however their tables order columns.

use std::hash::{BuildHasher as _, RandomState};

use crate::{Error, Kind, Result};

/// How rows are told apart: by hashes that nobody can foresee, since their keys are random.
#[derive(Default)]
pub(super) struct Hashes([RandomState; 3]);

/// A row, as far as it must be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    /// Of its key, or of the whole row where there is no key.
    pub(super) key: u64,
    /// Of the whole row.
    pub(super) row: [u64; 2],
}

/// Which fields of a table's lines are compared, in an order that both sides share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fields {
    /// Fields that a line has.
    pub(super) width: usize,
    /// Those that are compared.
    pub(super) compared: Vec<usize>,
    /// Those of the key.
    pub(super) key: Vec<usize>,
}

/// Reads lines; keeps what it needs between them.
pub(super) struct Lines<'l> {
    hashes: &'l Hashes,
    fields: &'l Fields,
    /// Whether a line is compared as it stands.
    whole: bool,
    /// Where each field begins, and after the last one where the next would.
    begins: Vec<usize>,
    joined: Vec<u8>,
}

impl<'l> Lines<'l> {
    pub(super) fn new(hashes: &'l Hashes, fields: &'l Fields) -> Self {
        let whole = fields.compared.iter().copied().eq(0..fields.width);
        Self { hashes, fields, whole, begins: Vec::new(), joined: Vec::new() }
    }

    /// The print of a line without its end.
    pub(super) fn print(&mut self, line: &[u8]) -> Result<Print> {
        self.split(line)?;
        let row = match self.whole {
            true => [0, 1].map(|lane| self.hashes.0[lane].hash_one(line)),
            false => {
                self.join(line, &self.fields.compared);
                [0, 1].map(|lane| self.hashes.0[lane].hash_one(self.joined.as_slice()))
            }
        };
        if self.fields.key.is_empty() {
            return Ok(Print { key: row[0], row });
        }
        self.join(line, &self.fields.key);
        Ok(Print { key: self.hashes.0[2].hash_one(self.joined.as_slice()), row })
    }

    /// Finds the fields. A tab inside of a value is written as `\t`, so each one that is seen parts two fields.
    fn split(&mut self, line: &[u8]) -> Result<()> {
        self.begins.clear();
        if self.fields.width > 0 {
            self.begins.push(0);
            self.begins.extend(memchr::memchr_iter(b'\t', line).map(|tab| tab + 1));
            self.begins.push(line.len() + 1);
        }
        match self.begins.len().saturating_sub(1) == self.fields.width && (self.fields.width > 0 || line.is_empty()) {
            true => Ok(()),
            false => Err(Error::new(Kind::Damaged, "a row has another number of columns than its table")),
        }
    }

    fn join(&mut self, line: &[u8], fields: &[usize]) {
        self.joined.clear();
        for field in fields {
            self.joined.extend_from_slice(&line[self.begins[*field]..self.begins[field + 1] - 1]);
            self.joined.push(b'\t');
        }
        // So that it is the line itself where all fields are there in their order.
        self.joined.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(hashes: &Hashes, width: usize, compared: &[usize], key: &[usize], line: &str) -> Print {
        let fields = Fields { width, compared: compared.to_vec(), key: key.to_vec() };
        Lines::new(hashes, &fields).print(line.as_bytes()).expect("a row")
    }

    #[test]
    fn rows_are_equal_by_the_fields_that_both_have() {
        let hashes = Hashes::default();
        let whole = print(&hashes, 3, &[0, 1, 2], &[1], "a\tb\tc");
        assert_eq!(whole, print(&hashes, 4, &[3, 0, 1], &[0], "b\tc\tx\ta"));
        let other = print(&hashes, 3, &[0, 1, 2], &[1], "a\tb\td");
        assert!(other.key == whole.key && other.row != whole.row);
        assert_ne!(print(&hashes, 2, &[0, 1], &[], "a\t").row, print(&hashes, 2, &[0, 1], &[], "\ta").row);
        assert_eq!(print(&hashes, 1, &[0], &[], ""), print(&hashes, 2, &[1], &[], "x\t"));
        assert_eq!(print(&hashes, 0, &[], &[], ""), print(&hashes, 0, &[], &[], ""));
    }

    #[test]
    fn a_line_of_another_width_is_refused() {
        let hashes = Hashes::default();
        for (width, line) in [(2, "a"), (1, "a\tb"), (0, "a")] {
            let fields = Fields { width, compared: vec![], key: vec![] };
            assert!(Lines::new(&hashes, &fields).print(line.as_bytes()).is_err(), "{width} {line}");
        }
    }
}
