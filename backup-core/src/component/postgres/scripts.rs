//! The texts that let a person with `tar` and `psql` alone restore a bundle.

use super::large_objects::script_path;
use super::rows::{Written, chunk_path};

/// Which programs bring out all of a bundle. `make test-readers` runs those that are named.
const WHICH_READERS: &str = "\
Which programs bring out all of it:

  GNU tar and bsdtar do, also behind gunzip, pigz or zstd. GNU tar needs --xattrs --xattrs-include='*' for extended attributes;
  that it ignores `hdrcharset` does no harm. bsdtar needs a locale with UTF-8: under LC_ALL=C it ends with 1, though all content is right.
  Python's tarfile.open(NAME, \"r:gz\").extractall(filter=\"fully_trusted\") brings out all but extended attributes. Without this filter
  Python 3.14 and newer stops at the first link to an absolute path; one that has no filters yet, of before 2023, takes none.
  Use it for bundles that you trust.

  These don't, mostly without a word. Use GNU tar or bsdtar instead, and check as above:
  - busybox tar, 7-Zip and cpio don't know files with holes: maps and data of these lie in directories called GNUSparseFile.0,
    and no file is where it was; where paths are long, one may replace another of the same name. With a second name such a file
    fails busybox, which then makes no hard links at all, and no links to absolute paths. 7-Zip leaves these out.
    busybox and cpio know no fractions of seconds, and give owners above 2097151 that number. cpio cuts names off after
    100 bytes, and can't read files of 8 GiB and more.
  - ratarmount has other names for files whose names are not UTF-8, fills holes with zeros, and has copies in place of hard links.
  - Programs that read the first gzip member alone give 512 bytes: Ruby's GzipReader#read, Perl's IO::Uncompress::Gunzip, PHP's
    gzdecode, Java's GZIPInputStream on a stream that is not at hand, and curl --compressed, wget --compression=auto, Python's
    requests, where a server says `Content-Encoding: gzip`. Fetch the file as it is, and give it to tar.
  - Python's tarfile with \"r|gz\" or \"r|*\" refuses it.
  - gzip -l, 7z l, 7z t and file say that it holds 0 bytes, which is the length of its last member.
";
/// What `README.txt` ends with: it holds an unpacked bundle against its manifest.
const CHECK: &str = include_str!("check.py");

/// `databases/NAME.sql`: runs all that makes up one database, in order; `drops` takes away what every new database has and
/// this one has not.
pub(super) fn database<'c>(
    directory: &str,
    drops: &[&str],
    large_objects: u64,
    chunks: impl Iterator<Item = &'c Written>,
) -> String {
    let mut script = String::from(
        "-- Creates the database and fills it:  psql -X -d postgres -f THIS_FILE\n\
         -- It stops at the first error. A database of this name that exists already is such an error and stays as it is.\n\
         \\set ON_ERROR_STOP on\n\\set QUIET on\n\\pset pager off\n\\o /dev/null\n",
    );
    let line = |path: &str| format!("\\ir '{directory}/{path}'\n");
    script.push_str(&line("create.sql"));
    drops.iter().for_each(|drop| script.push_str(&format!("{drop};\n")));
    let mut include = |path: &str| script.push_str(&line(path));
    include("pre-data.sql");
    // A session takes no setting that names what is not there yet, such as a configuration of text search.
    script.push_str("\\connect\n");
    let mut include = |path: &str| script.push_str(&format!("\\ir '{directory}/{path}'\n"));
    (1..=large_objects).for_each(|number| include(&script_path(number)));
    chunks.for_each(|chunk| include(&chunk_path(chunk.number)));
    include("sequences.sql");
    include("post-data.sql");
    // A foreign partition that is away is no reason to stop: all is there.
    script.push_str("\\o\n\\set ON_ERROR_STOP off\nANALYZE;\n\\echo restored\n");
    script
}

/// What a bundle has beside databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Nothing: it is of a component's databases.
    Nothing,
    /// `cluster.conf` and the release.
    Conf,
    /// `cluster.conf`, the release and files.
    ConfAndFiles,
}

/// What `README.txt` is made of: it says how to restore a bundle by hand.
pub struct Readme<'r> {
    /// The bundle's name.
    pub name: &'r str,
    /// Names of databases, and their directories below `databases/`.
    pub databases: &'r [(String, String)],
    /// The version of `pg_dump`.
    pub pg_dump: &'r str,
    /// What is there beside databases.
    pub beside: Beside,
    /// A paragraph for each other component.
    pub others: &'r [String],
}

