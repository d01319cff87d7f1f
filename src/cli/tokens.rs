//! The words of a statement that is still being typed: what colours and completion look at. Never fails.

use std::ops::Range;

/// What a piece of the text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Space,
    Comment,
    /// A text in single quotes or between dollars; open when its end has not been typed.
    Text {
        open: bool,
    },
    /// A name in double quotes.
    Name {
        open: bool,
    },
    Number,
    /// A bare word: a keyword, a name, a function.
    Word,
    /// Any other single character.
    Sign,
}

/// A piece of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) range: Range<usize>,
}

impl Token {
    pub(crate) fn text<'a>(&self, whole: &'a str) -> &'a str {
        &whole[self.range.clone()]
    }

    /// The name that a word or a quoted name stands for.
    pub(crate) fn name(&self, whole: &str) -> Option<String> {
        let text = self.text(whole);
        match self.kind {
            Kind::Word => Some(text.to_owned()),
            Kind::Name { open } => {
                let inner = text.strip_prefix('"').unwrap_or(text);
                let inner = if open { inner } else { inner.strip_suffix('"').unwrap_or(inner) };
                Some(inner.replace("\"\"", "\""))
            }
            _ => None,
        }
    }

    pub(crate) fn is_word(&self, whole: &str, word: &str) -> bool {
        self.kind == Kind::Word && self.text(whole).eq_ignore_ascii_case(word)
    }
}

/// All of the text, in pieces without gaps.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (kind, length) = match first {
            c if c.is_whitespace() => (Kind::Space, run(rest, char::is_whitespace)),
            '-' if rest.starts_with("--") => (Kind::Comment, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (Kind::Comment, block_comment(rest)),
            '\'' => {
                let (length, open) = quoted(rest, '\'');
                (Kind::Text { open }, length)
            }
            '"' => {
                let (length, open) = quoted(rest, '"');
                (Kind::Name { open }, length)
            }
            '$' if dollar_tag(rest).is_some() => {
                let tag = dollar_tag(rest).unwrap_or(rest);
                let end = rest[tag.len()..].find(tag).map(|end| end + 2 * tag.len());
                (Kind::Text { open: end.is_none() }, end.unwrap_or(rest.len()))
            }
            c if c.is_ascii_digit() => {
                (Kind::Number, run(rest, |c| c.is_ascii_alphanumeric() || c == '.' || c == '_'))
            }
            c if is_word_start(c) => (Kind::Word, run(rest, is_word)),
            c => (Kind::Sign, c.len_utf8()),
        };
        tokens.push(Token { kind, range: at..at + length });
        at += length;
    }
    tokens
}

pub(crate) fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c: char| !belongs(c)).unwrap_or(text.len())
}

/// The opening tag of a text between dollars: `$$` or `$tag$`.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = text[1..].find(|c: char| !(c.is_alphanumeric() || c == '_'))? + 1;
    text[end..].starts_with('$').then(|| &text[..=end])
}

/// How long a comment is; comments hold comments.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// How long a quoted piece is, and whether its end is missing; a doubled quote stands for itself.
fn quoted(text: &str, quote: char) -> (usize, bool) {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return (at + 1, false);
        }
    }
    (text.len(), true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, &str)> {
        let all = tokens(text);
        all.into_iter().filter(|one| one.kind != Kind::Space).map(|one| (one.kind, one.text(text))).collect()
    }

    #[test]
    fn a_statement_falls_into_its_words() {
        assert_eq!(
            kinds("SELECT \"a\"\"b\", 'it''s' -- note\n/* a /* b */ c */ 1.5e3+é"),
            [
                (Kind::Word, "SELECT"),
                (Kind::Name { open: false }, "\"a\"\"b\""),
                (Kind::Sign, ","),
                (Kind::Text { open: false }, "'it''s'"),
                (Kind::Comment, "-- note"),
                (Kind::Comment, "/* a /* b */ c */"),
                (Kind::Number, "1.5e3"),
                (Kind::Sign, "+"),
                (Kind::Word, "é"),
            ]
        );
    }

    #[test]
    fn what_is_not_closed_yet_is_open() {
        assert_eq!(kinds("'it''"), [(Kind::Text { open: true }, "'it''")]);
        assert_eq!(kinds("\"group b"), [(Kind::Name { open: true }, "\"group b")]);
        assert_eq!(kinds("/* a"), [(Kind::Comment, "/* a")]);
    }

    #[test]
    fn a_text_between_dollars_is_one_piece() {
        assert_eq!(kinds("$$a;'b$$"), [(Kind::Text { open: false }, "$$a;'b$$")]);
        assert_eq!(kinds("$t$a$$b$t$"), [(Kind::Text { open: false }, "$t$a$$b$t$")]);
        assert_eq!(kinds("$1"), [(Kind::Sign, "$"), (Kind::Number, "1")]);
    }

    #[test]
    fn a_quoted_name_stands_for_what_is_inside() {
        let text = "\"a\"\"b\"";
        assert_eq!(tokens(text)[0].name(text).as_deref(), Some("a\"b"));
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_text(text in "[-a$'\"/*; \né0.]{0,30}") {
            let joined: String = tokens(&text).iter().map(|token| token.text(&text)).collect();
            prop_assert_eq!(joined, text);
        }
    }
}
