//! Files come back as they were, with `tar` and with `extract`.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use fixtures::Postgres;
use system_tests::{Workplace, code_but_for_clients, describe};

pub(crate) fn make_tree(root: &Path) {
    fs::create_dir_all(root.join("empty")).expect("a directory");
    fs::write(root.join("plain"), "text\n").expect("a file");
    fs::set_permissions(root.join("plain"), fs::Permissions::from_mode(0o640)).expect("a mode");
    fs::write(root.join(OsStr::from_bytes(b"odd \xff\nname")), "odd").expect("a file");
    fs::write(root.join("n".repeat(200)), "long name").expect("a file");
    fs::hard_link(root.join("plain"), root.join("second name")).expect("a link");
    fs::hard_link(root.join("plain"), root.join("third name")).expect("a link");
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
pub(crate) fn describe_tree(root: &Path) -> Vec<String> {
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

    let names = ["second name", "third name"];
    let mut run = place.cli(&["extract", "--to", "names"]);
    let extracted = run.arg(&bundle).args(names.map(|name| format!("**/{name}"))).output().expect("the command runs");
    assert!(extracted.status.success(), "{}", describe(&extracted));
    let [second, third] = names.map(|name| inside("names").join(name).metadata().expect("there"));
    assert_eq!((second.ino(), second.nlink(), second.size()), (third.ino(), 2, 5), "one file without its first name");

    // README.txt's way to put files back where they were: directories that exist keep their mode.
    let root = place.path("root");
    fs::create_dir_all(root.join("tmp")).expect("directories");
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o751)).expect("a mode");
    let mut back = Command::new("tar");
    back.arg("xzpf").arg(&bundle).arg("-C").arg(&root).args(["--strip-components=2", "--no-overwrite-dir"]);
    let back = back.arg(format!("{}/files", bundle.file_stem().expect("a name").display())).output().expect("tar runs");
    assert!(back.status.success() && back.stderr.is_empty(), "{}", describe(&back));
    assert_eq!(describe_tree(&root.join(tree.strip_prefix("/").expect("absolute")))[1..], expected);
    assert_eq!(root.join("tmp").metadata().expect("there").mode() & 0o7777, 0o751);
    let readme = fs::read_to_string(place.path("by-tar").join(bundle.file_stem().expect("a name")).join("README.txt"));
    assert!(readme.expect("a text").contains("-C / --strip-components=2 --no-overwrite-dir"));
    let python = Command::new("python3")
        .args(["-c", "import sys, tarfile; tarfile.open(sys.argv[1]).getmembers()"])
        .arg(&bundle)
        .output()
        .expect("python3 runs");
    assert!(python.status.success(), "{}", describe(&python));
}

#[test]
fn files_that_change_or_vanish_are_reported_by_name() {
    let server = Postgres::start();
    server.load_sample(50);
    let place = Workplace::default();
    let tree = place.path("tree");
    fs::create_dir(&tree).expect("a directory");
    let mut noise = 1u64;
    let mut next = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.to_le_bytes()
    };
    fs::write(tree.join("a-shrinks"), (0..5_000_000).flat_map(|_| next()).collect::<Vec<u8>>()).expect("a file");
    fs::write(tree.join("b-vanishes"), "gone").expect("a file");
    symlink("b-vanishes", tree.join("c-stays")).expect("a link");
    place.write("o.toml", format!("cluster_conf = \"cluster.conf\"\n[[files]]\npath = {tree:?}\n"));
    let mut run = place.cli(&["backup", "--config", "o.toml", "--release", "1", "--to", "-"]);
    run.envs(server.variables()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = run.spawn().expect("the command runs");
    let mut stdout = run.stdout.take().expect("a pipe");
    // Part of the first file has come, and the rest can't before it is taken from the pipe: noise does not compress.
    let mut bundle = vec![0; 2 << 20];
    stdout.read_exact(&mut bundle).expect("the beginning of a bundle");
    fs::File::options().write(true).open(tree.join("a-shrinks")).and_then(|file| file.set_len(100)).expect("cut");
    fs::remove_file(tree.join("b-vanishes")).expect("removed");
    stdout.read_to_end(&mut bundle).expect("the rest");
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    let messages = String::from_utf8_lossy(&output.stderr);
    for (name, word) in [("a-shrinks", "changed while it was read"), ("b-vanishes", "vanished before it was read")] {
        assert!(messages.lines().any(|line| line.contains(name) && line.contains(word)), "{name}: {messages}");
    }
    assert!(messages.contains("done with 2 warnings"), "{messages}");
    let path = place.write("orchestrator_backup_20261120T191500Z.tgz", &bundle);
    let shown = place.cli(&["show"]).arg(&path).output().expect("the command runs");
    assert!(describe(&shown).contains("b-vanishes"), "{}", describe(&shown));
}

#[test]
fn trees_that_overlap_or_are_reached_through_links_make_a_sound_bundle() {
    let server = Postgres::start();
    server.load_sample(50);
    // `globals` is also the name of the script of roles.
    server.sql("postgres", "CREATE DATABASE globals");
    let place = Workplace::default();
    fs::create_dir_all(place.path("tree/releases/7")).expect("directories");
    fs::write(place.path("tree/releases/7/app"), "app").expect("a file");
    symlink("releases/7", place.path("tree/current")).expect("a link");
    symlink("tree", place.path("other")).expect("a link");
    let paths = ["tree/", "tree/releases", "tree", "tree/current", "other/releases/./7", "other"];
    let trees = paths.map(|path| format!("[[files]]\npath = {:?}\n", place.path(path)));
    place.write("o.toml", format!("cluster_conf = \"cluster.conf\"\n{}", trees.concat()));
    let mut run = place.cli(&["backup", "--config", "o.toml", "--release", "1", "--to", "bundles"]);
    let output = run.envs(server.variables()).output().expect("the command runs");
    assert!(output.status.success(), "{}", describe(&output));
    let bundle = place.bundles().pop().expect("a bundle");
    let extracted = place.cli(&["extract", "--to", "out"]).arg(&bundle).output().expect("the command runs");
    assert!(extracted.status.success(), "{}", describe(&extracted));
    let root = place.path("").canonicalize().expect("a directory");
    let files = place.path("out").join(bundle.file_stem().expect("a name")).join("files");
    let inside = files.join(root.strip_prefix("/").expect("absolute"));
    assert_eq!(fs::read_to_string(inside.join("other/current/app")).expect("through both links"), "app");
}

#[test]
fn a_destination_among_the_captured_files_is_a_warning_unless_it_is_excluded() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t AS SELECT 1 AS i");
    let place = Workplace::default();
    fs::create_dir_all(place.path("tree/bundles")).expect("directories");
    for (exclude, code) in [("", Some(3)), ("exclude = [\"bundles\"]", Some(0))] {
        let tree = place.path("tree");
        place.write("o.toml", format!("cluster_conf = \"cluster.conf\"\n[[files]]\npath = {tree:?}\n{exclude}\n"));
        let mut run = place.cli(&["check", "--config", "o.toml", "--release", "1", "--to", "tree/bundles"]);
        let output = run.envs(server.variables()).output().expect("the command runs");
        assert_eq!(code_but_for_clients(&output), code, "{}", describe(&output));
        assert_eq!(describe(&output).contains("which is backed up"), code == Some(3), "{}", describe(&output));
    }
}
