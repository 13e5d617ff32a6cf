//! What can't be renamed is found before anything is changed: mount points, what is mounted below a tree, what `chattr`
//! or an overlay holds. What merely lies below a mount comes back.

use std::path::Path;
use std::process::{Command, Output};

use fixtures::Postgres;
use system_tests::{Workplace, describe};

/// What is done where no other process sees its mounts, what is done as root before and undone after, and what a restore
/// says then; nothing where it must succeed.
struct Case {
    mounts: &'static str,
    chattr: Option<(&'static str, &'static str)>,
    refusal: Option<&'static str>,
}

const fn mounted(mounts: &'static str, refusal: Option<&'static str>) -> Case {
    Case { mounts, chattr: None, refusal }
}

const fn held(option: &'static str, path: &'static str, refusal: &'static str) -> Case {
    Case { mounts: "", chattr: Some((option, path)), refusal: Some(refusal) }
}

const CASES: [Case; 16] = [
    mounted("", None),
    mounted(
        "cp cluster.conf another; mount --bind another cluster.conf",
        Some("cluster.conf in its place: it is a mount point"),
    ),
    mounted("mount --bind cluster.conf cluster.conf", Some("it is a mount point and can't step aside")),
    mounted(
        "mount -t tmpfs none aside; cp cluster.conf aside; mount --bind aside/cluster.conf cluster.conf",
        Some("it is a mount point"),
    ),
    mounted("mount --bind home/tree home/tree", Some("home/tree in its place: it is a mount point")),
    mounted("mount --bind aside 'home/tree/sub dir'", Some("home/tree/sub dir is mounted below it")),
    mounted("mount -t tmpfs none 'home/tree/sub dir'", Some("`umount '")),
    mounted("mount --bind home home; mount -o remount,bind,ro home", Some("home is mounted read-only")),
    // What a mount hides is none of ours.
    mounted("mount -t tmpfs none 'home/tree/sub dir'; mount --bind home home", None),
    mounted("mount --bind home home", None),
    mounted("mount --bind . .; cd \"$PWD\"", None),
    // The directory is a link into another file system.
    mounted("mount -t tmpfs none aside; cp -a linked/. aside", None),
    // As in a container: a directory of the image can't be renamed.
    mounted(
        "mount -t tmpfs none aside; mkdir aside/upper aside/work; \
        mount -t overlay none -o lowerdir=home,upperdir=aside/upper,workdir=aside/work home",
        Some("Invalid cross-device link"),
    ),
    held("+i", "cluster.conf", "cluster.conf is immutable (chattr)"),
    held("+i", "home", "home is immutable (chattr)"),
    held("+a", "home", "home is append-only (chattr)"),
];

/// Runs `script` here with mounts of its own; `$CLI` is the command under test.
fn with_mounts(place: &Workplace, script: &str) -> Output {
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    let cli = place.cli(&[]);
    unshare.args(["--mount", "bash", "-ec", script]).current_dir(place.path("")).env("CLI", cli.get_program());
    for (name, value) in cli.get_envs() {
        match value {
            Some(value) => unshare.env(name, value),
            None => unshare.env_remove(name),
        };
    }
    let output = unshare.output().expect("missing prerequisite: unshare");
    assert_ne!(output.status.code(), Some(99), "missing prerequisite: mount namespaces: {}", describe(&output));
    output
}

fn chattr(place: &Workplace, option: &str, path: &str) {
    let output = fixtures::as_root("chattr").arg(option).arg(place.path(path)).output().expect("chattr runs");
    assert!(output.status.success(), "missing prerequisite: chattr {option} on {path}: {}", describe(&output));
}

#[test]
fn what_can_not_be_renamed_is_refused_before_anything_is_changed() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE something ()");
    let place = Workplace::default();
    for directory in ["home/tree/sub dir", "aside", "linked"] {
        std::fs::create_dir_all(place.path(directory)).expect("a directory");
    }
    let files = ["cluster.conf", "home/tree/file", "linked/file"];
    let conf = std::fs::read_to_string(place.path("cluster.conf")).expect("a file");
    let write = |content: &str| files.iter().for_each(|file| drop(place.write(file, format!("{conf}# {content}\n"))));
    write("then");
    let path = |name: &str| place.path(name).display().to_string();
    place.write(
        "settings.toml",
        format!(
            "cluster_conf = 'cluster.conf'\n[[files]]\npath = '{}'\n[[files]]\npath = '{}'\n",
            path("home/tree"),
            path("linked/file"),
        ),
    );
    let mut backup = place.cli(&["backup", "--config", "settings.toml", "--release", "2.6.3", "--to", "bundles"]);
    let output = backup.envs(server.variables()).output().expect("it runs");
    assert!(place.bundles().len() == 1, "{}", describe(&output));
    let bundle = place.bundles()[0].display().to_string();
    write("now");
    let here = |directory: &Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(directory).expect("a directory").flatten().map(|it| it.file_name()).collect();
        names.sort();
        names
    };
    let restore = format!("\"$CLI\" restore --only files --release 2.6.3 --yes --file '{bundle}'");
    let back = format!("\"$CLI\" restore --rollback --yes --file '{bundle}'");
    let every = files.join(" ");
    for Case { mounts, chattr: held, refusal } in CASES {
        let linked = mounts.contains("linked");
        if let Some((option, path)) = held {
            chattr(&place, option, path);
        }
        let before = (here(&place.path("home")), here(&place.path("")));
        if linked {
            std::fs::rename(place.path("linked"), place.path("kept")).expect("moved");
            std::os::unix::fs::symlink("aside", place.path("linked")).expect("a link");
        }
        let mount = if linked { mounts.replace("linked", "kept") } else { mounts.to_owned() };
        let mount = if mount.is_empty() { "true".to_owned() } else { mount.replace("; ", " || exit 99; ") };
        let done = match refusal {
            Some(_) => restore.clone(),
            None => format!("{restore}; cat {every}; {back}; echo; cat {every}"),
        };
        let output = with_mounts(&place, &format!("{mount} || exit 99\n{done}"));
        if linked {
            std::fs::remove_file(place.path("linked")).expect("removed");
            std::fs::rename(place.path("kept"), place.path("linked")).expect("moved");
        }
        if let Some((option, path)) = held {
            chattr(&place, &option.replace('+', "-"), path);
        }
        let text = describe(&output);
        match refusal {
            Some(refusal) => {
                assert_eq!(output.status.code(), Some(13), "{mounts}: {text}");
                assert!(text.contains(refusal), "{mounts}: {text}");
                // Where the case itself makes nothing.
                if !mounts.contains("another") {
                    assert_eq!((here(&place.path("home")), here(&place.path(""))), before, "{mounts}");
                }
            }
            None => {
                assert!(output.status.success(), "{mounts}: {text}");
                let counts =
                    ["# then", "# now"].map(|word| String::from_utf8_lossy(&output.stdout).matches(word).count());
                assert_eq!(counts, [3, 3], "{mounts}: {text}");
            }
        }
        for file in files {
            let content = std::fs::read_to_string(place.path(file)).expect("a file");
            assert!(content.ends_with("# now\n"), "{mounts}: {file}: {content}");
        }
    }
}
