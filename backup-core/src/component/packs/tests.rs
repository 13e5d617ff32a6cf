//! Packs that are not as their index says, and such as somebody made to harm: named when they are verified, refused when they are unpacked.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use super::fuzzing::{Bytes, entries, made};
use super::reading::read;
use super::single::single;
use super::unpack::Unpack;
use super::verify::verify;
use super::{MOST_FINDINGS, PACK};
use crate::bundle::header::{EntryKind, Head};
use crate::context::{Context, Environment};
use crate::finding::Finding;
use crate::{Kind, Result};

type Entries = Vec<(Head, Vec<u8>)>;

fn context() -> Context {
    Context::new(Environment::default())
}

fn unpack(bytes: &Bytes, to: &Path) -> Result<Vec<Finding>> {
    let (mut unpack, cancel) = (Unpack::new(to, b"srv/a", Arc::default())?, context().cancel);
    read(bytes, &mut unpack, &cancel)?;
    unpack.finish(&cancel)
}

/// What verifying says, joined.
fn said(bytes: &Bytes) -> String {
    let said = verify(bytes, &context()).expect("read");
    said.into_iter().map(|finding| finding.message).collect::<Vec<_>>().join("\n")
}

fn entry(path: &str, kind: EntryKind) -> (Head, Vec<u8>) {
    (Head { kind, ..Head::private(path, 0, 0) }, Vec::new())
}

/// The sample with these entries changed.
fn with(bend: impl Fn(&mut Entries)) -> Bytes {
    let mut bent = entries();
    bend(&mut bent);
    made("srv/a", &[bent])
}

/// The sample's index with the packs of other entries.
fn pack_of(bend: impl Fn(&mut Entries)) -> Bytes {
    Bytes { packs: with(bend).packs, ..sample() }
}

/// The sample with another text in its index.
fn index(text: &str, other: &str) -> Bytes {
    let sample = sample();
    let index = String::from_utf8(sample.index).expect("text");
    assert!(index.contains(text), "{text}: {index}");
    Bytes { index: index.replacen(text, other, 1).into(), ..sample }
}

/// The sample with other bytes in its pack.
fn bytes(bend: impl Fn(&mut Vec<u8>)) -> Bytes {
    let mut sample = sample();
    bend(&mut sample.packs[0]);
    sample
}

fn sample() -> Bytes {
    made("srv/a", &[entries()])
}

/// The sample in two packs.
fn two() -> Bytes {
    let mut first = entries();
    let second = first.split_off(5);
    made("srv/a", &[first, second])
}

