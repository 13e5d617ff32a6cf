//! What is known of a bundle before anything is captured.

use super::FORMAT;
use super::manifest::Source;
use crate::names::ComponentId;

/// What a bundle will hold, as `bundle.json` says it at its beginning.
#[derive(Debug, Clone)]
pub struct Announced {
    /// The lowest format that says all of it.
    pub format: u32,
    /// Where it comes from.
    pub source: Source,
    /// Names of PostgreSQL's databases.
    pub databases: Vec<String>,
    /// Components that have sections.
    pub components: Vec<ComponentId>,
}

impl Announced {
    /// Nothing yet, of this source.
    pub fn of(source: Source) -> Self {
        Self { format: FORMAT, source, databases: Vec::new(), components: Vec::new() }
    }

    /// Something in it is not said by any format before this one.
    pub fn at_least(&mut self, format: u32) {
        self.format = self.format.max(format);
    }
}
