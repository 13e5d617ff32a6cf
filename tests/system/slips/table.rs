//! What was typed, and what is said to it.

/// What was typed, the exit code, the first line of the message, and the hint; none where there is none.
pub type Slip = (&'static str, i32, &'static str, Option<&'static str>);

/// `{b}` is a bundle of this machine's cluster, `{other}` one of another; `{name}` is a bundle's name.
pub const SLIPS: &[Slip] = &[
    (
        "restore",
        2,
        "error: restore: no bundle is named",
        Some(
            "name one with --file, or take the newest with --latest; `orchestrator-cli list` shows those that there are",
        ),
    ),
    (
        "restore --resume",
        10,
        "error: {here}/state/restores holds the journal of no restore",
        Some("journals belong to the user who ran the restore, and go with `orchestrator-cli restore cleanup --yes`"),
    ),
    (
        "restore --rollback",
        10,
        "error: {here}/state/restores holds the journal of no restore",
        Some("journals belong to the user who ran the restore, and go with `orchestrator-cli restore cleanup --yes`"),
    ),
    ("restore resume", 2, "error: invalid value 'resume' for '[BUNDLE]': did you mean --resume?", None),
    ("restore {b} --file {b}", 2, "error: the argument '[BUNDLE]' cannot be used with '--file <BUNDLE>'", None),
    (
        "restore --file missing.tgz",
        10,
        "error: open missing.tgz",
        Some("`orchestrator-cli list` shows the bundles that there are"),
    ),
    (
        "restore --file {b} --database orchestrater --yes",
        10,
        "error: database orchestrater: there is no such database in it",
        Some("it has orchestrator"),
    ),
    (
        "restore --file {b} --database orchestrator=",
        2,
        "error: invalid value 'orchestrator=' for '--database <NAME[=NEWNAME]>': a name is empty",
        None,
    ),
    (
        "restore --file {b} --allow-unreachable 10.0.0.1 10.0.0.2",
        2,
        "error: the argument '--file <BUNDLE>' cannot be used with '[BUNDLE]'",
        Some("several hosts have commas between them: --allow-unreachable 10.0.0.1,10.0.0.2"),
    ),
    (
        "restore --allow-unreachable 10.0.0.1 10.0.0.2",
        2,
        "error: restore: 10.0.0.2 is no bundle",
        Some("several hosts have commas between them: 10.0.0.1,10.0.0.2; name the bundle with --file"),
    ),
    (
        "restore {b} --allow-unreachable 10.0.0.1 10.0.0.2",
        2,
        "error: the subcommand '10.0.0.2' cannot be used with:",
        Some("several hosts have commas between them: --allow-unreachable 10.0.0.1,10.0.0.2"),
    ),
    (
        "deploy -c hosts.conf --allow-unreachable 10.0.0.1 10.0.0.2",
        2,
        "error: unexpected argument '10.0.0.2' found",
        Some("several hosts have commas between them: --allow-unreachable 10.0.0.1,10.0.0.2"),
    ),
    (
        "restore --file {b} --allow-unreachable 10.0.0.1 --yes",
        13,
        "error: 10.0.0.1: a flag names this host, but the cluster does not have it",
        Some("name hosts as cluster.conf does"),
    ),
    (
        "restore --file {b}",
        13,
        "error: nobody can be asked here",
        Some("`orchestrator-cli restore --file {b} --yes` goes on without a question"),
    ),
    (
        "restore --file {other} --dry-run -c o.toml",
        13,
        "error   {name}: it is of cluster prod-eu, and this machine is of cluster example, says {here}/cluster.conf",
        Some(
            "see that it is the right bundle; `orchestrator-cli restore --file {other} --dry-run -c o.toml --accept-cluster prod-eu` goes on all the same",
        ),
    ),
    (
        "restore --file {b} --accept-cluster prod-eu --yes",
        13,
        "error: {name}: --accept-cluster prod-eu: it is of cluster example",
        Some("see that it is the right bundle"),
    ),
    (
        "restore --file {b} --yes -c wrong.toml",
        1,
        "error: connect to PostgreSQL at /nowhere/.s.PGSQL.5432 as postgres, database postgres",
        Some(
            "check that the server runs and listens there (`pg_lsclusters`, `pg_isready`), and PGHOST and PGPORT; the connection is that of [postgres] connection in wrong.toml, line 4",
        ),
    ),
    (
        "PGUSER= restore --file {b} --yes",
        1,
        "error: connect to PostgreSQL at {socket}/.s.PGSQL.5432 as {user}, database postgres",
        Some(
            "the role's name comes from the operating system, for nothing else says one; name another one with PGUSER; on the server itself `sudo -u postgres orchestrator-cli restore --file {b} --yes` runs this as its superuser",
        ),
    ),
    (
        "restore --file {b} --dry-run -c role.toml",
        1,
        "error   {socket}:5432: connect to PostgreSQL at {socket}/.s.PGSQL.5432 as nobody-here, database postgres: FATAL: role \"nobody-here\" does not exist",
        Some(
            "the role's name comes from [postgres] connection in role.toml, line 2; name another one there; on the server itself `sudo -u postgres orchestrator-cli restore --file {b} --dry-run -c role.toml` runs this as its superuser",
        ),
    ),
    (
        "backup -c syntax.toml --release 1 --to x",
        2,
        "error: read [postgres] connection in syntax.toml, line 3",
        Some("did you mean host?; correct it there"),
    ),
    (
        "PGUSER=ops backup -c cluster.conf --release 1 --to x",
        13,
        "error: orchestrator: public.precious: the connection's user may not read it",
        Some("run as a superuser, or GRANT pg_read_all_data to the user"),
    ),
    (
        "extract cluster.conf {b} --to out",
        2,
        "error: extract: {b} is a bundle, and cluster.conf is taken for one",
        Some("the bundle comes first: `orchestrator-cli extract {b} cluster.conf --to out`"),
    ),
    (
        "extract {b} cluster.con --to out",
        10,
        "error: extract {b}",
        Some("`orchestrator-cli show --entries {b}` lists them"),
    ),
    ("extract {b}", 2, "error: the following required arguments were not provided:", None),
    (
        "backup -c cluster.conf",
        2,
        "error: find the release that runs here: nothing says which it is",
        Some("name it with --release, or set release.version, release.file or release.command in the settings"),
    ),
    (
        "backup --release 2.6.3",
        10,
        "error: read the settings /etc/orchestrator/orchestrator.toml",
        Some("`orchestrator-cli config init --yes` writes settings there; or name others with --config"),
    ),
    (
        "backup -c cluster.conf --release 1 --to /proc/x",
        1,
        "error: write to /proc/x",
        Some("give the user that runs the backup write permission there, or name another place with --to"),
    ),
    (
        "backup -c cluster.conf --release 1 --to {b}",
        2,
        "error: read an address: {b} is called as a file is, and a store is a directory",
        Some(
            "name the directory: each bundle in it is named by its time; the commands show and verify take a single bundle",
        ),
    ),
    (
        "list {b}",
        2,
        "error: read an address: {b} is called as a file is, and a store is a directory",
        Some(
            "name the directory: each bundle in it is named by its time; the commands show and verify take a single bundle",
        ),
    ),
    ("verify", 2, "error: the following required arguments were not provided:", None),
    ("shwo {b}", 2, "error: unrecognized subcommand 'shwo'", None),
    (
        "deploy",
        10,
        "error: read the settings /etc/orchestrator/orchestrator.toml",
        Some("`orchestrator-cli config init --yes` writes settings there; or name others with --config"),
    ),
    ("deploy -c o.toml", 13, "error: failed to generate the dependency graph", None),
    (
        "nodes -c hosts.conf routr",
        10,
        "error: no machine matches \"routr\"",
        Some(
            "`orchestrator-cli nodes -c hosts.conf` lists them: a query is a name, an address or a part of them, a zone or a tag",
        ),
    ),
    ("ssh -c cluster.conf", 10, "error: the cluster.conf names no machines", None),
    (
        "ownership claim -c o.toml",
        13,
        "error: nobody can be asked here",
        Some("`orchestrator-cli ownership claim -c o.toml --yes` goes on without a question"),
    ),
    ("ownership release -c o.toml", 13, "error: release cluster example: this machine does not own it", None),
    (
        "prune -c cluster.conf",
        2,
        "error: prune: nothing says what is kept",
        Some("say it in [retention] of the settings, such as daily = 7"),
    ),
    ("schedule run backups", 2, "error: invalid value 'backups' for '[JOB]'", None),
    (
        "drill missing.tgz",
        10,
        "error: open missing.tgz",
        Some("`orchestrator-cli list` shows the bundles that there are"),
    ),
    (
        "diff {b}",
        10,
        "error: read the settings /etc/orchestrator/orchestrator.toml",
        Some("`orchestrator-cli config init --yes` writes settings there; or name others with --config"),
    ),
    (
        "restore --sql orchestrator.sql",
        2,
        "error: restore: --sql needs --cluster-conf",
        Some("name the cluster.conf that was copied together with the script"),
    ),
    (
        "key generate o.toml",
        13,
        "error: o.toml exists already",
        Some("an identity is never overwritten: bundles may need it; name another file"),
    ),
    (
        "restore --file {b} --ssh-port 0",
        2,
        "error: invalid value '0' for '--ssh-port <PORT>': 0 is not in 1..=65535",
        None,
    ),
    (
        "databases backup -c cluster.conf",
        10,
        "error: back up databases: cluster.conf gives no machine a component that keeps any",
        Some("such tags are auditlog-database, component-database and monitoring, and those of [databases.components]"),
    ),
    ("restore --fil {b}", 2, "error: unexpected argument '--fil' found", None),
    ("restore {b} --databse orchestrator", 2, "error: unexpected argument '--databse' found", None),
    ("restore --file {b} --only database", 2, "error: invalid value 'database' for '--only <COMPONENT>'", None),
    ("restore --rollback {b} --resume", 2, "error: the argument '--rollback' cannot be used with '--resume'", None),
    (
        "backup -c cluster.conf --release 1 --level 13 --to x",
        2,
        "error: compression level 13 does not exist",
        Some("1 is fastest, 12 smallest, 3 the default"),
    ),
    (
        "backup -c cluster.conf --release",
        2,
        "error: a value is required for '--release <VERSION>' but none was supplied",
        None,
    ),
    (
        "list s3//bucket",
        2,
        "error: read an address: this looks like another machine's, and would be a directory of this one",
        Some("write s3://bucket/prefix or sftp://user@host/path; or ./ before it, if a directory is meant"),
    ),
    (
        "check -c wrong.toml --release 1 --to x",
        13,
        "error   /nowhere:5432: connect to PostgreSQL at /nowhere/.s.PGSQL.5432 as postgres, database postgres: error connecting to server: No such file or directory (os error 2)",
        Some(
            "check that the server runs and listens there (`pg_lsclusters`, `pg_isready`), and PGHOST and PGPORT; the connection is that of [postgres] connection in wrong.toml, line 4",
        ),
    ),
    ("deploy --dry --yes -c hosts.conf", 2, "error: the argument '--dry' cannot be used with '--yes'", None),
];
