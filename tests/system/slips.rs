//! What a new user's fingers type, and what is said to it: exit code, the message's first line, its hint. Every command that is
//! printed on the way is one that can be typed.

mod named;
mod table;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use backup_core::settings::DEFAULT_PATH;
use fixtures::Postgres;
use named::NAMED;
use rustix::process::{Pid, Signal, kill_process};
use system_tests::{Workplace, describe, last_line};
use table::SLIPS;

/// A place with a bundle, settings and a server.
struct Stage {
    place: Workplace,
    server: Postgres,
    bundle: String,
    /// A bundle of another cluster.
    other: String,
    /// Who runs this.
    user: String,
}

impl Stage {
    fn new() -> Self {
        let (place, server) = (Workplace::default(), Postgres::start());
        server.sql("postgres", "CREATE ROLE ops LOGIN");
        server.sql("postgres", "CREATE DATABASE orchestrator");
        server.sql("orchestrator", "CREATE TABLE precious AS SELECT 'still here' AS what");
        let name = |path: &Path| format!("bundles/{}", path.file_name().expect("a name").display());
        let bundle = name(&place.make_bundle(&server));
        place.write("prod.conf", "chef: { continuum: { cluster_name: prod-eu } }\n");
        let mut backup = place.cli(&["backup", "--config", "prod.conf", "--release", "2.6.3", "--to", "others"]);
        let made = backup.envs(server.variables()).output().expect("it runs");
        assert!(made.status.success(), "{}", describe(&made));
        let others = std::fs::read_dir(place.path("others")).expect("bundles").flatten();
        let mut names = others.map(|entry| entry.file_name().display().to_string());
        let other = format!("others/{}", names.find(|name| name.ends_with(".tgz")).expect("a bundle"));
        let conf = "cluster_conf = 'cluster.conf'\n";
        place.write("o.toml", format!("{conf}release.version = '2.6.3'\n[[stores]]\npath = 'bundles'\n"));
        place.write("wrong.toml", format!("{conf}\n[postgres]\nconnection = \"host=/nowhere\"\n"));
        place.write("role.toml", format!("{conf}postgres.connection = 'user=nobody-here'\n"));
        place.write("syntax.toml", format!("{conf}[postgres]\nconnection = 'hosst=x'\n"));
        let machines =
            "machines: { m: { hosts: [127.0.0.7, 127.0.0.8], suitable_tags: [router] } }\ncomponents: { router: 1 }\n";
        place.write("hosts.conf", format!("{machines}chef: {{ continuum: {{ cluster_name: example }} }}\n"));
        place.write("types.toml", format!("{conf}[backup]\nlevel = 'best'\n"));
        place.write("o.sql", server.dump("orchestrator", &[]));
        std::fs::copy(place.path("o.sql"), place.path("o`s.sql")).expect("a copy");
        place.write("picture.png", b"\x89PNG\r\n\x1a\n\0\0");
        let bytes = std::fs::read(place.path(&bundle)).expect("the bundle");
        place.write("cut.tgz", &bytes[..bytes.len() / 2]);
        let user = Command::new("id").arg("-un").output().expect("it runs").stdout;
        let user = String::from_utf8_lossy(&user).trim().to_owned();
        Self { bundle, other, place, server, user }
    }

    /// Runs what was typed; words `PG…=…` before it are variables, empty ones are taken away.
    fn run(&self, typed: &str) -> Output {
        let typed = typed.replace("{other}", &self.other).replace("{b}", &self.bundle);
        let is_variable = |word: &&str| word.starts_with("PG") && word.contains('=');
        let (variables, words): (Vec<&str>, Vec<&str>) = typed.split_whitespace().partition(is_variable);
        let mut run = self.place.cli(&words);
        run.envs(self.server.variables()).stdin(Stdio::null());
        for (name, value) in variables.iter().filter_map(|variable| variable.split_once('=')) {
            if value.is_empty() {
                run.env_remove(name)
            } else {
                run.env(name, value)
            };
        }
        run.output().expect("it runs")
    }

