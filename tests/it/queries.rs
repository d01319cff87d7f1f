//! Every `queries/**/*.sql` on the demo's data, against the answer that stands beside it.
//!
//! `MILEPOST_COMPLETE=1 cargo test --test it queries` writes the answers anew; read them as carefully as code.

use std::path::Path;
use std::path::PathBuf;

use crate::harness::Store;
use crate::harness::project;

fn questions(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            questions(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "sql") {
            found.push(path);
        }
    }
}

#[test]
fn every_question_has_the_answer_that_stands_beside_it() {
    let store = Store::new();
    store.run(["demo", "--load-only"]).fine();
    let mut found = Vec::new();
    questions(&project("queries"), &mut found);
    found.sort();
    assert!(!found.is_empty());
    let complete = std::env::vars().any(|(name, value)| name == "MILEPOST_COMPLETE" && value == "1");
    let mut wrong = Vec::new();
    for question in found {
        let answer = store.run(["sql", "-f", question.to_str().unwrap()]).fine();
        let golden = question.with_extension("out");
        if complete {
            std::fs::write(&golden, &answer).unwrap();
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != answer {
            wrong.push(format!("{}:\n{answer}", question.display()));
        }
    }
    assert!(wrong.is_empty(), "answers that changed:\n{}", wrong.join("\n"));
}
