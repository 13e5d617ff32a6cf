//! Files come back as they were, with `tar` and with `extract`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use fixtures::Postgres;
use system_tests::{Workplace, describe};

fn make_tree(root: &Path) {
    fs::create_dir_all(root.join("empty")).expect("a directory");
    fs::write(root.join("plain"), "text\n").expect("a file");
    fs::set_permissions(root.join("plain"), fs::Permissions::from_mode(0o640)).expect("a mode");
    fs::write(root.join(OsStr::from_bytes(b"odd \xff\nname")), "odd").expect("a file");
    fs::write(root.join("n".repeat(200)), "long name").expect("a file");
    fs::hard_link(root.join("plain"), root.join("second name")).expect("a link");
    symlink("plain", root.join("relative")).expect("a link");
    symlink("/opt/elsewhere", root.join("absolute")).expect("a link");
    let sparse = fs::File::create(root.join("sparse")).expect("a file");
    sparse.set_len(64 << 20).expect("a length");
    sparse.write_all_at(b"in the middle", 32 << 20).expect("written");
    fs::write(root.join("big"), (0..3_000_000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).expect("a file");
    fs::create_dir(root.join("left out")).expect("a directory");
    fs::write(root.join("left out/x"), "x").expect("a file");
}

/// Everything that is compared of a tree, a line a path.
fn describe_tree(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = path.symlink_metadata().expect("there");
        let content = if metadata.is_dir() {
            pending.extend(fs::read_dir(&path).expect("a directory").flatten().map(|entry| entry.path()));
            String::new()
        } else if metadata.is_symlink() {
            fs::read_link(&path).expect("a link").display().to_string()
        } else {
            use sha2::Digest as _;
            hex::encode(sha2::Sha256::digest(fs::read(&path).expect("a file")))
        };
        let below = path.strip_prefix(root).expect("below").as_os_str().as_bytes().escape_ascii().to_string();
        let links = if metadata.is_file() { metadata.nlink() } else { 0 };
        lines.push(format!(
            "{below} {:o} {}:{} {}.{} {links} {content}",
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            metadata.mtime(),
            metadata.mtime_nsec()
        ));
    }
    lines.sort();
    lines
}

#[test]
fn a_tree_comes_back_with_tar_and_with_extract() {
    let server = Postgres::start();
    let place = Workplace::default();
    let tree = place.path("tree");
    make_tree(&tree);
    place.write(
        "o.toml",
        format!("cluster_conf = \"cluster.conf\"\n[[files]]\npath = {tree:?}\nexclude = [\"left out\"]\n"),
    );
    let mut run = place.cli(&["backup", "--config", "o.toml", "--release", "1", "--to", "bundles"]);
    let output = run.envs(server.variables()).output().expect("the command runs");
    // The server has no database, which is a warning.
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    let bundle = place.bundles().pop().expect("a bundle");
    fs::remove_dir_all(tree.join("left out")).expect("removed");
    let inside = |to: &str| {
        place
            .path(to)
            .join(bundle.file_stem().expect("a name"))
            .join("files")
            .join(tree.strip_prefix("/").expect("absolute"))
    };
    let mut expected = describe_tree(&tree);
    // Taking the excluded directory away has changed the time of its parent.
    expected.remove(0);

    fs::create_dir(place.path("by-tar")).expect("a directory");
    let tar =
        Command::new("tar").arg("xpzf").arg(&bundle).arg("-C").arg(place.path("by-tar")).output().expect("tar runs");
    assert!(tar.status.success() && tar.stderr.is_empty(), "{}", describe(&tar));
    assert_eq!(describe_tree(&inside("by-tar"))[1..], expected);

    let extracted =
        place.cli(&["extract"]).arg(&bundle).arg("--to").arg(place.path("by-us")).output().expect("the command runs");
    assert!(extracted.status.success(), "{}", describe(&extracted));
    assert_eq!(describe_tree(&inside("by-us"))[1..], expected);
    assert!(inside("by-us").join("sparse").metadata().expect("there").blocks() < 1000, "the holes are kept");
    let python = Command::new("python3")
        .args(["-c", "import sys, tarfile; tarfile.open(sys.argv[1]).getmembers()"])
        .arg(&bundle)
        .output()
        .expect("python3 runs");
    assert!(python.status.success(), "{}", describe(&python));
}
