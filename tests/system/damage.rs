//! Every damage to a bundle is found and named by its entry: {place × damage}, and what each command does with it.

use std::path::Path;
use std::sync::Arc;

use backup_core::Context;
use backup_core::bundle::extract::extract;
use backup_core::bundle::footer;
use backup_core::bundle::header::{EntryKind, Head};
use backup_core::bundle::manifest::{Entry, Expanded, Manifest};
use backup_core::bundle::reader::Bundle;
use backup_core::bundle::sparse::encode_map;
use backup_core::bundle::verify::{verify, verify_stored};
use backup_core::bundle::writer::Writer;
use backup_core::context::Environment;
use backup_core::event::Meter;
use backup_core::names::BundleName;
use fixtures::Postgres;
use system_tests::{Workplace, describe, manifest_of};

/// Where a bundle is damaged.
#[derive(Debug, Clone, Copy)]
enum Place {
    FirstEntry,
    SchemaDump,
    Chunk,
    LastEntry,
    Manifest,
    EndOfArchive,
    Footer,
}

/// What is done to it there.
#[derive(Debug, Clone, Copy)]
enum Damage {
    FlipFirstByte,
    FlipTimeOfGzipHeader,
    FlipMiddleByte,
    FlipLastByte,
    TruncateBefore,
    TruncateInside,
    Remove,
    Double,
    ZeroOut,
}

const PLACES: [Place; 7] = [
    Place::FirstEntry,
    Place::SchemaDump,
    Place::Chunk,
    Place::LastEntry,
    Place::Manifest,
    Place::EndOfArchive,
    Place::Footer,
];
const DAMAGES: [Damage; 9] = [
    Damage::FlipFirstByte,
    Damage::FlipTimeOfGzipHeader,
    Damage::FlipMiddleByte,
    Damage::FlipLastByte,
    Damage::TruncateBefore,
    Damage::TruncateInside,
    Damage::Remove,
    Damage::Double,
    Damage::ZeroOut,
];

struct Sample {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    manifest: std::ops::Range<usize>,
}

impl Sample {
    fn new(path: &Path) -> Self {
        let bytes = std::fs::read(path).expect("the bundle");
        let bundle = Bundle::open(bytes.clone()).expect("a bundle");
        let begin = bundle.footer().manifest_offset as usize;
        let manifest = begin..begin + bundle.footer().manifest_stored as usize;
        Self { entries: bundle.manifest().entries.clone(), bytes, manifest }
    }

    /// The bytes of a place, and a word that a message about it must hold.
    fn place(&self, place: Place) -> (std::ops::Range<usize>, String) {
        let entry = |entry: &Entry| (entry.offset as usize..(entry.offset + entry.stored) as usize, entry.path.clone());
        let find = |part: &str| self.entries.iter().find(|entry| entry.path.contains(part)).expect("the entry");
        let end = self.bytes.len() - footer::LENGTH;
        match place {
            Place::FirstEntry => entry(&self.entries[0]),
            Place::SchemaDump => entry(find("schema.dump")),
            Place::Chunk => entry(find("data/000003.sql")),
            Place::LastEntry => entry(self.entries.last().expect("entries")),
            Place::Manifest => (self.manifest.clone(), "manifest.json".into()),
            Place::EndOfArchive => (self.manifest.end..end, "end of archive".into()),
            Place::Footer => (end..self.bytes.len(), "footer".into()),
        }
    }
}

fn damaged(bytes: &[u8], range: &std::ops::Range<usize>, damage: Damage) -> Vec<u8> {
    let mut bent = bytes.to_vec();
    let flip = |bent: &mut Vec<u8>, at: usize| bent[at] ^= 0x10;
    let middle = (range.start + range.end) / 2;
    match damage {
        Damage::FlipFirstByte => flip(&mut bent, range.start),
        Damage::FlipTimeOfGzipHeader => flip(&mut bent, range.start + 5),
        Damage::FlipMiddleByte => flip(&mut bent, middle),
        Damage::FlipLastByte => flip(&mut bent, range.end - 1),
        Damage::TruncateBefore => bent.truncate(range.start),
        Damage::TruncateInside => bent.truncate(middle),
        Damage::Remove => drop(bent.drain(range.clone())),
        Damage::Double => {
            let copy = bytes[range.clone()].to_vec();
            bent.splice(range.end..range.end, copy);
        }
        Damage::ZeroOut => bent[range.clone()].fill(0),
    }
    bent
}

