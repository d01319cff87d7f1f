//! One `Error` for the crate: a [`Kind`] that callers act on, a message for people, and a source.
//!
//! A message says what happened, to what, and the cure; lower case, no full stop. Refused events are not errors but
//! data (see `ingest::report`).

use std::error::Error as StdError;
use std::fmt;

/// The crate's result; low floors name it as `crate::error::Result`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Mend the request: its form, a type, a limit.
    Invalid,
    /// Mend the request: it names something that is not there.
    NotFound,
    /// It collides with what is there already, or with another writer.
    Conflict,
    /// Try again later: a lock, a full disk, a store that does not answer.
    Unavailable,
    /// It needs more memory than it may have.
    Exhausted,
    /// So much of this may be under way at a time, and is; try again when some of it is done.
    TooMany,
    /// Somebody stopped it.
    Cancelled,
    /// Our fault: an invariant broke or a file is damaged.
    Internal,
}

/// Anything that went wrong, with the chain of causes behind it.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
    place: Option<Place>,
}

/// Where in a text of several lines something is wrong; both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

impl Place {
    /// Where the place is in a text, in bytes from its start.
    #[must_use]
    pub fn offset_in(self, text: &str) -> Option<usize> {
        let before: usize =
            text.split_inclusive('\n').take(usize::try_from(self.line).ok()? - 1).map(str::len).sum();
        let line = text.get(before..)?;
        let column = usize::try_from(self.column).ok()?.checked_sub(1)?;
        let within = line.char_indices().map(|(at, _)| at).chain(std::iter::once(line.len())).nth(column)?;
        Some(before + within)
    }

    /// The place in the whole text of a `self` that was counted in the part that starts at `start`.
    #[must_use]
    pub fn within(self, start: Self) -> Self {
        let column = if self.line == 1 { start.column + self.column - 1 } else { self.column };
        Self { line: start.line + self.line - 1, column }
    }
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None, place: None }
    }

    pub fn exhausted(message: impl Into<String>) -> Self {
        Self::new(Kind::Exhausted, message)
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    pub fn cancelled(message: impl Into<String>) -> Self {
        Self::new(Kind::Cancelled, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// The same error with its cause attached.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error, said of a place in the text that was given.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Where in the given text the fault is, if it is in one place.
    pub fn place(&self) -> Option<Place> {
        self.place
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The message alone, without the causes.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// The message, then every cause that says something new, on one line.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut said = self.message.clone();
        let mut cause = StdError::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said.push_str(&text);
            }
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}

/// Turns a foreign error into ours at the place where we know what we were doing.
pub trait Context<T> {
    /// The kind the caller should act on, and what we were doing.
    fn context(self, kind: Kind, doing: impl FnOnce() -> String) -> Result<T>;

    /// [`Kind::Internal`] with what we were doing.
    fn internal(self, doing: impl FnOnce() -> String) -> Result<T>
    where
        Self: Sized,
    {
        self.context(Kind::Internal, doing)
    }

    /// [`Kind::Unavailable`] with what we were doing: files, disks, stores.
    fn unavailable(self, doing: impl FnOnce() -> String) -> Result<T>
    where
        Self: Sized,
    {
        self.context(Kind::Unavailable, doing)
    }
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for Result<T, E> {
    fn context(self, kind: Kind, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::new(kind, doing()).with_source(source))
    }
}

/// The known name nearest to a mistyped one, if one is near: the end of a message, `; did you mean "purchase"?`, or
/// nothing.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        Some(near) => format!("; did you mean \"{near}\"?"),
        None => String::new(),
    }
}

/// The known name nearest to a mistyped one: a name that differs by case only, else at most a third of its letters.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= (name.chars().count() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_proposed_and_a_far_one_is_not() {
        assert_eq!(did_you_mean("purchse", ["pageView", "purchase"]), "; did you mean \"purchase\"?");
        assert_eq!(did_you_mean("PageView", ["pageView"]), "; did you mean \"pageView\"?");
        assert_eq!(did_you_mean("zebra", ["pageView"]), "");
    }

    #[test]
    fn causes_are_printed_once_each() {
        let inner = Error::invalid("the disk is full");
        let outer = Error::unavailable("could not write \"a\"").with_source(inner);
        assert_eq!(outer.to_string(), "could not write \"a\": the disk is full");
    }
}
