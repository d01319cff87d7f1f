//! What could stand at the cursor: tables after FROM, the columns of the statement's tables, functions, keywords, ids.

use crate::cli::tokens::Kind;
use crate::cli::tokens::Token;
use crate::cli::tokens::tokens;
use crate::engine::Names;
use crate::sql::KEYWORDS;
use crate::sql::quoted;
use crate::sql::spelled;

/// What to offer, and from which byte of the text on it takes the place of what was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) start: usize,
    pub(crate) candidates: Vec<Candidate>,
}

/// One thing that could stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// As the list shows it.
    pub(crate) shown: String,
    /// As it is typed: quoted where SQL needs it.
    pub(crate) typed: String,
}

/// How a statement may begin.
const BEGINNINGS: [&str; 11] = [
    "SELECT",
    "WITH",
    "EXPLAIN",
    "SHOW EVENTS",
    "SHOW TEMPLATES",
    "DESCRIBE",
    "CREATE EVENT",
    "ALTER EVENT",
    "ENABLE EVENT",
    "DISABLE EVENT",
    "EXPORT EVENTS",
];

/// Words after which a table is named, and after which an event is.
const BEFORE_TABLE: [&str; 5] = ["FROM", "JOIN", "DESCRIBE", "DESC", "TABLE"];
const BEFORE_EVENT: [&str; 2] = ["EVENT", "EVENTS"];

/// Words that end a list of tables, so that a comma after them is about something else.
const AFTER_TABLES: [&str; 13] = [
    "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "UNION", "SELECT", "ON", "USING", "JOIN", "WINDOW",
    "QUALIFY", "OFFSET",
];

/// What could stand at byte `cursor` of `text`.
pub(crate) fn offer(text: &str, cursor: usize, names: &Names) -> Offer {
    let Some(at) = At::find(text, cursor) else {
        return Offer { start: cursor, candidates: Vec::new() };
    };
    let mut candidates = Candidates { prefix: &at.prefix, quoted: at.quoted, found: Vec::new() };
    match at.inside {
        Inside::Text => {
            for id in &names.definitions {
                candidates.add(id, format!("'{id}'"));
            }
        }
        Inside::Code => at.code(names, &mut candidates),
    }
    Offer { start: at.start, candidates: candidates.found }
}

/// The rest of the only candidate, if there is one only and it goes on from what was typed.
pub(crate) fn rest(text: &str, cursor: usize, names: &Names) -> Option<String> {
    let offer = offer(text, cursor, names);
    let typed = text.get(offer.start..cursor)?;
    match offer.candidates.as_slice() {
        [only] if typed.len() >= 2 => {
            only.typed.strip_prefix(typed).filter(|rest| !rest.is_empty()).map(str::to_owned)
        }
        _ => None,
    }
}

enum Inside {
    Code,
    /// A text in quotes: ids of events are often there.
    Text,
}

/// The cursor in its statement.
struct At<'a> {
    text: &'a str,
    /// The tokens of the statement, without space and comments.
    statement: Vec<Token>,
    /// How many of them stand before what is being typed.
    before: usize,
    start: usize,
    prefix: String,
    inside: Inside,
    /// A quote has been typed, so the name comes in quotes whether it needs them or not.
    quoted: bool,
}

