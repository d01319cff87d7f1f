//! Colours for a statement being typed: the same letters in the same places, with what each word is.

use std::collections::HashSet;

use crate::cli::tokens::Kind;
use crate::cli::tokens::Token;
use crate::cli::tokens::tokens;

const KEYWORD: &str = "\x1b[1;34m";
const FUNCTION: &str = "\x1b[36m";
const TABLE: &str = "\x1b[35m";
const TEXT: &str = "\x1b[32m";
const NUMBER: &str = "\x1b[33m";
const COMMENT: &str = "\x1b[2m";
const COMMAND: &str = "\x1b[1;36m";
const PLAIN: &str = "\x1b[0m";

/// The words that have a colour. Keywords and functions are known in any case, tables by their exact name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Palette {
    keywords: HashSet<String>,
    functions: HashSet<String>,
    tables: HashSet<String>,
}

impl Palette {
    pub(crate) fn new<'a>(
        keywords: impl IntoIterator<Item = &'a str>,
        functions: impl IntoIterator<Item = &'a str>,
        tables: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            keywords: keywords.into_iter().map(str::to_uppercase).collect(),
            functions: functions.into_iter().map(str::to_lowercase).collect(),
            tables: tables.into_iter().map(str::to_owned).collect(),
        }
    }

    pub(crate) fn paint(&self, text: &str) -> String {
        if text.starts_with('\\') {
            let end = text.find(char::is_whitespace).unwrap_or(text.len());
            return format!("{COMMAND}{}{PLAIN}{}", &text[..end], &text[end..]);
        }
        let all = tokens(text);
        let mut out = String::with_capacity(text.len() * 2);
        for (place, token) in all.iter().enumerate() {
            let called = all[place + 1..].iter().find(|next| next.kind != Kind::Space);
            let called = called.is_some_and(|next| next.text(text) == "(");
            match self.colour(token, text, called) {
                Some(colour) => {
                    out.push_str(colour);
                    out.push_str(token.text(text));
                    out.push_str(PLAIN);
                }
                None => out.push_str(token.text(text)),
            }
        }
        out
    }

    fn colour(&self, token: &Token, text: &str, called: bool) -> Option<&'static str> {
        match token.kind {
            Kind::Comment => Some(COMMENT),
            Kind::Text { .. } => Some(TEXT),
            Kind::Number => Some(NUMBER),
            Kind::Word | Kind::Name { .. } => {
                let name = token.name(text)?;
                if self.tables.contains(&name) {
                    Some(TABLE)
                } else if token.kind != Kind::Word {
                    None
                } else if called && self.functions.contains(&name.to_lowercase()) {
                    Some(FUNCTION)
                } else {
                    self.keywords.contains(&name.to_uppercase()).then_some(KEYWORD)
                }
            }
            Kind::Space | Kind::Sign => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn palette() -> Palette {
        Palette::new(["SELECT", "FROM", "LEFT"], ["left", "count"], ["pageView", "group by"])
    }

    fn unpainted(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('\x1b') {
            out.push_str(&rest[..start]);
            let end = rest[start..].find('m').map_or(rest.len(), |end| start + end + 1);
            rest = &rest[end..];
        }
        out + rest
    }

    #[test]
    fn each_word_has_the_colour_of_what_it_is() {
        let painted = palette().paint("select count(*), 'x', 1 from pageView -- end");
        for part in [
            "\x1b[1;34mselect\x1b[0m",
            "\x1b[36mcount\x1b[0m(",
            "\x1b[32m'x'\x1b[0m",
            "\x1b[33m1\x1b[0m",
            "\x1b[35mpageView\x1b[0m",
            "\x1b[2m-- end\x1b[0m",
        ] {
            assert!(painted.contains(part), "{part:?} in {painted:?}");
        }
    }

    #[test]
    fn a_keyword_that_is_called_is_a_function() {
        let painted = palette().paint("LEFT (x) LEFT JOIN \"group by\"");
        assert!(painted.starts_with("\x1b[36mLEFT\x1b[0m ("), "{painted:?}");
        assert!(painted.contains("\x1b[1;34mLEFT\x1b[0m JOIN"), "{painted:?}");
        assert!(painted.contains("\x1b[35m\"group by\"\x1b[0m"), "{painted:?}");
    }

    #[test]
    fn colours_change_no_letter() {
        for text in ["\\d pageView", "SELECT 'open", "é\n  FROM \"a", "/* x"] {
            assert_eq!(unpainted(&palette().paint(text)), text);
        }
    }
}