/// What is wrong, and a word of what is said of it.
fn cases() -> Vec<(&'static str, Bytes, &'static str)> {
    let lines = |bend: &dyn Fn(&mut Vec<&str>)| {
        let sample = sample();
        let text = String::from_utf8(sample.index).expect("text");
        let mut lines: Vec<&str> = text.lines().collect();
        bend(&mut lines);
        Bytes { index: lines.iter().map(|line| format!("{line}\n")).collect::<String>().into(), ..sample }
    };
    let link = |target: &str| EntryKind::Symlink(target.into());
    vec![
        ("a file of the index that is not in the pack", pack_of(|it| drop(it.remove(1))), "the pack does not have it"),
        ("the last file is not in the pack", pack_of(|it| drop(it.pop())), "the pack does not have it"),
        (
            "a file that the index does not have",
            pack_of(|it| it.insert(1, entry("srv/a/0", EntryKind::File))),
            "which the index does not have",
        ),
        (
            "a file after all others",
            pack_of(|it| it.push(entry("srv/a/z", EntryKind::File))),
            "srv/a/z: the index does not have it",
        ),
        ("other content", pack_of(|it| it[1].1[0] ^= 1), "not what its digest"),
        ("another mode", pack_of(|it| it[1].0.mode = 0o4755), "not what the index says"),
        ("another owner", pack_of(|it| it[1].0.uid = 0o1234), "not what the index says"),
        ("another target", pack_of(|it| it[4].0.kind = link("../x")), "not what the index says"),
        ("a file with another length", pack_of(|it| it[3].0.kind = EntryKind::Sparse(2 << 20)), "not what the index"),
        ("another digest", index("\"sha256\":\"", "\"sha256\":\"0000"), "not what stands there"),
        ("another place", index("\"offset\":512", "\"offset\":1024"), "not what the index says"),
        (
            "another pack",
            index("\"pack\":1,\"offset\":512", "\"pack\":2,\"offset\":512"),
            "not where the next entry is",
        ),
        ("no pack", Bytes { packs: Vec::new(), ..sample() }, "pack 1 is missing"),
        (
            "a pack too many",
            Bytes { packs: [sample().packs, sample().packs].concat(), ..sample() },
            "packs is not the one",
        ),
        ("packs in another order", Bytes { packs: two().packs.into_iter().rev().collect(), ..two() }, "pack 1"),
        ("files in another order", with(|it| it.swap(1, 7)), "out of order"),
        ("the same file twice", with(|it| it.insert(1, it[1].clone())), "twice"),
        ("no end of the index", lines(&|it| it.truncate(it.len() - 1)), "not what stands there"),
        ("no beginning of the index", lines(&|it| it.rotate_left(1)), "line 1 of the index"),
        ("a line less", lines(&|it| it.retain(|line| !line.contains("srv/a/a"))), "which the index does not have"),
        ("a line that is cut off", bytes_of_index(|it| it.truncate(it.len() - 1)), "cut off"),
        ("an endless line", bytes_of_index(|it| it.splice(0..0, vec![b' '; 1 << 20]).for_each(drop)), "too long"),
        ("an empty index", bytes_of_index(Vec::clear), "line 1 of the index"),
        ("more entries", index("{\"entries\":8", "{\"entries\":9"), "number of entries"),
        ("a kind without what it has", index("\"type\":\"sparse\",", ""), "what that has not"),
        ("a path that is none", index("odd\\\\xff", "odd\\\\xfg"), "malformed path"),
        ("bytes after a file", bytes(|it| it[512 * 2 + 100] = 1), "other than zeros"),
        ("bytes after the end", bytes(|it| it.push(0)), "something after its end"),
        ("half an end", bytes(|it| it.truncate(it.len() - 512)), "ends too soon"),
        ("half a file", bytes(|it| it.truncate(512 * 2 + 5)), "ends too soon"),
        ("another sum", bytes(|it| it[512 + 150] ^= 1), "tar header"),
        ("a device", bytes(|it| it[512 + 156] = b'3'), "neither file"),
        (
            "an extended header for ever",
            bytes(|it| {
                it[512 + 156] = b'x';
                it[512 + 124..512 + 135].copy_from_slice(b"77777777777");
            }),
            "absurdly long",
        ),
        ("a file as the root", made("srv/a", &[vec![entry("srv/a", EntryKind::File)]]), "own directory"),
        ("nothing", made("srv/a", &[]), "number of entries"),
        ("a tree elsewhere", made("srv/b", &[entries()]), "own directory"),
        ("a root upwards", made("..", &[vec![entry("..", EntryKind::Directory)]]), "`..`"),
        ("an absolute root", made("/srv", &[vec![entry("/srv", EntryKind::Directory)]]), "absolute"),
        ("a path upwards", with(|it| it[1].0.path = b"srv/a/../../x".to_vec()), "`..`"),
        ("a path beside the tree", with(|it| it[7].0.path = b"srv/b".to_vec()), "no directory"),
        ("a link upwards", with(|it| it[4].0.kind = link("../../../../x")), "leads outside"),
        (
            "a path through a link",
            with(|it| {
                it.truncate(5);
                it.push(entry("srv/a/b/link/x", EntryKind::File));
            }),
            "no directory",
        ),
        ("a hard link outside", with(|it| it[6].0.kind = EntryKind::Hardlink(b"etc/passwd".to_vec())), "no earlier"),
        (
            "a hard link to a later file",
            with(|it| it[6].0.kind = EntryKind::Hardlink(b"srv/a/d".to_vec())),
            "no earlier",
        ),
        (
            "a directory with content",
            with(|it| {
                it[2].0.size = 1;
                it[2].1 = vec![1];
            }),
            "with content",
        ),
        ("a map that does not match", pack_of(|it| it[3].1[1] = b'9'), "map"),
    ]
}

fn bytes_of_index(bend: impl Fn(&mut Vec<u8>)) -> Bytes {
    let mut sample = sample();
    bend(&mut sample.index);
    sample
}

#[test]
fn what_does_not_agree_is_named_and_refused() {
    for (what, bytes, word) in cases() {
        let (said, to) = (said(&bytes), tempfile::tempdir().expect("a directory"));
        assert!(said.contains(word), "{what}: {said}");
        let refused = unpack(&bytes, to.path()).expect_err(what);
        assert_eq!(refused.kind(), Kind::Damaged, "{what}: {refused:?}");
        assert!(
            fs::read_dir(to.path()).expect("a directory").flatten().all(|found| found.file_name() == "srv"),
            "{what}"
        );
    }
    let other = Bytes { index: b"{\"format\":2,\"roots\":[]}\n".to_vec(), ..sample() };
    for newer in [index("\"format\":1", "\"format\":2"), other] {
        let refused = verify(&newer, &context()).expect_err("it may mean anything");
        assert_eq!((refused.kind(), refused.first_hint()), (Kind::Unsupported, Some("use a newer version")));
    }
}

