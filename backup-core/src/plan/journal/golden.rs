//! Tests of journals that earlier builds have written.

use super::*;

/// Opens a copy of `tests/golden/journals/NAME-format-N.journal` of every format, and makes sure that its steps are those
/// of its plan, this far.
pub(crate) fn check<P: Recipe>(name: &str, expected: &[Status]) {
    for format in TITLES..=FORMAT {
        let file = format!("../tests/golden/journals/{name}-format-{format}.journal");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("journal");
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file), &path).expect("a golden journal");
        let (journal, head) = Journal::open::<P>(&path).expect(&file);
        assert_eq!(head.format, format, "{file}");
        let steps = head.plan.titles_in_format_1();
        assert!(journal.ids().eq(steps.iter().map(|(id, _)| id)), "{file}: {:?}", journal.steps);
        assert_eq!(journal.statuses(), expected, "{file}");
    }
}
