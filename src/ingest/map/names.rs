//! Makes names of events and properties that fit our rules out of names that others chose.

/// The most letters that a property name may have.
pub(crate) const PROPERTY_NAME_CHARS: usize = 128;

/// The words of a name run together, each but the first with a capital: `add_to_cart` and `Add to Cart` become
/// `addToCart`, `$pageview` `pageview`, `userID` stays. Words in capitals only are taken as ordinary words. Anything
/// but ASCII letters and digits parts words; nothing is left of a name that has none of them.
pub(crate) fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for word in name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let shouted = word.len() > 1 && !word.bytes().any(|byte| byte.is_ascii_lowercase());
        for (at, letter) in word.chars().enumerate() {
            out.push(match (at, out.is_empty()) {
                (0, true) => letter.to_ascii_lowercase(),
                (0, false) => letter.to_ascii_uppercase(),
                _ if shouted => letter.to_ascii_lowercase(),
                _ => letter,
            });
        }
    }
    out
}

/// [`camel`], made to fit the rule for property names.
pub(crate) fn camel_property(name: &str) -> String {
    let mut out = camel(name);
    if out.starts_with(|first: char| first.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out.truncate(PROPERTY_NAME_CHARS);
    out
}

/// Whether a property may have this name: `^[a-z_][a-zA-Z0-9_]*$`, at most 128 letters.
pub(crate) fn is_property_name(name: &str) -> bool {
    name.len() <= PROPERTY_NAME_CHARS
        && name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_become_ours() {
        assert_eq!(camel("add_to_cart"), "addToCart");
        assert_eq!(camel("Signed Up"), "signedUp");
        assert_eq!(camel("$browser_version"), "browserVersion");
        assert_eq!(camel("userID"), "userID");
        assert_eq!(camel("GET"), "get");
        assert_eq!(camel("$$"), "");
        assert_eq!(camel_property("2nd price"), "_2ndPrice");
        assert!(is_property_name(&camel_property("Ünit price")));
        assert!(!is_property_name("Price") && !is_property_name("") && !is_property_name("a-b"));
    }
}
