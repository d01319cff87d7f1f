//! Merging by the published rules, and in any order with the same outcome.

use proptest::prelude::*;
use proptest::sample::subsequence;
use serde_json::json;

use super::*;

fn member(id: i64, kind: PersonKind, modified: i64, attributes: &[(Attribute, &str)]) -> Member {
    Member {
        id: PersonId(id),
        created: Micros(id * 10),
        external_id: None,
        contacts: Vec::new(),
        doc: Doc {
            kind,
            attributes: attributes.iter().map(|(one, value)| (*one, (*value).to_owned())).collect(),
            modified,
            touched: modified,
            ..Doc::default()
        },
    }
}

#[test]
fn the_earliest_is_primary_and_its_empty_values_are_filled() {
    let first = member(1, PersonKind::Customer, 900, &[(Attribute::City, "Pula")]);
    let other =
        member(2, PersonKind::Customer, 500, &[(Attribute::City, "Split"), (Attribute::Country, "Croatia")]);
    let merged = Profile::of(&[other, first]).unwrap();
    assert_eq!((merged.id, merged.created), (PersonId(1), Micros(10)));
    assert_eq!(merged.attributes[&Attribute::City], "Pula");
    assert_eq!(merged.attributes[&Attribute::Country], "Croatia");
}

#[test]
fn a_customers_value_beats_a_leads_whichever_is_newer() {
    let lead = member(1, PersonKind::Lead, 900, &[(Attribute::City, "Pula")]);
    let customer = member(2, PersonKind::Customer, 100, &[(Attribute::City, "Split")]);
    let merged = Profile::of(&[lead, customer]).unwrap();
    assert_eq!(merged.attributes[&Attribute::City], "Split");
    assert_eq!(merged.kind, PersonKind::Customer);
}

#[test]
fn of_two_of_a_kind_the_one_modified_last_wins() {
    let older = member(1, PersonKind::Lead, 100, &[(Attribute::City, "Pula")]);
    let newer = member(2, PersonKind::Lead, 200, &[(Attribute::City, "Split")]);
    let merged = Profile::of(&[older, newer]).unwrap();
    assert_eq!((merged.kind, merged.attributes[&Attribute::City].as_str()), (PersonKind::Lead, "Split"));
}

#[test]
fn what_is_written_to_a_merged_person_holds_and_an_unmerge_brings_the_others_back() {
    let lead = member(1, PersonKind::Lead, 100, &[(Attribute::City, "Pula")]);
    let customer =
        member(2, PersonKind::Customer, 200, &[(Attribute::City, "Split"), (Attribute::Country, "Croatia")]);
    let before = Profile::of(&[lead.clone(), customer.clone()]).unwrap();
    let mut after = before.clone();
    after.attributes.insert(Attribute::City, "Rijeka".to_owned());
    after.attributes.remove(&Attribute::Country);
    after.custom.insert("tier".to_owned(), json!("gold"));
    let written = Member {
        doc: lead.doc.clone().changed(&before, &after, Some(PersonKind::Customer), Micros(300)),
        ..lead
    };
    let read = Profile::of(&[written, customer.clone()]).unwrap();
    assert!(read.says_the_same(&after), "{read:?}");
    let alone = Profile::of(&[customer]).unwrap();
    assert_eq!(alone.attributes[&Attribute::City], "Split");
}

fn any_member(id: i64) -> impl Strategy<Value = Member> {
    let attribute = prop::sample::select(vec![Attribute::City, Attribute::Country, Attribute::FirstName]);
    let values = prop::collection::btree_map(attribute, "[a-c]", 0..3);
    let tags = prop::collection::btree_set("[a-d]", 0..3);
    let custom = prop::collection::btree_map("[xy]", 0_i64..3, 0..2);
    let kind = prop::sample::select(vec![PersonKind::Lead, PersonKind::Customer]);
    (values, tags, custom, kind, 0_i64..4, 0_i64..3, prop::option::of("[e-g]")).prop_map(
        move |(attributes, tags, custom, kind, modified, created, external_id)| Member {
            id: PersonId(id),
            created: Micros(created),
            external_id,
            contacts: vec![Contact::email(format!("{id}@example.com"))],
            doc: Doc {
                kind,
                attributes,
                tags,
                custom: custom.into_iter().map(|(name, value)| (name, json!(value))).collect(),
                modified,
                touched: modified,
                ..Doc::default()
            },
        },
    )
}

/// The rules of the interface, one attribute at a time, over all members at once.
fn slow(members: &[Member], attribute: Attribute) -> Option<String> {
    let of = |kind: PersonKind| {
        let has = |one: &&Member| one.doc.kind == kind && one.doc.attributes.contains_key(&attribute);
        let mut some: Vec<&Member> = members.iter().filter(has).collect();
        some.sort_by_key(|one| (std::cmp::Reverse(one.doc.modified), one.created, one.id));
        some.first().map(|one| one.doc.attributes[&attribute].clone())
    };
    of(PersonKind::Customer).or_else(|| of(PersonKind::Lead))
}

proptest! {
    #[test]
    fn merging_in_any_order_gives_the_same_person(
        members in (any_member(1), any_member(2), any_member(3), any_member(4)),
        order in Just(vec![0_usize, 1, 2, 3]).prop_shuffle(),
    ) {
        let members = [members.0, members.1, members.2, members.3];
        let shuffled: Vec<Member> = order.iter().map(|at| members[*at].clone()).collect();
        let merged = Profile::of(&members).unwrap();
        prop_assert_eq!(&merged, &Profile::of(&shuffled).unwrap());
        for attribute in [Attribute::City, Attribute::Country, Attribute::FirstName] {
            let expected = slow(&members, attribute);
            prop_assert_eq!(merged.attributes.get(&attribute), expected.as_ref());
        }
        let tags: BTreeSet<String> = members.iter().flat_map(|one| one.doc.tags.clone()).collect();
        prop_assert_eq!(&merged.tags, &tags);
        prop_assert_eq!(merged.contacts.len(), 4);
    }

    /// Whatever is written to a merged person is what is read from it.
    #[test]
    fn a_write_to_a_merged_person_is_read_as_written(
        members in (any_member(1), any_member(2), any_member(3)),
        to in any_member(9),
        kept in subsequence(vec!["a".to_owned(), "b".to_owned(), "c".to_owned(), "d".to_owned()], 0..4),
    ) {
        let mut members = vec![members.0, members.1, members.2];
        let before = Profile::of(&members).unwrap();
        let mut after = before.clone();
        after.attributes = to.doc.attributes;
        after.custom = to.doc.custom;
        after.kind = to.doc.kind;
        after.tags = kept.into_iter().collect();

        let strongest = members.iter().map(|one| one.doc.kind).max();
        for member in &mut members {
            member.doc = member.doc.clone().without(&before, &after);
            if member.id == before.id {
                member.doc = member.doc.clone().changed(&before, &after, strongest, Micros(5));
            }
        }
        let read = Profile::of(&members).unwrap();
        prop_assert!(read.says_the_same(&after), "{:?} {:?}", read, after);
    }
}
