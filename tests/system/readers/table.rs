//! The readers: one a line.

/// What a reader's line gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gives {
    /// The bundle's directory, in the current one.
    Tree,
    /// The tar archive, to standard output.
    Tar,
}
use Gives::{Tar, Tree};

/// A program that reads bundles.
pub struct Reader {
    /// What it is called.
    pub name: &'static str,
    /// Prints its version.
    pub version: &'static str,
    /// What the line gives.
    pub gives: Gives,
    /// Reads `$BUNDLE`, or `$URL`, which says `Content-Encoding: gzip`; `$HERE` has programs for it.
    pub line: &'static str,
    /// What README.txt calls it where it warns of it; empty for one that brings out all content.
    pub warned: &'static str,
    /// The line to use instead; it must bring out all content.
    pub instead: &'static str,
    /// Whether it is on every machine that tests run on.
    pub usual: bool,
}

const SEVEN_ZIP: &str = "7zz | grep -o '7-Zip (z) [0-9.]*'";
const GNU_TAR: &str = "tar xpzf $BUNDLE";
const PYTHON: &str = "python3 -V";
const RUBY: &str = "ruby -v | cut -d' ' -f1-2";
const PERL: &str = "perl -e 'print $^V'";
const PHP: &str = "php -v | cut -d' ' -f1-2";
const JAVA: &str = "java -version 2>&1";

const fn usual(
    (name, version): (&'static str, &'static str),
    gives: Gives,
    line: &'static str,
    warned: &'static str,
    instead: &'static str,
) -> Reader {
    Reader { name, version, gives, line, warned, instead, usual: true }
}

const fn other(
    (name, version): (&'static str, &'static str),
    gives: Gives,
    line: &'static str,
    warned: &'static str,
    instead: &'static str,
) -> Reader {
    Reader { usual: false, ..usual((name, version), gives, line, warned, instead) }
}

