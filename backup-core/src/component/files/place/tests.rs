//! Tests of where files go.

use super::*;

#[test]
fn a_placement_names_what_lies_beside_its_place_and_nothing_else() {
    let sound = Placement {
        entry: "files/srv/a/keys".into(),
        root: "/".into(),
        place: "/srv/a/keys".into(),
        staging: "/srv/a/.orchestrator-cli_restore_20261120T191500Z_0".into(),
        before: Some("/srv/a/keys_before_20261120T191500Z".into()),
        missing: vec!["/srv".into(), "/srv/a".into()],
    };
    assert!(sound.check_names().is_ok());
    let forged: [fn(&mut Placement); 9] = [
        |it| it.staging = "/etc".into(),
        |it| it.staging = "/etc/.orchestrator-cli_restore_20261120T191500Z_0".into(),
        |it| it.staging = "/srv/a/.orchestrator-cli_restore_2026_0".into(),
        |it| it.staging = "/srv/a/.orchestrator-cli_restore_20261120T191500Z_0/..".into(),
        |it| it.before = Some("/etc".into()),
        |it| it.before = Some("/srv/a/other_before_20261120T191500Z".into()),
        |it| it.before = Some("/srv/a/keys_before_20261120T191501Z".into()),
        |it| it.missing.push("/etc".into()),
        |it| it.place = "/srv/a/../keys".into(),
    ];
    for (number, forge) in forged.into_iter().enumerate() {
        let mut placement = sound.clone();
        forge(&mut placement);
        let refused = placement.check_names().expect_err(&format!("{number}: {placement:?}"));
        assert_eq!(refused.kind(), Kind::Refused);
    }
}

#[test]
fn trees_are_what_no_other_is_above_of() {
    let entry = |path: &str| Entry {
        path: path.into(),
        kind: Default::default(),
        link: None,
        size: 0,
        sha256: crate::digest::Sha256Digest([0; 32]),
        offset: 0,
        stored: 0,
        stored_sha256: crate::digest::Sha256Digest([0; 32]),
        expanded: None,
        chunk: None,
    };
    let entries = ["files/a", "files/a/b", "files/a-c", "files/a/b/c", "files/d/e", "files/ab"].map(entry);
    let found: Vec<&str> = tops(entries.iter()).map(|entry| entry.path.as_str()).collect();
    assert_eq!(found, ["files/a", "files/a-c", "files/ab", "files/d/e"]);
}
