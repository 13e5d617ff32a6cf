//! The questions of `config init`. What a flag says is not asked; if nobody can be asked, defaults are taken.

use std::path::{Path, PathBuf};

use backup_core::component::control_plane::Origin;
use backup_core::encryption::Recipients;
use backup_core::schedule::Calendar;
use backup_core::settings::{DEFAULT_STORE, Initial, Rule};
use backup_core::store::Address;
use backup_core::{Context, Error, ErrorContext, Kind, Result};

use super::machine::Machine;
use crate::arguments::Init;
use crate::commands::confirm::answer;
use crate::findings::RED;
use crate::human::{indented, plain};
use crate::output::Output;

const KEEP: &str = "daily=7,weekly=4,monthly=6";
const BACKUP_AT: &str = "02:30";
const DRILL_AT: &str = "Sun 04:30";

/// Somebody who is asked, or nobody.
pub(super) struct Asking<'a> {
    pub(super) output: &'a Output,
    pub(super) context: &'a Context,
    /// Whether nobody can be asked, or nobody wants to be.
    pub(super) alone: bool,
}

impl Asking<'_> {
    /// Everything that settings need; none if the answers end.
    ///
    /// # Errors
    /// [`Kind::Usage`] if a flag says what can't be, or nobody can be asked for what has no default.
    pub(super) async fn all(&self, init: &Init, machine: &Machine) -> Result<Option<Initial>> {
        self.refuse_missing(init, machine)?;
        let found = machine.cluster_conf.as_ref().map(|path| path.display().to_string());
        let given = init.cluster_conf.as_ref().map(|path| path.display().to_string());
        let Some(cluster_conf) = self.one("Where is cluster.conf?", (given, found), file).await? else {
            return Ok(None);
        };
        let Some(release) = self.release(init).await? else { return Ok(None) };
        let given = (!init.to.is_empty()).then(|| init.to.iter().map(|to| to.display().to_string()).collect());
        let question =
            "Where do bundles go? Directories, s3://bucket/prefix or sftp://user@host/path, with commas between them.";
        let Some(stores) = self.several(question, (given, Some(DEFAULT_STORE)), store).await? else { return Ok(None) };
        let Some((recipients, identities)) = self.keys(init, machine).await? else { return Ok(None) };
        let Some(keep) = self.rules(init).await? else { return Ok(None) };
        let usual = |given: &Option<String>, usual: &str| (given.clone(), Some(usual.to_owned()));
        let backup = "When is a backup made? Such as 02:30, or Mon..Fri 02:30; never: no.";
        let Some(backup) = self.one(backup, usual(&init.backup_at, BACKUP_AT), time).await? else { return Ok(None) };
        let drill = "When is the newest bundle drilled, by a restore into a throw-away PostgreSQL? Never: no.";
        let Some(drill) = self.one(drill, usual(&init.drill_at, DRILL_AT), time).await? else { return Ok(None) };
        let connection = machine.connection.clone();
        Ok(Some(Initial { cluster_conf, connection, release, stores, recipients, identities, keep, backup, drill }))
    }

    fn refuse_missing(&self, init: &Init, machine: &Machine) -> Result<()> {
        let no_release = init.release.is_none() && init.release_file.is_none();
        let missing = [
            (init.cluster_conf.is_none() && machine.cluster_conf.is_none(), "--cluster-conf cluster.conf"),
            (no_release, "--release 2.6.3"),
            (init.to.is_empty(), "--to /mnt/backups"),
        ];
        let missing: Vec<&str> = missing.into_iter().filter(|(lacks, _)| *lacks).map(|(_, flag)| flag).collect();
        if !self.alone || missing.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = missing.iter().filter_map(|flag| flag.split(' ').next()).collect();
        let error = Error::new(Kind::Usage, "write settings: nobody is asked, and what has no default is not given");
        let flags = missing.join(" ");
        Err(error.because(format!("missing: {}", names.join(", "))).hint(format!("give your own values: `… {flags}`")))
    }

    async fn release(&self, init: &Init) -> Result<Option<Origin>> {
        if let Some(path) = &init.release_file {
            return file(&path.display().to_string()).map(|path| Some(Origin::File(path)));
        }
        let read = |text: &str| match text {
            "" => Err(Error::new(Kind::Usage, "a backup says which release it is of, so a version is needed")),
            path if path.contains('/') => file(path).map(Origin::File),
            version => Ok(Origin::Given(version.into())),
        };
        let question =
            "Which release runs here? A version such as 2.6.3, or the path of a file whose first line says it.";
        self.one(question, (init.release.clone(), None), read).await
    }

    /// Recipients and identities.
    async fn keys(&self, init: &Init, machine: &Machine) -> Result<Option<(Vec<String>, Vec<PathBuf>)>> {
        let given = (!init.recipient.is_empty()).then(|| init.recipient.clone());
        let own = match (&machine.identity, machine.keys.first()) {
            (Some((path, recipient)), _) => format!("\nThat of {}: {recipient}", path.display()),
            (None, Some(key)) => format!("\nOf this user: {}", key.display()),
            (None, None) => String::new(),
        };
        let generate = self.output.command("key generate /root/orchestrator.key");
        let question = format!(
            "Who can read bundles? age1… or files of public keys, with commas between them.{own}\n\
             In another terminal this makes a key: {generate}\nBundles are not encrypted: no."
        );
        let Some(recipients) = self.several(&question, (given, Some("no")), recipient).await? else { return Ok(None) };
        let given = init.identity.iter().map(|path| path.display().to_string()).collect();
        let given = (!init.identity.is_empty() || recipients.is_empty()).then_some(given);
        let question = "Which files have the identities that open bundles here? Drills need one. None of them: no.";
        let own = machine.identity.as_ref().filter(|(_, recipient)| recipients.contains(recipient));
        let usual = own.map_or_else(|| "no".to_owned(), |(path, _)| path.display().to_string());
        let identities = self.several(question, (given, Some(&*usual)), file).await?;
        Ok(identities.map(|identities| (recipients, identities)))
    }

    async fn rules(&self, init: &Init) -> Result<Option<Vec<Rule>>> {
        if init.keep_all || !init.keep.is_empty() {
            return Ok(Some(init.keep.clone()));
        }
        let question =
            "Which bundles are kept? Rules of last, days, daily, weekly, monthly and yearly; all of them: no.";
        self.several(question, (None, Some(KEEP)), str::parse).await
    }

    /// One answer: what is given, else what is answered, else the default.
    async fn one<T: Send>(
        &self,
        question: &str,
        (given, usual): (Option<String>, Option<String>),
        read: impl Fn(&str) -> Result<T> + Send + Sync,
    ) -> Result<Option<T>> {
        if let Some(given) = given.or_else(|| usual.clone().filter(|_| self.alone)) {
            return read(&given).map(Some);
        }
        let prompt = match &usual {
            Some(usual) => format!("{question}\n  [{}] ", plain(usual)),
            None => format!("{question}\n  "),
        };
        loop {
            let Some(line) = answer(&prompt, self.output, self.context).await? else { return Ok(None) };
            let said = match (line.trim(), &usual) {
                ("", Some(usual)) => usual,
                (said, _) => said,
            };
            match read(said) {
                Ok(value) => return Ok(Some(value)),
                Err(error) => self.output.ask(&wrong(&error)),
            }
        }
    }

    /// Several answers in one line, with commas between them; `no` is none.
    async fn several<T: Send>(
        &self,
        question: &str,
        (given, usual): (Option<Vec<String>>, Option<&str>),
        read: impl Fn(&str) -> Result<T> + Send + Sync,
    ) -> Result<Option<Vec<T>>> {
        if let Some(given) = given {
            return given.iter().map(|text| read(text)).collect::<Result<_>>().map(Some);
        }
        let all = |line: &str| match line {
            "no" => Ok(Vec::new()),
            line => line.split(',').map(|text| read(text.trim())).collect(),
        };
        self.one(question, (None, usual.map(Into::into)), all).await
    }
}

