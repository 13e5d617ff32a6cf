//! Readers that people have, on a bundle with all that is hard: {reader × what came out}. Each brings out all content, or fails, or
//! README.txt warns of it; and README.txt's check tells every tree that is not whole.

mod table;
mod tree;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::ffi::OsStringExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use backup_core::bundle::header::Head;
use backup_core::bundle::manifest::Manifest;
use backup_core::bundle::path::from_text;
use backup_core::bundle::writer::Writer;
use backup_core::names::BundleName;
use fixtures::Postgres;
use system_tests::{Workplace, describe, manifest_of, open};
use table::{Gives, LISTERS, READERS, Reader};

/// A bundle of a tree, and what must come out of it.
struct Trial {
    place: Workplace,
    bundle: PathBuf,
    readme: String,
    /// The command of README.txt that checks a tree.
    check: String,
    /// The captured tree, below the bundle's directory.
    inside: PathBuf,
    url: String,
}

impl Trial {
    fn new() -> Self {
        let server = Postgres::start();
        server.sql("postgres", "CREATE TABLE t AS SELECT 1 AS i");
        let place = Workplace::default();
        let tree = place.path("tree");
        tree::make(&tree);
        place.write("o.toml", format!("cluster_conf = 'cluster.conf'\n[[files]]\npath = {tree:?}\n"));
        let mut run = place.cli(&["backup", "--config", "o.toml", "--release", "1", "--to", "bundles"]);
        let output = run.envs(server.variables()).output().expect("the command runs");
        let bundle = place.bundles().pop().unwrap_or_else(|| panic!("{}", describe(&output)));
        let readme = String::from_utf8(open(&bundle).content("README.txt").expect("there")).expect("UTF-8");
        let check = readme.lines().map(str::trim).find(|line| line.starts_with("sed ")).expect("a command").to_owned();
        let inside = Path::new("files").join(tree.strip_prefix("/").expect("absolute"));
        let url = serve(fs::read(&bundle).expect("the bundle"));
        Self { place, bundle, readme, check, inside, url }
    }

