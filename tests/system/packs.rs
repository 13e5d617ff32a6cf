//! Trees of any number of files go into a bundle as packs, and come back: with all that the system knows of them, by us and by tar.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::BufWriter;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use backup_core::bundle::FORMAT_OF_SECTIONS;
use backup_core::bundle::block::{self, Decoder, Encoder};
use backup_core::bundle::header::{EntryKind, Head};
use backup_core::bundle::manifest::{Entry, Items, Section};
use backup_core::bundle::reader::{Bundle, ReadAt};
use backup_core::bundle::writer::Writer;
use backup_core::component::{Out, PART, PackedTree, Stored, Working, packs_by_hand};
use backup_core::context::Environment;
use backup_core::names::{BundleName, ComponentId};
use backup_core::{Context, Error, Kind};
use globset::{Glob, GlobSetBuilder};
use sha2::{Digest, Sha256};
use system_tests::manifest_of;
use tokio::runtime::Runtime;

use crate::files::{describe_tree, make_tree};
use crate::parts::peak;

fn context() -> Context {
    Context::new(Environment::default())
}

fn working() -> Working {
    Working { context: context(), meter: Arc::default(), accepted: Vec::new() }
}

/// A bundle of what is captured for a component, with what the capture returned.
fn bundle<T>(runtime: &Runtime, to: &Path, capture: impl AsyncFnOnce(&Out) -> T) -> (PathBuf, T) {
    runtime.block_on(async {
        let name = BundleName::at(chrono::Utc::now());
        let path = to.join(format!("{name}.tgz"));
        let (id, meter) = (ComponentId::try_from(String::from("apps")).expect("a name"), Arc::default());
        let sink = BufWriter::new(File::create(&path).expect("a file"));
        let (writer, closing) = Writer::start(name.clone(), 1, sink, Arc::clone(&meter));
        let out = Out::new(writer.clone(), Section::root_of(&id), meter, context());
        let captured = capture(&out).await;
        drop(out);
        let mut tail = closing.close(writer).await.expect("written").expect("whole");
        let mut manifest = manifest_of(&name, std::mem::take(&mut tail.entries));
        manifest.format = FORMAT_OF_SECTIONS;
        let items = Items { count: 1, unit: "tree".into() };
        let (kind, as_of, body) = ("test".into(), name.time(), serde_json::Value::Null);
        manifest.components = vec![Section { id, kind, version: 1, as_of, items, body }];
        tail.seal(&manifest).expect("sealed");
        (path, captured)
    })
}

fn stored(path: &Path) -> (Stored, usize) {
    let source = Box::new(File::open(path).expect("the bundle")) as Box<dyn ReadAt>;
    let bundle = Arc::new(Bundle::open(source).expect("a bundle"));
    let entries = bundle.manifest().entries.len();
    (Stored::new(bundle.manifest().components[0].clone(), bundle), entries)
}

/// What no compression makes smaller.
fn noise(length: usize, seed: u32) -> Vec<u8> {
    let word = |at: u32| {
        let word = (at ^ seed).wrapping_mul(2_654_435_761);
        (word ^ (word >> 15)).wrapping_mul(0x2c1b_3c6d).to_le_bytes()
    };
    (0..length as u32 / 4).flat_map(word).collect()
}

/// A tree with all that files have, of several packs: names of one file far apart, and a file that is larger than a pack.
fn make_large_tree(root: &Path) {
    make_tree(root);
    fs::create_dir(root.join("m")).expect("a directory");
    for (name, length) in [("m/1", 20 << 20), ("m/2", 20 << 20), ("m/3", 40 << 20), ("m/4", 100)] {
        fs::write(root.join(name), noise(length, name.len() as u32)).expect("a file");
    }
    fs::write(root.join("a program"), "#!/bin/sh\n").expect("a file");
    fs::hard_link(root.join("a program"), root.join("z last name")).expect("a link");
    let deep = root.join("deep".repeat(30)).join("er".repeat(60)).join("still".repeat(20));
    fs::create_dir_all(&deep).expect("directories");
    fs::write(deep.join(OsStr::from_bytes(b"\xfe".repeat(100).as_slice())), "deep").expect("a file");
    let holes = File::create(deep.join("holes")).expect("a file");
    holes.set_len(1 << 20).expect("a length");
    // Where files have no attributes, none come back.
    let _ = rustix::fs::setxattr(root.join("plain"), "user.note", b"a\nb=\xff", rustix::fs::XattrFlags::empty());
    if rustix::process::geteuid().is_root() {
        chown(root.join("a program"), Some(12345), Some(3_000_000)).expect("an owner");
        std::os::unix::fs::lchown(root.join("relative"), Some(1), Some(1)).expect("an owner");
    }
    fs::set_permissions(root.join("a program"), fs::Permissions::from_mode(0o4751)).expect("a mode");
    let old = |path: &str, time: &str| {
        let done = Command::new("touch").args(["-h", "-d", time]).arg(root.join(path)).status().expect("touch runs");
        assert!(done.success());
    };
    old("plain", "1965-03-04 05:06:07");
    old("relative", "2001-02-03 04:05:06.7");
    old("m", "2002-02-03 04:05:06.7");
    fs::set_permissions(root.join("m"), fs::Permissions::from_mode(0o2555)).expect("a mode");
    old(".", "2003-02-03 04:05:06.7");
}

