//! Where one bundle goes: every directory and the stream that it is written to at once.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::Result;
use crate::bundle::manifest::Sha256Digest;
use crate::bundle::name::BundleName;
use crate::store::{Directory, Store, Upload};

/// All destinations of one bundle. One that fails is given up while another is left.
pub(crate) struct Destinations {
    uploads: Vec<(String, Box<dyn Upload>)>,
    stream: Option<Box<dyn Write + Send>>,
    failed: Vec<String>,
}

impl Destinations {
    pub(crate) fn begin(
        directories: &[PathBuf],
        stream: Option<Box<dyn Write + Send>>,
        name: &BundleName,
    ) -> Result<Self> {
        let (mut uploads, mut failed, mut first) = (Vec::new(), Vec::new(), None);
        for directory in directories {
            let store = Directory::new(directory);
            match store.begin(name) {
                Ok(upload) => uploads.push((store.location(), upload)),
                Err(error) => {
                    failed.push(format!("{}: {}", store.location(), error.chain().join(": ")));
                    first.get_or_insert(error);
                }
            }
        }
        match first {
            Some(error) if uploads.is_empty() && stream.is_none() => Err(error),
            _ => Ok(Self { uploads, stream, failed }),
        }
    }

    pub(crate) fn publish(mut self, digest: &Sha256Digest) -> Result<(Vec<String>, Vec<String>)> {
        let mut published = Vec::new();
        let mut first = None;
        for (location, upload) in self.uploads {
            match upload.publish(digest) {
                Ok(place) => published.push(place),
                Err(error) => {
                    self.failed.push(format!("{location}: {}", error.chain().join(": ")));
                    first.get_or_insert(error);
                }
            }
        }
        match first {
            Some(error) if published.is_empty() && self.stream.is_none() => Err(error),
            _ => Ok((published, self.failed)),
        }
    }

    /// Runs `act` on every destination; an error only where none is left.
    fn each(&mut self, mut act: impl FnMut(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        // A reader that went away wants nothing more, and to go on without it would look like success.
        if let Some(stream) = &mut self.stream {
            act(stream)?;
        }
        let mut index = 0;
        while index < self.uploads.len() {
            let last = self.uploads.len() == 1 && self.stream.is_none();
            let (location, upload) = &mut self.uploads[index];
            let Err(error) = act(upload) else {
                index += 1;
                continue;
            };
            if last {
                return Err(io::Error::new(error.kind(), format!("{location}: {error}")));
            }
            self.failed.push(format!("{location}: {error}"));
            self.uploads.remove(index);
        }
        Ok(())
    }
}

impl Write for Destinations {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.each(|destination| destination.write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.each(|destination| destination.flush())
    }
}

/// Takes uploads back when dropped. The thread that writes can hang, in a pipe or on a dead disk, and then never drops
/// them itself.
pub(crate) struct Abandon(Vec<Box<dyn FnOnce() + Send>>);

impl Abandon {
    pub(crate) fn of(destinations: &Destinations) -> Self {
        Self(destinations.uploads.iter().map(|(_, upload)| upload.abandon()).collect())
    }

    pub(crate) fn disarm(mut self) {
        self.0.clear();
    }
}

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|abandon| abandon());
    }
}
