//! What somebody may have meant who wrote a name that does not exist.

/// Names less alike are no slip of the fingers.
const ALIKE: f64 = 0.8;

/// The known name most like an unknown one, where any is.
pub(crate) fn nearest<'k>(unknown: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let alike = known.map(|known| (strsim::jaro_winkler(unknown, known), known)).filter(|(alike, _)| *alike > ALIKE);
    alike.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}
