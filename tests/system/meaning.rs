//! What comes back means what it meant: the same answers under the database's own settings, restored by us, by hand and in
//! a drill.

mod cases;
mod everything;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cases::{CASES, MAKING, answer, make, sql};
use fixtures::{Installation, Postgres, forget_libpq, installations};
use system_tests::{Workplace, assert_same, describe, locales, open, reachable, state};

fn server(locales: &Path, settings: &str) -> Postgres {
    server_of(&Installation::usual(), locales, settings)
}

fn server_of(installation: &Installation, locales: &Path, settings: &str) -> Postgres {
    Postgres::start_version_with(installation, settings, &[("LOCPATH", locales)])
}

/// Restores a bundle with `tar` and `psql` alone, as its README.txt says.
fn restore_by_hand(place: &Workplace, server: &Postgres, bundle: &Path, databases: &[&str]) {
    let tar = Command::new("tar").arg("xzf").arg(bundle).arg("-C").arg(place.path("")).output().expect("tar runs");
    assert!(tar.status.success(), "{tar:?}");
    let name = bundle.file_stem().expect("a name").to_string_lossy().into_owned();
    for script in ["globals"].iter().chain(databases) {
        let mut psql = server.command("psql");
        psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f"]);
        let run = psql.arg(place.path(&format!("{name}/databases/{script}.sql"))).output().expect("psql runs");
        assert!(run.status.success(), "{script}: {run:?}");
    }
}

/// A source of some version, what it answers, and what became of its databases.
struct Tried {
    source: Postgres,
    place: Workplace,
    bundle: PathBuf,
    expected: Vec<String>,
    everything: String,
    target: Postgres,
    reference: Postgres,
}

/// Settings of a server that has all of it otherwise, and that nobody may write to unless he says so.
const OTHER: &str = "default_transaction_read_only = on\nlc_monetary = 'es_CL'\narray_nulls = off\n\
    timezone = 'America/Lima'\ndatestyle = 'German'\nintervalstyle = 'iso_8601'\nbytea_output = 'escape'\n\
    transform_null_equals = on\n";

impl Tried {
    fn new(installation: &Installation, locales: &Path) -> Self {
        let source = server_of(installation, locales, "");
        source.sql("postgres", "CREATE ROLE reader");
        CASES.iter().for_each(|case| make(&source, case));
        // Its sessions have the configuration from now on.
        sql(&source, "words", &[], "REFRESH MATERIALIZED VIEW found");
        everything::make(&source);
        let place = Workplace::default();
        let bundle = place.make_bundle(&source);
        let expected = CASES.iter().map(|case| answer(&source, case)).collect();
        let everything = everything::answer(&source);
        let [target, reference] = [(); 2].map(|()| server_of(installation, locales, OTHER));
        Self { source, place, bundle, expected, everything, target, reference }
    }

    /// A drill asks what views hold, in a server that says nothing of all this.
    fn drill(&self, locales: &Path) {
        let (inside, mut settings) = (reachable(), String::from("cluster_conf = 'cluster.conf'\n"));
        let views = [("prices", "shown"), ("shop", "daily"), ("texts", "seen"), ("words", "found")];
        for (database, view) in views.into_iter().chain(everything::FILLED.map(|view| ("everything", view))) {
            let digest = format!("SELECT md5(string_agg(v::text, '|' ORDER BY v::text COLLATE \"C\")) FROM {view} v");
            // How a value of the view itself is written is the session's.
            let fixed: &[&str] = if database == "everything" { &[] } else { &["datestyle=ISO,MDY", "timezone=UTC"] };
            let expected = sql(&self.source, database, fixed, &digest);
            settings.push_str(&format!(
                "[[drill.assert]]\ndatabase = '{database}'\nsql = \"\"\"SELECT ({digest}) = '{expected}'\"\"\"\n"
            ));
        }
        self.place.write("drill.toml", settings);
        let mut drill = self.place.cli(&["drill", "--config", "drill.toml", "--in"]);
        drill.arg(inside.path()).arg(&self.bundle).env("PATH", self.source.path()).env("LOCPATH", locales);
        let drill = drill.output().expect("it runs");
        assert_eq!(drill.status.code(), Some(0), "{}", describe(&drill));
    }

