//! Definitions as people write and read them in JSON: the request that makes or changes one, and the answer.
//!
//! A request is checked here for its form only (keys, types, nothing given twice), each error with the path of the
//! place in the JSON; `evolve` decides whether what it asks for is allowed.

use std::fmt;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::Value;
use serde_json::json;

use crate::error::Context;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::error::did_you_mean;
use crate::ids::DefinitionId;
use crate::schema::Definition;
use crate::schema::Field;
use crate::schema::Property;
use crate::schema::PropertyType;

/// A wish to make or change a definition; SQL and JSON both end up here.
///
/// `id` and `template` exclude each other. Without either, the id follows from the title.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DefinitionRequest {
    pub id: Option<DefinitionId>,
    pub template: Option<DefinitionId>,
    pub title: Option<String>,
    pub description: Option<String>,
    pub properties: Vec<Property>,
}

impl DefinitionRequest {
    /// Reads one request or an array of them.
    ///
    /// ```
    /// use milepost::schema::DefinitionRequest;
    ///
    /// let text = r#"{"title":"Seat reserved","fields":[{"name":"total","type":"Decimal"}]}"#;
    /// let requests = DefinitionRequest::parse(text)?;
    /// assert_eq!(requests[0].properties[0].name, "total");
    /// # Ok::<(), milepost::error::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Vec<Self>> {
        let node: Node = serde_json::from_str(text)
            .context(Kind::Invalid, || "the definitions are not JSON".to_owned())?;
        match node {
            Node::Array(items) => items
                .into_iter()
                .enumerate()
                .map(|(at, item)| Self::read(item, &format!("$[{at}]")))
                .collect(),
            one => Ok(vec![Self::read(one, "$")?]),
        }
    }

    fn read(node: Node, path: &str) -> Result<Self> {
        let keys = ["definitionId", "templateId", "title", "description", "fields"];
        let mut object = Object::read(node, path, &keys)?;
        let id = object.id("definitionId")?;
        let template = object.id("templateId")?;
        if id.is_some() && template.is_some() {
            return Err(Error::invalid(format!(
                "at {path}: \"definitionId\" and \"templateId\" exclude each other; a definition made from a template has the template's id"
            )));
        }
        Ok(Self {
            id,
            template,
            title: object.text("title")?,
            description: object.text("description")?,
            properties: object.list("fields", read_property)?.unwrap_or_default(),
        })
    }
}

fn read_property(node: Node, path: &str) -> Result<Property> {
    let mut object = Object::read(node, path, &["name", "type", "schema"])?;
    let name = object.required_text("name")?;
    let kind = object.required_text("type")?;
    let schema = object.take("schema");
    let schema_path = format!("{path}.schema");
    if !kind.eq_ignore_ascii_case(PropertyType::LIST) {
        if schema != Node::Null {
            return Err(wrong(&schema_path, "nothing, as the type is not List", &schema));
        }
        return Ok(Property::scalar(name, object.parse("type", &kind)?));
    }
    let mut schema = Object::read(schema, &schema_path, &["type", "fields"])?;
    let what = schema.required_text("type")?;
    if !what.eq_ignore_ascii_case("Object") {
        return Err(wrong(&format!("{schema_path}.type"), "\"Object\"", &Node::Text(what)));
    }
    let fields = schema.list("fields", read_field)?;
    let fields = fields.ok_or_else(|| wrong(&format!("{schema_path}.fields"), "an array", &Node::Null))?;
    Ok(Property::new(name, PropertyType::List(fields)))
}

fn read_field(node: Node, path: &str) -> Result<Field> {
    let mut object = Object::read(node, path, &["name", "type"])?;
    let name = object.required_text("name")?;
    let kind = object.required_text("type")?;
    if kind.eq_ignore_ascii_case(PropertyType::LIST) {
        return Err(Error::invalid(format!("at {path}.type: a List inside a List is not possible")));
    }
    Ok(Field { name, kind: object.parse("type", &kind)? })
}

/// The request that makes this definition again.
pub fn to_request(definition: &Definition) -> Value {
    let fields = fields_to_json(&definition.properties);
    match &definition.template {
        Some(template) => json!({"templateId": template.as_str(), "fields": fields}),
        None => json!({
            "definitionId": definition.id.as_str(),
            "title": definition.title,
            "description": definition.description,
            "fields": fields,
        }),
    }
}

/// The definition as the answer to a request shows it.
pub fn to_response(definition: &Definition) -> Value {
    json!({
        "definitionId": definition.id.as_str(),
        "title": definition.title,
        "description": definition.description,
        "fields": fields_to_json(&definition.properties),
        "isInternalDefinition": definition.category.is_standard(),
        "category": definition.category.name(),
        "subcategory": definition.subcategory,
    })
}

fn fields_to_json(properties: &[Property]) -> Vec<Value> {
    let shown = properties.iter().map(|property| match &property.kind {
        PropertyType::Scalar(kind) => json!({"name": property.name, "type": kind.name()}),
        PropertyType::List(fields) => {
            let fields = fields.iter().map(|field| json!({"name": field.name, "type": field.kind.name()}));
            let schema = json!({"type": "Object", "fields": fields.collect::<Vec<_>>()});
            json!({"name": property.name, "type": property.kind.name(), "schema": schema})
        }
    });
    shown.collect()
}