    /// A text with what differs between runs left out.
    fn plain(&self, text: &str) -> String {
        let name = self.bundle.trim_start_matches("bundles/").trim_end_matches(".tgz");
        let others = self.other.trim_start_matches("others/").trim_end_matches(".tgz");
        text.replace(&self.other, "{other}")
            .replace(&self.bundle, "{b}")
            .replace(name, "{name}")
            .replace(others, "{name}")
            .replace(&format!(" as {},", self.user), " as {user},")
            .replace(&self.server.host().display().to_string(), "{socket}")
            .replace(self.place.path("").display().to_string().trim_end_matches('/'), "{here}")
    }
}

/// The first line of the message, and the hint.
fn said(output: &Output) -> (String, Option<String>) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let is_message = |line: &&str| line.to_lowercase().starts_with("error: ");
    let first = text.lines().find(is_message).or_else(|| text.lines().find(|line| line.starts_with("error ")));
    let hint = text.lines().skip_while(|line| Some(*line) != first).find_map(|line| line.trim().strip_prefix("hint: "));
    (first.or(text.lines().next()).unwrap_or_default().to_owned(), hint.map(Into::into))
}

/// The commands of this program that stand between backticks, or alone in a hint, whoever is to run them.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let alone = text.lines().filter_map(|line| line.trim().strip_prefix("hint: ")).filter(|hint| !hint.contains('`'));
    let alone = alone.filter(|hint| hint.starts_with("orchestrator-cli "));
    quoted.chain(alone).filter_map(|text| text.find("orchestrator-cli ").map(|at| &text[at..]))
}

#[test]
fn every_slip_gets_its_sentence_and_every_printed_command_can_be_typed() {
    let stage = Stage::new();
    let (mut wrong, mut printed) = (Vec::new(), BTreeSet::new());
    let usual = Path::new(DEFAULT_PATH).exists();
    // A machine that has settings of its own does not miss them.
    let slips = SLIPS.iter().chain(NAMED);
    for (typed, code, first, hint) in slips.filter(|slip| !usual || !slip.2.contains(DEFAULT_PATH)) {
        let output = stage.run(typed);
        let found = said(&output);
        let found = (output.status.code(), stage.plain(&found.0), found.1.map(|hint| stage.plain(&hint)));
        if found != (Some(*code), (*first).into(), hint.map(Into::into)) {
            wrong.push(format!("    ({typed:?}, {}, {:?}, {:?}),", found.0.unwrap_or(-1), found.1, found.2));
        }
        printed.extend(commands(&describe(&output)).map(str::to_owned));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    for typed in ["status -c o.toml", "schedule show -c o.toml", "backup -c o.toml --dry-run", "restore {b} --dry-run"]
    {
        printed.extend(commands(&describe(&stage.run(typed))).map(str::to_owned));
    }
    assert!(SLIPS.len() >= 40 && printed.len() >= 10, "{} {printed:?}", SLIPS.len());
    assert_eq!(stage.server.sql("orchestrator", "SELECT what FROM precious"), "still here");
    // Elsewhere, where nothing is that they could change.
    let elsewhere = Workplace::default();
    for command in &printed {
        let mut words: Vec<&str> = command.split(' ').skip(1).collect();
        // What would act by the machine's own settings is not acted out.
        if ["deploy", "ownership", "prune", "schedule"].contains(&words[0]) {
            words.push("--help");
        }
        let output = elsewhere.cli(&words).env("PGHOST", "/nowhere").stdin(Stdio::null()).output().expect("it runs");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("Usage:"), "{command}: {}", describe(&output));
    }
}

/// Runs the command of this program that stands after a text in what was printed.
fn follow(stage: &Stage, output: &Output, beginning: &str) -> Output {
    let text = describe(output);
    let command = commands(&text).find(|command| command.starts_with(beginning));
    let command = command.unwrap_or_else(|| panic!("{beginning}: {text}"));
    stage.run(command.trim_start_matches("orchestrator-cli "))
}

