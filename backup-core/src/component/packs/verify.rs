//! What does not agree between packs and index.

use super::MOST_FINDINGS;
use super::reading::{Source, Visitor, read};
use crate::bundle::header::Head;
use crate::finding::{Finding, Told};
use crate::{Context, Error, Kind, Result};

/// Reads all packs with the index; returns what is damaged. A pack that can't be read any further is left for the next one.
///
/// # Errors
/// Where they can't be read.
pub(super) fn verify(source: &impl Source, context: &Context) -> Result<Vec<Finding>> {
    let mut verify = Verify(Told::at_most(MOST_FINDINGS));
    match read(source, &mut verify, &context.cancel) {
        Ok(_) => {}
        Err(error) if error.kind() == Kind::Damaged => verify.damaged(error)?,
        Err(error) => return Err(error),
    }
    Ok(verify.0.into_findings())
}

struct Verify(Told);

impl Visitor for Verify {
    fn begin(&mut self, _: &Head) -> Result<()> {
        Ok(())
    }

    fn content(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn end(&mut self, _: &Head) -> Result<()> {
        Ok(())
    }

    fn damaged(&mut self, error: Error) -> Result<()> {
        self.0.tell(Finding::from_error("damaged", "packs", &error));
        Ok(())
    }
}
