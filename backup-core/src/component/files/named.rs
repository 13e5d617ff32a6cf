//! Files that `cluster.conf` names, and that no captured tree holds: a restore needs them, and no bundle has them.

use std::path::Path;

use super::Tree;
use crate::cluster::{ClusterConf, Map, Value};
use crate::finding::Finding;

/// What of them is on this machine.
pub(crate) fn needs(cluster: &ClusterConf, trees: &[Tree]) -> Vec<Finding> {
    let mut named = Vec::new();
    paths(&cluster.all, &mut String::new(), &mut named);
    let captured = |path: &Path| trees.iter().any(|tree| path.starts_with(&tree.path));
    let missing = named.into_iter().filter(|(_, path)| Path::new(path).is_file() && !captured(Path::new(path)));
    let need = |(key, path): (String, &str)| {
        Finding::info("needs-file", path, format!("{key} in cluster.conf names it, and it is not in the bundle"))
            .hint("capture it with [[files]] in the settings, or keep it elsewhere")
    };
    missing.map(need).collect()
}

/// Every absolute path among the values, with the keys that lead to it.
fn paths<'m>(map: &'m Map, keys: &mut String, found: &mut Vec<(String, &'m str)>) {
    for (key, value) in map.effective() {
        let length = keys.len();
        if length > 0 {
            keys.push('.');
        }
        keys.push_str(key);
        paths_in(value, keys, found);
        keys.truncate(length);
    }
}

fn paths_in<'m>(value: &'m Value, keys: &mut String, found: &mut Vec<(String, &'m str)>) {
    match value {
        Value::String(text) if text.starts_with('/') => found.push((keys.clone(), text)),
        Value::Array(items) => items.iter().for_each(|item| paths_in(item, keys, found)),
        Value::Map(map) => paths(map, keys, found),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_the_configuration_names_are_needed_unless_captured() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).display().to_string();
        for name in ["cert.pem", "key.pem"] {
            std::fs::write(path(name), "").expect("a file");
        }
        let (cert, key) = (path("cert.pem"), path("key.pem"));
        let text = format!("chef {{ a {{ cert: \"{cert}\", list: [\"{key}\", \"/missing\", \"x\"] }} }}");
        let cluster = ClusterConf::parse(&text).expect("a cluster.conf");
        let tree = |path: &str| Tree { path: path.into(), exclude: None };
        let subjects = |trees: &[Tree]| -> Vec<String> {
            needs(&cluster, trees).into_iter().map(|finding| finding.subject).collect()
        };
        assert_eq!(subjects(&[]), [cert.clone(), key]);
        assert_eq!(subjects(&[tree(&path("key.pem"))]), [cert]);
        assert!(subjects(&[tree(&path(""))]).is_empty());
        assert!(needs(&cluster, &[])[1].message.starts_with("chef.a.list in"));
    }
}
