//! `README.txt`: how a bundle is restored with `tar` and `psql` alone.

use std::fmt::Write;

use crate::component::ByHand;

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
            rest.insert(0, "These are the databases of one component alone; the orchestrator has bundles of its own.");
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
         This is a backup made by orchestrator-cli. It is an ordinary gzip-compressed tar archive, and tar and psql are\n\
         all that is needed to restore it, into PostgreSQL of the version of pg_dump that wrote it or a newer one.\n\
         psql does whatever its scripts say, on the server and as the user who runs it. So run those of a bundle that you trust;\n\
         one from elsewhere had best be restored by orchestrator-cli, which runs no command that somebody wrote into it.\n\
         A database that exists already stops its script and stays as it is.\n\n\
         1. Unpack it as the user that will run psql (usually: as the user postgres), and go into it:\n\n       \
         tar xzf {name}.tgz\n       \
         cd {name}\n\n\
         {numbered}\
         {check}. Check that all of it came out, if python3 is there. This runs what stands at the end of README.txt, which is the\n   \
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

/// Lines after the first one, below the number of their step.
fn indented(step: &str) -> String {
    let mut lines = step.split('\n');
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| if line.is_empty() { text + "\n" } else { format!("{text}\n   {line}") })
}
