//! What the SQL of a bundle starts in a drill reaches nothing but the drill: a harmless marker for each way out, none of which appears.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use fixtures::{Installation, Postgres, as_root};
use serde_json::Value;
use system_tests::{Workplace, another_second, describe, names, reachable};
use tempfile::TempDir;

const SECRET: &str = "hunter2-of-the-drill";

/// A way out: what it is, and a program that leaves a marker.
const WAYS: [(&str, &str); 7] = [
    ("a file elsewhere", "touch @open/elsewhere"),
    ("the state directory", "touch @state/marker"),
    ("the store", "touch @bundles/marker"),
    ("the live server by its socket", "@psql -h @live -c 'CREATE TABLE by_socket ()'"),
    ("the live server by the network", "@psql -h 127.0.0.1 -p @port -c 'CREATE TABLE by_network ()'"),
    ("a live socket in the place of the drill's", "rm -f ../../s/.s.PGSQL.5432 && ln -s @live/.s.PGSQL.5432 ../../s/"),
    ("a process that stays", "setsid sleep @long >/dev/null 2>&1 &"),
];

/// A live server with a bundle of its database `one`, whose check tries every way out where it is restored.
struct World {
    live: Postgres,
    place: Workplace,
    /// Everybody may write there.
    open: TempDir,
    inside: TempDir,
    /// Seconds that nothing else sleeps.
    long: String,
}

impl World {
    /// `body` is what the check's function does before it says yes.
    fn new(body: &str) -> Self {
        Self::with(body, "")
    }

    /// The same where the live server has more settings.
    fn with(body: &str, settings: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let settings = format!("listen_addresses = '127.0.0.1'\nport = {port}\n{settings}");
        let live = Postgres::start_version_on(&Installation::usual(), &settings, port);
        let long = format!("600.{}{port}", std::process::id());
        let world = Self { live, place: Workplace::default(), open: reachable(), inside: reachable(), long };
        world.live.sql("postgres", "CREATE DATABASE one");
        world.live.sql(
            "one",
            "CREATE FUNCTION look(program text) RETURNS text LANGUAGE plpgsql AS $f$ BEGIN
                 EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', format('cat >/dev/null; (%s) >found 2>/dev/null; true', program));
                 RETURN pg_read_file('found'); END $f$;
             CREATE FUNCTION try() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
             CREATE TABLE tried (i int CHECK (try())); INSERT INTO tried VALUES (1);",
        );
        let body = world.told(body);
        let function = format!(
            "CREATE OR REPLACE FUNCTION try() RETURNS boolean LANGUAGE plpgsql AS $f$ DECLARE program text; BEGIN {body} RETURN true; END $f$"
        );
        world.live.sql("one", &function);
        world.place.make_bundle(&world.live);
        // Root believes no state in a directory that others can write to.
        fs::create_dir_all(world.place.path("state/open")).expect("a directory");
        for open in [world.open.path().to_owned(), world.place.path("state/open"), world.place.path("bundles")] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o777)).expect("a mode");
        }
        fs::set_permissions(world.place.path("state"), fs::Permissions::from_mode(0o755)).expect("a mode");
        fs::set_permissions(world.place.path(""), fs::Permissions::from_mode(0o755)).expect("a mode");
        world
    }

    /// With the names of this world.
    fn told(&self, text: &str) -> String {
        let psql = self.live.client_bin().join("psql");
        let psql = format!("PGCONNECT_TIMEOUT=5 {} -X -U postgres -d postgres", psql.display());
        let port = self.live.sql("postgres", "SHOW port");
        let path = |path: &Path| path.display().to_string();
        let (open, live) = (path(self.open.path()), path(self.live.host()));
        let (state, bundles) = (path(&self.place.path("state/open")), path(&self.place.path("bundles")));
        let known = [
            ("@open", &open),
            ("@state", &state),
            ("@bundles", &bundles),
            ("@psql", &psql),
            ("@live", &live),
            ("@port", &port),
            ("@long", &self.long),
        ];
        known.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// The drill, whose settings say more.
    fn drill(&self, more: &str) -> Command {
        self.place.write("drill.toml", format!("cluster_conf = 'cluster.conf'\n{more}"));
        let mut drill = self.place.cli(&["drill", "--json", "--quiet", "--config", "drill.toml", "--in"]);
        drill.arg(self.inside.path()).arg(self.place.bundles().pop().expect("a bundle"));
        drill.env("PATH", self.live.path()).env("AWS_SECRET_ACCESS_KEY", SECRET).env("PGPASSWORD", SECRET);
        drill
    }

    /// What is there of the ways out.
    fn reached(&self) -> Vec<String> {
        let tables = "SELECT string_agg(relname, ' ') FROM pg_class WHERE relname LIKE 'by\\_%'";
        let tables = self.live.sql("postgres", tables);
        let files = names(self.open.path()).into_iter();
        let markers = ["state/open/marker", "bundles/marker"].map(|path| self.place.path(path)).into_iter();
        let markers = markers.filter(|path| path.exists()).map(|path| path.display().to_string());
        let stays = Command::new("pgrep").args(["-f", &format!("^sleep {}$", self.long)]).output().expect("pgrep");
        let stays = String::from_utf8_lossy(&stays.stdout).trim().to_owned();
        files.chain(markers).chain([tables, stays]).filter(|text| !text.is_empty()).collect()
    }
}