fn run(line: &str, directory: &Path) {
    let output = Command::new("sh").args(["-ec", line]).current_dir(directory).output().expect("sh runs");
    assert!(output.status.success(), "{line}: {output:?}");
}

#[test]
fn a_tree_comes_back_from_packs_with_all_that_it_had() {
    let (runtime, place) = (Runtime::new().expect("a runtime"), tempfile::tempdir().expect("a directory"));
    let place = place.path().canonicalize().expect("a path");
    let tree = place.join("tree");
    make_large_tree(&tree);
    let without = GlobSetBuilder::new().add(Glob::new("left out").expect("a pattern")).build().expect("patterns");
    let (path, captured) =
        bundle(&runtime, &place, async |out: &Out| out.pack_tree("data", &tree, Some(&without)).await);
    let (packed, findings) = captured.expect("captured");
    assert!(findings.is_empty(), "{findings:?}");
    fs::remove_dir_all(tree.join("left out")).expect("removed");
    run("touch -d '2003-02-03 04:05:06.7' .", &tree);
    let expected = describe_tree(&tree);
    assert_eq!((packed.entries, packed.packs), (expected.len() as u64, 4));

    let (stored, _) = stored(&path);
    assert_eq!(runtime.block_on(stored.verify_packs("data", context())).expect("read"), []);
    let to = place.join("ours");
    fs::create_dir(&to).expect("a directory");
    let unpacked = runtime.block_on(stored.unpack("data", &tree, to, working())).expect("unpacked");
    assert_eq!((describe_tree(&unpacked.root), unpacked.packed), (expected.clone(), packed));
    let note = |root: &Path| {
        let mut value = [0; 10];
        rustix::fs::getxattr(root.join("plain"), "user.note", &mut value[..]).map(|length| value[..length].to_vec())
    };
    assert_eq!(note(&unpacked.root), note(&tree));
    assert!(unpacked.root.join("sparse").metadata().expect("there").blocks() < 1000);

    // One file, of which the rest is not needed.
    let digest = Arc::new(Mutex::new(Sha256::new()));
    let taken = digest.clone();
    let take = move |part: &[u8]| {
        taken.lock().expect("a lock").update(part);
        Ok(())
    };
    let head = runtime.block_on(stored.read_packed("data", &tree.join("m/4"), take, context())).expect("read");
    assert_eq!((head.size, head.mode), (100, 0o644));
    let content = fs::read(tree.join("m/4")).expect("a file");
    assert_eq!(digest.lock().expect("a lock").clone().finalize(), Sha256::digest(content));

    // As README.txt says.
    run(&format!("tar xzf {}", path.display()), &place);
    let inside = path.with_extension("");
    let text = packs_by_hand("apps", "data");
    let line = text.lines().find(|line| line.starts_with("    ")).expect("a command");
    run(line, &inside);
    let below = tree.strip_prefix("/").expect("below");
    let by_hand = inside.join("restored").join(below);
    assert_eq!((describe_tree(&by_hand), note(&by_hand)), (expected.clone(), note(&tree)));
    run("mkdir bsd && cat components/apps/data.*.tar | bsdtar -xpf - --ignore-zeros -C bsd", &inside);
    assert_eq!(describe_tree(&inside.join("bsd").join(below)), expected);
    // One after another, what a directory has in a later pack gives it another time.
    for (name, unpack) in [("each", "tar xpf"), ("each-bsd", "bsdtar -xpf")] {
        run(
            &format!("mkdir {name} && cd {name} && for p in ../components/apps/data.*.tar; do {unpack} $p; done"),
            &inside,
        );
        let files = |lines: &[String]| {
            let is_file = |line: &&String| !line.contains(" 4");
            lines.iter().filter(is_file).cloned().collect::<Vec<_>>()
        };
        assert_eq!(files(&describe_tree(&inside.join(name).join(below))), files(&expected), "{name}");
    }
}

