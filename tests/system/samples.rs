//! What the samples for Kubernetes and sudo give to whom.

use std::fs;
use std::path::Path;
use std::process::Command;

use backup_core::databases::ERRAND;
use system_tests::describe;

/// Whoever may make pods, in whatever way, or enter one, reads every Secret that they may mount.
#[test]
fn the_operators_role_only_looks_and_sees_no_secret() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes/cronjob.yaml");
    let manifest = fs::read_to_string(manifest).expect("the manifest");
    let is_role = |part: &&str| part.lines().any(|line| line == "kind: Role" || line == "kind: ClusterRole");
    let roles: Vec<&str> = manifest.split("\n---\n").filter(is_role).collect();
    assert_eq!(roles.len(), 1);
    let lists = |key: &str| {
        let of = |line: &str| {
            Some(line.trim().trim_start_matches("- ").strip_prefix(key)?.trim_matches(['[', ']']).to_owned())
        };
        let words =
            roles[0].lines().filter_map(of).flat_map(|list| list.split(", ").map(str::to_owned).collect::<Vec<_>>());
        words.collect::<Vec<_>>()
    };
    let (verbs, resources) = (lists("verbs: "), lists("resources: "));
    assert!(
        !verbs.is_empty() && verbs.iter().all(|verb| ["get", "list", "watch"].contains(&verb.as_str())),
        "{verbs:?}"
    );
    let seen = ["cronjobs", "jobs", "pods", "pods/log"];
    assert!(!resources.is_empty() && resources.iter().all(|one| seen.contains(&one.as_str())), "{resources:?}");
    assert!(!manifest.contains("RoleBinding"), "nobody has the role before somebody gives it to him");
}

#[test]
fn the_sample_for_sudo_allows_the_errand_with_its_very_arguments_alone() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/package/sudoers");
    // Where Debian has it; an ordinary user's path does not lead there.
    let checked = Command::new("/usr/sbin/visudo").args(["--check", "--file"]).arg(&sample).output();
    let checked = checked.expect("visudo runs");
    assert!(checked.status.success(), "{}", describe(&checked));
    let text = fs::read_to_string(&sample).expect("the sample");
    let rules: Vec<&str> = text.lines().filter(|line| !line.starts_with(['#', 'D'])).collect();
    assert_eq!(rules, [format!("backup ALL = (orchestrator-cli) NOPASSWD: /usr/bin/orchestrator-cli {ERRAND}")]);
}
