//! Every message that is tagged by hand, held against `tempopb.proto`: names, numbers, types and repetition.

use std::collections::BTreeMap;

const CONTRACT: &str = include_str!("../tempopb.proto");
const ANSWERS: &str = include_str!("../proto.rs");
const REQUESTS: &str = include_str!("../streaming/requests.rs");

/// What a field is on the wire.
#[derive(Debug, Clone, PartialEq)]
struct Field {
    number: u32,
    /// A scalar's name, `enum`, `message`, or `map<key, value>` of these.
    kind: String,
    is_repeated: bool,
}

/// Fields by name of messages by name, names in lower case and without underscores.
type Messages = BTreeMap<String, BTreeMap<String, Field>>;

fn bare(name: &str) -> String {
    name.replace('_', "").to_lowercase()
}

/// Messages of a `.proto` file with one field a line.
fn contract() -> Messages {
    let lines = || CONTRACT.lines().map(|line| line.split("//").next().unwrap_or_default().trim());
    let named = |keyword: &str| {
        let names = lines().filter_map(|line| line.strip_prefix(keyword)?.strip_suffix('{'));
        names.map(|name| name.trim().to_owned()).collect::<Vec<_>>()
    };
    let (enums, mut messages, mut open) = (named("enum "), Messages::new(), None);
    let kind = |name: &str| match name {
        "double" | "int32" | "int64" | "uint32" | "uint64" | "bool" | "string" | "bytes" => name.to_owned(),
        name if enums.iter().any(|known| known == name) => "enum".to_owned(),
        _ => "message".to_owned(),
    };
    for line in lines() {
        if let Some(name) = line.strip_prefix("message ").and_then(|rest| rest.strip_suffix('{')) {
            open = Some(bare(name.trim()));
            messages.insert(bare(name.trim()), BTreeMap::new());
        } else if line == "}" {
            open = None;
        } else if let (Some(message), Some((declared, number))) = (&open, line.trim_end_matches(';').split_once(" = "))
        {
            let (of, name) = declared.rsplit_once(' ').unwrap();
            let repeated = of.strip_prefix("repeated ");
            let of = repeated.unwrap_or(of).trim_start_matches("optional ");
            let kind = match of.strip_prefix("map<").and_then(|of| of.strip_suffix('>')) {
                Some(of) => of.split(", ").map(kind).collect::<Vec<_>>().join(", "),
                None => kind(of),
            };
            let field = Field { number: number.parse().unwrap(), kind, is_repeated: repeated.is_some() };
            messages.get_mut(message).unwrap().insert(bare(name), field);
        }
    }
    messages
}

/// Messages of a Rust file whose fields have a `#[prost(…)]` each.
fn tagged(source: &str) -> Messages {
    let (mut messages, mut open, mut attribute) = (Messages::new(), String::new(), None);
    for line in source.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("pub(super) struct ") {
            open = bare(rest.trim_end_matches([' ', '{', '}']));
        } else if let Some(rest) = line.strip_prefix("#[prost(") {
            attribute = Some(rest.trim_end_matches(")]"));
        } else if let Some(attribute) = attribute.take() {
            let name = line.trim_start_matches("pub(super) ").split(':').next().unwrap();
            let (of, number) = attribute.split_once("tag = \"").unwrap();
            let kind = match (of.split_once("btree_map = \""), of.starts_with("enumeration")) {
                (Some((_, map)), _) => map.split('"').next().unwrap().to_owned(),
                (None, true) => "enum".to_owned(),
                (None, false) => of.split(',').next().unwrap().to_owned(),
            };
            let number = number.trim_end_matches('"').parse().unwrap();
            let field = Field { number, kind, is_repeated: of.contains("repeated") };
            messages.entry(open.clone()).or_default().insert(bare(name), field);
        }
    }
    messages
}

#[test]
fn every_hand_tagged_field_is_that_of_tempo() {
    let (contract, answers, requests) = (contract(), tagged(ANSWERS), tagged(REQUESTS));
    assert_eq!((answers.len(), requests.len()), (22, 5), "messages that were found in the sources");
    for (message, fields) in answers.iter().chain(&requests) {
        for (name, field) in fields {
            // `type` is a word of Rust
            let name = if (message.as_str(), name.as_str()) == ("tagvalue", "kind") { "type" } else { name };
            let expected = contract.get(message).and_then(|fields| fields.get(name));
            assert_eq!(Some(field), expected, "{message}.{name}");
        }
    }
    // of requests those fields are left out that nobody reads; answers are whole
    for (message, fields) in &answers {
        assert_eq!(fields.len(), contract[message].len(), "fields of {message}");
    }
}

#[test]
fn statuses_have_the_numbers_of_tempo() {
    use super::PartialStatus::{Complete, Partial};
    let number = |name: &str| {
        let line = CONTRACT.lines().find_map(|line| line.trim().strip_prefix(&format!("{name} = "))).unwrap();
        line.trim_end_matches(';').parse::<i32>().unwrap()
    };
    assert_eq!([Complete as i32, Partial as i32], ["COMPLETE", "PARTIAL"].map(number));
}
