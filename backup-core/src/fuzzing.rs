//! What fuzz targets (`backup-core/fuzz`) call: each parser that takes bytes from outside, and what must hold whatever they are.
//! An ordinary test feeds all seeds to all of them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bundle::block::{Decoder, Encoder};
use crate::bundle::expanded::Expanding;
use crate::bundle::footer::{self, Footer};
use crate::bundle::header::{EntryKind, Form, Head};
use crate::bundle::manifest::Manifest;
use crate::bundle::sparse::{Trust, decode_map, encode_map};
use crate::bundle::verify::verify;
use crate::cluster::ClusterConf;
use crate::component::packs::fuzzing as packed;
use crate::component::postgres::{fuzzing as postgres, plain::fuzzing as plain};
use crate::context::{Context, Environment};
use crate::drill::Drill;
use crate::event::Meter;
use crate::names::FileName;
use crate::ownership::Claim;
use crate::plan;
use crate::runs::Run;
use crate::store::{ClaimName, bundles, claims};
use crate::text;

/// The name of a target, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 17] = [
    ("block", block),
    ("bundle", bundle),
    ("claim", claim),
    ("cluster_conf", cluster_conf),
    ("drill", drill),
    ("footer", footer),
    ("globals", globals),
    ("header", header),
    ("journal", journal),
    ("lexer", lexer),
    ("manifest", manifest),
    ("names", names),
    ("packs", packs),
    ("runs", runs),
    ("script", script),
    ("sparse", sparse),
    ("statements", statements),
];

/// What is read of the roles' script is written and read again as the same.
pub fn globals(bytes: &[u8]) {
    postgres::globals(bytes);
}

/// What goes to psql of a bundle's script is in it, statement by statement; rows end at the same byte however they are cut.
pub fn statements(bytes: &[u8]) {
    postgres::statements(bytes);
}

/// Packs that agree with their index are, byte by byte, what a writer would have written.
pub fn packs(bytes: &[u8]) {
    packed::packs(bytes);
}

/// A journal is one up to the end of each of its lines.
pub fn journal(bytes: &[u8]) {
    plan::fuzzing::journal(bytes);
}

/// Nothing is in a statement that is not in the script.
pub fn lexer(bytes: &[u8]) {
    plain::lexer(bytes);
}

/// What is left out of a script lies in it.
pub fn script(bytes: &[u8]) {
    plain::script(bytes);
}

/// Nothing that is given as a bundle takes memory without bound.
pub fn bundle(bytes: &[u8]) {
    let context = Context::new(Environment::default());
    let _ = verify(bytes.to_vec(), &context, &Meter::default());
}

/// What a block holds comes back when it is written anew.
pub fn block(bytes: &[u8]) {
    let mut content = Vec::new();
    if let Ok(length) = Decoder::default().decode(bytes, &mut content) {
        assert!(length <= bytes.len());
        let (written, mut again) = (Encoder::new(1).encode(&content), Vec::new());
        assert_eq!(Decoder::default().decode(&written, &mut again), Ok(written.len()));
        assert!(again == content);
    }
}

/// A header that is read is written byte for byte.
pub fn header(bytes: &[u8]) {
    for form in [Form::Zeros, Form::Nearest] {
        if let Ok((head, length)) = Head::decode(bytes, form) {
            assert!(head.encode(form) == bytes[..length]);
        }
    }
}

/// A map that is read is read again when it is written, and reaches nowhere beyond its file; how the content is cut does not matter.
pub fn sparse(bytes: &[u8]) {
    const SIZE: u64 = 1 << 40;
    let expanded = |cut: usize| {
        let (first, second) = bytes.split_at(cut);
        let mut expanding = Expanding::of(&EntryKind::Sparse(SIZE))?;
        expanding.take(first).ok()?;
        expanding.take(second).ok()?;
        expanding.finish().ok()
    };
    assert!(expanded(0) == expanded(bytes.len() / 2));
    for trust in [Trust::AnyOrder, Trust::InOrder] {
        if let Ok(Some((map, length))) = decode_map(bytes, SIZE, trust) {
            assert!(length <= bytes.len() && map.iter().all(|(offset, length)| offset + length <= SIZE));
            let written = encode_map(&map);
            assert!(decode_map(&written, SIZE, trust).ok().flatten() == Some((map, written.len())));
        }
    }
}

