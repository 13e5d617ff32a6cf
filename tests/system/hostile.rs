//! Bundles that somebody made to harm: refused by every command that meets what is wrong with them.

mod holes;

use std::process::Command;
use std::sync::Arc;

use backup_core::bundle::block::{Decoder, Encoder};
use backup_core::bundle::footer::{self, Footer};
use backup_core::bundle::header::{EntryKind, Form, Head};
use backup_core::bundle::manifest::postgres::{Chunk, Database, number_chunks};
use backup_core::bundle::manifest::{Items, Manifest, Section};
use backup_core::bundle::writer::Writer;
use backup_core::names::{BundleName, ComponentId};
use sha2::Digest as _;
use system_tests::{Workplace, describe, manifest_of};

const NAME: &str = "orchestrator_backup_20261120T191500Z";

/// An entry and its content.
fn file(path: &str, content: &[u8]) -> (Head, Vec<u8>) {
    (Head::private(path, content.len() as u64, 0), content.to_vec())
}

fn link(path: &str, kind: EntryKind) -> (Head, Vec<u8>) {
    (Head { kind, ..Head::private(path, 0, 0) }, Vec::new())
}

/// A bundle of these entries, whole and with right digests, whose manifest `bend` may change.
fn bundle(entries: Vec<(Head, Vec<u8>)>, bend: impl Fn(&mut Manifest)) -> Vec<u8> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let name: BundleName = NAME.parse().expect("a name");
        let (writer, closing) = Writer::start(name.clone(), 3, Vec::new(), Arc::default());
        for (head, content) in entries {
            // What is streamed would be looked at.
            let mut entry = writer.growing(head);
            entry.write(&content).await;
            entry.finish(None).await.expect("written");
        }
        let mut tail = closing.close(writer).await.expect("closed").expect("complete");
        number_chunks(&mut tail.entries);
        let mut manifest = manifest_of(&name, tail.entries.clone());
        bend(&mut manifest);
        tail.seal_unchecked(&manifest).expect("sealed").sink
    })
}

/// The same bundle with other bytes for its manifest, all digests made anew.
fn with_manifest_blocks(bundle: Vec<u8>, bend: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let (rest, footer) = bundle.split_at(bundle.len() - footer::LENGTH);
    let mut footer = Footer::decode(footer.try_into().expect("a footer"), bundle.len() as u64).expect("a footer");
    let (before, manifest) = rest.split_at(footer.manifest_offset as usize);
    let (manifest, end) = manifest.split_at(footer.manifest_stored as usize);
    let mut bent = manifest.to_vec();
    bend(&mut bent);
    footer.manifest_stored = bent.len() as u64;
    footer.manifest_digest = sha2::Sha256::digest(&bent).into();
    footer.bundle_length = (before.len() + bent.len() + end.len() + footer::LENGTH) as u64;
    [before, &bent, end, &footer.encode()].concat()
}

/// The same bundle with another tar header before its manifest.
fn with_manifest_head(bundle: Vec<u8>, bend: impl Fn(&mut Head)) -> Vec<u8> {
    with_manifest_blocks(bundle, |manifest| {
        let mut header = Vec::new();
        let length = Decoder::default().decode(manifest, &mut header).expect("a block");
        let (mut head, _) = Head::decode(&header, Form::Zeros).expect("a header");
        bend(&mut head);
        manifest.splice(..length, Encoder::new(3).encode(&head.encode(Form::Zeros)));
    })
}

/// The same bundle with another text of the same length in its manifest, where that has it first.
fn with_json(bundle: Vec<u8>, text: &str, other: &str) -> Vec<u8> {
    assert_eq!(text.len(), other.len());
    with_manifest_blocks(bundle, |manifest| {
        let (mut header, mut json) = (Vec::new(), Vec::new());
        let length = Decoder::default().decode(manifest, &mut header).expect("a block");
        Decoder::default().decode(&manifest[length..], &mut json).expect("a block");
        let json = String::from_utf8(json).expect("JSON").replacen(text, other, 1);
        manifest.splice(length.., Encoder::new(3).encode(json.as_bytes()));
    })
}

fn database(directory: &str, tables: usize) -> Database {
    serde_json::from_value(serde_json::json!({
        "name": "x", "directory": directory, "owner": "o", "encoding": "UTF8", "tablespace": "pg_default",
        "locale": { "provider": "libc", "collate": "C", "ctype": "C" }, "connection_limit": -1, "size": 0,
        "snapshot": { "time": "2026-11-20T19:15:00Z" }, "sequences": 0, "large_objects": 0,
        "tables": vec![serde_json::json!({ "schema": "", "name": "", "rows": 0 }); tables],
    }))
    .expect("a database")
}

