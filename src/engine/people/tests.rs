//! Writes of persons through an engine, against a plain model, and what survives a restart.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::engine::Config;
use crate::person::Attribute;

async fn open(folder: &tempfile::TempDir) -> Engine {
    Engine::open(Config { data: folder.path().join("data"), ..Config::default() }).await.unwrap()
}

fn external(id: &str) -> Identifier {
    Identifier { kind: IdentifierType::ExternalId, id: id.to_owned(), sender: String::new() }
}

fn email(id: &str) -> Identifier {
    Identifier { kind: IdentifierType::Email, id: id.to_owned(), sender: String::new() }
}

fn write(json: &Value) -> PersonWrite {
    PersonWrite::from_json(json).unwrap()
}

async fn one(engine: &Engine, op: PersonOp) -> Verdict {
    engine.write_people(vec![op], "API").await.unwrap().remove(0)
}

#[tokio::test]
async fn a_batch_has_a_verdict_for_each_and_what_is_refused_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder).await;
    let ana = json!({"externalId": "ana", "firstName": "Ana", "contactInformation": {"email": [{"address": "a@example.com"}]}});
    let thief = json!({"externalId": "bo", "contactInformation": {"email": [{"address": "a@example.com"}]}});
    let upsert = |json: &Value| PersonOp::Upsert { write: write(json), mode: Mode::Update };
    let ops = vec![
        PersonOp::Create(write(&ana)),
        PersonOp::Create(write(&thief)),
        upsert(&ana),
        upsert(&json!({"externalId": "ana", "city": "Pula"})),
        PersonOp::Write { who: external("nobody"), write: write(&json!({})), mode: Mode::Update },
        PersonOp::Tag { who: email("a@example.com"), tag: "vip".to_owned() },
    ];
    let verdicts = engine.write_people(ops, "API").await.unwrap();
    let names: Vec<_> = verdicts.iter().map(Verdict::name).collect();
    assert_eq!(names, ["CREATED", "REFUSED", "NOT_MODIFIED", "UPDATED", "REFUSED", "UPDATED"]);
    assert!(engine.find_person(&external("bo")).unwrap().is_none());
    engine.close().await.unwrap();

    let engine = open(&folder).await;
    let profile = engine.find_person(&email("a@example.com")).unwrap().unwrap();
    assert_eq!(profile.attributes[&Attribute::City], "Pula");
    assert!(profile.tags.contains("vip"));
    assert_eq!(engine.tags().unwrap(), ["vip"]);
    let too_many = vec![PersonOp::Create(PersonWrite::default()); PERSONS_OF_A_BATCH + 1];
    assert!(engine.write_people(too_many, "API").await.is_err());
}

#[tokio::test]
async fn who_is_deleted_frees_its_names_and_keeps_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder).await;
    let ana =
        write(&json!({"externalId": "ana", "contactInformation": {"email": [{"address": "a@example.com"}]}}));
    let first = one(&engine, PersonOp::Create(ana.clone())).await.person().unwrap();
    assert_eq!(one(&engine, PersonOp::Delete { who: external("ana") }).await, Verdict::Deleted(first));
    assert!(engine.find_person(&email("a@example.com")).unwrap().is_none());
    engine.close().await.unwrap();
    let engine = open(&folder).await;
    assert!(engine.find_person(&external("ana")).unwrap().is_none());
    let second = one(&engine, PersonOp::Create(ana)).await.person().unwrap();
    assert!(second > first);
}

#[tokio::test]
async fn a_custom_attribute_keeps_its_type_and_goes_with_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder).await;
    let tier = CustomAttribute::new("tier", crate::person::CustomType::String, BTreeMap::new()).unwrap();
    engine.add_custom_attribute(tier).await.unwrap();
    let wrong = CustomAttribute::new("tier", crate::person::CustomType::Integer, BTreeMap::new()).unwrap();
    assert_eq!(engine.add_custom_attribute(wrong).await.unwrap_err().kind(), Kind::Conflict);
    let ana = write(&json!({"externalId": "ana", "customAttributes": {"tier": "gold"}}));
    assert!(matches!(one(&engine, PersonOp::Create(ana)).await, Verdict::Created(_)));
    engine.close().await.unwrap();
    let engine = open(&folder).await;
    assert_eq!(engine.find_person(&external("ana")).unwrap().unwrap().custom["tier"], "gold");
    assert_eq!(engine.remove_custom_attribute("tier").await.unwrap(), 1);
    assert!(engine.find_person(&external("ana")).unwrap().unwrap().custom.is_empty());
}