fn result(output: &Output) -> Value {
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", describe(output)));
    document["result"].clone()
}

/// Each way out, and none holds the others up.
fn all_ways() -> String {
    let tried = |(_, program): &(&str, &str)| {
        let program = program.replace('\'', "''");
        format!(
            "BEGIN EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', '{program}'); EXCEPTION WHEN OTHERS THEN NULL; END;"
        )
    };
    WAYS.iter().map(tried).collect()
}

/// Runs it as root, by way of another program.
fn run(drill: &Command, by: &[&str]) -> Output {
    let mut root = as_root(by[0]);
    let variables = drill.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)));
    root.args(&by[1..]).arg("env").args(variables.map(|(name, value)| format!("{name}={value}")));
    root.arg(drill.get_program()).args(drill.get_args()).current_dir(drill.get_current_dir().expect("a directory"));
    root.output().expect("it runs")
}

fn assertion(sql: &str) -> String {
    format!("[[drill.assert]]\ndatabase = 'one'\nsql = '''{sql}'''\n")
}

#[test]
fn no_way_leads_out_of_a_drill_whoever_runs_it() {
    let world = World::new(&all_ways());
    let asked = [
        format!(
            "SELECT found LIKE '%PATH=%' AND found NOT LIKE '%{SECRET}%' FROM \
             look($$env; cat /proc/*/environ | tr '\\0' '\\n'$$) AS found"
        ),
        "SELECT found ~ 'NoNewPrivs:\\t1' AND found ~ 'CapEff:\\t0+\\n' AND found ~ 'CapBnd:\\t0+\\n' FROM \
         look('cat /proc/self/status') AS found"
            .into(),
    ];
    let asked: String = asked.iter().map(|sql| assertion(sql)).collect();
    let postgres = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"];
    for (user, by) in [("root", &["nice"][..]), ("postgres", &postgres)] {
        let drill = world.drill(&asked);
        for place in [world.place.path(""), world.inside.path().to_owned()] {
            assert!(as_root("chown").args(["-R", user]).arg(place).status().expect("chown runs").success());
        }
        let output = run(&drill, by);
        assert_eq!(world.reached(), Vec::<String>::new(), "{user}: {}", describe(&output));
        let drilled = result(&output);
        assert_eq!((output.status.code(), &drilled["passed"]), (Some(0), &true.into()), "{user}: {drilled}");
        assert_eq!(drilled["not_walled_off"], Value::Null, "{user}: {drilled}");
        assert_eq!(names(world.inside.path()), Vec::<String>::new(), "{user}");
    }
}

