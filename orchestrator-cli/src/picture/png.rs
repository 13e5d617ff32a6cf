//! The SVG as a PNG, twice as large as it says, with the font that it is made for.

use std::sync::Arc;

use backup_core::{Error, Kind, Result};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb::Database};

use super::svg::FONT;

/// Pixels for each unit, where the picture does not become too large for it.
const SCALE: f32 = 2.0;
/// Pixels on the longer side, and in all, at most.
const LONGEST: f32 = 16_000.0;
const MOST: f32 = 64e6;

pub(super) fn draw(svg: &str) -> Result<Vec<u8>> {
    let doing = || Error::new(Kind::Failed, "draw the picture");
    let mut fonts = Database::new();
    fonts.load_font_data(dejavu::sans_mono::regular().to_vec());
    fonts.load_font_data(dejavu::sans_mono::bold().to_vec());
    let options = Options { fontdb: Arc::new(fonts), font_family: FONT.into(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|cause| doing().because(cause))?;
    let size = tree.size();
    let room = (MOST / (size.width() * size.height())).sqrt();
    let scale = SCALE.min(room).min(LONGEST / size.width().max(size.height()));
    let pixels = |length: f32| (length * scale).ceil() as u32;
    let mut pixmap = Pixmap::new(pixels(size.width()), pixels(size.height())).ok_or_else(doing)?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|cause| doing().because(cause))
}