#[tokio::test]
async fn a_merge_can_be_asked_by_any_name_and_be_undone() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(&folder).await;
    let person = |name: &str, city: &str| {
        PersonOp::Create(write(&json!({"externalId": name, "city": city, "type": "LEAD"})))
    };
    let mut ids = Vec::new();
    for (name, city) in [("a", "Pula"), ("b", "Split"), ("c", "Rijeka")] {
        ids.push(one(&engine, person(name, city)).await.person().unwrap());
    }
    let merge =
        |one: &str, other: &str| PersonOp::Merge { who: vec![external(one), external(other)], write: None };
    assert_eq!(one(&engine, merge("c", "b")).await, Verdict::Updated(ids[1]));
    assert_eq!(one(&engine, merge("c", "a")).await, Verdict::Updated(ids[0]));
    assert_eq!(one(&engine, merge("b", "a")).await, Verdict::NotModified(ids[0]));
    let merged = engine.find_person(&external("c")).unwrap().unwrap();
    assert_eq!((merged.id, merged.attributes[&Attribute::City].as_str()), (ids[0], "Rijeka"));
    assert_eq!(merged.external_id.as_deref(), Some("c"));
    assert_eq!(engine.storage().persons().unwrap().external_id(ids[1]), Some("c"));
    assert_eq!(engine.storage().persons().unwrap().len(), 1);
    engine.close().await.unwrap();

    let engine = open(&folder).await;
    assert_eq!(engine.find_person(&external("b")).unwrap().unwrap(), merged);
    assert_eq!(engine.storage().persons().unwrap().external_id(ids[2]), Some("c"));
    assert_eq!(engine.unmerge(ids[2]).await.unwrap(), ids[0]);
    assert!(engine.unmerge(ids[2]).await.is_err());
    let left = engine.find_person(&external("b")).unwrap().unwrap();
    assert_eq!((left.id, left.attributes[&Attribute::City].as_str()), (ids[0], "Split"));
    let back = engine.find_person(&external("c")).unwrap().unwrap();
    assert_eq!((back.id, back.attributes[&Attribute::City].as_str()), (ids[2], "Rijeka"));
    let history: Vec<_> =
        engine.merges().unwrap().iter().map(|row| (row.from, row.into, row.undone.is_some())).collect();
    assert_eq!(history, [(ids[2], ids[1], true), (ids[1], ids[0], false)]);
}

/// What the model knows of a person.
#[derive(Clone, Debug, Default, PartialEq)]
struct Plain {
    cities: Option<String>,
    tags: BTreeSet<String>,
    emails: BTreeSet<String>,
}

#[derive(Clone, Debug)]
enum Step {
    Upsert { who: u8, replace: bool, city: Option<Option<u8>>, tag: Option<u8>, mail: Option<u8> },
    Delete { who: u8 },
    Untag { who: u8, tag: u8 },
    RemoveMail { who: u8, mail: u8 },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let city = prop::option::of(prop::option::of(0_u8..3));
    let upsert = (0_u8..4, any::<bool>(), city, prop::option::of(0_u8..3), prop::option::of(0_u8..4));
    prop_oneof![
        6 => upsert.prop_map(|(who, replace, city, tag, mail)| Step::Upsert { who, replace, city, tag, mail }),
        1 => (0_u8..4).prop_map(|who| Step::Delete { who }),
        1 => (0_u8..4, 0_u8..3).prop_map(|(who, tag)| Step::Untag { who, tag }),
        1 => (0_u8..4, 0_u8..4).prop_map(|(who, mail)| Step::RemoveMail { who, mail }),
        1 => Just(Step::Reopen),
    ]
}

