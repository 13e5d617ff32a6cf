//! Files of the directory: the list of them, one of them, and all of a small one.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::Rclone;
use super::run::Ran;
use crate::store::{SMALL, astray};
use crate::{Error, ErrorContext, Kind, Result};

/// A file in the directory.
pub(super) struct File {
    pub(super) name: String,
    pub(super) length: u64,
    /// When it was last written, where the remote says so.
    pub(super) written: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    name: String,
    size: i64,
    #[serde(default)]
    mod_time: Option<DateTime<Utc>>,
    #[serde(default)]
    is_dir: bool,
}

/// Asks for no more than what a list itself says: types and times that a client noted would take a request for each object.
const LIST: [&str; 4] = ["lsjson", "--files-only", "--no-mimetype", "--use-server-modtime"];

fn files(ran: &Ran, doing: impl Fn() -> String) -> Result<Vec<File>> {
    let entries: Vec<Entry> = serde_json::from_slice(&ran.output).context(doing)?;
    let files = entries.into_iter().filter(|entry| !entry.is_dir).filter_map(|entry| {
        // One whose length nobody knows was not written by this program.
        Some(File { length: u64::try_from(entry.size).ok()?, name: entry.name, written: entry.mod_time })
    });
    Ok(files.collect())
}

impl Rclone {
    /// Everything in the directory that is a file.
    pub(super) fn files(&self) -> Result<Vec<File>> {
        let doing = || format!("list {}", self.0.address);
        let [list, only, plain, times] = LIST;
        let ran = self.0.program.succeed(doing(), &[list, only, plain, times, &self.place()], None)?;
        files(&ran, doing)
    }

    /// The same, and none where the directory is still to be made.
    ///
    /// # Errors
    /// Where even the directory around it is missing.
    pub(super) fn files_or_none(&self) -> Result<Vec<File>> {
        match self.files() {
            Err(error) if error.kind() == Kind::NotFound => self.look_around().map(|()| Vec::new()),
            files => files,
        }
    }

    /// The same, after the directory was made where it was missing.
    pub(super) fn files_or_made(&self) -> Result<Vec<File>> {
        match self.files() {
            Err(error) if error.kind() == Kind::NotFound => {
                self.look_around()?;
                let doing = format!("make {}", self.0.address);
                self.0.program.succeed(doing, &["mkdir", &self.place()], None).map(|_| Vec::new())
            }
            files => files,
        }
    }

    /// Makes sure that no more than the last directory is missing: rclone would make a whole path, and a bucket.
    fn look_around(&self) -> Result<()> {
        let path = self.0.address.path.as_str();
        let remote = &self.0.address.remote;
        let parent = match self.features()?.bucket_based {
            // A list of what begins with a prefix is found wherever its bucket is.
            true => return Err(self.no_bucket(path)),
            false => path.rsplit_once('/').map_or("", |(parent, _)| parent),
        };
        let around = format!("{remote}:{parent}");
        let [list, ..] = LIST;
        let doing = format!("list {around}");
        let ran = self.0.program.run(&[list, "--dirs-only", "--no-mimetype", "--no-modtime", &around], None)?;
        if ran.is_missing() {
            return Err(astray(&self.0.address.to_string(), std::path::Path::new(&around))
                .hint(format!("correct the path, or make it: {}", self.0.program.by_hand(&["mkdir", &around]))));
        }
        self.0.program.judge(doing, ran).map(drop)
    }

    fn no_bucket(&self, path: &str) -> Error {
        let bucket = format!("{}:{}", self.0.address.remote, path.split('/').next().unwrap_or_default());
        let error = Error::new(Kind::NotFound, format!("write to {}", self.0.address));
        let make = self.0.program.by_hand(&["mkdir", &bucket]);
        error.because(format!("{bucket} does not exist")).hint(format!("correct the path, or make it: {make}"))
    }

    /// A file, if it is there.
    pub(super) fn look(&self, file: &str) -> Result<Option<File>> {
        let doing = || format!("look at {}", self.shown(file));
        let [list, only, plain, times] = LIST;
        let ran = self.0.program.run(&[list, only, plain, times, &self.at(file)], None)?;
        if ran.is_missing() {
            return Ok(None);
        }
        let ran = self.0.program.judge(doing(), ran)?;
        // Of a directory rclone lists what is in it.
        Ok(files(&ran, doing)?.into_iter().find(|found| found.name == file))
    }

    /// All of a small file; none where it is not there.
    pub(super) fn read_small(&self, file: &str) -> Result<Option<Vec<u8>>> {
        let doing = || format!("read {}", self.shown(file));
        let most = (SMALL + 1).to_string();
        let ran = self.0.program.run(&["cat", "--count", &most, &self.at(file)], None)?;
        if ran.is_missing() {
            return Ok(None);
        }
        let ran = self.0.program.judge(doing(), ran)?;
        if ran.output.len() as u64 > SMALL {
            let why = format!("it is longer than {SMALL} bytes, and no such file is");
            return Err(Error::new(Kind::Failed, doing()).because(why));
        }
        // Of a key that is not there a bucket gives nothing, and rclone calls that well.
        if ran.output.is_empty() && self.look(file)?.is_none() {
            return Ok(None);
        }
        Ok(Some(ran.output))
    }
}