/// What is wrong, a word of the refusal, and whether the manifest alone shows it.
fn cases() -> Vec<(&'static str, Vec<u8>, &'static str, bool)> {
    let plain = || file("README.txt", b"text");
    let straight = |_: &mut Manifest| {};
    let symlink = |target: &str| EntryKind::Symlink(target.into());
    vec![
        ("absolute path", bundle(vec![file("/etc/cron.d/x", b"x")], straight), "absolute", true),
        ("path upwards", bundle(vec![file("files/../../x", b"x")], straight), "`..`", true),
        ("link upwards", bundle(vec![link("files/a", symlink("../../etc/passwd"))], straight), "leads outside", true),
        (
            "absolute link upwards",
            bundle(vec![link("files/a", symlink("/../etc/passwd"))], straight),
            "leads outside",
            true,
        ),
        (
            "link among databases",
            bundle(vec![link("databases/a.sql", symlink("/etc/passwd"))], straight),
            "leads outside",
            true,
        ),
        (
            "hard link outside",
            bundle(vec![link("files/a", EntryKind::Hardlink("../../etc/passwd".into()))], straight),
            "no earlier entry",
            true,
        ),
        (
            "path through a link",
            bundle(vec![link("files/a", symlink("/etc")), file("files/a/passwd", b"x")], straight),
            "through a link",
            true,
        ),
        ("doubled path", bundle(vec![plain(), plain()], straight), "twice", true),
        ("doubled manifest", bundle(vec![file("manifest.json", b"{}")], straight), "twice", true),
        (
            "absurd stored size",
            bundle(vec![plain()], |m| m.entries[0].stored = u64::MAX - 1),
            "more than the file has",
            true,
        ),
        ("gap", bundle(vec![plain(), file("a", b"a")], |m| m.entries[1].offset += 1), "was expected", true),
        ("forgotten entry", bundle(vec![plain(), file("a", b"a")], |m| drop(m.entries.pop())), "manifest begins", true),
        ("absurd size", bundle(vec![plain()], |m| m.entries[0].size = 1 << 60), "not what the manifest says", false),
        (
            "another path",
            bundle(vec![plain()], |m| m.entries[0].path = "other".into()),
            "not what the manifest says",
            false,
        ),
        ("another digest", bundle(vec![plain()], |m| m.entries[0].sha256.0[0] ^= 1), "content is not", false),
        (
            "manifest under another entry's name",
            with_manifest_head(bundle(vec![plain()], straight), |head| head.path = format!("{NAME}/README.txt").into()),
            "its tar header",
            true,
        ),
        (
            "manifest upwards",
            with_manifest_head(bundle(vec![plain()], straight), |head| head.path = "../../etc/cron.d/x".into()),
            "its tar header",
            true,
        ),
        (
            "manifest for all to write",
            with_manifest_head(bundle(vec![plain()], straight), |head| head.mode = 0o4777),
            "its tar header",
            true,
        ),
        (
            "manifest of an absurd size",
            with_manifest_head(bundle(vec![plain()], straight), |head| head.size = 1 << 40),
            "absurd",
            true,
        ),
        (
            "block that holds more than it says",
            with_manifest_blocks(bundle(vec![plain()], straight), |manifest| {
                let mut bomb = Encoder::new(12).encode(&vec![b' '; 1 << 20]);
                let size = bomb.len() - 4;
                bomb[size..].copy_from_slice(&1000u32.to_le_bytes());
                manifest.extend(bomb);
            }),
            "its blocks",
            true,
        ),
        (
            "blocks that hold more than the header says",
            with_manifest_blocks(bundle(vec![plain()], straight), |manifest| {
                let bomb = Encoder::new(12).encode(&vec![b' '; 1 << 20]);
                (0..2000).for_each(|_| manifest.extend(&bomb));
            }),
            "more than its header says",
            true,
        ),
        (
            "a directory that a shell runs",
            bundle(vec![plain()], |m| m.databases = vec![database("x'; touch y #", 0)]),
            "not plain",
            true,
        ),
        (
            "a manifest of empty tables",
            bundle(vec![plain()], |m| m.databases = vec![database("x", 1_000_000)]),
            "more values",
            true,
        ),
        (
            "two components of one name",
            bundle(vec![plain()], |m| with_components(m, 4, &[("redis", 1), ("redis", 1)])),
            "two components of one name",
            true,
        ),
        (
            "a component in a format that leaves it out",
            bundle(vec![plain()], |m| with_components(m, 3, &[("redis", 1)])),
            "which format 3 has not",
            true,
        ),
        (
            "more items than there can be",
            bundle(vec![plain()], |m| with_components(m, 4, &[("redis", u64::MAX), ("other", 1)])),
            "more items",
            true,
        ),
        (
            "an entry of a component that nothing is said of",
            bundle(vec![file("components/other/dump.rdb", b"")], |m| with_components(m, 4, &[("redis", 1)])),
            "nothing of",
            true,
        ),
        (
            "a component that leads elsewhere",
            with_json(bundle(vec![plain()], |m| with_components(m, 4, &[("redis", 1)])), "\"redis\"", "\"../..\""),
            "no component is called so",
            true,
        ),
        (
            "chunk of no table",
            bundle(vec![plain()], |m| {
                m.entries[0].chunk = Some(Chunk { database: 0, table: 0, part: 0, rows: 1, preamble: 0 })
            }),
            "no known table",
            true,
        ),
    ]
}