    fn run(&self, line: &str, directory: &Path) -> Output {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let programs = root.join("../target/readers/venv/bin");
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").expect("a path"));
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("set -o pipefail; {line}")]).current_dir(directory).env("PATH", path);
        for proxy in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
            bash.env_remove(proxy);
        }
        bash.env("BUNDLE", &self.bundle).env("URL", &self.url).env("HERE", root.join("tests/readers"));
        bash.output().expect("bash runs")
    }

    /// Unpacks the bundle by a line; says how it ended, and where the tree is.
    fn unpack(&self, line: &str, gives: Gives, name: &str) -> (Output, PathBuf, usize) {
        let to = self.place.path(&format!("out of {name}"));
        fs::create_dir(&to).expect("a directory");
        let output = self.run(line, &to);
        let length = output.stdout.len();
        if gives == Gives::Tar {
            fs::write(to.join("x.tar"), &output.stdout).expect("written");
            // What of it is no tar archive shows in the tree.
            self.run("tar xpf x.tar --xattrs --xattrs-include='*'; rm x.tar", &to);
        }
        (output, to.join(self.bundle.file_stem().expect("a name")), length)
    }

    /// Tries one reader; returns its row of the table.
    fn try_one(&self, reader: &Reader) -> String {
        let Reader { name, version, gives, line, warned, instead, .. } = reader;
        let (output, top, length) = self.unpack(line, *gives, name);
        let (original, copy) = (self.place.path("tree"), top.join(&self.inside));
        let expected = tree::content(&original);
        let wrong = tree::wrong(&expected, &tree::content(&copy));
        let told = self.check(&top);
        let exit = output.status.code();
        let came = if wrong.is_empty() {
            assert!(matches!(told, Told::Whole), "{name}: README.txt's check finds fault with a whole tree");
            let lost = tree::lost(&original, &copy);
            if lost.is_empty() { "all of it".into() } else { format!("all content; not {}", lost.join(", ")) }
        } else {
            let missed: Vec<_> = match told {
                Told::Whole => wrong.iter().collect(),
                Told::NotAll => Vec::new(),
                Told::Named(named) => wrong.iter().filter(|path| !named.contains(&self.inside.join(path))).collect(),
            };
            assert!(missed.is_empty(), "{name}: README.txt's check does not tell {missed:?}");
            assert!(
                exit != Some(0) || !warned.is_empty() && self.readme.contains(warned),
                "{name}: README.txt does not warn of it, and these are wrong: {wrong:?}"
            );
            let (output, top, _) = self.unpack(instead, gives_of(instead), &format!("{name}, instead"));
            let wrong_instead = tree::wrong(&expected, &tree::content(&top.join(&self.inside)));
            assert!(
                wrong_instead.is_empty(),
                "{instead}: {wrong_instead:?} {}",
                String::from_utf8_lossy(&output.stderr)
            );
            match gives {
                Gives::Tree if copy.exists() => format!("**not** {}", what_is_wrong(&wrong)),
                Gives::Tree => "**nothing**".into(),
                Gives::Tar if length == 512 => "**512 bytes**, the first member".into(),
                Gives::Tar => "**a part** of the archive".into(),
            }
        };
        let version = self.run(version, &self.place.path(""));
        let version = String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default().trim().to_owned();
        assert!(!version.is_empty(), "{name}: no version, is it installed?");
        let shown = if instead.is_empty() { line } else { instead };
        let shown = shown.replace('|', "\\|").replace("$BUNDLE", "NAME.tgz").replace("$HERE/", "");
        let name = name.replace('|', "\\|");
        let exit = exit.map_or("signal".into(), |code| code.to_string());
        format!("| {name} | {version} | {came} | {exit} | `{shown}` |")
    }

    fn check(&self, top: &Path) -> Told {
        if fs::read_to_string(top.join("README.txt")).ok().as_ref() != Some(&self.readme) {
            return Told::NotAll;
        }
        let output = self.run(&self.check, top);
        let said = String::from_utf8(output.stdout.clone()).expect("UTF-8");
        if output.status.success() && said.contains("entries are as they were") {
            return Told::Whole;
        }
        assert_eq!(output.status.code(), Some(1), "{}", describe(&output));
        if describe(&output).contains("not all was unpacked") {
            return Told::NotAll;
        }
        let bytes = said.lines().filter_map(|line| from_text(line.rsplit_once(": ")?.0));
        Told::Named(bytes.map(|bytes| PathBuf::from(OsString::from_vec(bytes))).collect())
    }
}

/// A line that unpacks by itself writes nothing.
fn gives_of(line: &str) -> Gives {
    if line.starts_with("tar x") { Gives::Tree } else { Gives::Tar }
}

/// What did not come out. Where all examples did, the reader stopped before the end.
fn what_is_wrong(wrong: &BTreeSet<PathBuf>) -> String {
    let kinds: Vec<_> =
        tree::hard().into_iter().filter(|(path, _)| wrong.contains(path)).map(|(_, kind)| kind).collect();
    if kinds.is_empty() { "what comes last".into() } else { kinds.join(", ") }
}

/// What README.txt's check says of a tree.
enum Told {
    Whole,
    /// README.txt or the manifest is not there.
    NotAll,
    /// These are missing or otherwise.
    Named(BTreeSet<PathBuf>),
}

/// Tries readers, all of them even where one fails; returns the rows of the table.
fn try_all<'r>(trial: &Trial, readers: impl Iterator<Item = &'r Reader>) -> Vec<String> {
    let tried = readers.map(|reader| {
        let row = catch_unwind(AssertUnwindSafe(|| trial.try_one(reader)));
        row.inspect(|row| println!("{row}")).map_err(|_| reader.name)
    });
    let (rows, failed): (Vec<_>, Vec<_>) = tried.partition(Result::is_ok);
    assert!(failed.is_empty(), "{failed:?} failed, as said above");
    rows.into_iter().flatten().collect()
}

/// Serves bytes, saying that they are another encoding of something, under a name that tells nothing. It ends with the test.
fn serve(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/bundle", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_err() {
                    break;
                }
                asked.push(byte[0]);
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                bytes.len()
            );
            // Whoever has seen enough hangs up.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes));
        }
    });
    url
}

#[test]
fn readers_of_every_machine_bring_out_all_or_readme_txt_tells() {
    let rows = try_all(&Trial::new(), READERS.iter().filter(|reader| reader.usual));
    assert!(rows[0].contains("| all of it | 0 |"), "GNU tar brings out all: {}", rows[0]);
}

