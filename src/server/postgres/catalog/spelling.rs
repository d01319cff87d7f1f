//! Questions about `pg_catalog` as clients spell them, in plain SQL: operators with a schema, collations, casts to types
//! that are names, arrays in braces; and what asks only for things that there are none of here.

use std::fmt::Write;

/// Words that make a text one of these questions, when they stand outside of strings.
const WORDS: [&str; 22] = [
    "pg_catalog",
    "pg_class",
    "pg_namespace",
    "pg_attribute",
    "pg_type",
    "pg_database",
    "pg_roles",
    "pg_user",
    "pg_proc",
    "pg_tables",
    "pg_views",
    "pg_settings",
    "pg_am",
    "pg_description",
    "pg_index",
    "pg_constraint",
    "pg_backend_pid",
    "pg_is_in_recovery",
    "pg_get_userbyid",
    "pg_table_is_visible",
    "pg_enum",
    "pg_range",
];
/// Tables that are empty here; a question that needs a row of theirs has no answer.
const NONE_HERE: [&str; 24] = [
    "pg_policy",
    "pg_statistic_ext",
    "pg_publication",
    "pg_publication_rel",
    "pg_publication_namespace",
    "pg_inherits",
    "pg_trigger",
    "pg_rewrite",
    "pg_constraint",
    "pg_index",
    "pg_foreign_table",
    "pg_foreign_server",
    "pg_sequence",
    "pg_enum",
    "pg_range",
    "pg_extension",
    "pg_event_trigger",
    "pg_subscription",
    "pg_opclass",
    "pg_depend",
    "pg_aggregate",
    "pg_matviews",
    "pg_partitioned_table",
    "pg_stat_activity",
];
/// Those and others, whose rows scalar questions look for.
const NO_ROWS: [&str; 4] = ["pg_attrdef", "pg_collation", "pg_description", "pg_type"];
/// Types whose casts mean nothing here.
const NAMES: [&str; 9] = [
    "regclass",
    "regtype",
    "regproc",
    "regnamespace",
    "regrole",
    "oid",
    "name",
    "char",
    "information_schema.sql_identifier",
];

/// A question in our words.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Sql(String),
    /// There is nothing of that kind.
    Nothing,
}

pub(super) fn is_asked(text: &str) -> bool {
    let (plain, _) = without_strings(text);
    WORDS.iter().any(|word| has_word(&plain, word).is_some())
}

pub(super) fn read(text: &str) -> Asked {
    let (mut plain, strings) = without_strings(text);
    plain = plain.trim().trim_end_matches(';').to_owned();
    plain = plain.replace("pg_catalog.", "");
    plain = operators(&plain);
    plain = collations(&plain);
    plain = plain.replace("pg_get_function_result(p.oid)", "p.prorettext");
    plain = plain.replace("pg_get_function_arguments(p.oid)", "p.proargtext");
    plain = subqueries(&plain);
    if NONE_HERE.iter().any(|table| has_word(&plain, table).is_some_and(|at| !is_outer(&plain[..at]))) {
        return Asked::Nothing;
    }
    plain = escapes(&plain, &strings);
    plain = casts(&plain, &strings);
    Asked::Sql(with_strings(&plain, &strings))
}

/// The text in small letters and with single blanks, its strings and quoted names taken out: `\u{1}3\u{2}` is the fourth.
fn without_strings(text: &str) -> (String, Vec<String>) {
    let (mut plain, mut strings) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let mut cut = first.len_utf8();
        match first {
            '\'' | '"' => {
                let escapes = first == '\'' && plain.ends_with('e') && !word_before(&plain);
                let (end, inner) = quoted(rest, first, escapes);
                if escapes {
                    plain.pop();
                }
                cut = end;
                let _ = write!(plain, "\u{1}{}\u{2}", strings.len());
                strings.push(inner);
            }
            '-' if rest.starts_with("--") => {
                cut = rest.find('\n').unwrap_or(rest.len());
            }
            '/' if rest.starts_with("/*") => {
                cut = rest.find("*/").map_or(rest.len(), |at| at + 2);
            }
            blank if blank.is_whitespace() => {
                if !plain.ends_with(' ') {
                    plain.push(' ');
                }
            }
            other => plain.extend(other.to_lowercase()),
        }
        rest = &rest[cut..];
    }
    (plain, strings)
}

/// Whether the `e` at the end is the end of a longer word.
fn word_before(plain: &str) -> bool {
    plain.chars().rev().nth(1).is_some_and(|one| one.is_alphanumeric() || one == '_')
}