/// All of them.
#[rustfmt::skip]
pub const READERS: [Reader; 26] = [
    usual(("GNU tar", "tar --version"), Tree, "tar xpzf $BUNDLE --xattrs --xattrs-include='*'", "", ""),
    usual(("bsdtar", "bsdtar --version | cut -d' ' -f1-2"), Tree, "bsdtar -xpf $BUNDLE", "", ""),
    usual(("gunzip", "gunzip --version"), Tar, "gunzip -c $BUNDLE", "", ""),
    usual(("pigz", "pigz --version 2>&1"), Tar, "pigz -dc $BUNDLE", "", ""),
    usual(("busybox tar", "busybox | head -n1 | cut -d'(' -f1"), Tree, "busybox tar xpzf $BUNDLE", "busybox tar", GNU_TAR),
    usual(("Python tarfile r:gz", PYTHON), Tree, "python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1], \"r:gz\").extractall(filter=\"fully_trusted\")' $BUNDLE", "", ""),
    usual(("Python tarfile r|gz", PYTHON), Tree, "python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1], \"r|gz\").extractall(filter=\"fully_trusted\")' $BUNDLE", "\"r|gz\"", GNU_TAR),
    other(("zstd", "zstd --version | grep -o 'v[0-9.]*'"), Tar, "zstd -dcf --format=gzip $BUNDLE", "", ""),
    other(("7-Zip", SEVEN_ZIP), Tree, "7zz x -so $BUNDLE >x.tar && 7zz x -snl x.tar >log && rm x.tar", "7-Zip", GNU_TAR),
    other(("cpio", "cpio --version"), Tree, "gunzip -c $BUNDLE | cpio -idm --quiet", "cpio", GNU_TAR),
    other(("ratarmount", "ratarmount --version | grep -i '^ratarmount '"), Tree, "mkdir mnt && ratarmount $BUNDLE mnt >log && cp -a mnt/. . && ratarmount -u mnt && rmdir mnt", "ratarmount", GNU_TAR),
    other(("Node zlib.gunzipSync", "node -v"), Tar, "node -e 'process.stdout.write(zlib.gunzipSync(fs.readFileSync(process.argv[1])))' $BUNDLE", "", ""),
    other(("Perl IO::Zlib", PERL), Tar, "perl -MIO::Zlib -e '$f = IO::Zlib->new(shift, \"rb\"); print $b while $f->read($b, 65536)' $BUNDLE", "", ""),
    other(("Perl IO::Uncompress::Gunzip", PERL), Tar, "perl -MIO::Uncompress::Gunzip=gunzip -e 'gunzip(shift, \"-\") or die' $BUNDLE", "IO::Uncompress::Gunzip", "perl -MIO::Uncompress::Gunzip=gunzip -e 'gunzip(shift, \"-\", MultiStream => 1) or die' $BUNDLE"),
    other(("PHP gzopen", PHP), Tar, "php -r '$f = gzopen($argv[1], \"rb\"); while (!gzeof($f)) echo gzread($f, 65536);' $BUNDLE", "", ""),
    other(("PHP gzdecode", PHP), Tar, "php -r 'echo gzdecode(file_get_contents($argv[1]));' $BUNDLE", "gzdecode", "php -r 'readgzfile($argv[1]);' $BUNDLE"),
    other(("Ruby GzipReader#read", RUBY), Tar, "ruby -rzlib -e 'print Zlib::GzipReader.open(ARGV[0], &:read)' $BUNDLE", "GzipReader#read", "ruby -rzlib -e 'File.open(ARGV[0], \"rb\") { |f| Zlib::GzipReader.zcat(f) { |s| print s } }' $BUNDLE"),
    other(("Java GZIPInputStream, file", JAVA), Tar, "java $HERE/Gunzip.java $BUNDLE", "", ""),
    other(("Java GZIPInputStream, stream", JAVA), Tar, "java $HERE/Gunzip.java <(cat $BUNDLE) stream", "GZIPInputStream", "java $HERE/Gunzip.java $BUNDLE"),
    other(("curl --compressed", "curl --version | cut -d' ' -f1-2"), Tar, "curl -sS --compressed $URL", "curl --compressed", "curl -sS $URL | gunzip -c"),
    other(("curl", "curl --version | cut -d' ' -f1-2"), Tar, "curl -sS $URL | gunzip -c", "", ""),
    other(("wget --compression=auto", "wget --version | cut -d' ' -f1-3"), Tar, "wget -q --compression=auto -O - $URL", "wget --compression=auto", "wget -q -O - $URL | gunzip -c"),
    other(("wget", "wget --version | cut -d' ' -f1-3"), Tar, "wget -q -O - $URL | gunzip -c", "", ""),
    other(("requests", "python -c 'import requests, urllib3; print(\"requests\", requests.__version__, \"urllib3\", urllib3.__version__)'"), Tar, "python -c 'import requests, sys; sys.stdout.buffer.write(requests.get(sys.argv[1]).content)' $URL", "requests", "python -c 'import requests, sys; sys.stdout.buffer.write(requests.get(sys.argv[1], stream=True).raw.read())' $URL | gunzip -c"),
    other(("7-Zip, decompressing", SEVEN_ZIP), Tar, "7zz x -so $BUNDLE", "", ""),
    other(("busybox gunzip", "busybox | head -n1 | cut -d'(' -f1"), Tar, "busybox gunzip -c $BUNDLE", "", ""),
];

/// Who lists the names of `$BUNDLE`, in which a file above 8 GiB begins with zeros; and whether README.txt warns.
#[rustfmt::skip]
pub const LISTERS: [(&str, &str, &str); 6] = [
    ("GNU tar", "tar tzf $BUNDLE", ""),
    ("bsdtar", "bsdtar -tf $BUNDLE", ""),
    ("busybox tar", "busybox tar tzf $BUNDLE", ""),
    ("Python tarfile r:gz", "python3 -c 'import sys, tarfile; print(*tarfile.open(sys.argv[1]).getnames(), sep=\"\\n\")' $BUNDLE", ""),
    ("7-Zip", "7zz x -so $BUNDLE | 7zz l -ttar -si -slt", ""),
    ("cpio", "gunzip -c $BUNDLE | cpio -it --quiet", "cpio can't read files of 8 GiB"),
];
