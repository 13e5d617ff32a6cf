//! `README.txt`: how a bundle is restored with `tar` and `psql` alone.

use std::fmt::Write;

use crate::component::ByHand;

/// Which programs bring out all of a bundle. `make test-readers` runs those that are named.
const WHICH_READERS: &str = "\
These programs unpack everything:

  - GNU tar and bsdtar, also behind gunzip, pigz or zstd.
    GNU tar needs --xattrs --xattrs-include='*' for extended attributes. It ignores `hdrcharset`, which does no harm.
    bsdtar needs a locale with UTF-8. Under LC_ALL=C it ends with 1, although all content is right.
  - Python: tarfile.open(NAME, \"r:gz\").extractall(filter=\"fully_trusted\") unpacks everything but extended attributes.
    Without this filter, Python 3.14 and newer stops at the first link to an absolute path.
    Python from before 2023 has no filters: leave this one out. Use Python only for bundles that you trust.

These programs lose content, mostly without a word. Use GNU tar or bsdtar instead, and check as above:

  - busybox tar, 7-Zip and cpio don't know files with holes. They put maps and data of these files into directories named
    GNUSparseFile.0. No file is in its place. If paths are long, one file may replace another of the same name.
  - busybox tar fails at a file with holes that has a second name. It then makes no hard links at all, and no links to
    absolute paths. 7-Zip leaves these links out.
  - busybox and cpio ignore fractions of seconds, and give owners above 2097151 that number.
  - cpio cuts names off after 100 bytes. cpio can't read files of 8 GiB and more.
  - ratarmount changes names that are not UTF-8, fills holes with zeros, and makes copies in place of hard links.
  - Some programs read only the first gzip member. They give 512 bytes: Ruby's GzipReader#read, Perl's
    IO::Uncompress::Gunzip, PHP's gzdecode, and Java's GZIPInputStream on a stream that is not at hand.
    So do curl --compressed, wget --compression=auto and Python's requests, if a server says `Content-Encoding: gzip`.
    Download the file unchanged, and give it to tar.
  - Python's tarfile with \"r|gz\" or \"r|*\" refuses the bundle.
  - gzip -l, 7z l, 7z t and file say that the bundle holds 0 bytes. That is the length of its last member.
";
/// What `README.txt` ends with: it holds an unpacked bundle against its manifest.
const CHECK: &str = include_str!("check.py");

/// What it is made of.
pub(super) struct Readme<'r> {
    /// The bundle's name.
    pub(super) name: &'r str,
    /// How each component is restored.
    pub(super) by_hand: Vec<ByHand>,
    /// Whether a component's databases alone are in it, and no orchestrator.
    pub(super) of_component: bool,
}

impl Readme<'_> {
    /// The steps of all components; the last one brings back all that needs none of its own.
    fn steps(&self) -> Vec<String> {
        let mut steps: Vec<String> = self.by_hand.iter().flat_map(|by_hand| by_hand.steps.clone()).collect();
        let also =
            |first| self.by_hand.iter().filter(move |by_hand| by_hand.first == first && !by_hand.also.is_empty());
        let mut rest: Vec<&str> = also(true).chain(also(false)).map(|by_hand| by_hand.also.as_str()).collect();
        if self.of_component {
            rest.insert(
                0,
                "This bundle holds only the databases of one component. The orchestrator has bundles of its own.",
            );
        }
        steps.extend((!rest.is_empty()).then(|| rest.join("\n\n")));
        steps
    }

    /// Its text.
    pub(super) fn text(&self) -> String {
        let (name, steps) = (self.name, self.steps());
        let mut numbered = String::new();
        for (number, step) in steps.iter().enumerate() {
            let number = number + 2;
            // Writing to a text does not fail.
            let _ = writeln!(numbered, "{number}. {}\n", indented(step));
        }
        let check = steps.len() + 2;
        format!(
            "{name}\n\n\
         orchestrator-cli made this backup. It is a tar archive, compressed by gzip. tar and psql restore it.\n\
         PostgreSQL must be of the version of the pg_dump that wrote the backup, or newer.\n\n\
         psql does everything that its scripts say, on the server and as your user. Run only scripts of a bundle that you trust.\n\
         Restore any other bundle with orchestrator-cli. It runs no command that somebody wrote into a bundle.\n\n\
         A script stops if its database exists already. The existing database stays unchanged.\n\n\
         1. Unpack the bundle as the user that will run psql (usually postgres). Go into its directory:\n\n       \
         tar xzf {name}.tgz\n       \
         cd {name}\n\n\
         {numbered}\
         {check}. Check that everything came out. The check needs python3. It runs the program at the end of README.txt, which\n   \
         is a part of the bundle. Run it only if you trust the bundle. It prints `all … entries are as they were`, or the name\n   \
         of each entry that is missing or wrong. It checks files with holes and links too:\n\n       \
         sed '1,/^-----$/d' README.txt | python3 -I -\n\n\
         {WHICH_READERS}\n\
         What is here:\n\n  \
         databases/NAME.sql              runs all of the scripts below for one database\n  \
         databases/NAME/create.sql       the database itself, its settings and privileges\n  \
         databases/NAME/pre-data.sql     tables, types, functions\n  \
         databases/NAME/data/*.sql       rows; each file is complete and can run alone\n  \
         databases/NAME/large-objects/   large objects, if there are any; run in order\n  \
         databases/NAME/sequences.sql    values of sequences\n  \
         databases/NAME/post-data.sql    indexes, constraints, triggers\n  \
         databases/NAME/schema.dump      the same schema for pg_restore, which can build indexes in parallel\n  \
         manifest.json                   every file's size and digest, every table's number of rows\n\n\
         -----\n{CHECK}"
        )
    }
}

/// Lines after the first one, below the number of their step.
fn indented(step: &str) -> String {
    let mut lines = step.split('\n');
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| if line.is_empty() { text + "\n" } else { format!("{text}\n   {line}") })
}
