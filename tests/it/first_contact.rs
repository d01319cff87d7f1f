//! What a newcomer runs first.

use crate::harness::Store;

#[test]
fn the_demo_shows_itself_and_can_be_run_again() {
    let store = Store::new();
    let first = store.run(["demo"]);
    assert!(first.stderr.contains("31,106 events") && first.stderr.contains("69,659 events"), "{first:?}");
    let first = first.fine();
    for shown in ["funnel", "export", "91 events"] {
        assert!(first.contains(shown), "no {shown} in:\n{first}");
    }
    let count = "SELECT COUNT(*) FROM events";
    let before = store.rows(count);
    store.run(["demo"]).fine();
    assert_eq!(store.rows(count), before);
}

#[test]
fn help_shows_an_example_and_a_wrong_argument_a_cure() {
    let store = Store::new();
    assert!(store.run(["-h"]).fine().contains("milepost import"));
    let fault = store.run(["imprt"]).fails(2);
    assert!(fault.contains("import"), "{fault}");
}