    /// Restores the bundle into `target`; it must answer as the source did.
    fn restore_into(&self, target: &Postgres) {
        // The user's own settings come before the databases', too.
        for setting in ["timezone = 'Asia/Kolkata'", "lc_monetary = 'es_CO'"] {
            sql(target, "postgres", MAKING, &format!("ALTER ROLE postgres SET {setting}"));
        }
        let output = self.place.restore_all(target, &self.bundle, &[]);
        assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
        sql(target, "postgres", MAKING, "ALTER ROLE postgres RESET ALL");
        self.assert_answers("restored", target);
    }

    fn assert_answers(&self, how: &str, server: &Postgres) {
        let versions = format!("{how} from {} into {}", self.source.major(), server.major());
        for (case, expected) in CASES.iter().zip(&self.expected) {
            assert_eq!(answer(server, case), *expected, "{}, {versions}", case.name);
        }
        let answer = everything::answer(server);
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let differ: Vec<_> =
            lines(&answer).into_iter().zip(lines(&self.everything)).filter(|(one, other)| one != other).collect();
        assert!(answer == self.everything, "everything, {versions}: {differ:#?}");
    }

    /// Lets `pg_restore --create` make the databases in `reference`, as somebody does who keeps in the way of nothing; it must
    /// have made what is in `target`.
    fn compare_with_pg_restore(&self, target: &Postgres, reference: &Postgres) {
        for role in ["reader", "keeper", "visitor"] {
            let make = format!("DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
            sql(reference, "postgres", MAKING, &make);
        }
        for name in databases() {
            if reference.sql("postgres", &format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")) == "1" {
                let aside = format!("{name}_{}", self.source.major());
                sql(reference, "postgres", MAKING, &format!("ALTER DATABASE {name} RENAME TO {aside}"));
            }
            by_pg_restore(&self.source, reference, name);
            assert_same(reference, target, name);
        }
        // pg_restore's session begins before there is the text search configuration that the database's settings name, and fills
        // these by another one. Ours begins later.
        for (database, view) in [("words", "found"), ("everything", "app.found")] {
            sql(
                reference,
                database,
                &["default_transaction_read_only=off"],
                &format!("REFRESH MATERIALIZED VIEW {view}"),
            );
        }
        self.assert_answers("by pg_restore", reference);
    }
}

fn databases() -> Vec<&'static str> {
    CASES.iter().map(|case| case.name).chain(["everything"]).collect()
}

/// What `pg_dump -Fc | pg_restore --create` makes of a database, where nothing stands in its way.
fn by_pg_restore(source: &Postgres, reference: &Postgres, database: &str) {
    let archive = reference.host().join("reference.dump");
    let mut pg_dump = Command::new(reference.client_bin().join("pg_dump"));
    forget_libpq(&mut pg_dump);
    let dumped = pg_dump
        .envs(source.variables())
        .env("PGDATABASE", database)
        .args(["-Fc", "--encoding=UTF8", "-f"])
        .arg(&archive)
        .output();
    assert!(dumped.as_ref().is_ok_and(|output| output.status.success()), "{dumped:?}");
    let script = reference.command("pg_restore").args(["--create", "-f", "-"]).arg(&archive).output().expect("it runs");
    // One that is newer than its server says more than that knows.
    let script = String::from_utf8(script.stdout).expect("UTF-8");
    let script = if reference.major() < 15 { script.replace(" LOCALE_PROVIDER = libc", "") } else { script };
    let file = reference.host().join("reference.sql");
    fs::write(&file, script).expect("a script");
    let options: String = MAKING.iter().map(|setting| format!(" -c {setting}")).collect();
    let mut psql = reference.command("psql");
    let restored = psql
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f"])
        .arg(file)
        .env("PGOPTIONS", options)
        .output();
    assert!(restored.as_ref().is_ok_and(|output| output.status.success()), "{database}: {restored:?}");
}

/// Tries every way back into the same version.
fn try_version(tried: &Tried, installation: &Installation, locales: &Path) {
    tried.drill(locales);
    tried.restore_into(&tried.target);
    for name in databases() {
        assert_same(&tried.source, &tried.target, name);
    }
    // By hand a bundle needs the version of its pg_dump, as the backup says.
    if installation.client_major == installation.major {
        restore_by_hand(&tried.place, &tried.reference, &tried.bundle, &databases());
        tried.assert_answers("by hand", &tried.reference);
    }
    tried.compare_with_pg_restore(&tried.target, &tried.reference);
}