/// A footer that is read is written byte for byte.
pub fn footer(bytes: &[u8]) {
    let Some(last) = bytes.last_chunk::<{ footer::LENGTH }>() else { return };
    let length = u64::from_le_bytes([40, 41, 42, 43, 44, 45, 46, 47].map(|at| last[at]));
    if let Ok(footer) = Footer::decode(last, length) {
        assert!(footer.encode() == *last);
    }
}

/// A manifest that passes has sums, and is read again as it is written.
pub fn manifest(bytes: &[u8]) {
    let Some([manifest, again]) = twice::<Manifest>(bytes) else { return };
    let texts = [&manifest, &again].map(|manifest| serde_json::to_string(manifest).ok());
    assert!(texts[0] == texts[1]);
    let end = manifest.entries.last().and_then(|entry| entry.end()).unwrap_or(0);
    if manifest.check(end).is_ok() {
        let _ = (manifest.rows(), manifest.content());
    }
}

/// A record of a drill is read again as it is written.
pub fn drill(bytes: &[u8]) {
    let Some([drill, again]) = twice::<Drill>(bytes) else { return };
    assert!(drill.problems == again.problems && drill.time == again.time && drill.passed() == again.passed());
}

/// A journal of runs is read again as it is written.
pub fn runs(bytes: &[u8]) {
    let Some([runs, again]) = twice::<Vec<Run>>(bytes) else { return };
    assert!(runs == again);
}

/// Reads JSON, and what is written of it, which is read in any case.
fn twice<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<[T; 2]> {
    let value: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_string(&value).ok()?;
    let again = serde_json::from_str(&text::json(&written)).ok();
    assert!(again.is_some(), "{written}");
    Some([value, again?])
}

/// A claim says nothing that a terminal minds, and is read again as it is written.
pub fn claim(bytes: &[u8]) {
    if let Some(claim) = Claim::read(bytes) {
        assert!(!claim.to_string().contains(text::is_unseen));
        assert!(Claim::read(claim.line().as_bytes()).as_ref() == Some(&claim));
    }
}

/// Of what a store lists nothing is a bundle or a claim but what is called so letter by letter.
pub fn names(bytes: &[u8]) {
    let listed: Vec<&str> = std::str::from_utf8(bytes).unwrap_or_default().split('\n').collect();
    let files = listed.iter().map(|name| ((*name).to_owned(), 1)).collect();
    assert!(bundles(files).iter().all(|bundle| listed.contains(&bundle.name.to_string().as_str())));
    assert!(claims(listed.iter().copied()).iter().all(|claim| listed.contains(&claim.to_string().as_str())));
    for name in listed {
        assert!(
            name.parse::<FileName>().is_ok_and(|read| read.to_string() == name) || name.parse::<FileName>().is_err()
        );
        assert!(
            name.parse::<ClaimName>().is_ok_and(|read| read.to_string() == name) || name.parse::<ClaimName>().is_err()
        );
    }
}

/// No `cluster.conf` recurses without bound, or takes long.
pub fn cluster_conf(bytes: &[u8]) {
    // Whether it is understood does not matter here.
    let _ = ClusterConf::parse(&String::from_utf8_lossy(bytes));
}