/// What may be wrong with a tree, by what a shell does to it, and what README.txt's check says then.
#[rustfmt::skip]
const FAULTS: [(&str, &str); 14] = [
    ("true", WHOLE),
    ("printf '1\\n0\\n5\\ndata' >holes/middle", "holes/middle: has 10 bytes, not 8388608"),
    ("mkdir holes/GNUSparseFile.0 && mv holes/middle holes/GNUSparseFile.0", "holes/middle: is missing"),
    ("printf x | dd of=holes/middle bs=1 seek=100 conv=notrunc", "holes/middle: has other content"),
    ("truncate -s 1048577 'holes/nothing else'", "holes/nothing else: has 1048577 bytes, not 1048576"),
    ("rm holes/second* && touch 'holes/second name'", "holes/second name: has 0 bytes, not 8388608"),
    ("printf x | dd of=plain/blocks bs=1 seek=3000000 conv=notrunc", "plain/blocks: has other content"),
    ("rmdir plain/empty", "plain/empty: is missing"),
    ("rmdir plain/empty && touch plain/empty", "plain/empty: is no directory"),
    ("ln -sfn second links/symbolic", "links/symbolic: is not the link that it was"),
    ("rm links/symbolic && cp links/first links/symbolic", "links/symbolic: is not the link that it was"),
    ("rm odd/plain*", "odd/plain \\xff\\x0aname: is missing"),
    ("rm \"$OLDPWD/manifest.json\"", "not all was unpacked"),
    // A bundle's files are not Python's modules.
    ("echo 'open(\"ran\", \"w\")' >\"$OLDPWD/hashlib.py\"", WHOLE),
];
const WHOLE: &str = "entries are as they were";

#[test]
fn readme_txts_check_names_every_fault() {
    let trial = Trial::new();
    let (_, top, _) = trial.unpack("tar xpzf $BUNDLE", Gives::Tree, "GNU tar");
    for (number, (fault, said)) in FAULTS.into_iter().enumerate() {
        let copy = trial.place.path(&format!("copy {number}"));
        let copied = Command::new("cp").args(["-a", "--sparse=always"]).arg(&top).arg(&copy).status();
        assert!(copied.expect("cp runs").success());
        let inside = trial.inside.display();
        let made = trial.run(&format!("cd '{inside}' && {fault} && cd - && {}", trial.check), &copy);
        assert!(describe(&made).contains(said), "{fault}: {}", describe(&made));
        assert_eq!(made.status.code(), Some(i32::from(said != WHOLE)), "{fault}: {}", describe(&made));
        assert!(!copy.join("ran").exists(), "{fault}: it ran what the bundle has");
    }
}