#[test]
fn damage_of_packs_is_named_and_nothing_of_it_is_restored() {
    let (runtime, place) = (Runtime::new().expect("a runtime"), tempfile::tempdir().expect("a directory"));
    let tree = place.path().join("tree");
    fs::create_dir(&tree).expect("a directory");
    fs::write(tree.join("a"), "content").expect("a file");
    let (path, captured) = bundle(&runtime, place.path(), async |out: &Out| out.pack_tree("data", &tree, None).await);
    captured.expect("captured");
    let sound = fs::read(&path).expect("the bundle");
    let entries = Bundle::open(sound.clone()).expect("a bundle").manifest().entries.clone();
    assert_eq!(entries.len(), 2);
    for entry in entries {
        let mut bent = sound.clone();
        bent[(entry.offset + entry.stored) as usize - 6] ^= 1;
        fs::write(&path, bent).expect("written");
        let (stored, _) = stored(&path);
        let said = runtime.block_on(stored.verify_packs("data", context())).expect("read");
        assert!(said.len() == 1 && said[0].message.contains(&entry.path), "{said:?}");
        let to = place.path().join("to");
        fs::create_dir_all(&to).expect("a directory");
        let refused = runtime.block_on(stored.unpack("data", &tree, to.clone(), working())).expect_err("damaged");
        assert_eq!(refused.kind(), Kind::Damaged, "{refused:?}");
        assert_eq!(fs::read_dir(&to).expect("a directory").count(), 0, "{}", entry.path);
        fs::remove_dir_all(to).expect("removed");
    }
    let (stored, _) = stored(&path);
    assert!(!runtime.block_on(stored.verify_packs("dat", context())).expect("read").is_empty());
}

/// Packs so many small files, a thousand in each directory.
async fn pack_files(out: &Out, path: &str, files: u64) -> PackedTree {
    let mut packs = out.packs(path, b"srv/many").await.expect("begun");
    packs.add(directory("srv/many", 0), |_, _| Ok(())).await.expect("added");
    let noise = noise(1 << 20, 42);
    for number in 0..files {
        if number % 1000 == 0 {
            let head = directory(&format!("srv/many/{:04}", number / 1000), 0);
            packs.add(head, |_, _| Ok(())).await.expect("added");
        }
        let head = Head::private(format!("srv/many/{:04}/{number:09}", number / 1000), SIZE as u64, 0);
        let begin = (number as usize * 604) % (noise.len() - SIZE);
        let fill = |buffer: &mut Vec<u8>, wanted: usize| {
            buffer.extend_from_slice(&noise[begin..begin + wanted]);
            Ok(())
        };
        packs.add(head, fill).await.expect("added");
    }
    let late = packs.add(Head::private("srv/many/0000/0", 0, 0), |_, _| Ok(())).await.expect_err("out of order");
    assert_eq!(late.kind(), Kind::Refused);
    packs.finish().await.expect("written")
}

/// What each of them has.
const SIZE: usize = 600;

#[test]
fn many_files_go_in_and_come_out_in_bounded_memory() {
    const FILES: u64 = 100_000;
    /// Those that come out: each costs the disk a file.
    const FEWER: u64 = 10_000;
    /// What the whole program may have.
    const MEMORY: u64 = 128 << 20;
    let (runtime, place) = (Runtime::new().expect("a runtime"), tempfile::tempdir().expect("a directory"));
    let (path, (packed, fewer)) = bundle(&runtime, place.path(), async |out: &Out| {
        (pack_files(out, "many", FILES).await, pack_files(out, "fewer", FEWER).await)
    });
    assert_eq!((packed.entries, packed.bytes), (FILES + FILES / 1000 + 1, FILES * SIZE as u64));
    let (stored, entries) = stored(&path);
    // The manifest says nothing of single files.
    assert!(entries < 20 && packed.packs > 2 && packed.packs * PART > packed.bytes, "{entries} {packed:?}");
    assert_eq!(runtime.block_on(stored.verify_packs("many", context())).expect("read"), []);
    let to = place.path().join("ours");
    fs::create_dir(&to).expect("a directory");
    let unpacked = runtime.block_on(stored.unpack("fewer", "/srv/many".as_ref(), to, working())).expect("unpacked");
    assert_eq!((unpacked.packed, unpacked.warnings), (fewer, vec![]));
    assert_eq!(
        fs::read_dir(unpacked.root.join(format!("{:04}", FEWER / 1000 - 1))).expect("a directory").count(),
        1000
    );
    assert!(peak() < MEMORY, "{} MiB", peak() >> 20);
}

