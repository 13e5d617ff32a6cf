//! The sample settings: what stands there is what holds without it, and all that is commented out can be written.

use std::fs;
use std::path::Path;

use super::document::parse_text;
use super::{Known, Settings, load, load_restore};
use crate::given::SECTIONS;

const SAMPLE: &str = include_str!("../../../deploy/orchestrator.toml");
const CLUSTER_CONF: &str = "cluster_conf = \"/home/orchestrator/cluster.conf\"\n";
/// A public key, for the one that the sample leaves out.
const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIMUcA0M/cY4f2lc/6jpBvukouFWyqJzikfAMWksHsS1P";

/// A section as it is written: its header, and its lines, each with whether it is commented out.
struct Section {
    header: String,
    lines: Vec<(bool, String)>,
}

impl Section {
    /// A list of tables has several of one name.
    fn name(&self) -> &str {
        self.header.trim_matches(['[', ']'])
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|(_, line)| line.split_once(" = ")).map(|(key, _)| key)
    }

    fn with(&self, lines: impl Iterator<Item = String>) -> String {
        let lines: Vec<String> = lines.collect();
        format!("{CLUSTER_CONF}{}\n{}\n", self.header, lines.join("\n")).replace("AAAA…", KEY)
    }
}

/// The sections of the sample, without the words between the keys.
fn sections() -> Vec<Section> {
    let mut sections = Vec::new();
    for line in SAMPLE.lines() {
        let (commented, text) = line.strip_prefix("# ").map_or((false, line), |text| (true, text));
        let is_key = text.split_once(" = ").is_some_and(|(key, _)| {
            key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c))
        });
        if text.starts_with('[') && text.ends_with(']') {
            sections.push(Section { header: text.into(), lines: Vec::new() });
        } else if let (true, Some(section)) = (is_key, sections.last_mut()) {
            section.lines.push((commented, text.into()));
        }
    }
    sections
}

fn load_text(toml: &str) -> Result<Settings, String> {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("cluster.conf"), "chef { continuum { cluster_name: example } }").expect("written");
    let path = dir.path().join("orchestrator.toml");
    fs::write(&path, toml.replace("/home/orchestrator/cluster.conf", "cluster.conf")).expect("written");
    load_restore(Some(&path), &Known::default()).map_err(|error| error.chain().join(": "))?;
    load(&path, &Known::default()).map_err(|error| error.chain().join(": "))
}

/// All that settings say, but for the directory that they lie in.
fn shown(toml: &str) -> String {
    let settings = load_text(toml).unwrap_or_else(|error| panic!("{toml}: {error}"));
    let directory = settings.backup.cluster_conf.parent().expect("a directory").display().to_string();
    format!("{settings:#?}").replace(&directory, "DIRECTORY")
}

#[test]
fn the_sample_says_what_holds_without_it() {
    let said = SAMPLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
    assert!(said > 20, "{said} lines are no comment");
    assert_eq!(shown(SAMPLE), shown(CLUSTER_CONF));
}

#[test]
fn all_that_the_sample_comments_out_can_be_written() {
    let mut keys = 0;
    for section in sections() {
        let commented: Vec<&String> = section.lines.iter().filter(|(out, _)| *out).map(|(_, line)| line).collect();
        keys += commented.len();
        // Of a release's keys only one may be there; other keys need their neighbours.
        let tried: Vec<String> = match section.name() {
            "release" => commented.iter().map(|line| section.with([line.to_string()].into_iter())).collect(),
            _ => vec![section.with(section.lines.iter().map(|(_, line)| line.clone()))],
        };
        for toml in tried {
            if let Err(error) = load_text(&toml) {
                panic!("{toml}: {error}");
            }
        }
    }
    assert!(keys > 60, "{keys} keys are commented out");
}

#[test]
fn the_sample_has_every_key() {
    let sections = sections();
    for name in SECTIONS.iter().filter(|name| **name != "cluster_conf") {
        assert!(sections.iter().any(|section| section.name() == *name), "{name}");
    }
    for section in sections.iter().filter(|section| section.name() != "component") {
        let unknown =
            section.with(section.lines.iter().take(2).map(|(_, line)| line.clone()).chain(["zzz = 1".into()]));
        let Err(error) = parse_text(Path::new("o.toml"), &unknown) else { continue };
        let error = error.to_string();
        // Names that somebody gives are no keys.
        let Some((_, known)) = error.split_once("unknown key, expected one of ") else { continue };
        for key in known.split(", ") {
            let full = format!("{}.{key}", section.name());
            let has = |other: &Section| {
                let is = |written: &str| written == key || written.starts_with(&format!("{key}."));
                other.name() == full || other.name() == section.name() && other.keys().any(is)
            };
            assert!(sections.iter().any(has), "{full}");
        }
    }
}

#[test]
fn the_sample_has_every_key_of_what_lies_in_a_store() {
    for (key, kind) in [("s3", "s3://bucket"), ("sftp", "sftp://host/path")] {
        let unknown = format!("{CLUSTER_CONF}[[stores]]\naddress = \"{kind}\"\n{key}.zzz = 1\n");
        let error = parse_text(Path::new("o.toml"), &unknown).expect_err("an unknown key").to_string();
        let (_, known) = error.split_once("expected one of ").expect("the known ones");
        for inner in known.split(", ") {
            assert!(SAMPLE.contains(&format!("\n# {key}.{inner} = ")), "{key}.{inner}");
        }
    }
}
