use std::collections::BTreeMap;
use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn person(id: i64, external: Option<&str>) -> Person {
    Person { id: PersonId(id), external_id: external.map(str::to_owned), created: Micros(id * 10) }
}

fn identifier(kind: IdentifierType, id: &str, sender: &str) -> Identifier {
    Identifier { kind, id: id.to_owned(), sender: sender.to_owned() }
}

#[test]
fn a_person_is_found_by_each_of_its_names() {
    let mut persons = Persons::default();
    let email = identifier(IdentifierType::Email, "ana@example.com", "");
    let push = identifier(IdentifierType::Push, "token", "app-1");
    persons.add(person(1, Some("u-1")), [email.clone(), push.clone()]);
    assert_eq!(persons.find(&email), Some(PersonId(1)));
    assert_eq!(persons.find(&push), Some(PersonId(1)));
    assert_eq!(persons.find_by(IdentifierType::ExternalId, "u-1", ""), Some(PersonId(1)));
    assert_eq!(persons.find_by(IdentifierType::Email, "u-1", ""), None, "another kind is another name");
    assert_eq!(persons.find_by(IdentifierType::Push, "token", "app-2"), None, "another sender knows another");
    assert_eq!(persons.find_by(IdentifierType::Push, "tokenapp-1", ""), None, "id and sender stay apart");
    assert_eq!(persons.external_id(PersonId(1)), Some("u-1"));
    assert_eq!(persons.get(PersonId(1)).unwrap().created, Micros(10));
}

#[test]
fn our_own_id_is_found_only_as_we_write_it() {
    let mut persons = Persons::default();
    persons.add(person(7, None), []);
    let find = |id| persons.find_by(IdentifierType::Id, id, "");
    assert_eq!(find("7"), Some(PersonId(7)));
    assert_eq!([find("07"), find("+7"), find("8"), find("x"), find("")], [None; 5]);
}

#[test]
fn a_huge_id_in_an_empty_store_costs_one_row_and_the_next_id_follows_it() {
    let mut persons = Persons::default();
    persons.add(person(90_210_000_000_000, None), []);
    persons.add(person(4, Some("late")), []);
    assert_eq!(persons.len(), 2);
    assert_eq!(persons.next_id(), PersonId(90_210_000_000_001));
    assert_eq!(persons.external_id(PersonId(4)), Some("late"));
    assert!(!persons.contains(PersonId(5)));
}

#[test]
fn a_clone_does_not_see_what_is_added_later() {
    let mut persons = Persons::default();
    persons.add(person(1, Some("a")), []);
    let published = persons.clone();
    persons.add(person(2, Some("b")), []);
    persons.add(person(1, Some("changed")), []);
    assert_eq!(published.len(), 1);
    assert_eq!(published.external_id(PersonId(1)), Some("a"));
    assert_eq!(published.find_by(IdentifierType::ExternalId, "b", ""), None);
    assert_eq!(persons.len(), 2);
    assert_eq!(persons.external_id(PersonId(1)), Some("changed"));
}

#[test]
fn segments_stay_few_though_every_addition_is_published() {
    let mut persons = Persons::default();
    let mut held = Vec::new();
    for id in 1..=3_000 {
        persons.add(person(id, Some(&format!("u{id}"))), []);
        held.push(persons.clone());
    }
    assert!(persons.segments.len() <= 8, "{} segments", persons.segments.len());
    assert_eq!(persons.iter().count(), 3_000);
    assert_eq!(held[999].len(), 1_000);
}

#[derive(Clone, Debug)]
enum Step {
    Put(i64, Option<u8>),
    Attach(i64, u8),
    Publish,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = prop_oneof![4 => 1_i64..12, 1 => Just(1_i64 << 40)];
    let step = prop_oneof![
        4 => (id.clone(), proptest::option::of(0_u8..12)).prop_map(|(id, name)| Step::Put(id, name)),
        3 => (id, 0_u8..12).prop_map(|(id, name)| Step::Attach(id, name)),
        2 => Just(Step::Publish),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn an_index_in_segments_answers_like_two_plain_maps(steps in steps()) {
        let mut persons = Persons::default();
        let mut published = Vec::new();
        let mut rows: BTreeMap<i64, Option<String>> = BTreeMap::new();
        let mut names: HashMap<(IdentifierType, String), i64> = HashMap::new();
        for step in steps {
            match step {
                Step::Put(id, name) => {
                    let name = name.map(|name| format!("n{name}"));
                    persons.put(PersonId(id), name.as_deref(), Micros(id));
                    if let Some(name) = &name {
                        names.insert((IdentifierType::ExternalId, name.clone()), id);
                    }
                    rows.insert(id, name);
                }
                Step::Attach(id, name) => {
                    persons.attach(PersonId(id), IdentifierType::Phone, &format!("n{name}"), "");
                    names.insert((IdentifierType::Phone, format!("n{name}")), id);
                }
                Step::Publish => published.push(persons.clone()),
            }
        }
        prop_assert_eq!(persons.len(), rows.len());
        let mut seen: Vec<_> =
            persons.iter().map(|one| (one.id.0, one.external_id.map(str::to_owned))).collect();
        seen.sort();
        prop_assert_eq!(seen, rows.clone().into_iter().collect::<Vec<_>>());
        for (id, name) in &rows {
            prop_assert_eq!(persons.external_id(PersonId(*id)), name.as_deref());
        }
        for kind in [IdentifierType::ExternalId, IdentifierType::Phone] {
            for name in (0..12).map(|name| format!("n{name}")) {
                let right = names.get(&(kind, name.clone())).map(|id| PersonId(*id));
                prop_assert_eq!(persons.find_by(kind, &name, ""), right);
            }
        }
    }
}
