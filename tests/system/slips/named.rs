//! Files that are named by mistake, and flags that only look.

use super::table::Slip;

/// As [`super::table::SLIPS`]; `cut.tgz` is half a bundle, `o.sql` a script of the live database.
pub const NAMED: &[Slip] = &[
    (
        "restore --file others/missing.tgz -c o.toml --dry-run",
        10,
        "error   open others/missing.tgz: No such file or directory (os error 2)",
        Some("`orchestrator-cli list others -c o.toml` shows the bundles that there are"),
    ),
    (
        "verify others/missing.tgz",
        10,
        "error: open others/missing.tgz",
        Some("`orchestrator-cli list others` shows the bundles that there are"),
    ),
    (
        "show missing/missing.tgz",
        10,
        "error: open missing/missing.tgz",
        Some("`orchestrator-cli list` shows the bundles that there are"),
    ),
    (
        "verify cut.tgz -c o.toml",
        12,
        "error   footer: the file does not end in a bundle's footer",
        Some("the file was cut short or added to, is still being copied, or is not a bundle of this tool"),
    ),
    (
        "restore --file o.sql -c o.toml --dry-run",
        12,
        "error   open o.sql: it is a script of pg_dump, and no bundle",
        Some("orchestrator-cli restore -c o.toml --dry-run --sql o.sql --cluster-conf cluster.conf"),
    ),
    (
        "restore --file o`s.sql -c o.toml --dry-run",
        12,
        "error   open o`s.sql: it is a script of pg_dump, and no bundle",
        Some(r"orchestrator-cli restore -c o.toml --dry-run --sql 'o'$'\140''s.sql' --cluster-conf cluster.conf"),
    ),
    (
        "restore o.sql --only databases -c o.toml",
        12,
        "error: open o.sql: it is a script of pg_dump, and no bundle",
        Some("orchestrator-cli restore --only databases -c o.toml --sql o.sql --cluster-conf cluster.conf --yes"),
    ),
    (
        "restore --sql {b} --cluster-conf cluster.conf -c o.toml --dry-run",
        12,
        "error   read {here}/{b}: it is a tar archive, compressed by gzip",
        Some("it is a bundle: `orchestrator-cli restore -c o.toml --dry-run --file {here}/{b}`"),
    ),
    (
        "verify -c o.toml o.sql",
        12,
        "error: open o.sql: it is a script of pg_dump, and no bundle",
        Some("orchestrator-cli restore --sql o.sql --cluster-conf cluster.conf -c o.toml --yes"),
    ),
    (
        "restore --sql cluster.conf --cluster-conf o.sql -c o.toml --dry-run",
        2,
        "error   cluster.conf: restore: --sql and --cluster-conf are swapped: {here}/o.sql is the script",
        Some("orchestrator-cli restore -c o.toml --dry-run --sql {here}/o.sql --cluster-conf {here}/cluster.conf"),
    ),
    (
        "restore --sql o.sql --cluster-conf o.sql -c o.toml --dry-run",
        2,
        "error   read the cluster.conf {here}/o.sql: it looks like a script of pg_dump",
        Some("name a cluster.conf, or settings whose name ends in .toml"),
    ),
    (
        "restore --sql o.sql --cluster-conf picture.png -c o.toml --dry-run",
        2,
        "error   o.sql: read the cluster.conf {here}/picture.png: it looks like a picture",
        Some("name a cluster.conf, or settings whose name ends in .toml"),
    ),
    (
        "restore --sql o.sql --cluster-conf cluster.conf -c o.toml --dry-run --database orchestratr",
        10,
        "error   orchestratr: database orchestratr: the server has none of this name",
        Some("did you mean orchestrator? To make a new one, say so: --database orchestrator=orchestratr"),
    ),
    (
        "restore --sql o.sql --cluster-conf cluster.conf -c o.toml --dry-run --database orchestrator=orchestratr",
        0,
        "read o.sql",
        None,
    ),
    (
        "restore --file {b} -c picture.png --dry-run",
        2,
        "error: read the cluster.conf picture.png: it looks like a picture",
        Some("name a cluster.conf, or settings whose name ends in .toml"),
    ),
    (
        "restore --file {b} -c {b} --dry-run",
        2,
        "error: read the cluster.conf {b}: it looks like a bundle, or another packed archive",
        Some("name a cluster.conf, or settings whose name ends in .toml"),
    ),
    (
        "restore --file {b} -c bundles --dry-run",
        2,
        "error: read the cluster.conf bundles",
        Some("it is a directory: name the file in it"),
    ),
    (
        "restore --file {b} -c o.sql --dry-run",
        2,
        "error: read the cluster.conf o.sql: it looks like a script of pg_dump",
        Some("name a cluster.conf, or settings whose name ends in .toml"),
    ),
    (
        "backup -c picture.png --release 1 --to x",
        2,
        "error: read the cluster.conf picture.png: it looks like a picture",
        Some("name a cluster.conf, or settings whose name ends in .toml"),
    ),
    (
        "backup -c types.toml --release 1 --to x",
        2,
        "error: read the settings types.toml, line 3, column 9: backup.level: found a text, expected a whole number that is not negative",
        Some("deploy/orchestrator.toml is a sample with every key"),
    ),
    (
        "restore --rollback --dry-run -c o.toml",
        10,
        "error: {here}/state/restores holds the journal of no restore",
        Some(
            "journals belong to the user who ran the restore, and go with `orchestrator-cli restore cleanup -c o.toml --yes`",
        ),
    ),
    ("restore cleanup --dry-run -c o.toml", 0, "nothing has stepped aside", None),
    (
        "restore cleanup --forget --dry-run -c o.toml",
        10,
        "error: forget a restore: each one's server answers, and the way back is there",
        Some(
            "`orchestrator-cli restore --rollback -c o.toml --yes` takes the last one back, `orchestrator-cli restore cleanup -c o.toml --yes` drops what stepped aside",
        ),
    ),
    ("restore --resume --dry-run", 2, "error: the argument '--resume' cannot be used with '--dry-run'", None),
    ("cleanup bundles --dry-run", 0, "nothing was left more than 24 hours ago", None),
    ("schedule run --by-timer -c o.toml", 2, "error: the following required arguments were not provided:", None),
];
