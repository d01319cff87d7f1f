//! Lines of a web server's access log (`common` and `combined`), as fields with fixed names.

use std::borrow::Cow;

/// The names of the fields, in the order of [`fields`].
pub(super) const COLUMNS: [&str; 11] =
    ["host", "ident", "user", "time", "method", "target", "protocol", "status", "bytes", "referrer", "agent"];

/// The fields of one line; `-` stands for nothing and comes out empty. The error is what was expected where.
pub(super) fn fields(line: &str) -> Result<Vec<Cow<'_, str>>, String> {
    let mut rest = Rest { line, at: 0 };
    let mut fields = Vec::with_capacity(COLUMNS.len());
    for _ in 0..3 {
        fields.push(Cow::Borrowed(rest.word()?));
    }
    fields.push(Cow::Borrowed(rest.bracketed()?));
    let request = rest.quoted()?;
    match request {
        Cow::Borrowed(request) => fields.extend(parts(request).map(Cow::Borrowed)),
        Cow::Owned(request) => fields.extend(parts(&request).map(|part| Cow::Owned(part.to_owned()))),
    }
    fields.push(Cow::Borrowed(rest.word()?));
    fields.push(Cow::Borrowed(rest.word()?));
    if rest.is_done() {
        fields.extend([Cow::Borrowed(""), Cow::Borrowed("")]);
    } else {
        fields.push(rest.quoted()?);
        fields.push(rest.quoted()?);
    }
    if !rest.is_done() {
        return Err(format!("expected the end of the line at byte {}", rest.at));
    }
    for field in &mut fields {
        if field == "-" {
            *field = Cow::Borrowed("");
        }
    }
    Ok(fields)
}

/// Method, target and protocol of a request line; a request without them has only a target.
fn parts(request: &str) -> [&str; 3] {
    match request.split_once(' ') {
        Some((method, rest)) => match rest.rsplit_once(' ') {
            Some((target, protocol)) => [method, target, protocol],
            None => [method, rest, ""],
        },
        None => ["", request, ""],
    }
}

struct Rest<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Rest<'a> {
    fn rest(&self) -> &'a str {
        self.line.get(self.at..).unwrap_or("")
    }

    fn is_done(&self) -> bool {
        self.rest().trim_ascii().is_empty()
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_ascii_start().len();
    }

    fn word(&mut self) -> Result<&'a str, String> {
        self.skip_blanks();
        let word = self.rest().split_ascii_whitespace().next().ok_or_else(|| self.wrong("another field"))?;
        self.at += word.len();
        Ok(word)
    }

    fn bracketed(&mut self) -> Result<&'a str, String> {
        self.skip_blanks();
        let inner = self.rest().strip_prefix('[').ok_or_else(|| self.wrong("a time in brackets"))?;
        let (time, _) = inner.split_once(']').ok_or_else(|| self.wrong("a time in brackets"))?;
        self.at += time.len() + 2;
        Ok(time)
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>, String> {
        self.skip_blanks();
        let inner = self.rest().strip_prefix('"').ok_or_else(|| self.wrong("a text in quotes"))?;
        let mut built = String::new();
        let mut from = 0;
        let mut letters = inner.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.at += at + 2;
                    if built.is_empty() {
                        return Ok(Cow::Borrowed(&inner[from..at]));
                    }
                    built.push_str(&inner[from..at]);
                    return Ok(Cow::Owned(built));
                }
                '\\' => match letters.next() {
                    Some((_, '"')) => {
                        built.push_str(&inner[from..at]);
                        built.push('"');
                        from = at + 2;
                    }
                    // Other escapes stand for bytes that need not be text: they stay as they are written.
                    Some(_) => {}
                    None => break,
                },
                _ => {}
            }
        }
        Err(self.wrong("a text with a closing quote"))
    }

    fn wrong(&self, expected: &str) -> String {
        format!("expected {expected} at byte {}", self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_eleven_fields_and_a_dash_is_nothing() {
        let line = r#"1.2.3.4 - ann [17/May/2015:10:05:03 +0000] "GET /a b?c=1 HTTP/1.1" 200 - "-" "Bot \"x\" \x22""#;
        let want = [
            "1.2.3.4",
            "",
            "ann",
            "17/May/2015:10:05:03 +0000",
            "GET",
            "/a b?c=1",
            "HTTP/1.1",
            "200",
            "",
            "",
            "Bot \"x\" \\x22",
        ];
        assert_eq!(fields(line).unwrap(), want);
        assert_eq!(fields(&line[..line.find(" \"-\"").unwrap()]).unwrap()[9..], ["", ""]);
    }

    #[test]
    fn a_line_without_its_end_is_refused_with_the_place() {
        let line = r#"1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "Bot"#;
        assert_eq!(fields(line).unwrap_err(), "expected a text with a closing quote at byte 68");
        assert!(fields("nonsense").is_err());
    }
}
