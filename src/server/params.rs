//! The parameters of a URL: repeated ones kept, unknown ones of our own endpoints refused.

use url::form_urlencoded;

use crate::error::did_you_mean;
use crate::server::fault::Fault;

/// What stands behind the `?`.
#[derive(Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn of(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// Refuses names that nobody knows, which are mostly known ones mistyped.
    pub(crate) fn known(self, names: &[&str]) -> Result<Self, Fault> {
        match self.0.iter().find(|(name, _)| !names.contains(&name.as_str())) {
            None => Ok(self),
            Some((name, _)) => {
                let hint = did_you_mean(name, names.iter().copied());
                Err(Fault::invalid(format!("there is no parameter \"{name}\"{hint}")))
            }
        }
    }

    /// The last value of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `true` or `false`; what is not given is false.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Fault> {
        match self.get(name) {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(other) => Err(Fault::invalid(format!(
                "\"{name}\" must be true or false, found \"{}\"",
                other.escape_debug()
            ))),
        }
    }

    pub(crate) fn number(&self, name: &str) -> Result<Option<usize>, Fault> {
        self.get(name)
            .map(|value| {
                value.parse().map_err(|_| {
                    Fault::invalid(format!(
                        "\"{name}\" must be a number from 0, found \"{}\"",
                        value.escape_debug()
                    ))
                })
            })
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_checked() {
        let params = Params::of(Some("category=a&category=b%20c&on=TRUE&n=7"));
        assert_eq!(params.all("category").collect::<Vec<_>>(), ["a", "b c"]);
        assert_eq!((params.flag("on").unwrap(), params.number("n").unwrap()), (true, Some(7)));
        assert!(params.number("category").is_err() && params.flag("n").is_err());
        let fault = params.known(&["categorie", "on", "n"]).unwrap_err();
        assert!(fault.message.ends_with("did you mean \"categorie\"?"), "{}", fault.message);
    }
}
