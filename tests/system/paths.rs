//! Paths stay below: what a restore writes goes through no link of somebody else, and out of no root; nor do reports.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use system_tests::{Stage, as_root, describe, names};

/// A stage with a bundle of `home/conf/a`.
fn stage() -> (Stage, String) {
    let stage = Stage::new();
    for directory in ["home/conf", "bundles", "elsewhere"] {
        fs::create_dir_all(stage.place.path(directory)).expect("directories");
    }
    stage.place.write("home/conf/a", "captured");
    stage.settings(&stage.place.path("home/conf/a"), "");
    let (_, bundle) = stage.back_up(&stage.place.path("bundles"), &stage.place.path("state"));
    (stage, bundle.display().to_string())
}

#[test]
fn a_restore_follows_no_link_that_another_user_has_made() {
    let (stage, bundle) = stage();
    let (state, arguments) = (stage.place.path("state"), ["restore", "--only", "files", "--yes", "--file", &bundle]);
    as_root(
        &stage,
        "mv home moved; ln -s elsewhere home; chown -h nobody home; mkdir elsewhere/conf; echo live > elsewhere/conf/a",
    );
    let output = stage.run(&arguments, &state);
    let said = describe(&output);
    assert_eq!(output.status.code(), Some(13), "{said}");
    assert!(said.contains("home is a link of nobody") && said.contains("chown -h root"), "{said}");
    assert_eq!(names(&stage.place.path("elsewhere/conf")), ["a"]);
    assert_eq!(fs::read_to_string(stage.place.path("elsewhere/conf/a")).expect("it"), "live\n");
    // One of root's leads to where root wants it.
    as_root(&stage, "chown -h root home");
    let output = stage.run(&arguments, &state);
    assert!(output.status.success(), "{}", describe(&output));
    assert_eq!(fs::read_to_string(stage.place.path("elsewhere/conf/a")).expect("it"), "captured");
    // Nor is a link followed that came since: not to take it back, nor to clean up.
    as_root(&stage, "rm home; cp -a elsewhere another; ln -s another home; chown -h nobody home");
    let before = names(&stage.place.path("another/conf"));
    assert_eq!(before.len(), 2, "{before:?}");
    for arguments in [&["restore", "--rollback", "--yes", "--file", &bundle][..], &["restore", "cleanup", "--yes"]] {
        let output = stage.run(arguments, &state);
        let said = describe(&output);
        assert!(!output.status.success() && said.contains("is a link of nobody"), "{said}");
        assert_eq!(names(&stage.place.path("another/conf")), before, "{said}");
    }
}

#[test]
fn a_root_is_one_whatever_links_are_in_it() {
    let (stage, bundle) = stage();
    let (state, home) = (stage.place.path("state"), stage.place.path("home"));
    let outside = stage.place.path("elsewhere");
    let restore =
        |root: &str| stage.run(&["restore", "--only", "files", "--yes", "--file", &bundle, "--root", root], &state);
    // An image's links count from its own root, as they will once it runs.
    let below_root = outside.strip_prefix("/").expect("absolute");
    let climbs = Path::new(&"../".repeat(20)).join(below_root);
    for (name, target) in [("absolute", &outside), ("climbs", &climbs)] {
        let root = stage.place.path(name);
        let below = root.join(home.strip_prefix("/").expect("absolute"));
        fs::create_dir_all(below.parent().expect("a parent")).expect("directories");
        symlink(target, &below).expect("a link");
        let output = restore(name);
        let said = describe(&output);
        assert_eq!(output.status.code(), Some(13), "{said}");
        assert!(said.contains("or a link that leads to none below there"), "{said}");
        // What it means in the root is made, and then it is written there.
        let inside = root.join(below_root);
        fs::create_dir_all(inside.join("conf")).expect("directories");
        let output = restore(name);
        assert!(output.status.success(), "{}", describe(&output));
        assert_eq!(fs::read_to_string(inside.join("conf/a")).expect("it"), "captured");
        let back = stage.run(&["restore", "--rollback", "--yes", "--file", &bundle], &state);
        assert!(back.status.success() && names(&inside.join("conf")).is_empty(), "{}", describe(&back));
    }
    assert!(names(&outside).is_empty(), "{:?}", names(&outside));
}

#[test]
fn reports_are_their_owners_and_follow_no_link_of_another_user() {
    let (stage, _) = stage();
    stage.place.write("victim", "untouched");
    as_root(
        &stage,
        "mkdir open; chmod 777 open; for name in page metrics graph.dot; do ln -s ../victim open/$name; done; chown -h nobody open/*",
    );
    let state = stage.place.path("state");
    let said = describe(&stage.run(&["status", "--html", "open/page", "--metrics", "open/metrics"], &state));
    let graph = describe(&stage.run(&["deploy", "--dry", "--graph", "open/graph.dot"], &state));
    assert_eq!(fs::read_to_string(stage.place.path("victim")).expect("it"), "untouched", "{said}{graph}");
    for (name, mode) in [("page", 0o600), ("metrics", 0o644)] {
        let found = stage.place.path("open").join(name).symlink_metadata().expect("written");
        assert!(found.is_file() && found.permissions().mode() & 0o777 == mode, "{name}: {said}");
    }
    // As the settings say; and standard output is no file.
    stage.settings(&stage.place.path("home/conf/a"), "[notify]\nmetrics_mode = '0640'\n");
    stage.run(&["status", "--metrics", "open/metrics"], &state);
    let found = stage.place.path("open/metrics").metadata().expect("written");
    assert_eq!(found.permissions().mode() & 0o777, 0o640);
    let shown = stage.run(&["status", "--html", "/dev/stdout"], &state);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("<html"), "{}", describe(&shown));
    stage.settings(&stage.place.path("home/conf/a"), "[notify]\nmetrics_mode = 'rw'\n");
    let odd = stage.run(&["status"], &state);
    assert!(describe(&odd).contains("notify.metrics_mode: rw is no mode of a file"), "{}", describe(&odd));
}