impl<'a> At<'a> {
    fn find(text: &'a str, cursor: usize) -> Option<Self> {
        let all = tokens(text);
        let ends = |one: &Token| one.kind == Kind::Sign && one.text(text) == ";";
        let first =
            all.iter().rposition(|one| one.range.end <= cursor && ends(one)).map_or(0, |place| place + 1);
        let last = all.iter().position(|one| one.range.start >= cursor && ends(one)).unwrap_or(all.len());
        let touched = all.iter().find(|one| one.range.start < cursor && cursor <= one.range.end);
        let (start, inside, quoted) = match touched {
            Some(token) => match token.kind {
                Kind::Word => (token.range.start, Inside::Code, false),
                Kind::Name { open } if open || cursor < token.range.end => {
                    (token.range.start, Inside::Code, true)
                }
                Kind::Text { open } if open || cursor < token.range.end => {
                    (token.range.start, Inside::Text, true)
                }
                Kind::Comment if !token.text(text).ends_with("*/") || cursor < token.range.end => {
                    return None;
                }
                Kind::Number | Kind::Name { .. } | Kind::Text { .. } => return None,
                Kind::Comment | Kind::Space | Kind::Sign => (cursor, Inside::Code, false),
            },
            None => (cursor, Inside::Code, false),
        };
        let statement: Vec<Token> = all[first..last]
            .iter()
            .filter(|one| !matches!(one.kind, Kind::Space | Kind::Comment))
            .cloned()
            .collect();
        let before = statement.iter().filter(|one| one.range.end <= start).count();
        let prefix = text[start..cursor].trim_start_matches(['"', '\'']).to_owned();
        Some(Self { text, statement, before, start, prefix, inside, quoted })
    }

    fn code(&self, names: &Names, candidates: &mut Candidates<'_>) {
        let (path, place) = self.path();
        let previous = place.checked_sub(1).and_then(|place| self.statement.get(place));
        let after = |words: &[&str]| {
            previous.is_some_and(|token| words.iter().any(|word| token.is_word(self.text, word)))
        };
        let names_table = after(&BEFORE_TABLE) || self.continues_tables(place);
        if !path.is_empty() {
            let path = path.join(".");
            if names_table {
                let prefix = format!("{path}.");
                for (table, _) in &names.tables {
                    if let Some(rest) = table.strip_prefix(&prefix) {
                        candidates.name(rest);
                    }
                }
            } else {
                let used = self.tables();
                let table = used.iter().find(|one| one.is_called(&path)).map_or(path, |one| one.name.clone());
                candidates.columns(&table, names);
            }
        } else if names_table {
            for (table, _) in &names.tables {
                candidates.dotted(table);
            }
        } else if after(&BEFORE_EVENT) {
            for id in &names.definitions {
                candidates.name(id);
            }
        } else if place == 0 && !self.quoted {
            for beginning in BEGINNINGS {
                candidates.keyword(beginning);
            }
        } else {
            for table in self.tables() {
                candidates.columns(&table.name, names);
                if let Some(alias) = &table.alias {
                    candidates.name(alias);
                }
            }
            if !self.quoted && !self.prefix.is_empty() {
                for (function, _) in &names.functions {
                    candidates.add(function, format!("{function}("));
                }
                for keyword in KEYWORDS {
                    candidates.keyword(keyword);
                }
                for (table, _) in &names.tables {
                    candidates.dotted(table);
                }
            }
        }
    }

    /// The names with dots behind them right before the cursor, and the place where they begin.
    fn path(&self) -> (Vec<String>, usize) {
        let mut path = Vec::new();
        let mut place = self.before;
        while let [.., name, dot] = &self.statement[..place]
            && dot.text(self.text) == "."
            && let Some(name) = name.name(self.text)
        {
            path.insert(0, name);
            place -= 2;
        }
        (path, place)
    }

    /// Whether what stands before this place is a list of tables and a comma.
    fn continues_tables(&self, place: usize) -> bool {
        let before = &self.statement[..place];
        let after_comma = before.last().is_some_and(|token| token.text(self.text) == ",");
        let clause = before.iter().rev().find(|token| {
            token.is_word(self.text, "FROM") || AFTER_TABLES.iter().any(|word| token.is_word(self.text, word))
        });
        after_comma && clause.is_some_and(|token| token.is_word(self.text, "FROM"))
    }

    /// The tables that the statement names, wherever the cursor is.
    fn tables(&self) -> Vec<Used> {
        let mut used = Vec::new();
        let mut place = 0;
        while place < self.statement.len() {
            let token = &self.statement[place];
            place += 1;
            if token.is_word(self.text, "FROM") || token.is_word(self.text, "JOIN") {
                while let Some(one) = self.table(&mut place) {
                    used.push(one);
                    if self.statement.get(place).is_none_or(|next| next.text(self.text) != ",") {
                        break;
                    }
                    place += 1;
                }
            }
        }
        used
    }

