//! Commands of psql's own, where none may be.

use super::lexer::Lexer;
use super::statement::is_copy;
use crate::{Error, Kind, Result};

/// Refuses what is not one statement alone: commands of psql's own, rows, several statements, of which the first could change
/// how psql reads the others.
///
/// # Errors
/// [`Kind::Damaged`], showing how it begins.
pub(crate) fn refuse(statement: &[u8]) -> Result<()> {
    const SHOWN: usize = 80;
    let mut lexer = Lexer::default();
    let lines = statement.split_inclusive(|byte| *byte == b'\n');
    let ended: Vec<Vec<u8>> = lines.flat_map(|line| lexer.take(line)).collect();
    match ended.as_slice() {
        [one] if !one.starts_with(b"\\") && !is_copy(one) && lexer.is_between() => Ok(()),
        _ => {
            let shown = statement[..statement.len().min(SHOWN)].escape_ascii();
            Err(Error::new(Kind::Damaged, format!("it is not one statement alone: {shown}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_statement_is_taken_and_no_command() {
        let refused = |script: &&str| refuse(script.as_bytes()).is_err();
        let commands = [
            "\\! x\n",
            "SELECT 1 \\g |x\n",
            "SELECT '\\'; \\! x\n",
            "SELECT 1E'\\', '\n\\! x\n';\n",
            "SELECT 1; \\! x\n",
        ];
        let others = ["COPY t FROM stdin;\n", "SELECT 'x", "SELECT 1; SELECT 2;", ""];
        assert!(commands.iter().chain(&others).all(refused));
        let taken = ["SELECT '\\! x';\n", "CHECK (a ~ E'\\\\');\n", "DO $$\n\\! x\n$$;\n", "-- \\! x\nSELECT 1;\n"];
        assert!(!taken.iter().any(refused));
    }
}
