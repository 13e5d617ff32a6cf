//! What in a `cluster.conf` is surely not meant as it stands: bytes in another encoding, keys that nobody reads.

use std::path::Path;

use super::value::{Map, Value};
use super::view::ClusterConf;
use crate::finding::Finding;
use crate::{Error, Kind, Result};

/// What stands for bytes that are no UTF-8.
const REPLACEMENT: char = '\u{fffd}';
/// The key without which a bundle belongs to no cluster, and where it stands.
const NAME: [&str; 3] = ["chef", "continuum", "cluster_name"];
/// Keys that are read, by the maps that they stand in. Those of zones are in [`ZONE`].
const KEYS: [(&[&str], &[&str]); 4] = [
    (&[], &["machines", "components", "chef"]),
    (&["chef"], &["continuum"]),
    (&["chef", "continuum"], &["cluster_name", "base_domain", "database_backups"]),
    (&["chef", "continuum", "database_backups"], &["access_key", "secret_key", "endpoint", "bucket"]),
];
/// Keys of a zone.
const ZONE: [&str; 2] = ["hosts", "suitable_tags"];

impl ClusterConf {
    /// Reads the bytes of a `cluster.conf`. Comments, and values that nothing here needs, may be in another encoding than UTF-8.
    ///
    /// # Errors
    /// [`Kind::Usage`] where the text can't be understood, with the line where what matters is not UTF-8.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Err(
                Error::new(Kind::Usage, "it is in UTF-16").hint("iconv -f UTF-16 -t UTF-8 OLD > NEW converts it")
            );
        }
        let mut conf = Self::parse(&String::from_utf8_lossy(bytes))?;
        let Err(wrong) = std::str::from_utf8(bytes) else { return Ok(conf) };
        let line = memchr::memchr_iter(b'\n', &bytes[..wrong.valid_up_to()]).count() + 1;
        if let Some((path, _)) = conf.texts().iter().find(|(_, text)| text.contains(REPLACEMENT)) {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let line = conf.line(&path).unwrap_or(line);
            let error = Error::new(Kind::Usage, format!("line {line}: a name that is needed is not UTF-8"));
            return Err(error.hint("iconv -f ISO-8859-1 -t UTF-8 OLD > NEW converts a file in Latin-1"));
        }
        conf.not_utf8 = Some(line);
        Ok(conf)
    }

    /// What in it is surely not meant so, as warnings with their lines; `file` is its path.
    pub fn doubts(&self, file: &Path) -> Vec<Finding> {
        let at = |line: Option<usize>| match line {
            Some(line) => format!("{}, line {line}", file.display()),
            None => file.display().to_string(),
        };
        let mut doubts = Vec::new();
        if let Some(line) = self.not_utf8 {
            let message = "it is not UTF-8 there, perhaps Latin-1; it is kept as it is, byte for byte";
            let finding = Finding::warning("cluster-conf-not-utf8", at(Some(line)), message);
            doubts.push(finding.hint("iconv -f ISO-8859-1 -t UTF-8 OLD > NEW converts a file in Latin-1"));
        }
        if self.all.0.is_empty() {
            doubts.push(Finding::warning("cluster-conf-empty", at(None), "nothing stands in it").hint(OTHER_FILE));
            return doubts;
        }
        let slips = self.slips();
        for (path, message) in &slips {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            doubts.push(Finding::warning("cluster-conf-key", at(self.line(&path)), message));
        }
        if self.cluster_name.as_ref().is_none_or(|name| name.trim().is_empty()) {
            let line = (1..=NAME.len()).rev().find_map(|length| self.line(&NAME[..length]));
            let finding = match self.zones.is_empty() && slips.is_empty() {
                true => {
                    let message =
                        "it names neither a cluster nor machines, so it may be another file than a cluster.conf";
                    Finding::warning("cluster-conf-empty", at(line), message).hint(OTHER_FILE)
                }
                false => {
                    let message = "the cluster has no name, so nothing tells its bundles from those of another cluster";
                    let hint = "write chef: { continuum: { cluster_name: NAME } }";
                    Finding::warning("cluster-name-missing", at(line), message).hint(hint)
                }
            };
            doubts.push(finding);
        }
        doubts
    }

    /// Keys that look like one which is missing there, and the cluster's name in a wrong place.
    fn slips(&self) -> Vec<(Vec<String>, String)> {
        let mut slips = Vec::new();
        for (path, keys) in KEYS {
            look(map_at(&self.all, path), path, keys, &mut slips);
        }
        for (zone, value) in map_at(&self.all, &["machines"]).into_iter().flat_map(Map::effective) {
            look(value.as_map(), &["machines", zone], &ZONE, &mut slips);
        }
        if self.cluster_name.is_none() && slips.is_empty() {
            let mut path = Vec::new();
            if find(&self.all, NAME[2], &mut path) {
                let message = format!("{} stands in the wrong place: it is read from {}", NAME[2], NAME[..2].join("."));
                slips.push((path, message));
            }
        }
        slips
    }

    /// Every text in it that something here goes by, with its path.
    fn texts(&self) -> Vec<(Vec<String>, &str)> {
        let path = |path: &[&str]| path.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        let continuum = |key: &str| path(&["chef", "continuum", key]);
        let named = [("cluster_name", &self.cluster_name), ("base_domain", &self.base_domain)];
        let named = named.into_iter().filter_map(|(key, text)| Some((continuum(key), text.as_deref()?)));
        let zones = self.zones.iter().flat_map(|zone| {
            let lists = [("hosts", &zone.hosts), ("suitable_tags", &zone.suitable_tags)];
            let items = lists.into_iter().flat_map(move |(key, list)| {
                let place = move |at: usize| path(&["machines", &zone.name, key, &at.to_string()]);
                list.iter().enumerate().map(move |(at, text)| (place(at), text.as_str()))
            });
            items.chain([(path(&["machines", &zone.name]), zone.name.as_str())])
        });
        let components = self.components.iter().map(|(tag, _)| (path(&["components", tag]), tag.as_str()));
        let backups = self.database_backups.iter().flat_map(|backups| {
            let keys = [("access_key", &backups.access_key), ("secret_key", &backups.secret_key)];
            let keys = keys.into_iter().filter_map(|(key, secret)| Some((key, secret.as_ref()?.expose())));
            let open = [("endpoint", &backups.endpoint), ("bucket", &backups.bucket)];
            let all = keys.chain(open.into_iter().filter_map(|(key, text)| Some((key, text.as_deref()?))));
            all.map(|(key, text)| (path(&["chef", "continuum", "database_backups", key]), text))
        });
        named.chain(zones).chain(components).chain(backups).collect()
    }
}

