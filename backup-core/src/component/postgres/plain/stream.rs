//! A script's text, however it stands in its file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::runtime::Handle;

use crate::component::postgres::command::{Running, start};
use crate::component::postgres::tools::{self, Tools, know_restrict};
use crate::context::Environment;
use crate::digest::Sha256Digest;
use crate::given::{Seen, open_file};
use crate::{Error, ErrorContext, Kind, Result};

/// The key that `pg_restore` is given for its `\restrict` lines, so that it always writes the same.
const KEY: &str = "orchestrator";

/// A script where it lies.
#[derive(Debug, Clone)]
pub(crate) struct ScriptFile {
    path: PathBuf,
    form: Form,
}

/// How a script stands in its file.
#[derive(Debug, Clone)]
enum Form {
    Text,
    /// Compressed, perhaps in several pieces one after another.
    Gzip,
    /// In a format of `pg_dump`'s own, which these programs read.
    Archive(Tools),
}

impl ScriptFile {
    /// Finds out how a script stands in its file, and the programs that read it if it needs any.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] where it is none that can be read as it is, with the command that makes one of it.
    pub(crate) async fn at(path: &Path, bin_dir: Option<&Path>, environment: &Environment) -> Result<Self> {
        let seen = Seen::at(path)?;
        let form = match &seen {
            Seen::Script | Seen::Unknown => Form::Text,
            Seen::Gzip(inner) if matches!(**inner, Seen::Script | Seen::Unknown) => Form::Gzip,
            Seen::Archive(major) => {
                let found = tools::find(bin_dir, environment, *major).await;
                Form::Archive(found.map_err(|error| too_old(path, *major, &error))?)
            }
            _ => {
                let message = format!("read {}: it is {}", path.display(), seen.what());
                return Err(Error::new(Kind::Unsupported, message).hint(seen.way_out(path)));
            }
        };
        Ok(Self { path: path.to_owned(), form })
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn of_text(path: &Path) -> Self {
        Self { path: path.to_owned(), form: Form::Text }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes its text has, where that is known before it is read.
    pub(crate) fn length(&self) -> Option<u64> {
        match self.form {
            Form::Text => fs::metadata(&self.path).ok().map(|metadata| metadata.len()),
            Form::Gzip | Form::Archive(_) => None,
        }
    }

    /// Begins to read its text, in a thread that may wait and belongs to the runtime.
    ///
    /// # Errors
    /// Where it can't be read. What reading comes to say is [`Kind::Damaged`] where that is the file's fault.
    pub(crate) fn open(&self) -> Result<Box<dyn Read + Send>> {
        Ok(match &self.form {
            Form::Text => Box::new(open_file(&self.path)?),
            Form::Gzip => Box::new(Gunzip(MultiGzDecoder::new(open_file(&self.path)?))),
            Form::Archive(tools) => Box::new(Archive::open(tools, &self.path)?),
        })
    }

    /// The digest that tells it from others: that of its `text`, or of the file where another `pg_restore` may make another
    /// text of it.
    pub(super) fn digest(&self, text: Sha256Digest) -> Result<Sha256Digest> {
        match self.form {
            Form::Text | Form::Gzip => Ok(text),
            Form::Archive(_) => digest(&self.path).context(|| format!("read {}", self.path.display())),
        }
    }
}

/// What it means that no programs of a major version are here.
fn too_old(path: &Path, major: u32, error: &Error) -> Error {
    let shown = path.display();
    let message =
        format!("read {shown}: it is an archive of pg_dump {major} or newer, and no pg_restore of these is here");
    Error::new(error.kind(), message).hint(error.first_hint().unwrap_or_default())
}

/// The digest of a file, or of all files of a directory and their names.
fn digest(path: &Path) -> io::Result<Sha256Digest> {
    let mut whole = Sha256::new();
    if !path.is_dir() {
        io::copy(&mut File::open(path)?, &mut whole)?;
        return Ok(Sha256Digest(whole.finalize().into()));
    }
    let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries.iter().filter(|entry| entry.path().is_file()) {
        whole.update(Sha256::digest(entry.file_name().as_encoded_bytes()));
        whole.update(digest(&entry.path())?.0);
    }
    Ok(Sha256Digest(whole.finalize().into()))
}

struct Gunzip(MultiGzDecoder<File>);

impl Read for Gunzip {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        self.0.read(buffer).map_err(|cause| match cause.kind() {
            InvalidData | InvalidInput | UnexpectedEof => {
                io::Error::other(damaged("its content can't be read to the end").because(cause))
            }
            _ => cause,
        })
    }
}

/// What `pg_restore` prints.
struct Archive {
    /// Until it has ended.
    running: Option<Running>,
    program: String,
    runtime: Handle,
}

impl Archive {
    fn open(tools: &Tools, path: &Path) -> Result<Self> {
        let program = tools.program("pg_restore");
        let mut command = Command::new(&program);
        command.arg("--file=-").env("LC_ALL", "C");
        if know_restrict(&tools.version) {
            command.arg(format!("--restrict-key={KEY}"));
        }
        command.arg("--").arg(path);
        let program = format!("{} {}", program.display(), tools.version);
        let running = start(command, &format!("read it with {program}"), std::process::Stdio::null())?;
        Ok(Self { running: Some(running), program, runtime: Handle::current() })
    }
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(running) = &mut self.running else { return Ok(0) };
        let read = self.runtime.block_on(running.output.read(buffer))?;
        if read == 0
            && let Some(running) = self.running.take()
        {
            let ended = self.runtime.block_on(running.finish());
            ended.map_err(|error| io::Error::other(self.explain(error)))?;
        }
        Ok(read)
    }
}

impl Archive {
    /// What it means that `pg_restore` did not come to its end.
    fn explain(&self, error: Error) -> Error {
        if !error.chain().iter().any(|cause| cause.contains("support compression")) {
            return damaged("its content can't be read to the end").because(error);
        }
        let message = format!("{} can't decompress it", self.program);
        Error::new(Kind::Unsupported, message).because(error).hint(
            "install a pg_restore that can (the packages of postgresql.org), or make it anew with `pg_dump -Fc -Z 6`",
        )
    }
}

fn damaged(doing: &str) -> Error {
    Error::new(Kind::Damaged, doing)
        .hint("it is damaged or cut off: copy it anew and compare the sizes, or use an older one")
}
