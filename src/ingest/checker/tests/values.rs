//! What a value may be.

use super::*;

#[test]
fn an_empty_list_is_not_null() {
    let checked = check(sale(), &[row("{\"seats\":[]}"), row("{\"seats\":null}")].concat());
    let list = column(&checked, 5).as_list::<i32>();
    assert!(list.is_valid(0) && list.value(0).is_empty() && list.is_null(1));
}

#[test]
fn br20_integers_come_back_digit_for_digit() {
    let checked = check(
        sale(),
        &[
            row("{\"count\":9007199254740993}"),
            row("{\"count\":9223372036854775807}"),
            row("{\"price\":1.5}"),
        ]
        .concat(),
    );
    let counts = column(&checked, 4).as_primitive::<Int64Type>();
    assert_eq!((counts.value(0), counts.value(1)), (9_007_199_254_740_993, i64::MAX));
    assert_eq!(column(&checked, 0).as_primitive::<Float64Type>().value(2), 1.5);

    assert_eq!(code(&sale_row("{\"count\":9223372036854775808}")), Code::NumberOutOfRange);
    assert_eq!(code(&sale_row("{\"count\":1.5}")), Code::WrongType);
    assert_eq!(code(&sale_row("{\"price\":1e999}")), Code::NumberOutOfRange);
    let inexact = sale_row("{\"price\":9007199254740993}");
    assert_eq!(code(&inexact), Code::InexactNumber);
    assert_eq!(
        message(&inexact),
        "property \"price\" of \"sale\" must be a number, found the number 9007199254740993, which 64 bits of floating point cannot hold exactly; a Numeric property can, or write it with a point to have it rounded"
    );
}

#[test]
fn br21_types_are_strict_and_each_refusal_says_what_came() {
    let taken = check(
        sale(),
        &[row("{\"price\":5}"), row("{\"price\":5.5}"), row("{\"day\":\"2024-02-29\"}")].concat(),
    );
    assert_eq!(taken.events.len(), 3);
    for (properties, property, expected, found) in [
        ("{\"price\":\"42\"}", "price", "a number", "the string \"42\""),
        ("{\"price\":true}", "price", "a number", "true"),
        ("{\"title\":7}", "title", "a string", "the number 7"),
        ("{\"vip\":\"true\"}", "vip", "true or false", "the string \"true\""),
        ("{\"day\":\"2024-02-30\"}", "day", "an ISO 8601 time in a string", "the string \"2024-02-30\""),
        ("{\"day\":1709164800000}", "day", "an ISO 8601 time in a string", "the number 1709164800000"),
        ("{\"vip\":1}", "vip", "true or false", "the number 1"),
        ("{\"count\":\"1\"}", "count", "an integer of 64 bits", "the string \"1\""),
        ("{\"seats\":{}}", "seats", "an array of objects", "an object {}"),
        ("{\"seats\":[{},null]}", "seats", "an array of objects", "null as item 2"),
        ("{\"seats\":[{},{\"price\":\"x\"}]}", "seats[2].price", "a number", "the string \"x\""),
    ] {
        let checked = sale_row(properties);
        let refusal = refused(&checked);
        assert_eq!(refusal.property.as_deref(), Some(property), "{properties}");
        assert_eq!(refusal.expected.as_deref(), Some(expected), "{properties}");
        assert_eq!(refusal.found.as_deref(), Some(found), "{properties}");
        assert_eq!(refusal.definition.as_deref(), Some("sale"));
        let says = format!("property \"{property}\" of \"sale\" must be {expected}, found {found}");
        assert!(refusal.message.starts_with(&says), "{}", refusal.message);
    }
}

#[test]
fn br23_half_an_emoji_refuses_its_row_alone() {
    let lines =
        [row("{\"title\":\"\\ud83d\\ude00\"}"), row("{\"title\":\"x\\ud83d\"}"), row("{\"title\":\"é\"}")];
    let checked = check(sale(), &lines.concat());
    assert_eq!((checked.events.len(), checked.rejections.len()), (2, 1));
    let rejection = &checked.rejections[0];
    assert_eq!((rejection.row, rejection.refusal.code), (2, Code::LoneSurrogate));
    let place = lines[1].find("\\ud83d").unwrap() + 1;
    assert!(
        rejection.refusal.message.starts_with(&format!("byte {place}: ")),
        "{}",
        rejection.refusal.message
    );
    let titles = checked.tables[0].columns[4].as_string::<i32>();
    assert_eq!((titles.value(0), titles.value(1)), ("😀", "é"));

    let lenient = CheckOptions { lenient: true, ..CheckOptions::default() };
    let checked = check_as(vec![sale()], lenient, lines.concat().as_bytes());
    assert_eq!(column(&checked, 1).as_string::<i32>().value(1), "x\u{fffd}");
}

#[test]
fn br23_a_cut_counts_code_points() {
    let mut url = scalar("url", ScalarType::String);
    url.rules = vec![Rule::CutAt(1_500)];
    let page = definition("sale", vec![url]);
    let long = format!("{}😀tail", "a".repeat(1_499));
    let escaped = format!("{}\\ud83d\\ude00tail", "a".repeat(1_499));
    let fits = "é".repeat(1_500);
    let lines = [&long, &escaped, &fits].map(|url| row(&format!("{{\"url\":\"{url}\"}}"))).concat();
    let checked = check(page, &lines);
    let urls = column(&checked, 0).as_string::<i32>();
    assert_eq!((urls.value(0).chars().count(), urls.value(0).len()), (1_500, 1_503));
    assert!(urls.value(0).ends_with("a😀"));
    assert_eq!((urls.value(1), urls.value(2)), (urls.value(0), fits.as_str()));
}