/// Why an answer can't be.
fn wrong(error: &Error) -> String {
    let mut text = indented(&format!("{RED}error{RED:#}: "), &plain(&error.chain().join(": ")));
    if let Some(hint) = error.first_hint() {
        text.push_str(&indented("  hint: ", &plain(hint)));
    }
    text
}

/// The path of a file, whatever the working directory of a job is.
fn file(text: &str) -> Result<PathBuf> {
    let path = std::path::absolute(text).context(|| format!("find {text:?}"))?;
    match path.is_file() {
        true => Ok(path),
        false => Err(Error::new(Kind::NotFound, format!("{}: there is no such file", path.display()))),
    }
}

/// A store's address; a directory's path is written in full.
fn store(text: &str) -> Result<String> {
    if text.is_empty() || text == "-" {
        return Err(Error::new(Kind::Usage, "a store is a directory, s3://bucket/prefix or sftp://user@host/path"));
    }
    Ok(match Address::parse(Path::new(text))? {
        Address::Directory(path) => {
            std::path::absolute(&path).context(|| format!("find {text:?}"))?.display().to_string()
        }
        _ => text.to_owned(),
    })
}

/// A recipient; the path of a file is written in full.
fn recipient(text: &str) -> Result<String> {
    Recipients::parse(&[text.to_owned()])?;
    let path = Path::new(text);
    Ok(if path.is_file() {
        std::path::absolute(path).context(|| format!("find {text:?}"))?.display().to_string()
    } else {
        text.into()
    })
}

/// A time; an empty one for never.
fn time(text: &str) -> Result<String> {
    if text.trim().is_empty() || text == "no" {
        return Ok(String::new());
    }
    text.parse::<Calendar>().map(|_| text.into())
}
