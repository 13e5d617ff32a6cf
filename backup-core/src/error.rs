//! The one error type: an operation on a subject, its cause one layer down, and a hint that can be acted on.

use std::error::Error as StdError;
use std::{fmt, io};

/// What the caller can do about an error. The command maps each kind to one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The operation failed.
    Failed,
    /// The request itself makes no sense: arguments, settings, `cluster.conf`.
    Usage,
    /// Something that was named does not exist.
    NotFound,
    /// Another run holds the lock.
    Locked,
    /// A bundle is damaged, or not a bundle.
    Damaged,
    /// A bundle or server is of a version that this tool does not handle.
    Unsupported,
    /// A gate refused to go on.
    Refused,
    /// A plan stopped half way: it is to be resumed or rolled back.
    Unfinished,
    /// The operator or the system asked us to stop.
    Interrupted,
}

/// What an error came of, where code goes by it and not people alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A disk is full, here or at a server.
    DiskFull,
    /// The server ended the session before the work was done, as a standby does whose master's changes can't wait.
    CutOff,
    /// Nothing answers where the server should.
    Unanswered,
    /// The server wants a password and got none, or another one.
    Password,
    /// A row has no text that a server could send.
    TooLong,
}

/// An error with its chain of causes.
///
/// `Display` prints this layer alone; walk [`StdError::source`] for the causes, or use [`Error::chain`].
pub struct Error(Box<Layer>);

/// Boxed, because a result that fits a register is handed on for free where rows pass by the million.
struct Layer {
    kind: Kind,
    message: String,
    hint: Option<String>,
    lasting: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
    /// How many there were, of which this is the first.
    of: usize,
    unsure: bool,
    cause: Option<Cause>,
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without a deeper cause. The message names the operation and the subject.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        let (hint, source, cause) = (None, None, None);
        Self(Box::new(Layer { kind, message, hint, lasting: false, source, of: 1, unsure: false, cause }))
    }

    /// The same error with what the operator can do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same error with its cause.
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(cause.into());
        self
    }

    /// The same error, known to come of this, or of what is known already.
    pub fn of(mut self, cause: Option<Cause>) -> Self {
        self.0.cause = cause.or(self.0.cause);
        self
    }

    /// Whether it came of that.
    pub fn came_of(&self, cause: Cause) -> bool {
        let full = |error: &io::Error| cause == Cause::DiskFull && error.kind() == io::ErrorKind::StorageFull;
        self.layers().any(|error| {
            own(error).is_some_and(|error| error.0.cause == Some(cause))
                || error.downcast_ref::<io::Error>().is_some_and(full)
        })
    }

    /// The same error, known to come again however often the same thing is tried: the server refused what it was told.
    pub fn lasting(mut self) -> Self {
        self.0.lasting = true;
        self
    }

    /// Whether it will come again when the same thing is tried again. A cut connection, a full disk or a lock may pass.
    pub fn is_lasting(&self) -> bool {
        self.layers().any(|error| own(error).is_some_and(|error| error.0.lasting))
    }

    /// The same error, the first one of so many.
    pub fn first_of(mut self, errors: usize) -> Self {
        self.0.of = errors;
        self
    }

    /// How many errors there were, this one among them.
    pub fn errors(&self) -> usize {
        let inner = self.source().and_then(own).map_or(1, Error::errors);
        self.0.of.max(inner)
    }

    /// The same error of work whose result may be there all the same.
    pub fn unsure(mut self) -> Self {
        self.0.unsure = true;
        self
    }

    /// Whether the result may be there all the same.
    pub fn is_unsure(&self) -> bool {
        self.0.unsure || self.source().and_then(own).is_some_and(Error::is_unsure)
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The first hint found from the outermost layer inwards.
    pub fn first_hint(&self) -> Option<&str> {
        self.layers().find_map(|error| own(error)?.0.hint.as_deref())
    }

    /// This layer and all below it.
    fn layers(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        std::iter::successors(Some(self as &(dyn StdError + 'static)), |&error| error.source())
    }

    /// Whether it came of a file or a directory that this user may not use.
    pub fn is_denied(&self) -> bool {
        let denied = |cause: &io::Error| cause.kind() == io::ErrorKind::PermissionDenied;
        self.layers().any(|error| error.downcast_ref::<io::Error>().is_some_and(denied))
    }

    /// Every layer's message, outermost first. A layer that only repeats the end of the one before is left out.
    pub fn chain(&self) -> Vec<String> {
        let mut messages: Vec<String> = Vec::new();
        for error in self.layers() {
            let message = error.to_string();
            if !messages.last().is_some_and(|outer| outer.ends_with(&message)) {
                messages.push(message);
            }
        }
        messages
    }
}

/// One of ours, which may have passed through a stream as an [`io::Error`].
fn own<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Error> {
    let carried = || error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref();
    error.downcast_ref().or_else(carried)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.chain().join(": "))
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|cause| cause as _)
    }
}

/// Adds the operation and subject to any error on its way up.
pub trait ErrorContext<T> {
    /// Wraps the cause in `message`. The kind of an [`Error`] underneath is kept; other causes become
    /// [`Kind::Failed`].
    fn context(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: StdError + Send + Sync + 'static> ErrorContext<T> for std::result::Result<T, E> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| {
            let cause: Box<dyn StdError + Send + Sync> = Box::new(cause);
            let kind = own(&*cause).map_or(Kind::Failed, Error::kind);
            Error::new(kind, message()).because(cause)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_error_keeps_its_kind_and_hint() {
        let inner: Result<()> = Err(Error::new(Kind::Locked, "lock /x").hint("wait for it"));
        let outer = inner.context(|| "back up to /x".into()).expect_err("still an error");
        assert_eq!(outer.kind(), Kind::Locked);
        assert_eq!(outer.first_hint(), Some("wait for it"));
        assert_eq!(outer.chain(), ["back up to /x", "lock /x"]);
        assert_eq!((outer.errors(), Error::new(Kind::Failed, "x").because(outer.first_of(3)).errors()), (1, 3));
    }

    #[test]
    fn what_an_error_came_of_is_known_through_all_its_layers() {
        let known = Error::new(Kind::Failed, "load rows").of(Some(Cause::CutOff)).of(None);
        let outer = Err::<(), _>(io::Error::other(known)).context(|| "restore".into()).expect_err("still an error");
        assert!(outer.came_of(Cause::CutOff) && !outer.came_of(Cause::DiskFull));
        let full = Err::<(), _>(io::Error::from(io::ErrorKind::StorageFull)).context(|| "write /x".into());
        assert!(full.expect_err("still an error").came_of(Cause::DiskFull));
        // Words alone say nothing: a database may be called so.
        assert!(!Error::new(Kind::Failed, "No space left on device").came_of(Cause::DiskFull));
    }

    #[test]
    fn an_error_that_passed_through_a_stream_is_the_same() {
        let inner = Error::new(Kind::Damaged, "decrypt /x").because("a wrong digest").hint("take another one");
        let outer = Err::<(), _>(io::Error::other(inner)).context(|| "read /x".into()).expect_err("still an error");
        assert_eq!(outer.kind(), Kind::Damaged);
        assert_eq!(outer.first_hint(), Some("take another one"));
        assert_eq!(outer.chain(), ["read /x", "decrypt /x", "a wrong digest"]);
    }
}
