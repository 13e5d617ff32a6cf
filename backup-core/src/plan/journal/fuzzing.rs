//! What fuzz targets call of journals.

use serde::{Deserialize, Serialize};

use super::{line_after, read};
use crate::names::StepId;
use crate::plan::{Head, Recipe};

/// A plan of steps by their names.
#[derive(Serialize, Deserialize)]
struct Named(Vec<String>);

impl Recipe for Named {
    fn titles_in_format_1(&self) -> Vec<(StepId, String)> {
        self.0.iter().map(|name| (StepId::new(&**name), name.clone())).collect()
    }
}

/// What is no journal is none; what is one is one up to the end of each of its lines. Lines without a check get theirs: nobody hits one
/// by chance.
pub(crate) fn journal(bytes: &[u8]) {
    let _ = read::<Named>(bytes).map(|(head, ..)| head.noted().len());
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (mut check, mut written, mut ends) = (String::new(), String::new(), Vec::new());
    for line in text.lines() {
        let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else { return };
        let Ok((next, line)) = line_after(&check, &value) else { return };
        check = next;
        written.push_str(&line);
        ends.push(written.len());
    }
    let Ok((head, lines, last)) = read::<Named>(written.as_bytes()) else { return };
    assert!(last == check && lines.len() + 1 == ends.len());
    assert!(ends.iter().all(|end| read::<Named>(&written.as_bytes()[..*end]).is_ok()));
    assert_eq!(head.noted().len(), head.steps.len());
    assert!(serde_json::to_string::<Head<Named>>(&head).is_ok());
}

/// What to begin with.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let text = r#"{"format":2,"tool":"t","kind":"restore","created":"2026-11-20T19:15:00Z","steps":["one","two"],"plan":["one","two"]}
{"time":"2026-11-20T19:15:00Z","step":"one","mark":"begin"}
{"time":"2026-11-20T19:15:01Z","step":"one","mark":"done","found":[],"accepted":["x"]}
"#;
    vec![("journal", text.into()), ("journal", text.replace(":2,", ":1,").into())]
}
