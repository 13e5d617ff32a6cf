//! What somebody may have meant who wrote a name that does not exist.

/// Names less alike are no slip of the fingers.
const ALIKE: f64 = 0.8;

/// Names of so many letters differ by chance.
const SHORT: usize = 4;

/// The known name most like an unknown one, where any is.
pub(crate) fn nearest<'k>(unknown: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let alike = known.map(|known| (strsim::jaro_winkler(unknown, known), known)).filter(|(alike, _)| *alike > ALIKE);
    alike.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

/// The known name that an unknown one is a slip of the fingers for: it differs in a letter or two. Who writes another number means it.
pub(crate) fn slip<'k>(unknown: &str, mut known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let letters = |name: &str| name.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let wanted = letters(unknown);
    let is_slip = |name: &str| {
        let name = letters(name);
        name.chars().count() > SHORT && matches!(strsim::damerau_levenshtein(&wanted, &name), 1..=2)
    };
    known.find(|name| is_slip(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_a_letter_or_two_and_no_other_number() {
        for (unknown, expected) in [
            ("orchestrater", Some("orchestrator")),
            ("ochrestrator", Some("orchestrator")),
            ("orchestrator2", None),
            ("orchestrator_old", None),
            ("look", None),
            ("form_2", None),
            ("form2", Some("form_1")),
        ] {
            let known = ["postgres", "orchestrator", "book", "form_1"];
            assert_eq!(slip(unknown, known.into_iter()), expected, "{unknown}");
        }
    }
}