fn sample(place: &Workplace) -> Sample {
    let server = Postgres::start();
    server.load_sample(300);
    Sample::new(&place.make_bundle(&server))
}

#[test]
fn verify_finds_every_damage_and_names_the_entry() {
    let workplace = Workplace::default();
    let sample = sample(&workplace);
    for place in PLACES {
        let (range, name) = sample.place(place);
        for damage in DAMAGES {
            let path = workplace.write("bent.tgz", damaged(&sample.bytes, &range, damage));
            let output = workplace.cli(&["verify", "--quiet"]).arg(&path).output().expect("the command runs");
            assert_eq!(output.status.code(), Some(12), "{place:?} {damage:?}: {}", describe(&output));
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            // What is cut off from the end on is named by the footer that is missing, and by where the file ends.
            let cut =
                matches!(damage, Damage::TruncateBefore | Damage::TruncateInside | Damage::Remove | Damage::Double);
            let named = text.contains(&name)
                || (cut
                    && matches!(place, Place::FirstEntry | Place::Manifest | Place::EndOfArchive | Place::Footer)
                    && text.contains("footer"));
            let before = sample
                .entries
                .iter()
                .rev()
                .find(|entry| (entry.offset as usize) < range.start)
                .map(|entry| &entry.path);
            let named = named
                || (matches!(damage, Damage::TruncateBefore)
                    && before.is_some_and(|before| text.contains(before.as_str())));
            assert!(named, "{place:?} {damage:?} does not name {name}: {text}");
            for command in ["show", "extract"] {
                let mut run = workplace.cli(&[command]);
                run.arg(&path);
                if command == "extract" {
                    run.arg("--to").arg(workplace.path("out"));
                }
                let output = run.output().expect("the command runs");
                let refused = matches!(output.status.code(), Some(12));
                // `show` reads footer and manifest alone, so damage elsewhere may be none of its business.
                assert!(
                    refused || command == "show" || matches!(place, Place::EndOfArchive),
                    "{command} {place:?} {damage:?}: {}",
                    describe(&output)
                );
                assert!(refused || output.status.success(), "{command} {place:?} {damage:?}: {}", describe(&output));
                let _ = std::fs::remove_dir_all(workplace.path("out"));
            }
        }
    }
}

/// Whether the bundle is found damaged, by `verify` and by a restore's look at its bytes; that it can't be read at all
/// would say less.
fn is_found(bytes: &[u8]) -> bool {
    let context = Context::new(Environment::default());
    let meter = Meter::default();
    let found = [verify(bytes.to_vec(), &context, &meter), verify_stored(bytes.to_vec(), &context, &meter)]
        .map(|verified| verified.is_ok_and(|verification| !verification.damage.is_empty()));
    assert_eq!(found[0], found[1], "verify and a restore differ");
    found[0]
}

