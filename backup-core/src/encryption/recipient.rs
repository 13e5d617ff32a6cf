//! Who can read a bundle: age's own recipients, and SSH's public keys.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::finding::Finding;
use crate::{Error, ErrorContext, Kind, Result};

const KINDS: &str = "a recipient is age1…, ssh-ed25519 …, ssh-rsa …, or a file with such lines; `key generate orchestrator.key` makes one";

/// Who can read a bundle. None means that it is not encrypted.
#[derive(Default)]
pub struct Recipients {
    keys: Vec<Box<dyn age::Recipient + Send + Sync>>,
    names: Vec<String>,
    /// What was read, without comments.
    seen: HashSet<String>,
}

impl Recipients {
    /// What a restore needs then and no bundle holds: an identity, without which a bundle is of no use to anybody.
    pub(crate) fn need(&self) -> Option<Finding> {
        let message = format!("a restore needs the identity of one of: {}", self.names().join(", "));
        let finding = Finding::info("needs-identity", "encryption", message);
        let hint = "keep it where the loss of this machine does not take it along; no one reads the bundle without";
        (!self.is_empty()).then(|| finding.hint(hint))
    }

    /// Reads recipients, each a text or the path of a file with one a line.
    ///
    /// # Errors
    /// [`Kind::Usage`] where one is none; a secret that was given by mistake is not repeated.
    pub fn parse(texts: &[String]) -> Result<Self> {
        let mut recipients = Self::default();
        for text in texts {
            if !is_key(text) && !is_identity(text) && Path::new(text).is_file() {
                let doing = || format!("read the recipients {text}");
                let content = fs::read_to_string(text).context(doing)?;
                let lines = content.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
                lines.into_iter().try_for_each(|line| recipients.add(line)).context(doing)?;
            } else {
                recipients.add(text.trim())?;
            }
        }
        Ok(recipients)
    }

    /// Refuses those that are not written out: whoever is elsewhere has no business with files of this machine.
    ///
    /// # Errors
    /// [`Kind::Refused`], without what it says.
    pub fn refuse_files(texts: &[String]) -> Result<()> {
        if texts.iter().all(|text| is_key(text)) {
            return Ok(());
        }
        Err(Error::new(Kind::Refused, "take an errand: a recipient is no key").hint(KINDS))
    }

    /// Whether nothing is to be encrypted.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The recipients as they were given, an SSH key by its comment where it has one.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The recipients as another machine can read them, which has none of their files.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.seen.iter().cloned().collect()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &dyn age::Recipient> {
        self.keys.iter().map(|key| &**key as &dyn age::Recipient)
    }

    fn add(&mut self, text: &str) -> Result<()> {
        if is_identity(text) {
            let error = Error::new(Kind::Usage, "read a recipient: this is an identity, which is secret");
            let hint = "give its public half: age1… stands in the identity's file as a comment, that of an SSH key in its .pub";
            return Err(error.hint(hint));
        }
        let refused = |why: &str| {
            let shown: String = text.chars().take(24).collect();
            Error::new(Kind::Usage, format!("read the recipient {shown}…: {why}")).hint(KINDS)
        };
        if !is_key(text) {
            return Err(refused("it is no recipient, and no file of this name is there"));
        }
        let key: Box<dyn age::Recipient + Send + Sync> = if text.starts_with("ssh-") {
            Box::new(text.parse::<age::ssh::Recipient>().map_err(|error| refused(&unfit(&error)))?)
        } else {
            Box::new(text.parse::<age::x25519::Recipient>().map_err(refused)?)
        };
        // One that is named twice is one, whatever its comment says.
        if self.seen.insert(text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")) {
            self.keys.push(key);
            self.names.push(name(text));
        }
        Ok(())
    }
}

fn is_key(text: &str) -> bool {
    text.starts_with("age1") || text.starts_with("ssh-")
}

fn is_identity(text: &str) -> bool {
    text.to_ascii_uppercase().contains("AGE-SECRET-KEY-") || text.contains("PRIVATE KEY")
}

/// The kind of an SSH key, some of it, and its comment; an age recipient in full.
fn name(text: &str) -> String {
    let mut words = text.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(kind), Some(_), Some(comment)) => format!("{kind} {comment}"),
        (Some(kind), Some(key), None) => {
            let start = key.chars().count().saturating_sub(12);
            format!("{kind} …{}", key.chars().skip(start).collect::<String>())
        }
        _ => text.into(),
    }
}

fn unfit(error: &age::ssh::ParseRecipientKeyError) -> String {
    use age::ssh::ParseRecipientKeyError as Unfit;
    match error {
        Unfit::RsaModulusTooSmall => "an RSA key of fewer than 2048 bits is too weak".into(),
        Unfit::RsaModulusTooLarge => "an RSA key of so many bits is not supported".into(),
        Unfit::Unsupported(kind) => format!("keys of kind {kind} can't encrypt"),
        _ => "not a public key of SSH".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_recipient_is_refused_and_no_secret_is_repeated() {
        for text in
            ["", "age1xyz", "ssh-ed25519 AAAA", "/missing", "AGE-SECRET-KEY-1HUNTER2", "ssh-dss AAAAB3NzaC1kc3M= x"]
        {
            let error = Recipients::parse(&[text.into()]).err().expect(text);
            assert!(error.kind() == Kind::Usage && !format!("{error:?}").contains("HUNTER2"), "{error:?}");
        }
    }
}