/// A directory with attributes of so many bytes.
fn directory(path: &str, attributes: usize) -> Head {
    let note = (attributes > 0).then(|| (b"user.note".to_vec(), vec![b'x'; attributes]));
    let xattrs: BTreeMap<_, _> = note.into_iter().collect();
    Head { kind: EntryKind::Directory, xattrs, ..Head::private(path, 0, 0) }
}

#[test]
fn directories_of_large_attributes_take_no_memory_each() {
    const DEPTH: usize = 200;
    const ATTRIBUTES: usize = 1_000_000;
    let (runtime, place) = (Runtime::new().expect("a runtime"), tempfile::tempdir().expect("a directory"));
    let (path, packed) = bundle(&runtime, place.path(), async |out: &Out| {
        let mut packs = out.packs("deep", b"deep").await.expect("begun");
        for depth in 0..DEPTH {
            let path = format!("deep{}", "/d".repeat(depth));
            packs.add(directory(&path, ATTRIBUTES), |_, _| Ok(())).await.expect("added");
        }
        packs.finish().await.expect("written")
    });
    let to = place.path().join("ours");
    fs::create_dir(&to).expect("a directory");
    let (stored, _) = stored(&path);
    let unpacked = runtime.block_on(stored.unpack("deep", "/deep".as_ref(), to, working())).expect("unpacked");
    assert_eq!((unpacked.packed, unpacked.warnings.len()), (packed, DEPTH));
    assert_eq!(unpacked.warnings[DEPTH - 1].subject, "/deep");
    assert!(peak() < 128 << 20, "{} MiB", peak() >> 20);
}

#[test]
fn one_entry_that_no_reader_takes_stops_nothing_and_one_that_is_cut_off_all() {
    let (runtime, place) = (Runtime::new().expect("a runtime"), tempfile::tempdir().expect("a directory"));
    let (path, packed) = bundle(&runtime, place.path(), async |out: &Out| {
        let mut packs = out.packs("data", b"srv").await.expect("begun");
        for (head, taken) in [
            (directory("srv", 0), true),
            (directory("srv/a", 1 << 20), false),
            // It is in a directory that is not there.
            (Head::private("srv/a/x", 0, 0), false),
            (Head::private("srv/b", 0, 0), true),
        ] {
            let added = packs.add(head, |_, _| Ok(())).await.map_err(|error| error.kind());
            assert_eq!(added, if taken { Ok(()) } else { Err(Kind::Refused) });
        }
        let packed = packs.finish().await.expect("written");
        let mut packs = out.packs("cut", b"srv").await.expect("begun");
        packs.add(directory("srv", 0), |_, _| Ok(())).await.expect("added");
        let refuses = |_: &mut Vec<u8>, _: usize| Err(Error::new(Kind::Refused, "read it"));
        let cut_off = packs.add(Head::private("srv/a", 5, 0), refuses).await.expect_err("cut off");
        let later = packs.add(Head::private("srv/b", 0, 0), |_, _| Ok(())).await.expect_err("nothing comes after it");
        let end = packs.finish().await.expect_err("it is not whole");
        assert_eq!([cut_off, later, end].map(|error| error.kind()), [Kind::Failed; 3]);
        packed
    });
    assert_eq!(packed.entries, 2);
    let (stored, _) = stored(&path);
    assert_eq!(runtime.block_on(stored.verify_packs("data", context())).expect("read"), []);
}