/// Where a quoted part ends, and the part in plain spelling.
fn quoted(text: &str, quote: char, escapes: bool) -> (usize, String) {
    let mut inner = String::from(quote);
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, one)) = chars.next() {
        if escapes && one == '\\' {
            match chars.next() {
                Some((_, 'n')) => inner.push('\n'),
                Some((_, 't')) => inner.push('\t'),
                Some((_, '\'')) => inner.push_str("''"),
                Some((_, other)) => inner.push(other),
                None => {}
            }
        } else if one == quote {
            inner.push(quote);
            if chars.peek().is_some_and(|(_, next)| *next == quote) {
                inner.push(quote);
                chars.next();
            } else {
                return (at + 1, inner);
            }
        } else {
            inner.push(one);
        }
    }
    inner.push(quote);
    (text.len(), inner)
}

fn with_strings(plain: &str, strings: &[String]) -> String {
    let mut out = String::with_capacity(plain.len() * 2);
    for (at, part) in plain.split('\u{1}').enumerate() {
        match part.split_once('\u{2}') {
            Some((number, rest)) if at > 0 => {
                let string = number.parse().ok().and_then(|number: usize| strings.get(number));
                out.push_str(string.map_or("", String::as_str));
                out.push_str(rest);
            }
            _ => out.push_str(part),
        }
    }
    out
}