#[test]
fn a_drill_ends_in_time_and_takes_no_more_than_its_share() {
    let world = World::new("NULL;");
    world.live.sql(
        "one",
        "CREATE FUNCTION much() RETURNS text LANGUAGE plpgsql AS $f$ BEGIN
             PERFORM length(repeat('x', 300000000) || repeat('y', 300000000)); RETURN 'all';
             EXCEPTION WHEN out_of_memory THEN RETURN 'none'; END $f$",
    );
    another_second();
    world.place.make_bundle(&world.live);
    let many = "look('for i in $(seq 400); do sleep 60 >/dev/null 2>&1 & done; echo all')";
    let asked: String =
        [many, "much()"].iter().map(|call| assertion(&format!("SELECT {call} NOT LIKE '%all%' AS less"))).collect();
    let output = run(&world.drill(&format!("[drill]\nmemory = 256\n{asked}")), &["nice"]);
    assert_eq!(output.status.code(), Some(0), "{}", describe(&output));

    let sleep = "CREATE OR REPLACE FUNCTION try() RETURNS boolean LANGUAGE plpgsql AS \
        'BEGIN PERFORM pg_sleep(3600); RETURN true; END'";
    world.live.sql("one", sleep);
    another_second();
    world.place.make_bundle(&world.live);
    let output = run(&world.drill("[drill]\nlimit = '5s'\n"), &["nice"]);
    let drilled = result(&output);
    assert_eq!(output.status.code(), Some(1), "{drilled}");
    let problem = &drilled["problems"][0];
    assert_eq!(problem["code"], "drill-too-long", "{drilled}");
    assert!(problem["message"].as_str().is_some_and(|message| message.ends_with("longer than 5s")), "{drilled}");
    assert_eq!(names(world.inside.path()), Vec::<String>::new());
}

#[test]
fn where_the_kernel_gives_no_namespaces_a_drill_works_and_says_what_is_open() {
    let world = World::new("NULL;");
    let output = run(&world.drill(""), &["sh", "-c", "umask 077; exec setpriv --bounding-set=-sys_admin \"$@\"", "sh"]);
    let drilled = result(&output);
    assert_eq!((output.status.code(), &drilled["passed"]), (Some(0), &true.into()), "{drilled}");
    let open = &drilled["not_walled_off"][0];
    assert_eq!(open["code"], "not-walled-off", "{drilled}");
    for word in ["unshare", "network", "nobody"] {
        assert!(open["message"].as_str().is_some_and(|message| message.contains(word)), "{word}: {open}");
    }
    let record = format!("{}.drill.json", world.place.bundles().pop().expect("a bundle").display());
    assert!(fs::read_to_string(record).expect("a record").contains("not-walled-off"));
    assert_eq!(names(world.inside.path()), Vec::<String>::new());
}

#[test]
fn what_a_bundle_names_opens_no_wall() {
    let directory = Postgres::start().sql("postgres", "SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'");
    let library = Path::new(&directory).join("auto_explain.so");
    let directory = reachable();
    let copy = directory.path().join("auth_delay.so");
    fs::copy(library.with_file_name("auth_delay.so"), &copy).expect("a copy");
    // One below /usr that is named by a link to it, and one that is named twice.
    let linked = Path::new("/lib").join(library.strip_prefix("/usr/lib").expect("where Debian has it"));
    let named = [&linked, &copy, &copy].map(|path| format!("\"{}\"", path.display())).join(", ");
    let world = World::with("NULL;", &format!("shared_preload_libraries = '{named}'"));
    let output = run(&world.drill(""), &["nice"]);
    let drilled = result(&output);
    assert_eq!((output.status.code(), &drilled["passed"]), (Some(0), &true.into()), "{drilled}");
    assert_eq!(drilled["not_walled_off"], Value::Null, "{drilled}");
}