    /// One table with its alias, and the place moved behind them.
    fn table(&self, place: &mut usize) -> Option<Used> {
        let mut name = self.statement.get(*place)?.name(self.text)?;
        *place += 1;
        while let [dot, next, ..] = &self.statement[*place..]
            && dot.text(self.text) == "."
            && let Some(next) = next.name(self.text)
        {
            name = format!("{name}.{next}");
            *place += 2;
        }
        let explicit = self.statement.get(*place).is_some_and(|token| token.is_word(self.text, "AS"));
        *place += usize::from(explicit);
        let alias = self.statement.get(*place).and_then(|token| token.name(self.text));
        let alias = alias.filter(|alias| spelled(alias) == *alias && !is_clause(alias));
        *place += usize::from(alias.is_some());
        Some(Used { name, alias })
    }
}

/// A table that a statement names.
struct Used {
    name: String,
    alias: Option<String>,
}

impl Used {
    fn is_called(&self, name: &str) -> bool {
        self.alias.as_deref() == Some(name) || self.name == name
    }
}

/// Words that may follow a table and are no alias, although SQL would take them as names elsewhere.
fn is_clause(word: &str) -> bool {
    ["INNER", "LEFT", "RIGHT", "FULL", "CROSS", "NATURAL", "TO", "INTO"]
        .iter()
        .chain(&AFTER_TABLES)
        .any(|clause| clause.eq_ignore_ascii_case(word))
}

struct Candidates<'a> {
    prefix: &'a str,
    quoted: bool,
    found: Vec<Candidate>,
}

