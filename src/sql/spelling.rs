//! How names are written in SQL, and the words that are none: one answer for `DESCRIBE`, completion and colours.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::ast::SelectItem;
use datafusion::sql::sqlparser::ast::SetExpr;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::ALL_KEYWORDS;
use datafusion::sql::sqlparser::keywords::ALL_KEYWORDS_INDEX;
use datafusion::sql::sqlparser::keywords::RESERVED_FOR_COLUMN_ALIAS;
use datafusion::sql::sqlparser::keywords::RESERVED_FOR_TABLE_ALIAS;
use datafusion::sql::sqlparser::parser::Parser;

use crate::quote::quoted;

/// The keywords that people type here, in order. The parser knows a thousand of every dialect, most of which lead
/// nowhere: they are not worth offering.
#[rustfmt::skip]
pub const KEYWORDS: [&str; 133] = [
    "ACTIVATE", "ADD", "ALL", "ALTER", "ANALYZE", "ANCHORING", "AND", "ANY", "ARRAY", "AS", "ASC", "BETWEEN",
    "BOOLEAN", "BRACKETS", "BY", "CALENDAR", "CASE", "CAST", "COMPUTED", "COUNTING", "CREATE", "CROSS",
    "CUBE", "CURRENT", "CURRENT_DATE", "CURRENT_TIMESTAMP", "DATE", "DATETIME", "DAY", "DEACTIVATE",
    "DECIMAL", "DESC", "DESCRIBE", "DESCRIPTION", "DISABLE", "DISTINCT", "ELSE", "ENABLE", "END", "EVENT",
    "EVENTS", "EXCEPT", "EXCLUDING", "EXISTS", "EXPLAIN", "EXPORT", "EXTRACT", "FALSE", "FILTER", "FIRST",
    "FOLLOWING", "FOR", "FROM", "FULL", "FUNNEL", "GROUP", "HAVING", "HISTOGRAM", "HOLDING", "IF", "ILIKE",
    "IN", "INNER", "INTERSECT", "INTERVAL", "INTO", "IS", "JOIN", "LAST", "LEFT", "LIFECYCLE", "LIKE",
    "LIMIT", "LIST", "LISTING", "MONTH", "NOT", "NULL", "NULLS", "NUMERIC", "OFFSET", "ON", "OR", "ORDER",
    "OUTER", "OVER", "OVERLAP", "PARTITION", "PATHS", "PER", "PERSONS", "PRECEDING", "QUALIFY", "RANGE",
    "RECURRING", "RECURSIVE", "REFRESH", "RETENTION", "RIGHT", "ROLLING", "ROLLUP", "ROW", "ROWS", "SCORE",
    "SEGMENT", "SEGMENTS", "SELECT", "SESSIONS", "SETS", "SHOW", "STICKINESS", "STRING", "TEMPLATE",
    "TEMPLATES", "THEN", "TIMESTAMP", "TITLE", "TO", "TREND", "TRUE", "TRY_CAST", "UNBOUNDED", "UNION",
    "UNNEST", "USING", "VALUES", "WEEK", "WHEN", "WHERE", "WINDOW", "WITH", "WITHIN", "ZONE",
];

/// A name as SQL needs it: in quotes only where SQL would otherwise read something else.
pub fn spelled(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { quoted(name) }
}

/// Whether SQL reads the bare name as a column and as a table of that name; the parser itself is asked. It is lenient
/// where nothing else can stand, so words that it reserves anywhere are quoted too.
fn is_plain(name: &str) -> bool {
    let keyword = ALL_KEYWORDS.binary_search(&name.to_ascii_uppercase().as_str()).ok();
    let keyword = keyword.and_then(|place| ALL_KEYWORDS_INDEX.get(place));
    if keyword.is_some_and(|word| {
        RESERVED_FOR_COLUMN_ALIAS.contains(word) || RESERVED_FOR_TABLE_ALIAS.contains(word)
    }) {
        return false;
    }
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let text = format!("SELECT {name}, 1 FROM {name}, t");
    let parsed = if letters { Parser::parse_sql(&GenericDialect {}, &text).ok() } else { None };
    let Some([Statement::Query(query)]) = parsed.as_deref() else {
        return false;
    };
    let SetExpr::Select(select) = query.body.as_ref() else {
        return false;
    };
    select.from.len() == 2
        && select.from[0].to_string() == name
        && matches!(&select.projection[..], [SelectItem::UnnamedExpr(Expr::Identifier(found)), _] if found.value == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_only_where_sql_would_read_something_else() {
        for plain in ["day", "path", "externalPersonId", "title", "name", "_x1"] {
            assert_eq!(spelled(plain), plain);
        }
        for odd in ["select", "from", "group", "1st", "a.b", "é", "", "null", "current_date"] {
            assert_eq!(spelled(odd), format!("\"{odd}\""));
        }
        assert_eq!(spelled("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn the_keywords_are_in_order_and_the_parser_knows_them_or_we_do() {
        assert!(KEYWORDS.is_sorted());
        let ours = [
            "ANCHORING",
            "ACTIVATE",
            "COMPUTED",
            "DEACTIVATE",
            "SCORE",
            "BRACKETS",
            "CALENDAR",
            "COUNTING",
            "DESCRIPTION",
            "EVENTS",
            "EXCLUDING",
            "EXPORT",
            "FUNNEL",
            "HISTOGRAM",
            "HOLDING",
            "LISTING",
            "LIFECYCLE",
            "OVERLAP",
            "PATHS",
            "PERSONS",
            "RECURRING",
            "REFRESH",
            "RETENTION",
            "ROLLING",
            "SEGMENT",
            "SEGMENTS",
            "SESSIONS",
            "STICKINESS",
            "TEMPLATE",
            "TEMPLATES",
            "TITLE",
            "TREND",
        ];
        for keyword in KEYWORDS {
            assert!(ours.contains(&keyword) || ALL_KEYWORDS.binary_search(&keyword).is_ok(), "{keyword}");
        }
    }
}
