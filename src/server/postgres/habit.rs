//! What drivers say by habit before the first question: transactions, settings of Postgres, who are you.

use pgwire::api::results::Response;
use pgwire::api::results::Tag;

/// A statement in lower-case words, its blanks and its end apart.
pub(crate) fn words(text: &str) -> String {
    let text = text.trim().trim_end_matches(';').to_ascii_lowercase();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The answer to a statement that changes nothing here: there is nothing to commit, and the settings are Postgres's.
pub(crate) fn done(words: &str) -> Option<Response> {
    let first = words.split(' ').next().unwrap_or_default();
    Some(match first {
        "begin" | "start" => Response::TransactionStart(Tag::new("BEGIN")),
        "commit" | "end" => Response::TransactionEnd(Tag::new("COMMIT")),
        "rollback" | "abort" if !words.contains(" to ") => Response::TransactionEnd(Tag::new("ROLLBACK")),
        "rollback" | "savepoint" | "release" | "discard" | "deallocate" | "close" | "unlisten" => {
            Response::Execution(Tag::new(&first.to_ascii_uppercase()))
        }
        "set" if !ours(words) => Response::Execution(Tag::new("SET")),
        _ => return None,
    })
}

/// Whether a `SET` is for the session that answers.
fn ours(words: &str) -> bool {
    let rest = words.trim_start_matches("set ").trim_start_matches("session ");
    ["datafusion.", "time zone", "timezone", "time_zone"].iter().any(|start| rest.starts_with(start))
}

/// What is asked in place of a question that only Postgres could answer.
pub(crate) fn known(words: &str) -> Option<String> {
    const VERSION: &str = "SELECT 'PostgreSQL 16.6 (Milepost)' AS version";
    const SETTINGS: [(&str, &str); 8] = [
        ("server_version", "16.6"),
        ("standard_conforming_strings", "on"),
        ("transaction isolation level", "read committed"),
        ("transaction_isolation", "read committed"),
        ("client_encoding", "UTF8"),
        ("datestyle", "ISO, YMD"),
        ("search_path", "main"),
        ("server_encoding", "UTF8"),
    ];
    match words {
        "select version()" | "select pg_catalog.version()" => Some(VERSION.to_owned()),
        "select current_schema()" => Some("SELECT 'main' AS current_schema".to_owned()),
        "select current_database()" => Some("SELECT 'milepost' AS current_database".to_owned()),
        _ => {
            let asked = words.strip_prefix("show ")?;
            let (name, value) = SETTINGS.iter().find(|(name, _)| *name == asked)?;
            Some(format!("SELECT '{value}' AS \"{}\"", name.replace(' ', "_")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_are_told_from_questions() {
        assert!(matches!(done(&words("BEGIN;")), Some(Response::TransactionStart(_))));
        assert!(matches!(done(&words(" rollback ")), Some(Response::TransactionEnd(_))));
        assert!(matches!(done(&words("ROLLBACK TO SAVEPOINT a")), Some(Response::Execution(_))));
        assert!(done(&words("SET extra_float_digits = 3")).is_some());
        assert!(done(&words("SET TIME ZONE 'UTC'")).is_none());
        assert!(done(&words("SELECT 1")).is_none() && known(&words("SELECT 1")).is_none());
        assert!(known(&words("select\n pg_catalog.version() ;")).is_some());
        assert!(known(&words("SHOW TRANSACTION ISOLATION LEVEL")).is_some());
        assert!(known(&words("SHOW EVENTS")).is_none());
    }
}