#[test]
fn br31_a_long_fraction_is_a_plain_number() {
    let checked = sale_row("{\"price\":0.0033208349999999998}");
    assert_eq!(column(&checked, 0).as_primitive::<Float64Type>().value(0), 0.003_320_835);
    assert_eq!(checked.tables[0].columns.len(), 3 + 6);
}

#[test]
fn br37_text_that_looks_like_something_else_stays_text() {
    let lines = [row("{\"title\":\"2024-12-19T00:00:00Z\"}"), row("{\"title\":\"007\"}")].concat();
    let checked = check(sale(), &lines);
    let titles = column(&checked, 1).as_string::<i32>();
    assert_eq!((titles.value(0), titles.value(1)), ("2024-12-19T00:00:00Z", "007"));
}

#[test]
fn br41_the_epoch_and_what_was_before_are_ordinary() {
    let times = ["\"1970-01-01T00:00:00Z\"", "\"1969-12-31T23:59:55Z\"", "0", "-5000"];
    let lines = times.map(|time| keys(&format!("\"personId\":1,\"occurredTime\":{time}"))).concat();
    let checked = check(sale(), &lines);
    let taken = checked.tables[0].columns[0].as_primitive::<TimestampMicrosecondType>();
    assert_eq!(taken.values(), &[0, -5_000_000, 0, -5_000_000]);
}

#[test]
fn times_need_an_offset_or_a_zone() {
    let line = keys("\"personId\":1,\"occurredTime\":\"2026-06-01T12:00:00\",\"day\":\"2026-06-01\"");
    assert_eq!(code(&check(sale(), &line)), Code::TimeWithoutOffset);
    let zone = parse_zone("Europe/Zagreb").unwrap();
    let options = CheckOptions { zone: Some(zone), ..CheckOptions::default() };
    let checked = check_as(vec![sale()], options, line.as_bytes());
    let at =
        |column: &ArrayRef| Micros(column.as_primitive::<TimestampMicrosecondType>().value(0)).to_string();
    assert_eq!(at(&checked.tables[0].columns[0]), "2026-06-01T10:00:00.000000Z");
    assert_eq!(at(column(&checked, 3)), "2026-05-31T22:00:00.000000Z");

    let seconds = check(sale(), &keys("\"personId\":1,\"occurredTime\":1744881164"));
    assert_eq!(code(&seconds), Code::SecondsForMilliseconds);
    assert!(message(&seconds).contains("multiply by 1000"), "{}", message(&seconds));
    let text = check(sale(), &keys("\"personId\":1,\"occurredTime\":\"1744881164183\""));
    assert_eq!(code(&text), Code::InvalidTime);
}

#[test]
fn rules_of_texts_and_defaults() {
    let with = |name: &str, rules: Vec<Rule>| Property { rules, ..scalar(name, ScalarType::String) };
    let mut start = scalar("start", ScalarType::DateTime);
    start.rules = vec![Rule::DayFirst];
    let mut session = definition(
        "sale",
        vec![
            with("path", vec![Rule::StartsWith("/".to_owned())]),
            with("device", vec![Rule::OneOf(vec!["mobile".to_owned(), "TV".to_owned()])]),
            start,
            scalar("kind", ScalarType::String),
            scalar("source", ScalarType::String),
            scalar("medium", ScalarType::String),
        ],
    );
    session.defaults = vec![DefaultValue {
        property: "source".to_owned(),
        value: "direct".to_owned(),
        when: ("kind".to_owned(), "Web".to_owned()),
        unless: vec!["source".to_owned(), "medium".to_owned()],
    }];
    let lines = [
        "{\"path\":\"/a\",\"device\":\"TV\",\"start\":\"29/02/2024 18:30:05\",\"kind\":\"Web\"}",
        "{\"start\":\"2024-02-29T18:30:05Z\",\"kind\":\"Web\",\"medium\":\"cpc\"}",
        "{\"kind\":\"Web\",\"source\":null}",
        "{\"kind\":\"Web\",\"source\":\"mail\"}",
        "{\"kind\":\"App\"}",
    ];
    let checked = check(session.clone(), &lines.map(row).concat());
    let sources: Vec<Option<&str>> = column(&checked, 4).as_string::<i32>().iter().collect();
    assert_eq!(sources, [Some("direct"), None, Some("direct"), Some("mail"), None]);
    let starts = column(&checked, 2).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(starts.value(0), starts.value(1));
    for (properties, says) in [
        ("{\"path\":\"a\"}", "must be a string that starts with \"/\", found the string \"a\""),
        (
            "{\"device\":\"tv\"}",
            "must be one of \"mobile\", \"TV\", found the string \"tv\"; did you mean \"TV\"?",
        ),
    ] {
        let checked = check(session.clone(), &row(properties));
        assert_eq!(code(&checked), Code::RuleBroken);
        assert!(message(&checked).ends_with(says), "{}", message(&checked));
    }
    assert_eq!(code(&check(session, &row("{\"start\":\"31/02/2024 00:00:00\"}"))), Code::InvalidTime);
}

#[test]
fn what_must_be_given_may_be_neither_left_out_nor_null() {
    let mut sold = sale();
    sold.properties[4].required = true;
    for properties in ["{}", "{\"count\":null}", "null"] {
        let checked = check(sold.clone(), &row(properties));
        assert_eq!(code(&checked), Code::MissingProperty);
        assert_eq!(message(&checked), "\"sale\" needs the property \"count\"");
    }
    assert_eq!(check(sold, &row("{\"count\":0}")).events.len(), 1);
}
