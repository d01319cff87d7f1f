//! A cursor over the tokens of one statement that says in one voice what it expected and where.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Location;
use datafusion::sql::sqlparser::tokenizer::Token;
use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;
use datafusion::sql::sqlparser::tokenizer::Tokenizer;

use crate::analysis::any_token;
use crate::analysis::is_any;
use crate::error::Error;
use crate::error::Place;
use crate::error::Result;

/// The tokens of a statement without white space and comments.
#[derive(Debug)]
pub(crate) struct Cursor {
    tokens: Vec<TokenWithSpan>,
    at: usize,
    end: Place,
    text: String,
}

/// A name, and whether it was quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) quoted: bool,
}

impl Cursor {
    pub(crate) fn new(text: &str) -> Result<Self> {
        let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location().map_err(|fault| {
            Error::invalid(fault.message.to_lowercase().trim_end().to_owned()).at(place(fault.location))
        })?;
        let lines = text.lines().count().max(1);
        let column = text.lines().last().map_or(1, |line| line.chars().count() + 1);
        let end = Place { line: lines as u64, column: column as u64 };
        let tokens = tokens
            .into_iter()
            .filter(|one| !matches!(one.token, Token::Whitespace(_) | Token::EOF))
            .collect();
        Ok(Self { tokens, at: 0, end, text: text.to_owned() })
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|one| &one.token)
    }

    /// Whether the next tokens are these words, in any case; takes nothing.
    pub(crate) fn is(&self, words: &[&str]) -> bool {
        self.is_ahead(0, words)
    }

    /// The same of the tokens behind the next `skip`.
    pub(crate) fn is_ahead(&self, skip: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(ahead, word)| {
            matches!(self.tokens.get(self.at + skip + ahead).map(|one| &one.token),
                Some(Token::Word(found)) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
        })
    }

    /// Whether the next tokens are this word and an opening parenthesis.
    pub(crate) fn is_call(&self, word: &str) -> bool {
        self.is(&[word]) && self.tokens.get(self.at + 1).is_some_and(|one| one.token == Token::LParen)
    }

    /// Whether behind the next `skip` tokens a parenthesis opens that has one of these words in it, at any depth.
    pub(crate) fn is_group_with(&self, skip: usize, words: &[&[&str]]) -> bool {
        let mut depth = 0_usize;
        for (ahead, one) in self.tokens.iter().enumerate().skip(self.at + skip) {
            match one.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return false;
            }
            if words.iter().any(|words| self.is_ahead(ahead - self.at, words)) {
                return true;
            }
        }
        false
    }

    /// Takes the words if they come next.
    pub(crate) fn take(&mut self, words: &[&str]) -> bool {
        let comes = self.is(words);
        if comes {
            self.at += words.len();
        }
        comes
    }

    pub(crate) fn expect(&mut self, words: &[&str]) -> Result<()> {
        if self.take(words) { Ok(()) } else { Err(self.expected(&words.join(" "))) }
    }

    pub(crate) fn take_symbol(&mut self, symbol: &Token) -> bool {
        let comes = self.peek() == Some(symbol);
        if comes {
            self.at += 1;
        }
        comes
    }

    pub(crate) fn expect_symbol(&mut self, symbol: &Token) -> Result<()> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.expected(&format!("\"{symbol}\""))) }
    }

    /// Passes over what is left, for whoever reads it in another way.
    pub(crate) fn skip_rest(&mut self) {
        self.at = self.tokens.len();
    }

    /// The place of the last such word that is still to come.
    pub(crate) fn last_word(&self, word: &str) -> Option<Place> {
        let is_it = |one: &&TokenWithSpan| {
            matches!(&one.token,
            Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
        };
        self.tokens[self.at.min(self.tokens.len())..]
            .iter()
            .rev()
            .find(is_it)
            .map(|one| place(one.span.start))
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Whether the query is over: with the statement, or with the parenthesis around it.
    pub(crate) fn at_query_end(&self) -> bool {
        self.at_end() || self.is_symbol(&Token::RParen)
    }

    pub(crate) fn expect_end(&self) -> Result<()> {
        if self.at_end() { Ok(()) } else { Err(self.expected("the end of the statement")) }
    }

    /// Whether a name (quoted or not) comes next.
    pub(crate) fn is_name(&self) -> bool {
        matches!(self.peek(), Some(Token::Word(_)))
    }

    /// A name: a word, or anything in double quotes.
    pub(crate) fn name(&mut self, what: &str) -> Result<Name> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let name = Name { text: word.value.clone(), quoted: word.quote_style.is_some() };
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// A text in single quotes.
    pub(crate) fn text(&mut self, what: &str) -> Result<String> {
        match self.peek() {
            Some(Token::SingleQuotedString(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.expected(&format!("{what} in single quotes"))),
        }
    }

    /// A word, a text or a number, as text.
    pub(crate) fn value(&mut self, what: &str) -> Result<String> {
        let value = match self.peek() {
            Some(Token::Word(word)) => word.value.clone(),
            Some(Token::SingleQuotedString(text)) => text.clone(),
            Some(Token::Number(digits, _)) => digits.clone(),
            _ => return Err(self.expected(what)),
        };
        self.at += 1;
        Ok(value)
    }

    /// A whole number that is not negative.
    pub(crate) fn number<T: std::str::FromStr>(&mut self, what: &str) -> Result<T> {
        let number = match self.peek() {
            Some(Token::Number(digits, _)) => digits.parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| self.expected(what))?;
        self.at += 1;
        Ok(number)
    }

    /// An expression of SQL as it was typed: everything up to a comma, an unpaired `)` or one of the stops, outside
    /// parentheses and `CASE … END`.
    pub(crate) fn expression(&mut self, what: &str, stops: &[&[&str]]) -> Result<String> {
        self.expression_up_to(what, |cursor| stops.iter().any(|stop| cursor.is(stop)))
    }

    /// [`Cursor::expression`] up to where `stops` says so; the `AND` of a `BETWEEN` is never such a place.
    pub(crate) fn expression_up_to(&mut self, what: &str, stops: impl Fn(&Self) -> bool) -> Result<String> {
        let start = self.at;
        let (mut depth, mut cases, mut betweens) = (0_usize, 0_usize, 0_usize);
        while let Some(token) = self.peek() {
            match token {
                Token::LParen | Token::LBracket => depth += 1,
                Token::RParen | Token::RBracket if depth > 0 => depth -= 1,
                Token::RParen => break,
                Token::Comma if depth == 0 => break,
                _ if depth == 0 && self.is(&["CASE"]) => cases += 1,
                _ if depth == 0 && self.is(&["END"]) => cases = cases.saturating_sub(1),
                _ if depth == 0 && self.is(&["BETWEEN"]) => betweens += 1,
                _ if depth == 0 && betweens > 0 && self.is(&["AND"]) => betweens -= 1,
                _ if depth == 0 && cases == 0 && stops(self) => break,
                _ => {}
            }
            self.at += 1;
        }
        if self.at == start {
            return Err(self.expected(what));
        }
        let (first, last) = (self.tokens[start].span.start, self.tokens[self.at - 1].span.end);
        Ok(self.between(first, last).trim_end().to_owned())
    }

    /// The text from one location up to another.
    fn between(&self, from: Location, to: Location) -> &str {
        let offset = |wanted: Location| {
            let mut starts = self.text.split_inclusive('\n').scan(0, |at, line| {
                let start = *at;
                *at += line.len();
                Some((start, line))
            });
            let line = usize::try_from(wanted.line.saturating_sub(1)).unwrap_or(usize::MAX);
            let column = usize::try_from(wanted.column.saturating_sub(1)).unwrap_or(usize::MAX);
            starts.nth(line).map_or(self.text.len(), |(start, line)| {
                start + line.char_indices().nth(column).map_or(line.len(), |(at, _)| at)
            })
        };
        let (from, to) = (offset(from), offset(to));
        self.text.get(from..to.max(from)).unwrap_or_default()
    }

    /// What stands between the next token, if that is an opening parenthesis, and the one that closes it, as typed.
    pub(crate) fn parenthesised(&mut self) -> Result<Option<String>> {
        if !self.take_symbol(&Token::LParen) {
            return Ok(None);
        }
        let start = self.tokens.get(self.at).map(|one| one.span.start);
        let mut depth = 1;
        loop {
            match self.peek() {
                Some(Token::LParen) => depth += 1,
                Some(Token::RParen) => depth -= 1,
                Some(_) => {}
                None => return Err(self.expected("\")\"")),
            }
            let end = self.tokens[self.at].span.start;
            self.at += 1;
            if depth == 0 {
                return Ok(Some(self.between(start.unwrap_or(end), end).to_owned()));
            }
        }
    }

    /// An expression of SQL, as text, which ends where it cannot go on; one of these words ends it, too, outside
    /// parentheses.
    pub(crate) fn whole_expression(&mut self, ends: &[&[&str]]) -> Result<String> {
        let start = self.at;
        let mut depth = 0_usize;
        let mut end = self.tokens.len();
        let mut ahead = Self { text: String::new(), tokens: self.tokens.clone(), at: start, end: self.end };
        while let Some(token) = ahead.peek() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ if depth == 0 && ends.iter().any(|words| ahead.is(words)) => {
                    end = ahead.at;
                    break;
                }
                _ => {}
            }
            ahead.at += 1;
        }
        let mut tokens = self.tokens[start..end].to_vec();
        if tokens.is_empty() {
            return Err(self.expected("a condition"));
        }
        for at in 0..tokens.len() {
            let token = |at: Option<usize>| at.and_then(|at| tokens.get(at)).map(|one| &one.token);
            if is_any(&tokens[at].token, token(at.checked_sub(1)), token(Some(at + 1))) {
                tokens[at].token = any_token();
            }
        }
        let mut parser = Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens);
        if let Err(error) = parser.parse_expr() {
            let (ParserError::TokenizerError(said) | ParserError::ParserError(said)) = error else {
                return Err(Error::invalid("the condition is nested too deeply").at(self.place()));
            };
            self.at = (start + parser.index()).saturating_sub(1).max(start).min(end);
            let said = said.split(" at Line:").next().unwrap_or_default();
            let said = said.replace("Expected: ", "expected ").replace(", found: ", ", found ");
            return Err(Error::invalid(said.replace("found EOF", "found the end")).at(self.place()));
        }
        self.at = start + parser.index();
        let from = self.offset(self.tokens[start].span.start);
        let to = self.offset(self.tokens[self.at - 1].span.end);
        Ok(self.text.get(from..to).unwrap_or_default().to_owned())
    }

    /// Where in the text a place is, in bytes.
    fn offset(&self, at: Location) -> usize {
        let line_start: usize = self
            .text
            .split_inclusive('\n')
            .take(usize::try_from(at.line.saturating_sub(1)).unwrap_or(usize::MAX))
            .map(str::len)
            .sum();
        let column = usize::try_from(at.column.saturating_sub(1)).unwrap_or(usize::MAX);
        let rest = &self.text[line_start..];
        line_start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    }

    /// Everything from the next token on, as typed; passes over it.
    pub(crate) fn rest(&mut self) -> &str {
        let from = self.start();
        self.skip_rest();
        self.text[from..].trim_end()
    }

    /// Where the next token starts, in bytes.
    pub(crate) fn start(&self) -> usize {
        self.tokens.get(self.at).map_or(self.text.len(), |one| self.offset(one.span.start))
    }

    /// Where the last token taken ends, in bytes.
    pub(crate) fn stop(&self) -> usize {
        let last = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        last.map_or(0, |one| self.offset(one.span.end))
    }

    /// Whether this symbol comes next.
    pub(crate) fn is_symbol(&self, symbol: &Token) -> bool {
        self.peek() == Some(symbol)
    }

    /// Whether the token after the next is so.
    pub(crate) fn is_followed_by(&self, so: impl Fn(&Token) -> bool) -> bool {
        self.tokens.get(self.at + 1).is_some_and(|one| so(&one.token))
    }

    /// Whether this symbol comes behind the next `skip` tokens.
    pub(crate) fn is_symbol_ahead(&self, skip: usize, symbol: &Token) -> bool {
        self.ahead(skip) == Some(symbol)
    }

    /// Whether the text ends with the next `skip` tokens.
    pub(crate) fn is_end_ahead(&self, skip: usize) -> bool {
        self.ahead(skip).is_none()
    }

    /// The token behind the next `skip`.
    pub(crate) fn ahead(&self, skip: usize) -> Option<&Token> {
        self.tokens.get(self.at + skip).map(|one| &one.token)
    }

    /// Passes the next token by.
    pub(crate) fn skip(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += usize::from(token.is_some());
        token
    }

    /// The place of the next token.
    pub(crate) fn place(&self) -> Place {
        self.tokens.get(self.at).map_or(self.end, |one| place(one.span.start))
    }

    /// The error that says what was expected here and what stands here.
    pub(crate) fn expected(&self, what: &str) -> Error {
        let found = match self.peek() {
            Some(token) => format!("found \"{token}\""),
            None => "found the end of the statement".to_owned(),
        };
        Error::invalid(format!("expected {what}, {found}")).at(self.place())
    }
}

fn place(location: Location) -> Place {
    Place { line: location.line.max(1), column: location.column.max(1) }
}