#[test]
fn paths_that_are_too_long_to_be_restored_are_left_out_with_a_finding() {
    let (runtime, place) = (Runtime::new().expect("a runtime"), tempfile::tempdir().expect("a directory"));
    let place = place.path().canonicalize().expect("a path");
    let tree = place.join("tree");
    let deepest = (0..19).fold(tree.clone(), |above, _| above.join("d".repeat(200)));
    fs::create_dir_all(&deepest).expect("directories");
    fs::write(deepest.join("x"), "x").expect("a file");
    let (path, captured) = bundle(&runtime, &place, async |out: &Out| out.pack_tree("data", &tree, None).await);
    let (packed, findings) = captured.expect("captured");
    let left_out =
        deepest.ancestors().filter(|path| path.as_os_str().len() > 1 + 3584).last().expect("one is too long");
    let said: Vec<(&str, &Path)> = findings.iter().map(|it| (it.code.as_str(), it.subject.as_ref())).collect();
    assert_eq!(said, [("file-refused", left_out)]);
    let to = place.join("o".repeat(200)).join("o".repeat(200));
    fs::create_dir_all(&to).expect("directories");
    let unpacked = runtime.block_on(stored(&path).0.unpack("data", &tree, to, working())).expect("unpacked");
    assert_eq!(describe_tree(&unpacked.root).len() as u64, packed.entries);
    assert_eq!(unpacked.warnings, []);
}

#[test]
fn who_is_told_to_stop_packs_no_further() {
    let (runtime, place) = (Runtime::new().expect("a runtime"), tempfile::tempdir().expect("a directory"));
    let tree = place.path().join("tree");
    fs::create_dir(&tree).expect("a directory");
    fs::write(tree.join("x"), "x").expect("a file");
    let all = GlobSetBuilder::new().add(Glob::new("*").expect("a pattern")).build().expect("patterns");
    let (_, captured) = bundle(&runtime, place.path(), async |out: &Out| {
        out.context.cancel.cancel();
        out.pack_tree("data", &tree, Some(&all)).await
    });
    assert_eq!(captured.expect_err("told to stop").kind(), Kind::Interrupted);
}

/// The bundle with other three digits where this text ends in an entry, in a block that is right by itself.
fn forged(sound: &[u8], entry: &Entry, text: &str) -> Vec<u8> {
    let (begin, end) = (entry.offset as usize, (entry.offset + entry.stored) as usize);
    let begin = begin + block::length(&sound[begin..]).expect("a block");
    let mut content = Vec::new();
    Decoder::default().decode(&sound[begin..end], &mut content).expect("one block");
    let place = content.windows(text.len()).rposition(|window| window == text.as_bytes()).expect(text) + text.len();
    // Its length must be the same, too.
    let mut encoders: Vec<Encoder> = block::LEVELS.map(Encoder::new).collect();
    let blocks = (100..1000).flat_map(|number: u32| {
        let mut forged = content.clone();
        forged[place..place + 3].copy_from_slice(number.to_string().as_bytes());
        let is_other = forged != content;
        encoders.iter_mut().filter(|_| is_other).map(|encoder| encoder.encode(&forged)).collect::<Vec<_>>()
    });
    let block = blocks.into_iter().find(|block| block.len() == end - begin).expect("one of that length");
    [&sound[..begin], &block, &sound[end..]].concat()
}

#[test]
fn one_file_is_believed_once_the_manifest_has_vouched_for_all_of_its_pack_and_of_the_index() {
    let (runtime, place) = (Runtime::new().expect("a runtime"), tempfile::tempdir().expect("a directory"));
    let tree = place.path().canonicalize().expect("a path").join("tree");
    fs::create_dir(&tree).expect("a directory");
    fs::write(tree.join("a"), "content").expect("a file");
    fs::write(tree.join("b"), "other 123").expect("a file");
    fs::set_permissions(tree.join("b"), fs::Permissions::from_mode(0o751)).expect("a mode");
    let (path, captured) = bundle(&runtime, place.path(), async |out: &Out| out.pack_tree("data", &tree, None).await);
    captured.expect("captured");
    let sound = fs::read(&path).expect("the bundle");
    let read = || {
        let (stored, _) = stored(&path);
        runtime.block_on(stored.read_packed("data", &tree.join("a"), |_| Ok(()), context())).map(|head| head.size)
    };
    assert_eq!(read().expect("sound"), 7);
    let entries = Bundle::open(sound.clone()).expect("a bundle").manifest().entries.clone();
    // What comes after the file's own line, and after the file.
    for (end, text) in [(".index.000001", "\"mode\":"), (".tar", "other ")] {
        let entry = entries.iter().find(|entry| entry.path.ends_with(end)).expect(end);
        fs::write(&path, forged(&sound, entry, text)).expect("written");
        let refused = read().expect_err(end);
        assert!(refused.kind() == Kind::Damaged && format!("{refused:?}").contains(&entry.path), "{refused:?}");
    }
}