/// A bundle of a few thousand bytes.
async fn small_bundle() -> Vec<u8> {
    let name: BundleName = "orchestrator_backup_20261120T191500Z".parse().expect("a name");
    let (writer, closing) = Writer::start(name.clone(), 6, Vec::new(), Arc::default());
    for (path, text) in [("README.txt", "how to restore it"), ("cluster.conf", "chef: {}"), ("empty", "")] {
        writer.add(path, text.as_bytes()).await.expect("written");
    }
    let link = Head { kind: EntryKind::Symlink("plain".into()), ..Head::private("files/link", 0, 0) };
    writer.stream(link, |_, _| Ok(())).await.expect("written");
    let mut tail = closing.close(writer).await.expect("closed").expect("complete");
    let manifest = manifest_of(&name, std::mem::take(&mut tail.entries));
    tail.seal(&manifest).expect("sealed").sink
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_holes_is_held_against_what_it_comes_out_as() {
    let name: BundleName = "orchestrator_backup_20261120T191500Z".parse().expect("a name");
    // What the manifest says of it, and whether it is true.
    type Bend = fn(&mut Expanded);
    let bends: [(Bend, bool); 3] =
        [(|_| (), true), (|expanded| expanded.size -= 1, false), (|expanded| expanded.parts_sha256.0[0] ^= 1, false)];
    for (bend, sound) in bends {
        let (writer, closing) = Writer::start(name.clone(), 6, Vec::new(), Arc::default());
        let stored = [encode_map(&[(1 << 20, 4)].into()), b"data".to_vec()].concat();
        let head = Head { kind: EntryKind::Sparse(1 << 30), ..Head::private("files/holes", stored.len() as u64, 0) };
        let fill = |buffer: &mut Vec<u8>, _: usize| {
            buffer.extend_from_slice(&stored);
            Ok(())
        };
        writer.stream(head, fill).await.expect("written");
        let mut tail = closing.close(writer).await.expect("closed").expect("complete");
        let format = tail.oldest_format();
        assert_eq!(format, 3);
        bend(tail.entries[0].expanded.as_mut().expect("said"));
        let manifest = Manifest { format, ..manifest_of(&name, std::mem::take(&mut tail.entries)) };
        let bytes = tail.seal(&manifest).expect("sealed").sink;
        let (place, context, meter) = (Workplace::default(), Context::new(Environment::default()), Meter::default());
        let verified = verify(bytes.clone(), &context, &meter).expect("verified");
        assert_eq!(verified.damage.is_empty(), sound, "{:?}", verified.damage);
        let extracted = extract(&Bundle::open(bytes).expect("a bundle"), &[], &place.path("out"), &context, &meter);
        assert_eq!(extracted.is_ok(), sound, "{extracted:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_not_sealed_in_a_format_that_has_other_headers() {
    let name: BundleName = "orchestrator_backup_20261120T191500Z".parse().expect("a name");
    let (writer, closing) = Writer::start(name.clone(), 6, Vec::new(), Arc::default());
    let head = Head { modified: (5, 1), ..Head::private("files/plain", 0, 0) };
    writer.stream(head, |_, _| Ok(())).await.expect("written");
    let mut tail = closing.close(writer).await.expect("closed").expect("complete");
    let manifest = manifest_of(&name, std::mem::take(&mut tail.entries));
    assert!(tail.seal(&manifest).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_the_change_of_every_single_byte() {
    let sound = small_bundle().await;
    assert!(!is_found(&sound));
    for at in 0..sound.len() {
        for change in [1 << (at % 8), 0xff] {
            let mut bent = sound.clone();
            bent[at] ^= change;
            assert!(is_found(&bent), "byte {at} changed by {change:#x} was not found");
        }
    }
    for length in 0..sound.len() {
        assert!(is_found(&sound[..length]), "a cut at byte {length} was not found");
    }
}

#[test]
fn verify_finds_changed_bytes_in_a_bundle_of_a_database() {
    let workplace = Workplace::default();
    let sample = sample(&workplace);
    for at in (0..sample.bytes.len()).step_by(997) {
        let mut bent = sample.bytes.clone();
        bent[at] ^= 1 << (at % 8);
        assert!(is_found(&bent), "a flip of byte {at} was not found");
    }
}

#[test]
fn two_entries_that_change_places_are_both_named() {
    let workplace = Workplace::default();
    let sample = sample(&workplace);
    let (a, b) = (&sample.entries[1], &sample.entries[2]);
    let bytes = |entry: &Entry| sample.bytes[entry.offset as usize..(entry.offset + entry.stored) as usize].to_vec();
    let mut bent = sample.bytes.clone();
    let swapped = [bytes(b), bytes(a)].concat();
    bent.splice(a.offset as usize..(b.offset + b.stored) as usize, swapped);
    let path = workplace.write("bent.tgz", bent);
    let output = workplace.cli(&["verify", "--quiet"]).arg(path).output().expect("the command runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.code() == Some(12) && text.contains(&a.path) && text.contains(&b.path),
        "{}",
        describe(&output)
    );
}