#[test]
fn answers_are_the_same_however_a_database_comes_back() {
    let (locales, all) = (locales(), installations());
    let locales = locales.path();
    // Servers end with the thread that started them.
    let tried: Vec<Tried> = all.iter().map(|installation| Tried::new(installation, locales)).collect();
    std::thread::scope(|scope| {
        for (tried, installation) in tried.iter().zip(&all) {
            scope.spawn(move || try_version(tried, installation, locales));
        }
    });
    let (oldest, newest) = (&tried[0], &tried[tried.len() - 1]);
    if oldest.source.major() < newest.source.major() {
        oldest.restore_into(&newest.target);
    }
}

/// A server whose own settings say what the database does not.
#[test]
fn what_the_server_says_of_values_is_told_and_the_values_stay() {
    let locales = locales();
    let says = "lc_monetary = 'es_CO'\ntimezone = 'Asia/Tokyo'\ndatestyle = 'SQL, DMY'\narray_nulls = off\n\
        default_transaction_read_only = on\ndefault_transaction_deferrable = on\n";
    let source = server(locales.path(), says);
    sql(&source, "postgres", MAKING, "CREATE DATABASE shop");
    sql(
        &source,
        "shop",
        MAKING,
        "CREATE TABLE orders (at timestamptz, day date, price money, many text[], CHECK (at::date = day));
         INSERT INTO orders SELECT t, t::date, '12,50', '{NULL,a}' FROM generate_series('2024-01-01'::timestamptz, '2024-01-08', '7 h') t;
         CREATE MATERIALIZED VIEW daily AS SELECT at::date::text AS day, sum(price)::text, count(many[2]) FROM orders GROUP BY 1",
    );
    // A locale of the source's that readers of the first format would take for their own.
    let place = Workplace::default();
    let bundle = place.make_bundle(&source);
    assert_eq!(open(&bundle).footer().format, 2);
    // One that has neither the locale nor any of the settings.
    let target = Postgres::start();
    let output = place.restore_all(&target, &bundle, &[]);
    let said = describe(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let asked =
        "SELECT sum(price::numeric), count(*) FILTER (WHERE many[1] IS NULL), count(DISTINCT at::date) FROM orders;
        SELECT day, count FROM daily ORDER BY 1";
    let days = "SELECT day, count FROM daily ORDER BY 1";
    assert_eq!(target.sql("shop", days), source.sql("shop", days));
    let tokyo = &["timezone=Asia/Tokyo", "datestyle=SQL,DMY"];
    assert_eq!(sql(&target, "shop", tokyo, asked), source.sql("shop", asked));
    for word in ["TimeZone = Asia/Tokyo", "lc_monetary = es_CO", "ALTER DATABASE \"shop\" SET TimeZone = 'Asia/Tokyo'"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
    let inside = reachable();
    place.write(
        "drill.toml",
        "cluster_conf = 'cluster.conf'\n[[drill.assert]]\ndatabase = 'shop'\n\
         sql = \"SELECT sum(price::numeric) = 12.5 * count(*) FROM orders\"\n[[drill.assert]]\ndatabase = 'shop'\n\
         sql = \"SELECT count(*) = 8 FROM daily WHERE day ~ '^0./01/2024$'\"\n",
    );
    let mut drill = place.cli(&["drill", "--config", "drill.toml", "--in"]);
    let drill = drill.arg(inside.path()).arg(&bundle).env("PATH", source.path()).output().expect("it runs");
    assert_eq!(drill.status.code(), Some(0), "{}", describe(&drill));
}

#[test]
fn settings_that_the_server_does_not_take_are_left_out_and_said_beforehand() {
    let locales = locales();
    let library = Path::new("/usr/lib/postgresql").join(Installation::usual().major.to_string());
    let copy = locales.path().join("only_here.so");
    fs::copy(library.join("lib/refint.so"), &copy).expect("a library");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("a mode");
    let source = server(locales.path(), &format!("dynamic_library_path = '$libdir:{}'\n", locales.path().display()));
    source.sql("postgres", "CREATE ROLE app");
    source.sql("postgres", "CREATE DATABASE odd");
    source.sql("odd", "CREATE TABLE p AS SELECT 1250::int4::money AS price");
    for setting in [
        "DATABASE odd SET lc_monetary = 'es_CO'",
        "DATABASE odd SET session_preload_libraries = 'only_here'",
        "DATABASE odd SET auto_explain.nothing_of_it = 'x'",
        "DATABASE odd SET auto_explain.password = 'hunter2'",
        "DATABASE odd SET timezone = 'Asia/Tokyo'",
        "ROLE app IN DATABASE odd SET work_mem = '7MB'",
        "ROLE app IN DATABASE odd SET lc_time = 'es_CO'",
    ] {
        source.sql("postgres", &format!("ALTER {setting}"));
    }
    let place = Workplace::default();
    let bundle = place.make_bundle(&source);
    let newest = Installation::usual();
    let target = Postgres::start_version(&newest, "shared_preload_libraries = 'auto_explain'\n");
    let before = state(&target);
    let mut dry = place.restore(&target, &["--release", "2.6.3", "--dry-run", "--file"]);
    let dry = dry.arg(&bundle).output().expect("it runs");
    assert!(state(&target) == before, "a dry run changed something");
    let output = place.restore_all(&target, &bundle, &[]);
    for output in [dry, output] {
        let said = describe(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        for word in [
            "lc_monetary",
            "only_here",
            "auto_explain.nothing_of_it",
            "auto_explain.password",
            "lc_time",
            "ALTER DATABASE \"odd\" SET",
        ] {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    assert!(
        !describe(
            &place
                .restore(&target, &["--release", "2.6.3", "--dry-run", "--file"])
                .arg(&bundle)
                .output()
                .expect("it runs")
        )
        .contains("hunter2")
    );
    assert_eq!(target.sql("odd", "SELECT price::numeric FROM p; SHOW timezone"), "1250.00\nAsia/Tokyo");
    let kept = "SELECT coalesce(rolname, '-'), setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase \
        LEFT JOIN pg_roles r ON r.oid = setrole WHERE datname = 'odd' ORDER BY 1";
    assert_eq!(target.sql("postgres", kept), "-|{TimeZone=Asia/Tokyo}\napp|{work_mem=7MB}");
}

#[test]
fn amounts_in_bundles_of_earlier_versions_are_read_as_they_were_written() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/money");
    let bundle = fs::read_dir(golden).expect("a directory").flatten().next().expect("a bundle").path();
    let (locales, place) = (locales(), Workplace::default());
    let lacking = Postgres::start();
    let output = place.restore_all(&lacking, &bundle, &["--only", "databases"]);
    let said = describe(&output);
    assert_eq!(output.status.code(), Some(13), "{said}");
    assert!(said.contains("error   told: ") && said.contains("locale es_CO"), "{said}");
    assert!(said.contains("warning untold: ") && said.contains("lc_monetary"), "{said}");
    let target = server(locales.path(), "lc_monetary = 'es_CO'\n");
    let output = place.restore_all(&target, &bundle, &["--only", "databases"]);
    assert_eq!(output.status.code(), Some(3), "{}", describe(&output));
    for database in ["told", "untold"] {
        let amounts = "INSERT INTO p DEFAULT VALUES; SELECT price::numeric FROM p";
        assert_eq!(target.sql(database, amounts), "12.50\n999999.75\n12.50", "{database}");
    }
    // Live amounts are written by the locale C, so that nothing can be said of these.
    let mut diff = place.cli(&["diff", "--config", "diff.toml", "--rows"]);
    place.write("diff.toml", "cluster_conf = 'cluster.conf'\n");
    let said = describe(&diff.arg(&bundle).envs(target.variables()).output().expect("it runs"));
    for (database, locale) in [("told", "es_CO"), ("untold", "one that it does not say")] {
        let problem = format!(
            "not compared: rows of database {database}: amounts of money are written by the locale {locale} in the bundle, by C \
             in the other"
        );
        assert!(said.contains(&problem), "{problem}: {said}");
    }
}