impl Readme<'_> {
    /// Its text.
    pub fn text(&self) -> String {
        let Readme { name, databases, pg_dump, beside, others } = *self;
        let restore: String = databases
            .iter()
            .map(|(database, directory)| {
                format!(
                    "       psql -X -d postgres -f 'databases/{directory}.sql'      # {}\n",
                    database.escape_debug()
                )
            })
            .collect();
        // Copied from the unpacked tree, files would take the owner and mode that it has on `/` and `/home` along.
        let files = if beside == Beside::ConfAndFiles {
            format!(
                "4. Put files back. They stand below files/ under the paths they had. Straight from the archive, as root, so\n   \
             that directories which exist keep their owner and mode; files of the same names are replaced:\n\n       \
             tar xzpf {name}.tgz -C / --strip-components=2 --no-overwrite-dir {name}/files\n\n   "
            )
        } else {
            String::from("4. ")
        };
        let conf =
            "cluster.conf is the cluster's configuration, byte for byte; release.json names the release that ran.";
        let rest = match beside {
            Beside::Nothing => {
                "4. These are the databases of one component alone; the orchestrator has bundles of its own.".into()
            }
            Beside::Conf | Beside::ConfAndFiles => format!("{files}{conf}"),
        };
        let others: String = others.iter().map(|other| format!("\n\n   {}", other.replace('\n', "\n   "))).collect();
        format!(
            "{name}\n\n\
         This is a backup made by orchestrator-cli. It is an ordinary gzip-compressed tar archive, and tar and psql are\n\
         all that is needed to restore it, into PostgreSQL of the version of pg_dump that wrote it or a newer one.\n\
         psql does whatever its scripts say, on the server and as the user who runs it. So run those of a bundle that you trust;\n\
         one from elsewhere had best be restored by orchestrator-cli, which runs no command that somebody wrote into it.\n\
         A database that exists already stops its script and stays as it is.\n\n\
         1. Unpack it as the user that will run psql (usually: as the user postgres), and go into it:\n\n       \
         tar xzf {name}.tgz\n       \
         cd {name}\n\n\
         2. Create the roles that the databases need, as a superuser (usually: as the user postgres). Roles that exist\n   \
         stay as they are. Passwords are not in a backup unless its settings asked for them: set them afterwards.\n\n       \
         psql -X -v ON_ERROR_STOP=1 -d postgres -f databases/globals.sql\n\n   \
         Where the source had tablespaces of its own, comments at the top of that file name them: create those first.\n\n\
         3. Create and fill each database:\n\n{restore}\n   \
         pg_dump was version {pg_dump}. The scripts need a psql that is\n   \
         as new, and of each version's minor releases one from August 2025 or later. An older psql stops at `\\restrict`: delete the lines\n   \
         that begin with \\restrict and \\unrestrict from the files in databases/, and it goes on.\n   \
         A script that stopped half way leaves a half-filled database: drop that one, then run the script again.\n\n\
         {rest}{others}\n\n\
         5. Check that all of it came out, if python3 is there. This runs what stands at the end of README.txt, which is the\n   \
         bundle's own code, as its scripts are for psql: run that of a bundle that you trust. It says\n   \
         `all … entries are as they were`, or names each that is missing or otherwise, files with holes and links too:\n\n       \
         sed '1,/^-----$/d' README.txt | python3 -I -\n\n\
         {WHICH_READERS}\n\
         What is here:\n\n  \
         databases/NAME.sql              runs all of the scripts below for one database\n  \
         databases/NAME/create.sql       the database itself, its settings and privileges\n  \
         databases/NAME/pre-data.sql     tables, types, functions\n  \
         databases/NAME/data/*.sql       rows; every file is complete in itself and can be run alone\n  \
         databases/NAME/large-objects/   large objects, if there are any; run in order\n  \
         databases/NAME/sequences.sql    values of sequences\n  \
         databases/NAME/post-data.sql    indexes, constraints, triggers\n  \
         databases/NAME/schema.dump      the same schema for pg_restore, which can build indexes in parallel\n  \
         manifest.json                   every file's size and digest, every table's number of rows\n\n\
         -----\n{CHECK}"
        )
    }
}
