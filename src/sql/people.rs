//! The statements that change persons: `INSERT`, `UPDATE` and `DELETE` of the table `persons`, tags, merges and custom
//! attributes. What is written is asked for by a query of its own, so that any expression may stand in it.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::AssignmentTarget;
use datafusion::sql::sqlparser::ast::Delete;
use datafusion::sql::sqlparser::ast::FromTable;
use datafusion::sql::sqlparser::ast::Insert;
use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::ast::TableFactor;
use datafusion::sql::sqlparser::ast::TableObject;
use datafusion::sql::sqlparser::ast::TableWithJoins;
use datafusion::sql::sqlparser::ast::Update;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::error::Error;
use crate::error::Result;
use crate::person::CustomAttribute;
use crate::person::CustomType;
use crate::sql::cursor::Cursor;
use crate::sql::quoted;

/// The table that these statements are about.
const PERSONS: &str = "persons";

/// A statement about persons.
#[derive(Clone, Debug, PartialEq)]
pub enum PeopleStatement {
    /// Rows of the query become new persons; the columns are in its order.
    Insert {
        columns: Vec<String>,
        query: String,
    },
    /// The query gives `personId` and then the new values of the columns.
    Update {
        columns: Vec<String>,
        query: String,
    },
    /// The query gives the `personId` of each.
    Delete {
        query: String,
    },
    Tag {
        who: Vec<Who>,
        tags: Vec<String>,
        add: bool,
    },
    Merge {
        who: Vec<Who>,
    },
    /// Whoever had the name or the id before the merge.
    Unmerge {
        who: String,
    },
    CreateAttribute(CustomAttribute),
    DropAttribute(String),
    ShowAttributes,
}

/// Whom a statement means.
#[derive(Clone, Debug, PartialEq)]
pub enum Who {
    /// As people write a person: an external id, an own id, or `EMAIL:ana@example.com`.
    Named(String),
    /// All that a query gives the `personId` of.
    Asked(String),
}

/// Reads the statement, if it is one about persons.
pub(crate) fn people(cursor: &mut Cursor, text: &str) -> Result<Option<PeopleStatement>> {
    let statement = if cursor.is(&["INSERT", "INTO", PERSONS]) {
        return insert(text).map(Some);
    } else if cursor.is(&["UPDATE", PERSONS]) {
        return update(text).map(Some);
    } else if cursor.is(&["DELETE", "FROM", PERSONS]) {
        return delete(text).map(Some);
    } else if cursor.take(&["TAG", "PERSON"]) {
        tag(cursor, true)?
    } else if cursor.take(&["UNTAG", "PERSON"]) {
        tag(cursor, false)?
    } else if cursor.is(&["TAG", "PERSONS"]) {
        return tag_where(cursor, text, true).map(Some);
    } else if cursor.is(&["UNTAG", "PERSONS"]) {
        return tag_where(cursor, text, false).map(Some);
    } else if cursor.take(&["MERGE", "PERSONS"]) {
        PeopleStatement::Merge { who: who(cursor)? }
    } else if cursor.take(&["UNMERGE", "PERSON"]) {
        PeopleStatement::Unmerge {
            who: cursor.value("the one who was merged, such as 'crm-2' or a personId,")?,
        }
    } else if cursor.take(&["CREATE", "PERSON", "ATTRIBUTE"]) {
        PeopleStatement::CreateAttribute(attribute(cursor)?)
    } else if cursor.take(&["DROP", "PERSON", "ATTRIBUTE"]) {
        PeopleStatement::DropAttribute(cursor.name("the name of an attribute")?.text)
    } else if cursor.take(&["SHOW", "PERSON", "ATTRIBUTES"]) {
        PeopleStatement::ShowAttributes
    } else {
        return Ok(None);
    };
    cursor.expect_end()?;
    Ok(Some(statement))
}

/// `name TYPE`, or `name LIST (field TYPE, …)`.
fn attribute(cursor: &mut Cursor) -> Result<CustomAttribute> {
    let name = cursor.name("the name of an attribute")?.text;
    let place = cursor.place();
    if !cursor.take(&["LIST"]) {
        let kind = attribute_type(cursor)?;
        return CustomAttribute::new(&name, kind, BTreeMap::new()).map_err(|error| error.at(place));
    }
    cursor.expect_symbol(&Token::LParen)?;
    let mut fields = BTreeMap::new();
    loop {
        let field = cursor.name("the name of a field")?.text;
        fields.insert(field, attribute_type(cursor)?);
        if !cursor.take_symbol(&Token::Comma) {
            break;
        }
    }
    cursor.expect_symbol(&Token::RParen)?;
    CustomAttribute::new(&name, CustomType::ListOfObjects, fields).map_err(|error| error.at(place))
}