impl Candidates<'_> {
    /// Offers `shown` if it begins as typed, in any case.
    fn add(&mut self, shown: &str, typed: String) {
        let begins = shown
            .get(..self.prefix.len())
            .is_some_and(|begin| begin.to_lowercase() == self.prefix.to_lowercase());
        if begins && self.found.iter().all(|known| known.shown != shown) {
            self.found.push(Candidate { shown: shown.to_owned(), typed });
        }
    }

    fn name(&mut self, name: &str) {
        let typed = if self.quoted { quoted(name) } else { spelled(name) };
        self.add(name, typed);
    }

    /// A table, which may stand in a schema.
    fn dotted(&mut self, table: &str) {
        match table.split_once('.') {
            Some((schema, name)) if !self.quoted && !schema.is_empty() => {
                self.add(table, format!("{}.{}", spelled(schema), spelled(name)));
            }
            _ => self.name(table),
        }
    }

    fn columns(&mut self, table: &str, names: &Names) {
        let exact = names.tables.iter().find(|(name, _)| name == table);
        let near = || names.tables.iter().find(|(name, _)| name.eq_ignore_ascii_case(table));
        for (column, _) in exact.or_else(near).map(|(_, columns)| columns).into_iter().flatten() {
            self.name(column);
        }
    }

    /// A keyword in the case in which the user types.
    fn keyword(&mut self, keyword: &str) {
        let small =
            self.prefix.chars().any(char::is_alphabetic) && !self.prefix.chars().any(char::is_uppercase);
        let typed = if small { keyword.to_lowercase() } else { keyword.to_uppercase() };
        self.add(&typed.clone(), typed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let columns =
            |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), "String".to_owned())).collect();
        Names {
            tables: vec![
                ("pageView".to_owned(), columns(&["eventId", "path", "day", "group by"])),
                ("persons".to_owned(), columns(&["personId", "country"])),
                ("system.rejected".to_owned(), columns(&["code"])),
                ("odd name".to_owned(), columns(&["x"])),
            ],
            functions: vec![
                ("count".to_owned(), "Counts".to_owned()),
                ("coalesce".to_owned(), String::new()),
            ],
            definitions: vec!["pageView".to_owned(), "itemAddedToCart".to_owned()],
        }
    }

    /// The candidates where the text has a `|`.
    fn at(text: &str) -> Vec<String> {
        let cursor = text.find('|').unwrap();
        let text = text.replace('|', "");
        offer(&text, cursor, &names()).candidates.into_iter().map(|one| one.typed).collect()
    }

    #[test]
    fn after_from_come_tables_and_nothing_else() {
        assert_eq!(at("SELECT * FROM p|"), ["pageView", "persons"]);
        assert_eq!(at("select * from persons, pa|"), ["pageView"]);
        assert_eq!(at("SELECT * FROM |").len(), 4);
        assert_eq!(at("SELECT * FROM odd|"), ["\"odd name\""]);
        assert_eq!(at("SELECT * FROM \"od|"), ["\"odd name\""]);
    }

    #[test]
    fn a_table_in_a_schema_is_offered_whole_and_behind_its_dot() {
        assert_eq!(at("SELECT * FROM sys|"), ["system.rejected"]);
        assert_eq!(at("SELECT * FROM system.|"), ["rejected"]);
        assert_eq!(at("SELECT c| FROM system.rejected")[0], "code");
    }

    #[test]
    fn columns_are_offered_once_the_table_is_known_wherever_it_stands() {
        assert_eq!(at("SELECT pa| FROM pageView"), ["path", "partition", "paths", "pageView"]);
        assert_eq!(at("SELECT co| FROM persons"), ["country", "count(", "coalesce(", "computed", "counting"]);
        assert_eq!(at("SELECT co|"), ["count(", "coalesce(", "computed", "counting"]);
        assert_eq!(at("SELECT 1 FROM persons WHERE cou|"), ["country", "count(", "counting"]);
    }

    #[test]
    fn a_column_is_quoted_where_sql_needs_it() {
        assert_eq!(at("SELECT gro| FROM pageView"), ["\"group by\"", "group"]);
        assert_eq!(at("SELECT \"gr| FROM pageView"), Vec::<String>::new());
        assert_eq!(at("SELECT da| FROM pageView"), ["day", "date", "datetime"]);
    }

    #[test]
    fn an_alias_and_a_dot_lead_to_its_columns() {
        assert_eq!(at("SELECT v.| FROM pageView AS v"), ["eventId", "path", "day", "\"group by\""]);
        assert_eq!(at("SELECT v.pa| FROM pageView v WHERE 1"), ["path"]);
        assert_eq!(at("SELECT persons.| FROM persons JOIN pageView ON true"), ["personId", "country"]);
    }

    #[test]
    fn events_and_texts_are_completed_with_ids() {
        assert_eq!(at("ENABLE EVENT item|"), ["itemAddedToCart"]);
        assert_eq!(at("SELECT 1 FROM events WHERE definitionId = 'ite|"), ["'itemAddedToCart'"]);
    }

    #[test]
    fn only_the_statement_at_the_cursor_counts() {
        assert_eq!(at("SELECT * FROM persons; SELECT cou|"), ["count(", "counting"]);
        assert_eq!(at("SELECT cou|; SELECT * FROM persons"), ["count(", "counting"]);
        assert_eq!(at("SELECT 1; exp|"), ["explain", "export events"]);
    }

    #[test]
    fn keywords_follow_the_case_of_the_typist() {
        assert_eq!(at("SELECT 1 fr|"), ["from"]);
        assert_eq!(at("SELECT 1 FR|"), ["FROM"]);
        assert_eq!(at("SELECT 1 ice|"), Vec::<String>::new());
    }

    #[test]
    fn nothing_is_offered_in_comments_and_numbers() {
        assert_eq!(at("SELECT 1 -- fr|"), Vec::<String>::new());
        assert_eq!(at("SELECT 12|"), Vec::<String>::new());
    }

    #[test]
    fn a_hint_is_the_rest_of_the_only_candidate() {
        let hint = |text: &str| rest(text, text.len(), &names());
        assert_eq!(hint("SELECT * FROM pag").as_deref(), Some("eView"));
        assert_eq!(hint("SELECT * FROM p"), None);
        assert_eq!(hint("SELECT * FROM PAG"), None);
        assert_eq!(hint("SELECT * FROM pageView"), None);
    }
}
