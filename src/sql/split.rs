//! Where one statement ends and the next begins: at a `;` outside strings, quoted names and comments.

use crate::error::Place;

/// One statement of a text, without its `;`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) text: &'a str,
    /// Where the text starts; its own first character is the first that is not white space.
    pub(crate) place: Place,
    /// Whether a `;` ended it.
    pub(crate) ended: bool,
}

/// What the scanner is inside of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    Text,
    Name,
    LineComment,
    /// How many `/*` are open.
    BlockComment(u32),
    /// Between dollars, without an end.
    Dollars,
}

/// The statements of a text; pieces of white space and comments alone are left out.
pub(crate) fn split(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut scan = Scan { inside: Inside::Code, start: None, has_code: false };
    let mut place = Place { line: 1, column: 1 };
    let mut skip = 0;
    for (at, c) in text.char_indices() {
        if skip > 0 {
            skip -= 1;
        } else {
            let next = text[at + c.len_utf8()..].chars().next();
            if scan.inside == Inside::Code && c == ';' {
                scan.finish(&text[..at], true, &mut pieces);
            } else {
                skip = scan.step(c, next, at, place);
                if scan.inside == Inside::Code && c == '$' {
                    skip = scan.dollars(text, at);
                }
            }
        }
        place = if c == '\n' {
            Place { line: place.line + 1, column: 1 }
        } else {
            Place { column: place.column + 1, ..place }
        };
    }
    scan.finish(text, false, &mut pieces);
    pieces
}

/// Whether a text typed so far ends with a finished statement (or holds nothing to run).
pub fn is_complete(text: &str) -> bool {
    split(text).last().is_none_or(|piece| piece.ended)
}

struct Scan {
    inside: Inside,
    start: Option<(usize, Place)>,
    has_code: bool,
}

impl Scan {
    /// Takes one character; says how many of the following ones belong to it.
    fn step(&mut self, c: char, next: Option<char>, at: usize, place: Place) -> u32 {
        if self.start.is_none() && !c.is_whitespace() {
            self.start = Some((at, place));
        }
        match (self.inside, c, next) {
            (Inside::Code, '-', Some('-')) => self.enter(Inside::LineComment, 1),
            (Inside::Code, '/', Some('*')) => self.enter(Inside::BlockComment(1), 1),
            (Inside::Code, _, _) => {
                self.has_code |= !c.is_whitespace();
                match c {
                    '\'' => self.enter(Inside::Text, 0),
                    '"' => self.enter(Inside::Name, 0),
                    _ => 0,
                }
            }
            // A doubled quote leaves and enters at once, which is what it means here.
            (Inside::Text, '\'', _) | (Inside::Name, '"', _) => self.enter(Inside::Code, 0),
            (Inside::LineComment, '\n', _) => self.enter(Inside::Code, 0),
            (Inside::BlockComment(depth), '/', Some('*')) => self.enter(Inside::BlockComment(depth + 1), 1),
            (Inside::BlockComment(1), '*', Some('/')) => self.enter(Inside::Code, 1),
            (Inside::BlockComment(depth), '*', Some('/')) => self.enter(Inside::BlockComment(depth - 1), 1),
            _ => 0,
        }
    }

    /// Takes a text between dollars, `$$…$$` or `$tag$…$tag$`, if one begins here.
    fn dollars(&mut self, text: &str, at: usize) -> u32 {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let rest = &text[at..];
        let end = rest[1..].find(|c| !is_word(c)).map_or(rest.len(), |end| end + 1);
        let goes_on = text[..at].ends_with(|c| is_word(c) || c == '$');
        if goes_on || !rest[end..].starts_with('$') {
            return 0;
        }
        let tag = &rest[..=end];
        match rest[tag.len()..].find(tag) {
            Some(length) => {
                let taken = rest[..tag.len() + length + tag.len()].chars().count() - 1;
                u32::try_from(taken).unwrap_or(u32::MAX)
            }
            None => self.enter(Inside::Dollars, 0),
        }
    }

    fn enter(&mut self, inside: Inside, skip: u32) -> u32 {
        self.inside = inside;
        skip
    }

    fn finish<'a>(&mut self, upto: &'a str, ended: bool, pieces: &mut Vec<Piece<'a>>) {
        let open =
            matches!(self.inside, Inside::Text | Inside::Name | Inside::BlockComment(_) | Inside::Dollars);
        if let Some((start, place)) = self.start.take()
            && (self.has_code || open)
        {
            pieces.push(Piece { text: upto[start..].trim_end(), place, ended });
        }
        self.has_code = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        split(text).iter().map(|piece| piece.text).collect()
    }

    #[test]
    fn a_semicolon_in_a_text_a_name_or_a_comment_ends_nothing() {
        assert_eq!(
            texts("SELECT ';', \"a;b\" -- not; here\n/* nor; /* nested; */ here; */ ; SELECT 2"),
            ["SELECT ';', \"a;b\" -- not; here\n/* nor; /* nested; */ here; */", "SELECT 2"]
        );
        assert_eq!(texts("SELECT 'it''s;';"), ["SELECT 'it''s;'"]);
    }

    #[test]
    fn a_text_between_dollars_holds_semicolons_and_quotes() {
        assert_eq!(texts("SELECT $$a;'b$$; SELECT $t$;$$;$t$"), ["SELECT $$a;'b$$", "SELECT $t$;$$;$t$"]);
        assert_eq!(texts("SELECT a$b$; SELECT $1; SELECT 2"), ["SELECT a$b$", "SELECT $1", "SELECT 2"]);
        assert!(!is_complete("SELECT $$open;"));
        assert!(is_complete("SELECT $$closed;$$;"));
    }

    #[test]
    fn comments_alone_are_no_statement() {
        assert_eq!(texts("-- nothing\n; /* here */ ;"), Vec::<&str>::new());
    }

    #[test]
    fn each_piece_knows_its_place() {
        let pieces = split("SELECT 1;\n  SELECT 'é' ; SELECT 3");
        let places: Vec<_> = pieces.iter().map(|piece| (piece.place.line, piece.place.column)).collect();
        assert_eq!(places, [(1, 1), (2, 3), (2, 16)]);
    }

    #[test]
    fn a_statement_is_complete_at_its_semicolon_only() {
        assert!(is_complete("SELECT 1;"));
        assert!(is_complete("  -- nothing yet"));
        assert!(!is_complete("SELECT 1"));
        assert!(!is_complete("SELECT 'open ;"));
        assert!(!is_complete("SELECT 1; SELECT"));
        assert!(!is_complete("/* open ;"));
    }
}
