//! The table of `docs/security.md`: who must not do what, and the tests that hold it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const WHO: [&str; 6] = [
    "may create objects in a store",
    "is the jobs' user",
    "is a user of the machine",
    "is a host of the cluster",
    "is on the way",
    "made the bundle",
];
const WHAT: [&str; 6] = [
    "run anything",
    "have anything deleted",
    "make anything look sound",
    "stop anything elsewhere",
    "write elsewhere",
    "read secrets",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names of all tests in the sources below a directory, each after the name of its file where it is one of `system`.
fn tests_below(directory: &Path, named: &dyn Fn(&Path) -> String, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            tests_below(&path, named, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                let function = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
                if let Some(function) = function.filter(|_| is_test) {
                    found.insert(format!("{}::{}", named(&path), function.split('(').next().unwrap_or_default()));
                }
                is_test = line == "#[test]" || line == "#[tokio::test]" || (is_test && line.starts_with("#["));
            }
        }
    }
}

#[test]
fn everybody_and_everything_of_the_table_is_held_by_a_test_that_there_is() {
    let mut tests = BTreeSet::new();
    let file = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
    tests_below(&root().join("tests/system"), &file, &mut tests);
    tests_below(&root().join("backup-core/src"), &|_| "lib".into(), &mut tests);
    let text = fs::read_to_string(root().join("docs/security.md")).expect("the page");
    let (_, table) = text.split_once("| who | must not | held by |").expect("the table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut pairs = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [who, what, held] = cells[..] else { panic!("{row}") };
        let named: Vec<&str> = held.split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect();
        assert!(!named.is_empty(), "{row}");
        named.iter().for_each(|name| assert!(tests.contains(*name), "no test is called {name}"));
        assert!(pairs.insert((who, what)), "twice: {row}");
    }
    let all = WHO.iter().flat_map(|who| WHAT.iter().map(|what| (*who, *what))).collect();
    assert_eq!(pairs, all);
}
