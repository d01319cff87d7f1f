//! Texts and names as SQL writes them, for everything that is asked in SQL by us.

/// A name in double quotes, whatever it is.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in single quotes.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_inside_are_doubled() {
        assert_eq!(quoted("group \"by\" it's"), "\"group \"\"by\"\" it's\"");
        assert_eq!(literal("it's \"here\""), "'it''s \"here\"'");
    }
}