fn attribute_type(cursor: &mut Cursor) -> Result<CustomType> {
    let place = cursor.place();
    let word = cursor.name("the type of the attribute")?.text;
    let word = match word.to_ascii_uppercase().as_str() {
        "TEXT" => "STRING".to_owned(),
        "DATETIME" | "TIMESTAMP" => "DATE_TIME".to_owned(),
        "NUMERIC" | "BIGINT" => "INTEGER".to_owned(),
        other => other.to_owned(),
    };
    word.parse().map_err(|error: Error| error.at(place))
}

/// `'crm-1', 7, 'EMAIL:ana@example.com'`
fn who(cursor: &mut Cursor) -> Result<Vec<Who>> {
    let mut all = Vec::new();
    loop {
        all.push(Who::Named(cursor.value("a person, such as 'crm-1', 7 or 'EMAIL:ana@example.com',")?));
        if !cursor.take_symbol(&Token::Comma) {
            return Ok(all);
        }
    }
}

fn tag(cursor: &mut Cursor, add: bool) -> Result<PeopleStatement> {
    let who = who(cursor)?;
    cursor.expect(&["WITH"])?;
    Ok(PeopleStatement::Tag { who, tags: tags(cursor)?, add })
}

fn tags(cursor: &mut Cursor) -> Result<Vec<String>> {
    let mut tags = vec![cursor.text("a tag")?];
    while cursor.take_symbol(&Token::Comma) {
        tags.push(cursor.text("a tag")?);
    }
    Ok(tags)
}

/// `TAG PERSONS WHERE … WITH 'vip'`: the last WITH is the one before the tags.
fn tag_where(cursor: &mut Cursor, text: &str, add: bool) -> Result<PeopleStatement> {
    let starts = cursor.is(&[if add { "TAG" } else { "UNTAG" }, PERSONS, "WHERE"]);
    let from = text.to_ascii_uppercase().find("WHERE").filter(|_| starts);
    let with = cursor.last_word("WITH").and_then(|place| place.offset_in(text));
    let (Some(from), Some(with)) = (from, with) else {
        let verb = if add { "TAG" } else { "UNTAG" };
        return Err(
            Error::invalid(format!("expected {verb} PERSONS WHERE condition WITH 'tag'")).at(cursor.place())
        );
    };
    let condition = text.get(from..with).unwrap_or_default().trim();
    let query = format!("SELECT \"personId\" FROM {PERSONS} {condition}");
    let mut rest = Cursor::new(text.get(with..).unwrap_or_default())?;
    rest.expect(&["WITH"])?;
    let tags = tags(&mut rest)?;
    rest.expect_end()?;
    cursor.skip_rest();
    Ok(PeopleStatement::Tag { who: vec![Who::Asked(query)], tags, add })
}

fn parsed(text: &str) -> Result<Statement> {
    let mut statements = Parser::parse_sql(&GenericDialect {}, text).map_err(|error| {
        Error::invalid(error.to_string().trim_start_matches("sql parser error: ").to_owned())
    })?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        _ => Err(Error::invalid("expected one statement")),
    }
}

fn last(name: &ObjectName) -> String {
    let part = name.0.last().and_then(|part| part.as_ident());
    part.map(|ident| ident.value.clone()).unwrap_or_default()
}

fn is_persons(table: &TableWithJoins) -> bool {
    table.joins.is_empty()
        && matches!(&table.relation, TableFactor::Table { name, alias: None, .. } if name.to_string() == PERSONS)
}

fn insert(text: &str) -> Result<PeopleStatement> {
    let example = "INSERT INTO persons (externalPersonId, firstName) VALUES ('crm-1', 'Ana')";
    let wrong = |what: &str| Error::invalid(format!("{what}; write {example}"));
    let Statement::Insert(Insert {
        table: TableObject::TableName(_),
        columns,
        source: Some(source),
        on: None,
        returning: None,
        ..
    }) = parsed(text)?
    else {
        return Err(wrong("expected values or a query for persons"));
    };
    if columns.is_empty() {
        return Err(wrong("expected the columns that are given"));
    }
    Ok(PeopleStatement::Insert { columns: columns.iter().map(last).collect(), query: source.to_string() })
}