fn with_components(manifest: &mut Manifest, format: u32, components: &[(&str, u64)]) {
    manifest.format = format;
    let section = |(id, count): &(&str, u64)| Section {
        id: ComponentId::try_from(String::from(*id)).expect("a name"),
        kind: "redis".into(),
        version: 1,
        as_of: manifest.created,
        items: Items { count: *count, unit: "key".into() },
        body: serde_json::json!({ "redis": "7.0.15", "expires": 0 }),
    };
    manifest.components = components.iter().map(section).collect();
}

/// The command in an address space in which what these bundles claim to hold has no room.
fn with_little_memory(command: Command) -> Command {
    let mut limited = Command::new("prlimit");
    limited.arg("--as=800000000").arg(command.get_program()).args(command.get_args());
    limited.current_dir(command.get_current_dir().expect("a directory"));
    limited
}

#[test]
fn every_command_refuses_what_it_can_see() {
    for (what, bytes, word, in_manifest) in cases().into_iter().chain(holes::cases()) {
        let place = Workplace::default();
        std::fs::create_dir(place.path("bundles")).expect("a directory");
        let path = place.write(&format!("bundles/{NAME}.tgz"), bytes);
        for (command, code) in [("verify", 12), ("extract", 12), ("show", 12), ("list", 3)] {
            if !in_manifest && matches!(command, "show" | "list") {
                continue;
            }
            let mut run = with_little_memory(place.cli(&[command]));
            run.arg(if command == "list" { place.path("bundles") } else { path.clone() });
            if command == "extract" {
                run.arg("--to").arg(place.path("out"));
            }
            let output = run.output().expect("the command runs");
            assert_eq!(output.status.code(), Some(code), "{what}, {command}: {}", describe(&output));
            assert!(describe(&output).contains(word), "{what}, {command}: {}", describe(&output));
        }
        let left = std::fs::read_dir(place.path("out")).map(Iterator::count).unwrap_or(0);
        assert_eq!(left, 0, "{what}: extract left something");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_refuses_is_not_sealed() {
    for (word, path, tables) in [("more values", "b", 1_000_000), ("twice", "a", 1)] {
        let name: BundleName = NAME.parse().expect("a name");
        let (writer, closing) = Writer::start(name.clone(), 3, Vec::new(), Arc::default());
        writer.add("a", b"a").await.expect("written");
        writer.add("b", b"b").await.expect("written");
        let mut tail = closing.close(writer).await.expect("closed").expect("complete");
        let mut manifest = manifest_of(&name, std::mem::take(&mut tail.entries));
        manifest.entries[1].path = path.into();
        manifest.databases = vec![database("x", tables)];
        let refusal = tail.seal(&manifest).err().expect("refused").chain().join(": ");
        assert!(refusal.contains(word), "{refusal}");
    }
}

/// Older bundles have maps of any order; as long as it may be, such a map costs no more than it is long.
#[test]
fn the_longest_map_of_an_older_bundle_is_read_once() {
    let count = 8_000_000;
    let map = format!("{count}\n{}", "0\n0\n".repeat(count));
    let mut content = map.into_bytes();
    content.resize(content.len().next_multiple_of(512), 0);
    let head = Head { kind: EntryKind::Sparse(1 << 20), ..file("files/holes", &content).0 };
    let bytes = holes::with_old_header(bundle(vec![(head, content)], |m| m.format = 1));
    let place = Workplace::default();
    let path = place.write(&format!("{NAME}.tgz"), bytes);
    let mut run = with_little_memory(place.cli(&["extract", "--to", "out"]));
    let output = run.arg(&path).output().expect("the command runs");
    assert!(output.status.success(), "{}", describe(&output));
}