/// `LIKE pattern ESCAPE '/'` with the only character that may escape here, the backslash.
fn escapes(plain: &str, strings: &[String]) -> String {
    const LIKE: &str = "like ";
    const ESCAPE: &str = " escape \u{1}";
    let mut out = String::with_capacity(plain.len());
    let mut rest = plain;
    while let Some(at) = rest.find(ESCAPE) {
        let behind = &rest[at + ESCAPE.len()..];
        let found = rest[..at].rfind(LIKE).zip(behind.split_once('\u{2}'));
        let Some((like, (number, after))) = found else { break };
        let escape = number.parse().ok().and_then(|number: usize| strings.get(number));
        let (before, pattern) = rest[..at].split_at(like + LIKE.len());
        let escape = escape.map_or("''", String::as_str);
        out.push_str(&format!("{before}replace({pattern}, {escape}, '\\')"));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Where a word stands by itself.
fn has_word(plain: &str, word: &str) -> Option<usize> {
    let part = |one: char| one.is_alphanumeric() || one == '_';
    plain.match_indices(word).map(|(at, _)| at).find(|at| {
        let before = plain[..*at].chars().next_back();
        let after = plain[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// Whether what follows is joined to rows that stay without it.
fn is_outer(before: &str) -> bool {
    let before = before.trim_end();
    before.ends_with("left join") || before.ends_with("left outer join")
}

/// `OPERATOR(pg_catalog.~)` is `~`.
fn operators(plain: &str) -> String {
    let mut out = String::new();
    let mut rest = plain;
    while let Some(at) = rest.find("operator(") {
        let (before, after) = rest.split_at(at);
        let inner = &after["operator(".len()..];
        let Some(end) = inner.find(')') else { break };
        out.push_str(before);
        out.push_str(&inner[..end]);
        rest = &inner[end + 1..];
    }
    out + rest
}

/// Everything is compared by bytes.
fn collations(plain: &str) -> String {
    let mut out = String::new();
    let mut rest = plain;
    while let Some(at) = rest.find(" collate ") {
        out.push_str(&rest[..at]);
        let after = &rest[at + " collate ".len()..];
        let end = match after.starts_with('\u{1}') {
            true => after.find('\u{2}').map_or(after.len(), |end| end + 1),
            false => after.find(|one: char| !one.is_alphanumeric() && one != '_').unwrap_or(after.len()),
        };
        rest = &after[end..];
    }
    out + rest
}

/// Where the parenthesis that is open at the start is closed.
fn closed(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, one) in text.char_indices() {
        match one {
            '(' => depth += 1,
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// A value that is looked for in a table without rows is NULL, and there is no such row.
fn subqueries(plain: &str) -> String {
    let mut out = String::new();
    let mut rest = plain;
    while let Some(at) = rest.find("(select ").into_iter().chain(rest.find("( select ")).min() {
        let (before, after) = rest.split_at(at);
        let words = before.trim_end();
        let is_table = words.ends_with("from") || words.ends_with("join") || words.ends_with(" in");
        let end = closed(after);
        let inner = end.map(|end| &after[..=end]);
        let empty = inner.is_some_and(|inner| {
            NONE_HERE.iter().chain(&NO_ROWS).any(|table| has_word(inner, table).is_some())
        });
        match (empty && !is_table, end) {
            (true, Some(end)) => {
                let exists = words.ends_with("exists");
                out.push_str(if exists { &words[..words.len() - "exists".len()] } else { before });
                out.push_str(if exists { "false" } else { "null" });
                rest = &after[end + 1..];
            }
            _ => {
                out.push_str(before);
                out.push('(');
                rest = &after[1..];
            }
        }
    }
    out + rest
}

/// Casts to names are left out, an array in braces becomes one, and a table's name its number.
fn casts(plain: &str, strings: &[String]) -> String {
    let mut out = String::new();
    let mut rest = plain;
    while let Some(at) = rest.find("::") {
        out.push_str(&rest[..at]);
        let after = &rest[at + 2..];
        let quoted = after.starts_with('\u{1}');
        let end = match quoted {
            true => after.find('\u{2}').map_or(after.len(), |end| end + 1),
            false => after
                .find(|one: char| !one.is_alphanumeric() && one != '_' && one != '.')
                .unwrap_or(after.len()),
        };
        let (mut kind, mut left) = after.split_at(end);
        let array = left.starts_with("[]");
        if array {
            left = &left[2..];
        }
        if quoted {
            kind = "char";
        }
        let string = last_string(&out);
        match string {
            Some((start, number)) if array => {
                let text = strings.get(number).cloned().unwrap_or_default();
                out.truncate(start);
                out.push_str(&braces(&text));
            }
            Some((start, number)) if kind == "regclass" => {
                let text = strings.get(number).cloned().unwrap_or_default();
                let name = text.trim_matches('\'').rsplit('.').next().unwrap_or_default().replace('"', "");
                out.truncate(start);
                let _ = write!(out, "(select max(oid) from pg_class where relname = '{name}')");
            }
            _ if array || NAMES.contains(&kind) => {}
            _ => {
                out.push_str("::");
                out.push_str(kind);
            }
        }
        rest = left;
    }
    out + rest
}

/// The string that a text ends with: where it starts, and its number.
fn last_string(text: &str) -> Option<(usize, usize)> {
    let inner = text.strip_suffix('\u{2}')?;
    let start = inner.rfind('\u{1}')?;
    Some((start, inner[start + 1..].parse().ok()?))
}

/// `'{a,"b"}'` is `array['a','b']`.
fn braces(string: &str) -> String {
    let inner = string.trim_matches('\'').trim_start_matches('{').trim_end_matches('}');
    let items = inner.split(',').filter(|item| !item.is_empty());
    let items: Vec<String> = items.map(|item| format!("'{}'", item.trim_matches('"'))).collect();
    format!("array[{}]", items.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(text: &str) -> String {
        match read(text) {
            Asked::Sql(sql) => sql,
            Asked::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn any_character_may_escape_in_a_pattern() {
        assert_eq!(
            sql("SELECT n FROM pg_namespace WHERE n NOT LIKE 'pg/_' || '%' ESCAPE '/' ORDER BY n"),
            "select n from pg_namespace where n not like replace('pg/_' || '%', '/', '\\') order by n"
        );
    }

    #[test]
    fn spellings_of_clients_become_plain_sql() {
        assert_eq!(
            sql(
                "SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relname OPERATOR(pg_catalog.~) '^(Seat)$' COLLATE pg_catalog.default;"
            ),
            "select c.oid from pg_class c where c.relname ~ '^(Seat)$'"
        );
        assert_eq!(
            sql("SELECT 'a.\"B\"'::regclass, x::pg_catalog.text, y::oid"),
            "select (select max(oid) from pg_class where relname = 'B'), x::text, y"
        );
        assert_eq!(
            sql("WHERE relkind = ANY ('{r,p}'::VARCHAR[]) AND E'\\n' = \"E\""),
            "where relkind = any (array['r','p']) and '\n' = \"E\""
        );
        assert_eq!(
            sql(
                "SELECT (SELECT d.adbin FROM pg_attrdef d WHERE (a)), EXISTS (SELECT 1 FROM pg_policy) FROM pg_class"
            ),
            "select null, false from pg_class"
        );
        assert_eq!(sql("SELECT 1 FROM pg_class c, pg_inherits i"), "nothing");
        assert_eq!(
            sql("SELECT 1 FROM pg_class c LEFT JOIN pg_index i ON TRUE"),
            "select 1 from pg_class c left join pg_index i on true"
        );
    }

    #[test]
    fn only_words_outside_of_strings_make_a_question_of_this_kind() {
        assert!(is_asked("SELECT * FROM PG_CLASS") && is_asked("select pg_catalog.version()"));
        assert!(!is_asked("SELECT 'pg_class'") && !is_asked("SELECT my_pg_class FROM x -- pg_class"));
    }
}
