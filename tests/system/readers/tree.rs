//! The tree that readers are tried with, and what of it came out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// A name that ustar has no room for.
fn long() -> String {
    "n".repeat(120)
}

fn with_holes(path: &Path, length: u64, at: u64, text: &str) {
    let file = File::create(path).expect("a file");
    file.set_len(length).expect("a length");
    file.write_all_at(text.as_bytes(), at).expect("written");
}

/// What is hard, by an example: a reader that brings this out brings out others like it.
pub fn hard() -> [(PathBuf, &'static str); 5] {
    [
        ("holes/middle".into(), "files with holes"),
        ("links/second".into(), "hard links"),
        ("links/absolute".into(), "absolute links"),
        (Path::new("long").join(long()).join("file"), "long names"),
        (OsStr::from_bytes(b"odd/plain \xff\nname").into(), "names that are not UTF-8"),
    ]
}

/// Makes it: a directory for each thing that is hard.
pub fn make(root: &Path) {
    for directory in ["plain/empty", "links", "holes", "odd", "long", "zeros", "times", "owners", "attributes"] {
        fs::create_dir_all(root.join(directory)).expect("a directory");
    }
    let at = |path: &str| root.join(path);
    fs::write(at("plain/blocks"), (0..800_000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).expect("a file");
    fs::write(at("plain/none"), "").expect("a file");
    fs::write(root.join(OsStr::from_bytes(b"odd/plain \xff\nname")), "odd").expect("a file");
    fs::write(at("links/first"), "first").expect("a file");
    fs::hard_link(at("links/first"), at("links/second")).expect("a link");
    symlink("first", at("links/symbolic")).expect("a link");
    symlink("/etc/hostname", at("links/absolute")).expect("a link");
    with_holes(&at("holes/middle"), 8 << 20, 4 << 20, "in the middle");
    with_holes(&at("holes/begins with data"), 1 << 20, 0, "data, then a hole");
    with_holes(&at("holes/ends with data"), 1 << 20, (1 << 20) - 3, "end");
    with_holes(&at("holes/nothing else"), 1 << 20, 0, "");
    with_holes(&root.join(OsStr::from_bytes(b"odd/holes \xff")), 1 << 20, 1 << 19, "odd");
    with_holes(&at("holes").join(long()), 1 << 20, 1 << 19, "long");
    fs::hard_link(at("holes/middle"), at("holes/second name")).expect("a link");
    fs::create_dir(at("long").join(long())).expect("a directory");
    fs::write(at("long").join(long()).join("file"), "long").expect("a file");
    fs::write(at("long").join(long()).join("other"), "other").expect("a file");
    symlink("t".repeat(150), at("long/link")).expect("a link");
    fs::write(at("zeros/first"), [vec![0; 2 << 20], b"data".to_vec()].concat()).expect("a file");
    for (name, time) in [("fraction", "@1700000000.123456789"), ("early", "@-86400")] {
        fs::write(at("times").join(name), name).expect("a file");
        let touched = Command::new("touch").args(["-d", time]).arg(at("times").join(name)).status();
        assert!(touched.expect("touch runs").success());
    }
    fs::write(at("owners/far"), "far").expect("a file");
    if rustix::process::geteuid().is_root() {
        chown(at("owners/far"), Some(3_000_000), Some(3_000_001)).expect("root may");
    }
    fs::write(at("attributes/note"), "note").expect("a file");
    let set = "import os, sys; os.setxattr(sys.argv[1], 'user.note', b'noted')";
    assert!(Command::new("python3").args(["-c", set]).arg(at("attributes/note")).status().expect("python3").success());
}

/// Kind and content of everything in a tree.
pub fn content(root: &Path) -> BTreeMap<PathBuf, String> {
    let (mut found, mut pending) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(path) = pending.pop() {
        let Ok(metadata) = path.symlink_metadata() else { continue };
        let said = if metadata.is_dir() {
            pending.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
            "directory".into()
        } else if metadata.is_symlink() {
            format!("link to {}", fs::read_link(&path).expect("a link").display())
        } else {
            format!("file {}", hex::encode(Sha256::digest(fs::read(&path).expect("a file"))))
        };
        found.insert(path.strip_prefix(root).expect("below").to_owned(), said);
    }
    found
}

/// Paths of what is not in `found` as it is in `expected`.
pub fn wrong(expected: &BTreeMap<PathBuf, String>, found: &BTreeMap<PathBuf, String>) -> BTreeSet<PathBuf> {
    expected.iter().filter(|(path, said)| found.get(*path) != Some(*said)).map(|(path, _)| path.clone()).collect()
}

/// What beside content did not come along.
pub fn lost(original: &Path, copy: &Path) -> Vec<&'static str> {
    let of = |path: &str| [original, copy].map(|root| root.join(path).metadata().expect("there"));
    let time = |path: &str, exact: i64| {
        let [was, is] = of(path).map(|of| i128::from(of.mtime()) * 1_000_000_000 + i128::from(of.mtime_nsec()));
        (was - is).abs() <= i128::from(exact)
    };
    let attribute = |root: &Path| {
        let get = "import os, sys; sys.stdout.buffer.write(os.getxattr(sys.argv[1], 'user.note'))";
        let run = Command::new("python3").args(["-c", get]).arg(root.join("attributes/note")).output();
        run.expect("python3 runs").stdout == b"noted"
    };
    let [was, is] = of("owners/far").map(|of| (of.uid(), of.gid()));
    let [_, link] = of("links/first");
    let [_, holes] = of("holes/middle");
    // Python counts seconds in floating point.
    let kept = [
        ("times", time("times/early", 0) && time("times/fraction", 1_000_000_000)),
        ("fractions of seconds", time("times/fraction", 1_000)),
        ("owners", was == is),
        ("attributes", attribute(copy)),
        ("links (copies)", link.nlink() == 2),
        ("holes (zeros)", holes.blocks() * 512 < holes.len()),
    ];
    kept.into_iter().filter(|(_, kept)| !kept).map(|(what, _)| what).collect()
}