#[test]
fn each_step_says_what_to_type_next() {
    let stage = Stage::new();
    let dry = stage.run("restore --file {b} --dry-run -c o.toml");
    let next = stage.plain(&last_line(&dry));
    let expected = "nothing was changed; `orchestrator-cli restore --file {b} -c o.toml --yes` restores it";
    assert_eq!(next, expected, "{}", describe(&dry));
    let restored = follow(&stage, &dry, "orchestrator-cli restore --file");
    assert!(last_line(&restored).starts_with("restored in "), "{}", describe(&restored));
    for beginning in ["orchestrator-cli deploy --dry -c o.toml", "orchestrator-cli restore cleanup -c o.toml --yes"] {
        assert!(commands(&describe(&restored)).any(|command| command == beginning), "{}", describe(&restored));
    }
    let back = follow(&stage, &restored, "orchestrator-cli restore --rollback");
    assert!(last_line(&back).starts_with("rolled back: "), "{}", describe(&back));
    assert_eq!(stage.server.sql("orchestrator", "SELECT what FROM precious"), "still here");
    let dry = stage.run("backup -c o.toml --dry-run");
    assert!(
        last_line(&dry).ends_with("nothing was written; `orchestrator-cli backup -c o.toml` does it"),
        "{}",
        describe(&dry)
    );
}

#[test]
fn several_errors_are_counted_and_the_last_line_says_what_state_things_are_in() {
    let stage = Stage::new();
    let cases = [
        ("restore --file {b} --yes -q -c wrong.toml --accept-cluster x", 1, "failed, 2 errors: nothing was changed"),
        ("backup -q -c wrong.toml --to file/x", 2, "refused, 3 errors: no bundle was written"),
    ];
    stage.place.write("file", "");
    for (typed, code, last) in cases {
        let output = stage.run(typed);
        assert_eq!((output.status.code(), &*last_line(&output)), (Some(code), last), "{}", describe(&output));
    }
}

#[test]
fn a_disk_that_can_not_take_a_bundle_is_told_from_one_that_is_full() {
    let stage = Stage::new();
    let much = "CREATE TABLE much AS SELECT md5(random()::text) FROM generate_series(1, 200000)";
    stage.server.sql("orchestrator", much);
    std::fs::create_dir(stage.place.path("disk")).expect("a directory");
    for (options, code, words) in [
        (
            "size=1m",
            1,
            &["the disk is full after ", "the databases take ", "disk has ", "failed: no bundle was written"][..],
        ),
        (
            "ro",
            1,
            &[
                "is on a file system that is mounted read-only",
                "mount it so that it can be written",
                "failed: no bundle was written",
            ],
        ),
    ] {
        let mut command = fixtures::as_root("unshare");
        let script = "mount -t tmpfs -o \"$0\" small disk && exec env \"$@\"";
        let backup = stage.place.cli(&["backup", "-q", "-c", "cluster.conf", "--release", "1", "--to", "disk"]);
        command.args(["--mount", "sh", "-c", script, options]).current_dir(stage.place.path(""));
        let state = stage.place.path("state-of-root").display().to_string();
        let variables = stage.server.variables().into_iter().chain([("STATE_DIRECTORY", state)]);
        command.args(variables.map(|(name, value)| format!("{name}={value}")));
        let output = command.arg(backup.get_program()).args(backup.get_args()).output().expect("it runs");
        let text = describe(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        words.iter().for_each(|word| assert!(text.contains(word), "{word}: {text}"));
    }
}

#[test]
fn who_interrupts_a_backup_is_told_that_no_bundle_was_written() {
    let stage = Stage::new();
    let mut psql = stage.server.command("psql");
    psql.args(["-X", "-d", "orchestrator", "-c", "BEGIN; LOCK TABLE precious; SELECT pg_sleep(600)"]);
    let mut holder = psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("psql runs");
    stage.server.wait_until("SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    let mut backup = stage.place.cli(&["backup", "-c", "cluster.conf", "--release", "1", "--to", "there", "-q"]);
    let child = backup.envs(stage.server.variables()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("it runs");
    stage.server.wait_until("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted");
    kill_process(Pid::from_raw(child.id() as i32).expect("a process"), Signal::INT).expect("a signal");
    let output = child.wait_with_output().expect("it ends");
    holder.kill().expect("killed");
    holder.wait().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{}", describe(&output));
    assert_eq!(last_line(&output), "interrupted: no bundle was written");
}