fn mail_of(mail: u8) -> String {
    format!("m{mail}@example.com")
}

/// Does a step in the model; `None` when it must be refused.
fn in_model(model: &mut BTreeMap<u8, Plain>, step: &Step) -> Option<()> {
    match step {
        Step::Upsert { who, replace, city, tag, mail } => {
            let owner =
                mail.and_then(|mail| model.iter().find(|(_, one)| one.emails.contains(&mail_of(mail))));
            if owner.is_some_and(|(owner, _)| owner != who) {
                return None;
            }
            let person = model.entry(*who).or_default();
            if *replace {
                *person = Plain::default();
            }
            if let Some(city) = city {
                person.cities = city.map(|city| format!("city {city}"));
            }
            person.tags.extend(tag.map(|tag| format!("t{tag}")));
            person.emails.extend(mail.map(mail_of));
        }
        Step::Delete { who } => {
            model.remove(who)?;
        }
        Step::Untag { who, tag } => {
            model.get_mut(who)?.tags.remove(&format!("t{tag}"));
        }
        Step::RemoveMail { who, mail } => {
            model.get_mut(who)?.emails.remove(&mail_of(*mail));
        }
        Step::Reopen => {}
    }
    Some(())
}

fn op_of(step: &Step) -> Option<PersonOp> {
    let name = |who: &u8| format!("p{who}");
    Some(match step {
        Step::Upsert { who, replace, city, tag, mail } => {
            let mut json = json!({"externalId": name(who)});
            if let Some(city) = city {
                json["city"] = city.map_or(Value::Null, |city| format!("city {city}").into());
            }
            if let Some(tag) = tag {
                json["tags"] = json!([format!("t{tag}")]);
            }
            let contacts = mail.map(|mail| vec![Contact::email(mail_of(mail))]);
            let mode = if *replace { Mode::Replace } else { Mode::Update };
            let write = PersonWrite { contacts, ..write(&json) };
            // Whoever has the name is meant, not whoever has the address.
            return Some(PersonOp::Upsert { write, mode });
        }
        Step::Delete { who } => PersonOp::Delete { who: external(&name(who)) },
        Step::Untag { who, tag } => PersonOp::Untag { who: external(&name(who)), tag: format!("t{tag}") },
        Step::RemoveMail { who, mail } => PersonOp::RemoveContacts {
            who: external(&name(who)),
            contacts: vec![Contact::email(mail_of(*mail))],
        },
        Step::Reopen => return None,
    })
}

fn seen(engine: &Engine, who: u8) -> Option<Plain> {
    let profile = engine.find_person(&external(&format!("p{who}"))).unwrap()?;
    Some(Plain {
        cities: profile.attributes.get(&Attribute::City).cloned(),
        tags: profile.tags,
        emails: profile.contacts.into_iter().map(|one| one.id).collect(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn random_writes_leave_what_a_plain_model_says(steps in prop::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let mut engine = open(&folder).await;
            let mut model = BTreeMap::new();
            for step in &steps {
                match op_of(step) {
                    None => {
                        engine.close().await.unwrap();
                        engine = open(&folder).await;
                    }
                    Some(op) => {
                        // An upsert of a new name with a known address means the address's person.
                        let means_another = matches!((&op, step), (PersonOp::Upsert { write, .. }, Step::Upsert { who, .. })
                            if !model.contains_key(who) && write.contacts.iter().flatten().any(|one| engine.find_person(&one.identifier()).unwrap().is_some()));
                        if means_another {
                            continue;
                        }
                        let verdict = one(&engine, op).await;
                        let fine = in_model(&mut model, step).is_some();
                        assert_eq!(fine, !matches!(verdict, Verdict::Refused(_)), "{step:?} {verdict:?}");
                    }
                }
                for who in 0..4 {
                    assert_eq!(seen(&engine, who), model.get(&who).cloned(), "{who} after {step:?}");
                }
            }
        });
    }
}