fn update(text: &str) -> Result<PeopleStatement> {
    let wrong = "expected UPDATE persons SET column = value, … WHERE condition";
    let Statement::Update(Update { table, assignments, from: None, selection, returning: None, .. }) =
        parsed(text)?
    else {
        return Err(Error::invalid(wrong));
    };
    if !is_persons(&table) {
        return Err(Error::invalid(wrong));
    }
    let mut columns = Vec::new();
    let mut values = vec!["\"personId\"".to_owned()];
    for assignment in &assignments {
        let AssignmentTarget::ColumnName(name) = &assignment.target else {
            return Err(Error::invalid(wrong));
        };
        values.push(format!("{} AS {}", assignment.value, quoted(&format!("new {}", columns.len()))));
        columns.push(last(name));
    }
    let condition = selection.map(|selection| format!(" WHERE {selection}")).unwrap_or_default();
    let query = format!("SELECT {} FROM {PERSONS}{condition}", values.join(", "));
    Ok(PeopleStatement::Update { columns, query })
}

fn delete(text: &str) -> Result<PeopleStatement> {
    let wrong = "expected DELETE FROM persons WHERE condition";
    let Statement::Delete(Delete { from, using: None, selection, returning: None, .. }) = parsed(text)?
    else {
        return Err(Error::invalid(wrong));
    };
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = from;
    let Some(selection) = selection else {
        return Err(Error::invalid(format!("{wrong}; WHERE true means everybody")));
    };
    if !matches!(&tables[..], [table] if is_persons(table)) {
        return Err(Error::invalid(wrong));
    }
    Ok(PeopleStatement::Delete { query: format!("SELECT \"personId\" FROM {PERSONS} WHERE {selection}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::StatementKind;
    use crate::sql::parse;

    fn one(text: &str) -> PeopleStatement {
        match parse(text).unwrap().remove(0).kind {
            StatementKind::People(statement) => statement,
            other => panic!("{other:?}"),
        }
    }

    fn named(name: &str) -> Who {
        Who::Named(name.to_owned())
    }

    #[test]
    fn writes_become_queries_that_give_their_values() {
        let expected = PeopleStatement::Update {
            columns: vec!["city".to_owned(), "points".to_owned()],
            query: "SELECT \"personId\", upper(city) AS \"new 0\", points + 1 AS \"new 1\" FROM persons WHERE country = 'HR'"
                .to_owned(),
        };
        assert_eq!(
            one("update persons set city = upper(city), points = points + 1 where country = 'HR'"),
            expected
        );
        let expected = PeopleStatement::Insert {
            columns: vec!["externalPersonId".to_owned(), "first name".to_owned()],
            query: "VALUES ('a', 'Ana'), ('b', NULL)".to_owned(),
        };
        let text = "INSERT INTO persons (externalPersonId, \"first name\") VALUES ('a', 'Ana'), ('b', NULL)";
        assert_eq!(one(text), expected);
        let expected = PeopleStatement::Delete {
            query: "SELECT \"personId\" FROM persons WHERE city = 'Pula'".to_owned(),
        };
        assert_eq!(one("DELETE FROM persons WHERE city = 'Pula'"), expected);
        assert!(parse("DELETE FROM persons").unwrap_err().to_string().contains("WHERE true"));
        assert!(parse("INSERT INTO persons VALUES (1)").is_err());
    }

    #[test]
    fn tags_and_merges_name_persons_in_any_way() {
        assert_eq!(
            one("TAG PERSON 'crm-1', 7, 'EMAIL:a@example.com' WITH 'vip', 'new'"),
            PeopleStatement::Tag {
                who: vec![named("crm-1"), named("7"), named("EMAIL:a@example.com")],
                tags: vec!["vip".to_owned(), "new".to_owned()],
                add: true,
            }
        );
        assert_eq!(
            one("UNTAG PERSONS WHERE city LIKE 'with %'\nWITH 'go with me'"),
            PeopleStatement::Tag {
                who: vec![Who::Asked("SELECT \"personId\" FROM persons WHERE city LIKE 'with %'".to_owned())],
                tags: vec!["go with me".to_owned()],
                add: false,
            }
        );
        assert_eq!(
            one("MERGE PERSONS 'a', 'b'"),
            PeopleStatement::Merge { who: vec![named("a"), named("b")] }
        );
        assert_eq!(one("UNMERGE PERSON 'b'"), PeopleStatement::Unmerge { who: "b".to_owned() });
        assert!(parse("UNMERGE PERSON").is_err());
    }

    #[test]
    fn attributes_have_a_type() {
        let PeopleStatement::CreateAttribute(list) =
            one("CREATE PERSON ATTRIBUTE wishlist LIST (sku TEXT, n INTEGER)")
        else {
            panic!("not an attribute");
        };
        assert_eq!((list.data_type, list.object_schema.len()), (CustomType::ListOfObjects, 2));
        let told = parse("CREATE PERSON ATTRIBUTE tier COLOUR").unwrap_err();
        assert!(told.to_string().contains("no type of a custom attribute"), "{told}");
        assert_eq!(one("SHOW PERSON ATTRIBUTES"), PeopleStatement::ShowAttributes);
    }
}
