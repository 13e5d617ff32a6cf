//! Rows as psql reads them: what follows the line that ends them would be run.

use super::simple;
use crate::{Error, Kind, Result};

/// Follows rows part by part. None of a part may be sent before it was followed.
#[derive(Default)]
pub(super) struct Rows {
    /// The beginning of the line that we are in, as much as tells whether it ends the rows.
    line: Vec<u8>,
    ended: bool,
}

impl Rows {
    /// Follows a part.
    ///
    /// # Errors
    /// [`Kind::Damaged`] where anything comes after the end of the rows.
    pub(super) fn follow(&mut self, part: &[u8]) -> Result<()> {
        const ENOUGH: usize = 4;
        simple::refuse_zeros(part)?;
        for piece in part.split_inclusive(|byte| *byte == b'\n') {
            if self.ended {
                return Err(Error::new(Kind::Damaged, "more follows the end of its rows"));
            }
            let room = ENOUGH.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            // A carriage return belongs to the end of the line for psql.
            self.ended = matches!(self.line.as_slice(), b"\\.\n" | b"\\.\r\n");
            if piece.ends_with(b"\n") {
                self.line.clear();
            }
        }
        Ok(())
    }

    /// # Errors
    /// [`Kind::Damaged`] where they have not ended.
    pub(super) fn finish(&self) -> Result<()> {
        match self.ended {
            true => Ok(()),
            false => Err(Error::new(Kind::Damaged, "its rows do not end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_sound(text: &str, size: usize) -> bool {
        let mut rows = Rows::default();
        text.as_bytes().chunks(size).try_for_each(|part| rows.follow(part)).and_then(|()| rows.finish()).is_ok()
    }

    #[test]
    fn rows_end_once_however_they_are_cut() {
        for size in 1..12 {
            let sound = ["\\.\n", "a\nb\\.\n\\.\n", "\\\\.\n\\.\n", "\\.x\n\\.\n", "\\.\r\n"];
            assert!(sound.iter().all(|text| is_sound(text, size)), "{size}");
            let unsound = ["", "a\n", "\\.\n\\! x\n", "\\.\r\n\\! x\n\\.\n", "a\\.\n", "a\0\n\\.\n", "\\.\n\\.\n"];
            assert!(!unsound.iter().any(|text| is_sound(text, size)), "{size}");
        }
    }
}