const OTHER_FILE: &str = "name the cluster's own with --config, or as cluster_conf in the settings";

fn map_at<'m>(all: &'m Map, path: &[&str]) -> Option<&'m Map> {
    if path.is_empty() { Some(all) } else { all.at(path).and_then(Value::as_map) }
}

/// Notes the keys of a map that look like one of `keys` which it does not have.
fn look(map: Option<&Map>, path: &[&str], keys: &[&str], slips: &mut Vec<(Vec<String>, String)>) {
    let Some(map) = map else { return };
    for missing in keys.iter().filter(|key| map.get(key).is_none()) {
        let others = map.effective().map(|(key, _)| key).filter(|key| !keys.contains(key));
        if let Some(near) = others.into_iter().find(|key| is_near(key, missing)) {
            let path = path.iter().chain([&near]).map(|key| (*key).to_owned()).collect();
            slips.push((path, format!("nothing reads the key {near}; did you mean {missing}?")));
        }
    }
}

/// Whether a key is another one with a slip: other separators or capitals, or a letter or two.
fn is_near(key: &str, known: &str) -> bool {
    let plain = |text: &str| text.replace(['-', '_', ' ', '.'], "").to_lowercase();
    let slips = if known.len() > 6 { 2 } else { 1 };
    strsim::osa_distance(&plain(key), &plain(known)) <= slips
}