#[test]
fn damage_in_one_pack_hides_none_in_the_next() {
    let mut bent = two();
    bent.packs[0][156] = b'3';
    let length = bent.packs[1].len();
    bent.packs[1][length - 1024 - 100] = 9;
    let said = said(&bent);
    assert!(said.contains("pack 1: entry srv/a:") && said.contains("pack 2: entry srv/a/d:"), "{said}");
    // What the first pack has is not known, and a hard link leads there.
    assert!(said.contains("hard links") && said.lines().count() == 3, "{said}");
}

#[test]
fn hard_links_lead_to_files_that_were_written_and_through_no_link() {
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("x"), "secret").expect("written");
    let to_outside = EntryKind::Symlink(outside.path().as_os_str().as_encoded_bytes().to_vec());
    for (first, target) in [
        (to_outside.clone(), "srv/a/l/x"),
        (to_outside, "srv/a/l"),
        (EntryKind::Directory, "srv/a/l"),
        (EntryKind::File, "srv/a/k"),
    ] {
        let link = entry("srv/a/m", EntryKind::Hardlink(target.into()));
        let bytes = made("srv/a", &[vec![entry("srv/a", EntryKind::Directory), entry("srv/a/l", first), link]]);
        let to = tempfile::tempdir().expect("a directory");
        let refused = unpack(&bytes, to.path()).expect_err(target);
        assert!(format!("{refused:?}").contains("no earlier file"), "{refused:?}");
        assert_eq!(said(&bytes), "hard links lead to no file of the tree: 1");
    }
}

#[test]
fn what_is_there_is_neither_overwritten_nor_followed() {
    let outside = tempfile::tempdir().expect("a directory");
    // Something in another's directory, a link at the tree's own path, and one above it.
    for planted in ["x", "srv/a", "srv"] {
        let to = tempfile::tempdir().expect("a directory");
        let mut begun = Unpack::new(to.path(), b"srv/a", Arc::default()).expect("it is empty");
        let planted = to.path().join(planted);
        fs::create_dir_all(planted.parent().expect("a directory")).expect("made");
        symlink(outside.path(), &planted).expect("a link");
        assert_eq!(unpack(&sample(), to.path()).expect_err("not empty").kind(), Kind::Refused);
        // Where it comes there later, it is met.
        assert_eq!(read(&sample(), &mut begun, &context().cancel).is_ok(), planted.ends_with("x"));
        assert_eq!(fs::read_dir(outside.path()).expect("a directory").count(), 0);
    }
}

#[test]
fn a_tree_of_another_path_is_not_the_one_that_is_expected() {
    for root in ["srv/b", "srv/a/b", "etc"] {
        let to = tempfile::tempdir().expect("a directory");
        let bytes = made(root, &[vec![entry(root, EntryKind::Directory)]]);
        assert_eq!(said(&bytes), "");
        let refused = unpack(&bytes, to.path()).expect_err(root);
        assert!(refused.kind() == Kind::Damaged && format!("{refused:?}").contains("not of /srv/a"), "{refused:?}");
        assert_eq!(fs::read_dir(to.path()).expect("a directory").count(), 0);
    }
}

#[test]
fn no_directory_that_paths_below_are_too_long_for() {
    let place = tempfile::tempdir().expect("a directory");
    let of = |length: usize| {
        let to = place.path().join("n".repeat(250));
        let to = to.join("n".repeat(length - to.as_os_str().len() - 1));
        fs::create_dir_all(&to).expect("made");
        unpack(&sample(), &to)
    };
    of(510).expect("unpacked");
    let refused = of(511).expect_err("too long");
    assert!(refused.kind() == Kind::Refused && format!("{refused:?}").contains("longer than"), "{refused:?}");
}

#[test]
fn a_link_to_a_link_is_one_to_the_file() {
    let link = |path: &str, target: &str| entry(path, EntryKind::Hardlink(target.into()));
    let tree = |target: &str| {
        let links = [link("srv/a/m", target), link("srv/a/n", "srv/a/m"), link("srv/a/o", "srv/a/n")];
        let mut file = entry("srv/a/l", EntryKind::File);
        (file.0.size, file.1) = (1, b"l".to_vec());
        let entries = [vec![entry("srv/a", EntryKind::Directory), file], links.to_vec()].concat();
        made("srv/a", &[entries])
    };
    let (to, bytes) = (tempfile::tempdir().expect("a directory"), tree("srv/a/l"));
    assert_eq!(said(&bytes), "");
    unpack(&bytes, to.path()).expect("unpacked");
    assert_eq!(fs::read(to.path().join("srv/a/o")).expect("a file"), b"l");
    let content = |bytes: &Bytes| {
        let mut content = Vec::new();
        let take = |part: &[u8]| {
            content.extend_from_slice(part);
            Ok(())
        };
        single(bytes, b"srv/a/o", take, &context().cancel).map(|head| (head.path, content))
    };
    assert_eq!(content(&bytes).expect("read"), (b"srv/a/l".to_vec(), b"l".to_vec()));
    let (to, bytes) = (tempfile::tempdir().expect("a directory"), tree("srv/a/k"));
    assert_eq!(said(&bytes), "hard links lead to no file of the tree: 1");
    for refused in [unpack(&bytes, to.path()).map(drop), content(&bytes).map(drop)] {
        assert_eq!(refused.expect_err("it leads nowhere").kind(), Kind::Damaged);
    }
}

