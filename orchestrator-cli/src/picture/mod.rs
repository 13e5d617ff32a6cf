//! The picture of a deploy: PNG and SVG for people, DOT for other programs that draw.

mod cards;
mod dot;
mod layout;
mod png;
mod svg;

use std::collections::BTreeSet;
use std::path::Path;

use backup_core::deploy::Graph;
use backup_core::{Error, Kind, Result};

/// What is drawn.
pub(crate) struct Subject<'g> {
    /// Name of the cluster.
    pub(crate) cluster: &'g str,
    /// The release that is deployed, if it is known.
    pub(crate) release: Option<&'g str>,
    /// Its machines, and which goes before which.
    pub(crate) graph: &'g Graph,
    /// Hosts that don't answer.
    pub(crate) down: BTreeSet<String>,
}

/// A form that the picture can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Png,
    Svg,
    Dot,
}

impl Form {
    /// The one that a file's name asks for.
    ///
    /// # Errors
    /// [`Kind::Usage`] where it asks for none.
    pub(crate) fn of(file: &Path) -> Result<Self> {
        let extension = file.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("png") => Ok(Self::Png),
            Some("svg") => Ok(Self::Svg),
            Some("dot" | "gv") => Ok(Self::Dot),
            _ => Err(Error::new(Kind::Usage, format!("draw {}: its name tells no kind of picture", file.display()))
                .hint("let it end in .png, .svg or .dot")),
        }
    }

    /// The picture's bytes.
    ///
    /// # Errors
    /// Where it can't be made.
    pub(crate) fn draw(self, subject: &Subject<'_>) -> Result<Vec<u8>> {
        match self {
            Self::Png => png::draw(&svg::draw(subject, false)),
            Self::Svg => Ok(svg::draw(subject, true).into_bytes()),
            Self::Dot => Ok(dot::draw(subject).into_bytes()),
        }
    }
}
