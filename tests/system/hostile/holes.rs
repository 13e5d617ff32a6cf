//! Files with holes that no writer would write.

use backup_core::bundle::block::{Decoder, Encoder};
use backup_core::bundle::footer::{self, Footer};
use backup_core::bundle::header::{EntryKind, Form, Head};
use backup_core::bundle::manifest::{Expanded, FileType, Manifest};
use backup_core::bundle::reader::Bundle;
use sha2::Digest as _;

use super::{bundle, file};

/// A file with holes, of 1 GiB, whose map has this text, and a bundle of it in format 3 that says something of what it comes out as.
fn with_map(map: &str, data: &[u8]) -> Vec<u8> {
    let mut content = map.as_bytes().to_vec();
    content.resize(content.len().next_multiple_of(512), 0);
    content.extend_from_slice(data);
    let (head, content) = file("files/holes", &content);
    bundle(vec![(Head { kind: EntryKind::Sparse(1 << 30), ..head }, content)], of_format_3)
}

fn of_format_3(manifest: &mut Manifest) {
    manifest.format = 3;
    for entry in manifest.entries.iter_mut().filter(|entry| entry.kind == FileType::Sparse) {
        entry.expanded = Some(Expanded { size: 1 << 30, parts_sha256: entry.sha256 });
    }
}

/// The bundle, of one entry, with the header that formats 1 and 2 have.
pub(super) fn with_old_header(bytes: Vec<u8>) -> Vec<u8> {
    let opened = Bundle::open(bytes.clone()).expect("a bundle");
    let (mut manifest, footer) = (opened.manifest().clone(), opened.footer().clone());
    let (rest, end) = bytes.split_at((footer.manifest_offset + footer.manifest_stored) as usize);
    let (entry, head_of_manifest) = rest.split_at(footer.manifest_offset as usize);
    let mut header = Vec::new();
    let length = Decoder::default().decode(entry, &mut header).expect("a block");
    let (head, _) = Head::decode(&header, Form::Nearest).expect("a header");
    let entry = [&Encoder::new(3).encode(&head.encode(Form::Zeros)), &entry[length..]].concat();
    manifest.entries[0].stored = entry.len() as u64;
    manifest.entries[0].stored_sha256.0 = sha2::Sha256::digest(&entry).into();
    let mut json = serde_json::to_vec(&manifest).expect("JSON");
    header.clear();
    Decoder::default().decode(head_of_manifest, &mut header).expect("a block");
    let (mut head, _) = Head::decode(&header, Form::Zeros).expect("a header");
    head.size = json.len() as u64;
    json.resize(json.len().next_multiple_of(512), 0);
    let stored = [head.encode(Form::Zeros), json].map(|part| Encoder::new(3).encode(&part)).concat();
    let footer = Footer {
        manifest_offset: entry.len() as u64,
        manifest_stored: stored.len() as u64,
        manifest_digest: sha2::Sha256::digest(&stored).into(),
        bundle_length: (entry.len() + stored.len() + END_OF_ARCHIVE + footer::LENGTH) as u64,
        ..footer
    };
    [&entry, &stored, &end[..END_OF_ARCHIVE], &footer.encode()].concat()
}

const END_OF_ARCHIVE: usize = 39;

/// Of files with holes: what is wrong, a word of the refusal, and whether the manifest alone shows it.
pub(super) fn cases() -> Vec<(&'static str, Vec<u8>, &'static str, bool)> {
    let holes = || (Head { kind: EntryKind::Sparse(1 << 30), ..file("files/holes", b"").0 }, b"0\n".to_vec());
    // As many pieces as there is room for in 32 MiB.
    let many = 8_388_000;
    let pieces = |count: u64, each: &str| format!("{count}\n{}", each.repeat(many));
    let with_head = |bend: fn(&mut Head)| {
        let (mut head, content) = file("files/plain", b"");
        bend(&mut head);
        bundle(vec![(head, content)], of_format_3)
    };
    vec![
        (
            "a plain file that comes out otherwise",
            bundle(vec![file("a", b"text")], |m| {
                m.format = 3;
                m.entries[0].expanded = Some(Expanded { size: 4, parts_sha256: m.entries[0].sha256 });
            }),
            "is said of files with holes",
            true,
        ),
        (
            "nothing is said of how it comes out",
            bundle(vec![holes()], |m| {
                of_format_3(m);
                m.entries[0].expanded = None;
            }),
            "is said of files with holes",
            true,
        ),
        (
            "a format that knows nothing of it",
            bundle(vec![holes()], |m| {
                of_format_3(m);
                m.format = 1;
            }),
            "is said of files with holes",
            true,
        ),
        ("headers of format 3 in format 1", bundle(vec![holes()], |_| ()), "not written the way", false),
        ("holes with an old header", with_old_header(with_map("1\n0\n4\n", b"data")), "not written the way", false),
        (
            "a fraction with an old header",
            with_old_header(with_head(|head| head.modified = (5, 1))),
            "not written the way",
            false,
        ),
        (
            "an owner with an old header",
            with_old_header(with_head(|head| head.uid = 1 << 30)),
            "not written the way",
            false,
        ),
        ("overlapping pieces", with_map("2\n0\n4\n2\n4\n", b"datadata"), "not in order", false),
        ("pieces backwards", with_map("2\n8\n4\n0\n4\n", b"datadata"), "not in order", false),
        ("an empty piece in the middle", with_map("2\n0\n0\n0\n4\n", b"data"), "not in order", false),
        ("a piece beyond the end", with_map("1\n1073741823\n2\n", b"xy"), "malformed map", false),
        ("a piece beyond all numbers", with_map("1\n18446744073709551615\n2\n", b"xy"), "malformed map", false),
        ("a number beyond all numbers", with_map("18446744073709551616\n", b""), "malformed map", false),
        ("less data than pieces", with_map("1\n0\n8\n", b"data"), "does not match", false),
        ("more data than pieces", with_map("1\n0\n4\n", b"data more"), "does not match", false),
        ("another digest of it", with_map("1\n0\n4\n", b"data"), "with its holes", false),
        (
            "a map of nothing but empty pieces",
            with_map(&pieces(many as u64, "0\n0\n"), b""),
            "absurdly long map",
            false,
        ),
        ("a map without an end", with_map(&pieces(499_999, "0\n0\n"), b""), "not in order", false),
        ("a map that says nothing", with_map(&"1".repeat(20), b""), "map", false),
    ]
}