/// JSON that still knows a key given twice, which `serde_json::Value` forgets.
#[derive(Debug, PartialEq)]
enum Node {
    Null,
    /// A boolean or a number, as it is shown in messages.
    Other(String),
    Text(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    fn found(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Other(shown) => shown.clone(),
            Self::Text(text) => format!("\"{text}\""),
            Self::Array(_) => "an array".to_owned(),
            Self::Object(_) => "an object".to_owned(),
        }
    }
}

fn wrong(path: &str, expected: &str, found: &Node) -> Error {
    Error::invalid(format!("at {path}: expected {expected}, found {}", found.found()))
}

/// An object whose keys are all known and each given once.
struct Object {
    path: String,
    entries: Vec<(String, Node)>,
}

impl Object {
    fn read(node: Node, path: &str, known: &[&str]) -> Result<Self> {
        let Node::Object(entries) = node else { return Err(wrong(path, "an object", &node)) };
        for (at, (key, _)) in entries.iter().enumerate() {
            if !known.contains(&key.as_str()) {
                let hint = did_you_mean(key, known.iter().copied());
                return Err(Error::invalid(format!("at {path}: unknown key \"{key}\"{hint}")));
            }
            if entries[..at].iter().any(|(earlier, _)| earlier == key) {
                return Err(Error::invalid(format!("at {path}: the key \"{key}\" is given twice")));
            }
        }
        Ok(Self { path: path.to_owned(), entries })
    }

    /// The value of a key; `Null` when it is not given.
    fn take(&mut self, key: &str) -> Node {
        match self.entries.iter().position(|(name, _)| name == key) {
            Some(at) => self.entries.swap_remove(at).1,
            None => Node::Null,
        }
    }

    fn text(&mut self, key: &str) -> Result<Option<String>> {
        match self.take(key) {
            Node::Null => Ok(None),
            Node::Text(text) => Ok(Some(text)),
            other => Err(wrong(&format!("{}.{key}", self.path), "a string", &other)),
        }
    }

    fn required_text(&mut self, key: &str) -> Result<String> {
        self.text(key)?.ok_or_else(|| wrong(&format!("{}.{key}", self.path), "a string", &Node::Null))
    }

    fn list<T>(&mut self, key: &str, read: impl Fn(Node, &str) -> Result<T>) -> Result<Option<Vec<T>>> {
        let path = format!("{}.{key}", self.path);
        match self.take(key) {
            Node::Null => Ok(None),
            Node::Array(items) => {
                let read =
                    items.into_iter().enumerate().map(|(at, item)| read(item, &format!("{path}[{at}]")));
                Ok(Some(read.collect::<Result<_>>()?))
            }
            other => Err(wrong(&path, "an array", &other)),
        }
    }

    fn id(&mut self, key: &str) -> Result<Option<DefinitionId>> {
        self.text(key)?.map(|text| self.parse(key, &text)).transpose()
    }