/// What to begin with, by the names of the targets.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let claim = r#"{"epoch":3,"owner":"0a","identity":"0b","cluster":"example","host":"far","addresses":["10.0.0.1"],"since":"2026-11-20T19:15:00Z"}"#;
    let drill = format!(
        r#"{{"bundle":"orchestrator_backup_20261120T191500Z","manifest_sha256":"{:064}","time":"2026-11-20T19:15:00Z","seconds":1.5,"postgres":"15.18","rows":3,"problems":[]}}"#,
        0
    );
    let runs = r#"[{"job":"backup","began":"2026-11-20T19:15:00Z","ended":"2026-11-20T19:16:00Z","state":"done","parts":[],"findings":[],"process":null}]"#;
    let footer = Footer {
        format: 1,
        manifest_offset: 1000,
        manifest_stored: 200,
        bundle_length: 5000,
        manifest_digest: [7; 32],
    };
    let map: crate::bundle::sparse::Map = [(0, 5), (4096, 10)].into_iter().collect();
    let conf = "machines: { a: { hosts: [10.0.0.1], suitable_tags: [vault] } }\ncomponents: { vault: 1 }\nchef: { continuum: { cluster_name: \"x\" } }\n";
    let mut seeds = vec![
        ("block", Encoder::new(1).encode(b"some content, some content")),
        ("claim", claim.into()),
        ("cluster_conf", conf.into()),
        ("drill", drill.into()),
        ("footer", footer.encode().to_vec()),
        (
            "header",
            Head::private("orchestrator_backup_20261120T191500Z/cluster.conf", 12, 1_790_000_000).encode(Form::Zeros),
        ),
        ("header", Head::private("a".repeat(300), u64::MAX, -5).encode(Form::Zeros)),
        (
            "header",
            Head { kind: EntryKind::Sparse(1 << 40), uid: 1 << 30, ..Head::private("a/b/holes", 1024, -5) }
                .encode(Form::Nearest),
        ),
        ("manifest", MANIFEST.into()),
        ("names", b"orchestrator_backup_20261120T191500Z.tgz\norchestrator_claim_0a1b_0000000012.json\n".to_vec()),
        (
            "names",
            b"orchestrator_backup_20261120T191500Z.tgz.age\norchestrator_backup_20261120T191500Z.tgz.drill.json"
                .to_vec(),
        ),
        ("runs", runs.into()),
        ("sparse", [encode_map(&map), b"fifteen letters".to_vec()].concat()),
    ];
    seeds.extend(packed::seeds());
    seeds.extend(postgres::seeds());
    seeds.extend(plain::seeds());
    seeds.extend(plan::fuzzing::seeds());
    seeds
}

const MANIFEST: &str = r#"{"format":1,"tool":"a test","name":"orchestrator_backup_20261120T191500Z","created":"2026-11-20T19:15:00Z","finished":"2026-11-20T19:15:00Z","source":{"host":"vm"},"hosts":[],"databases":[],"warnings":[],"needs":[],"entries":[]}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_passes_every_target_also_torn_and_bent() {
        let seeds = seeds();
        for (name, target) in TARGETS {
            for (of, seed) in &seeds {
                target(seed);
                if *of == name {
                    (0..seed.len()).for_each(|at| target(&seed[..at]));
                    for at in 0..seed.len() {
                        let mut bent = seed.clone();
                        bent[at] ^= 1 << (at % 8);
                        target(&bent);
                    }
                }
            }
        }
    }

    #[test]
    fn every_target_has_a_seed_that_it_understands() {
        let names: Vec<&str> = seeds().iter().map(|(name, _)| *name).collect();
        let without: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).filter(|name| !names.contains(name)).collect();
        // A bundle is what a backup makes.
        assert_eq!(without, ["bundle"]);
        let of = |name: &str| seeds().into_iter().find(|(of, _)| *of == name).map(|(_, seed)| seed).unwrap_or_default();
        assert!(Claim::read(&of("claim")).is_some());
        assert!(twice::<Manifest>(&of("manifest")).is_some_and(|[manifest, _]| manifest.check(0).is_ok()));
        assert!(twice::<Drill>(&of("drill")).is_some() && twice::<Vec<Run>>(&of("runs")).is_some());
        assert!(ClusterConf::parse(&String::from_utf8_lossy(&of("cluster_conf"))).is_ok());
    }
}