/// Finds a key anywhere, and its path.
fn find(map: &Map, wanted: &str, path: &mut Vec<String>) -> bool {
    for (key, value) in map.effective() {
        path.push(key.into());
        let here = is_near(key, wanted) && !matches!(value, Value::Map(_) | Value::Array(_));
        if here || value.as_map().is_some_and(|map| find(map, wanted, path)) {
            return true;
        }
        path.pop();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_surely_not_meant_so_is_named_with_its_line() {
        let cases: [(&str, &[(&str, &str)]); 12] = [
            ("chef: { continuum: { cluster_name: a } }", &[]),
            // Keys that only look alike beside the right one.
            ("components: {}\ncomponent: x\nchef: { continuum: { cluster_name: a, cluster_names: b } }", &[]),
            ("", &[("cluster-conf-empty", "c")]),
            ("# nothing\n\n", &[("cluster-conf-empty", "c")]),
            ("port: 4222\n", &[("cluster-conf-empty", "c")]),
            (
                "chef: {\n continuum: {\n  cluster-name: a\n } }",
                &[("cluster-conf-key", "c, line 3"), ("cluster-name-missing", "c, line 2")],
            ),
            (
                "chef: {\n continuum: {\n  Cluster_Nmae: a\n } }",
                &[("cluster-conf-key", "c, line 3"), ("cluster-name-missing", "c, line 2")],
            ),
            (
                "chef: { base_domain: x }\ncluster_name: a\n",
                &[("cluster-conf-key", "c, line 2"), ("cluster-name-missing", "c, line 1")],
            ),
            (
                "machines: { a: {\n host: [x] } }\nchef: { continuum: { cluster_name: a } }",
                &[("cluster-conf-key", "c, line 2")],
            ),
            (
                "machine: { a: { hosts: [x] } }\nchef: { continuum: { cluster_name: a } }",
                &[("cluster-conf-key", "c, line 1")],
            ),
            ("machines: { a: { hosts: [x] } }\n", &[("cluster-name-missing", "c")]),
            (
                "machines: { a: { hosts: [x] } }\nchef: { continuum: {\ncluster_name: '' } }",
                &[("cluster-name-missing", "c, line 3")],
            ),
        ];
        for (source, expected) in cases {
            let conf = ClusterConf::read(source.as_bytes()).expect("a good file");
            let doubts = conf.doubts(Path::new("c"));
            let found: Vec<(&str, &str)> = doubts.iter().map(|one| (one.code.as_str(), one.subject.as_str())).collect();
            assert_eq!(found, expected, "{source}");
        }
    }

    #[test]
    fn another_encoding_is_taken_where_nothing_is_read_and_refused_with_its_line_where_something_is() {
        let name = b"chef: { continuum: { cluster_name: a } }\n";
        let lines = |line: &[u8]| [&b"# one\n"[..], line, b"\n", name].concat();
        for fine in [
            &b"# Z\xfcrich"[..],
            b"owner: 'J\xfcrgen'",
            b"text: (\n\xe4\xf6\xfc\n)",
            b"# \x93quoted\x94",
            b"# cut \xc3",
        ] {
            let conf = ClusterConf::read(&lines(fine)).expect("a good file");
            assert_eq!(conf.cluster_name.as_deref(), Some("a"));
            let doubts = conf.doubts(Path::new("c"));
            let line = if fine.starts_with(b"text") { 3 } else { 2 };
            let subjects: Vec<&str> = doubts.iter().map(|doubt| doubt.subject.as_str()).collect();
            assert_eq!(subjects, [format!("c, line {line}")], "{}", fine.escape_ascii());
        }
        // In UTF-8 all of it is fine.
        assert!(
            ClusterConf::read(&lines("# Zürich".as_bytes())).expect("a good file").doubts(Path::new("c")).is_empty()
        );
        for bad in [
            &b"machines: { z\xfcrich: { hosts: [x] } }"[..],
            b"machines: { a: { hosts: ['h\xf6st'] } }",
            b"components: { r\xf6uter: 1 }",
        ] {
            let error = ClusterConf::read(&lines(bad)).expect_err("a bad file");
            assert!(error.to_string().starts_with("line 2: "), "{error}");
        }
        let wide: Vec<u8> = "\u{feff}chef: {}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(ClusterConf::read(&wide).expect_err("UTF-16").to_string().contains("UTF-16"));
    }
}