/// What surrounds README.txt's check: Python that runs before it, and what it must say of an entry that the manifest has besides, which is no
/// good or missing.
const SURROUNDINGS: [(&str, &str, &str, &str); 7] = [
    ("a locale that is ASCII", "", r#"{"path": "caf\u00e9"}"#, "caf\\xc3\\xa9: is missing"),
    ("what a terminal minds", "", r#"{"path": "a\u001b[2J\u202e"}"#, "a\\x1b[2J\\xe2\\x80\\xae: is missing"),
    ("a NUL", "", r#"{"path": "a\u0000b"}"#, "a\\x00b: is malformed in manifest.json"),
    ("half a character", "", r#"{"path": "a\ud800"}"#, "a\\xed\\xa0\\x80: is malformed in manifest.json"),
    (
        "a link to no entry",
        "",
        r#"{"path": "README.txt", "type": "hardlink", "link": "b"}"#,
        "README.txt: is malformed",
    ),
    ("a path that is none", "", r#"{"path": 5}"#, "5: is malformed in manifest.json"),
    // Stands for a file system that has no notion of holes.
    ("EINVAL", EINVAL, r#"{"path": "last"}"#, "last: is missing"),
];
const EINVAL: &str = "
import errno, os
seek = os.lseek
def lseek(file, at, how):
    if how in (os.SEEK_DATA, os.SEEK_HOLE):
        raise OSError(errno.EINVAL, 'no')
    return seek(file, at, how)
os.lseek = lseek
";

#[test]
fn readme_txts_check_goes_on_whatever_surrounds_it() {
    let trial = Trial::new();
    let (_, top, _) = trial.unpack("tar xpzf $BUNDLE", Gives::Tree, "GNU tar");
    let whole = fs::read_to_string(top.join("manifest.json")).expect("the manifest");
    let manifest: serde_json::Value = serde_json::from_str(&whole).expect("JSON");
    let count = manifest["entries"].as_array().expect("entries").len() + 1;
    for (what, before, entry, said) in SURROUNDINGS {
        // The last entry of a path counts.
        let bent = whole.rfind(']').map(|end| format!("{}, {entry}{}", &whole[..end], &whole[end..])).expect("entries");
        fs::write(top.join("manifest.json"), bent).expect("written");
        fs::write(top.join("before.py"), before).expect("written");
        let check = trial.check.replace("| python3 -I -", "| cat before.py - | LC_ALL=C python3 -I -X utf8=0 -");
        let made = trial.run(&check, &top);
        let count = if entry.contains("README.txt") { count - 1 } else { count };
        let told = describe(&made);
        assert!(told.contains(said) && told.contains(&format!("1 of {count} entries")), "{what}: {told}");
        assert_eq!(made.status.code(), Some(1), "{what}: {told}");
    }
}

/// The table's first lines.
const HEADER: [&str; 2] = ["| reader | version | what came out | exit code | line to use |", "|---|---|---|---|---|"];

/// `make test-readers`
#[test]
#[ignore = "deploy/setup-readers.sh installs what it needs"]
fn all_readers_bring_out_all_or_readme_txt_tells() {
    println!("\n{}", HEADER.join("\n"));
    let rows = try_all(&Trial::new(), READERS.iter());
    // Other versions may do the same.
    let without_version = |row: &str| -> Vec<String> {
        row.splitn(4, " | ").enumerate().filter(|(at, _)| *at != 1).map(|(_, cell)| cell.to_owned()).collect()
    };
    let page = include_str!("../../docs/bundle-format.md").lines();
    let documented = page.skip_while(|line| !line.starts_with("| reader |")).take_while(|line| line.starts_with('|'));
    let said = documented.map(without_version).collect::<Vec<_>>();
    let made = HEADER.into_iter().chain(rows.iter().map(String::as_str)).map(without_version).collect::<Vec<_>>();
    assert_eq!(said, made, "docs/bundle-format.md says otherwise");
}

/// `make test-readers`: too much for a disk to unpack, so that names alone are listed.
#[test]
#[ignore = "deploy/setup-readers.sh installs what it needs"]
fn what_comes_after_a_file_above_8_gib_is_listed_or_readme_txt_tells() {
    let mut trial = Trial::new();
    trial.bundle = trial.place.write("orchestrator_backup_20261120T191500Z.tgz", above_8_gib());
    let place = trial.place.path("");
    for (name, line, warned) in LISTERS {
        let output = trial.run(line, &place);
        let whole = String::from_utf8_lossy(&output.stdout).contains("files/last");
        println!("{name}: {}, exit code {:?}", if whole { "all names" } else { "not all names" }, output.status.code());
        assert!(whole || !output.status.success() || !warned.is_empty() && trial.readme.contains(warned), "{name}");
    }
}

/// A bundle with a file above 8 GiB that is zeros, and one after it.
fn above_8_gib() -> Vec<u8> {
    let name: BundleName = "orchestrator_backup_20261120T191500Z".parse().expect("a name");
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let (writer, closing) = Writer::start(name.clone(), 1, Vec::new(), Arc::default());
        let fill = |buffer: &mut Vec<u8>, wanted: usize| {
            buffer.resize(wanted, 0);
            Ok(())
        };
        writer.stream(Head::private("files/zeros", (8 << 30) + 1024, 0), fill).await.expect("written");
        writer.stream(Head::private("files/last", 0, 0), fill).await.expect("written");
        let mut tail = closing.close(writer).await.expect("closed").expect("complete");
        let format = tail.oldest_format();
        let manifest = Manifest { format, ..manifest_of(&name, std::mem::take(&mut tail.entries)) };
        tail.seal(&manifest).expect("sealed").sink
    })
}