    fn parse<T: std::str::FromStr<Err = Error>>(&self, key: &str, text: &str) -> Result<T> {
        text.parse().map_err(|error: Error| Error::invalid(format!("at {}.{key}: {error}", self.path)))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Other(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Other(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Other(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Other(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Node::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Node::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Category;
    use crate::value::ScalarType;

    const SEAT: &str = r#"{"definitionId":"seatReserved","title":"Seat reserved","description":"Guest holds a seat",
        "fields":[{"name":"venueId","type":"Numeric"},{"name":"isMember","type":"True/False"},
                  {"name":"seats","type":"List","schema":{"type":"Object","fields":[
                      {"name":"row","type":"Text"},{"name":"price","type":"Number"}]}}]}"#;

    fn refusal(text: &str) -> String {
        DefinitionRequest::parse(text).unwrap_err().to_string()
    }

    fn field(field: &str) -> String {
        refusal(&format!(r#"{{"title":"T","fields":[{field}]}}"#))
    }

    #[test]
    fn a_request_is_read_with_aliases_of_types() {
        let requests = DefinitionRequest::parse(SEAT).unwrap();
        let [request] = requests.as_slice() else { panic!("one request") };
        assert_eq!(request.id.as_ref().map(DefinitionId::as_str), Some("seatReserved"));
        assert_eq!(request.template, None);
        assert_eq!(request.properties[1], Property::scalar("isMember", ScalarType::Boolean));
        let fields = vec![
            Field { name: "row".to_owned(), kind: ScalarType::String },
            Field { name: "price".to_owned(), kind: ScalarType::Decimal },
        ];
        assert_eq!(request.properties[2], Property::new("seats", PropertyType::List(fields)));
    }

    #[test]
    fn an_array_holds_several_requests_and_null_is_as_good_as_nothing() {
        let text = r#"[{"templateId":"itemPurchased","definitionId":null,"title":null,"fields":null},
                       {"title":"A","fields":[{"name":"a","type":"list","schema":{"type":"object","fields":[]}},
                                              {"name":"b","type":"string","schema":null}]}]"#;
        let requests = DefinitionRequest::parse(text).unwrap();
        let template = Some("itemPurchased".parse().unwrap());
        assert_eq!(requests[0], DefinitionRequest { template, ..DefinitionRequest::default() });
        assert_eq!(requests[1].properties.len(), 2);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        assert_eq!(
            refusal(r#"[{"title":"A"},{"titel":"B"}]"#),
            "at $[1]: unknown key \"titel\"; did you mean \"title\"?"
        );
        assert_eq!(
            field(r#"{"name":"a","type":"String","required":true}"#),
            "at $.fields[0]: unknown key \"required\""
        );
        let schema = r#"{"name":"a","type":"List","schema":{"type":"Object","fields":[],"x":1}}"#;
        assert_eq!(field(schema), "at $.fields[0].schema: unknown key \"x\"");
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        assert_eq!(refusal(r#"{"title":"A","title":"A"}"#), "at $: the key \"title\" is given twice");
        assert_eq!(
            field(r#"{"name":"a","type":"String","name":"b"}"#),
            "at $.fields[0]: the key \"name\" is given twice"
        );
    }

    #[test]
    fn what_is_not_as_expected_is_named_with_its_place() {
        assert_eq!(refusal("7"), "at $: expected an object, found 7");
        assert_eq!(refusal(r#"{"title":5}"#), "at $.title: expected a string, found 5");
        assert_eq!(refusal(r#"{"fields":{}}"#), "at $.fields: expected an array, found an object");
        assert_eq!(field(r#"{"type":"String"}"#), "at $.fields[0].name: expected a string, found nothing");
        assert_eq!(field("true"), "at $.fields[0]: expected an object, found true");
        assert!(
            field(r#"{"name":"a","type":"Blob"}"#)
                .starts_with("at $.fields[0].type: no property type is called \"Blob\"")
        );
        assert!(refusal("{").starts_with("the definitions are not JSON: EOF"));
        assert!(refusal(r#"{"definitionId":"a-b"}"#).starts_with("at $.definitionId: an event id has"));
        assert!(refusal(&format!(r#"{{"definitionId":"{}"}}"#, "a".repeat(37))).contains("1 to 36"));
        assert!(DefinitionRequest::parse(&format!(r#"{{"definitionId":"{}"}}"#, "a".repeat(36))).is_ok());
        assert!(refusal(r#"{"definitionId":""}"#).contains("1 to 36"));
        assert!(refusal(r#"{"definitionId":"a","templateId":"b"}"#).contains("exclude each other"));
    }

    #[test]
    fn a_list_needs_a_schema_of_scalars_and_nothing_else_may_have_one() {
        let place = "at $.fields[0].schema";
        assert_eq!(
            field(r#"{"name":"a","type":"List"}"#),
            format!("{place}: expected an object, found nothing")
        );
        assert_eq!(
            field(r#"{"name":"a","type":"String","schema":{}}"#),
            format!("{place}: expected nothing, as the type is not List, found an object")
        );
        assert_eq!(
            field(r#"{"name":"a","type":"List","schema":{"type":"Array","fields":[]}}"#),
            format!("{place}.type: expected \"Object\", found \"Array\"")
        );
        assert_eq!(
            field(r#"{"name":"a","type":"List","schema":{"type":"Object"}}"#),
            format!("{place}.fields: expected an array, found nothing")
        );
        assert_eq!(
            field(
                r#"{"name":"a","type":"List","schema":{"type":"Object","fields":[{"name":"b","type":"List"}]}}"#
            ),
            format!("{place}.fields[0].type: a List inside a List is not possible")
        );
    }

    #[test]
    fn the_answer_shows_the_definition_and_its_family() {
        let request = DefinitionRequest::parse(SEAT).unwrap().remove(0);
        let definition = Definition {
            id: request.id.clone().unwrap(),
            title: request.title.clone().unwrap(),
            description: request.description.clone().unwrap(),
            category: Category::External,
            subcategory: None,
            template: None,
            enabled: true,
            properties: request.properties.clone(),
            defaults: Vec::new(),
        };
        let expected = concat!(
            r#"{"definitionId":"seatReserved","title":"Seat reserved","description":"Guest holds a seat","#,
            r#""fields":[{"name":"venueId","type":"Numeric"},{"name":"isMember","type":"Boolean"},"#,
            r#"{"name":"seats","type":"List","schema":{"type":"Object","fields":["#,
            r#"{"name":"row","type":"String"},{"name":"price","type":"Decimal"}]}}],"#,
            r#""isInternalDefinition":false,"category":"external","subcategory":null}"#,
        );
        assert_eq!(to_response(&definition).to_string(), expected);
        assert_eq!(DefinitionRequest::parse(&to_request(&definition).to_string()).unwrap(), [request]);
        let opened =
            Definition { category: Category::Channel, subcategory: Some("email".to_owned()), ..definition };
        let answer = to_response(&opened);
        assert_eq!(answer["isInternalDefinition"], true);
        assert_eq!(answer["subcategory"], "email");
    }
}