#[test]
fn a_pack_of_several_files_has_no_more_than_a_pack_has() {
    let mut large = entry("srv/a/large", EntryKind::File);
    (large.0.size, large.1) = (PACK, vec![0; PACK as usize]);
    let root = entry("srv/a", EntryKind::Directory);
    assert_eq!(said(&made("srv/a", &[vec![root.clone()], vec![large.clone()]])), "");
    let said = said(&made("srv/a", &[vec![root, large]]));
    assert!(said.contains("pack 1: it has more than 33554432 bytes"), "{said}");
}

#[test]
fn warnings_name_the_machines_paths_and_owners_beside_all_others() {
    let strange = |number: usize| {
        let xattrs = [(b"strange.name".to_vec(), b"x".to_vec())].into();
        let head = Head::private(format!("srv/a/{number:04}"), 0, 0);
        (Head { user: "who-is-this".into(), xattrs, ..head }, Vec::new())
    };
    let entries = [vec![entry("srv/a", EntryKind::Directory)], (0..MOST_FINDINGS + 5).map(strange).collect()].concat();
    let to = tempfile::tempdir().expect("a directory");
    let warnings = unpack(&made("srv/a", &[entries]), to.path()).expect("unpacked");
    assert_eq!((warnings[0].code.as_str(), warnings[0].subject.as_str()), ("attribute-not-set", "/srv/a/0000"));
    assert_eq!(warnings[MOST_FINDINGS].message, "there are 5 more findings of single files");
    if rustix::process::geteuid().is_root() {
        assert!(warnings.last().expect("one").subject.contains("who-is-this"), "{:?}", warnings.last());
    }
}

#[test]
fn who_is_told_to_stop_ends_no_tree() {
    let (to, cancel) = (tempfile::tempdir().expect("a directory"), context().cancel);
    let mut begun = Unpack::new(to.path(), b"srv/a", Arc::default()).expect("it is empty");
    read(&sample(), &mut begun, &cancel).expect("unpacked");
    cancel.cancel();
    assert_eq!(begun.finish(&cancel).expect_err("told to stop").kind(), Kind::Interrupted);
    for interrupted in [
        verify(&sample(), &Context { cancel: cancel.clone(), ..context() }).map(drop),
        single(&sample(), b"srv/a/d", |_| Ok(()), &cancel).map(drop),
    ] {
        assert_eq!(interrupted.expect_err("told to stop").kind(), Kind::Interrupted);
    }
}

#[test]
fn what_agrees_comes_out_and_one_file_alone() {
    for bytes in [sample(), two()] {
        assert_eq!(said(&bytes), "");
        let to = tempfile::tempdir().expect("a directory");
        unpack(&bytes, to.path()).expect("unpacked");
        let root = to.path().join("srv/a");
        assert_eq!(fs::read(root.join("c")).expect("a second name"), b"content");
        assert_eq!(fs::read(root.join("b/holes")).expect("a file").len(), 1 << 20);
        let of = |path: &[u8]| {
            let mut content = Vec::new();
            let take = |part: &[u8]| {
                content.extend_from_slice(part);
                Ok(())
            };
            single(&bytes, path, take, &context().cancel).map(|head| (head.path, content))
        };
        assert_eq!(of(b"srv/a/d").expect("read"), (b"srv/a/d".to_vec(), vec![7; 700]));
        // A hard link has the content of the file, which may be in another pack.
        assert_eq!(of(b"srv/a/c").expect("read"), (b"srv/a/a".to_vec(), b"content".to_vec()));
        assert_eq!(of(b"srv/a/b/odd\xff\n").expect("read").1, b"");
        assert_eq!(of(b"srv/a/e").expect_err("not there").kind(), Kind::NotFound);
    }
    assert_eq!(
        single(&pack_of(|it| it[7].1[0] = 8), b"srv/a/d", |_| Ok(()), &context().cancel).expect_err("bent").kind(),
        Kind::Damaged
    );
}
