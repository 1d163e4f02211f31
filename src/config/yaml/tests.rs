use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    text: String,
    number: i64,
    flag: bool,
    list: Vec<String>,
    tenants: BTreeMap<String, Section>,
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<Parsed<T>, Error> {
    static NOTHING_KNOWN: tempo_keys::Key = tempo_keys::Key::new("");
    read(Node::parse(text)?, &NOTHING_KNOWN)
}

fn section(text: &str) -> Section {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).value
}

#[test]
fn a_text_is_what_is_written_whatever_it_looks_like() {
    for (yaml, text) in [
        ("text: 0123", "0123"),
        ("text: 1.10", "1.10"),
        ("text: 1e3", "1e3"),
        ("text: true", "true"),
        ("text: '5'", "5"),
        ("text: é5 # a comment", "é5"),
        ("list: [é]\ntext: 007", "007"),
        ("text: ''", ""),
        ("text: |\n  two\n  lines\n", "two\nlines\n"),
    ] {
        assert_eq!(section(yaml).text, text, "{yaml}");
    }
}

#[test]
fn numbers_and_flags_may_stand_in_quotes() {
    assert_eq!(section("number: 1_000_000").number, 1_000_000);
    assert!(parse::<Section>("number: 1__0").is_err() && parse::<Section>("number: _1").is_err());
    let read = section("number: '-5'\nflag: \"true\"\n");
    assert_eq!((read.number, read.flag), (-5, true));
    assert!(section("flag: yes").flag);
}

#[test]
fn anchors_and_merge_keys_are_followed() {
    let yaml = "tenants:\n  a: &base {text: 010, number: 1}\n  b: *base\n  c: {<<: *base, number: 2}\n";
    let tenants = section(yaml).tenants;
    assert_eq!(tenants["a"], tenants["b"]);
    assert_eq!((tenants["c"].text.as_str(), tenants["c"].number), ("010", 2));
}

#[test]
fn a_name_counts_in_a_map_also_without_a_value() {
    assert_eq!(section("tenants: {a: , b: ~}").tenants.into_keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(section("list:\ntenants:\n"), Section::default());
}

#[test]
fn errors_point_at_what_is_wrong() {
    let error = |text: &str| parse::<Section>(text).unwrap_err().to_string();
    assert_eq!(error("list: [a, {b: c}]"), "1:11: list.1: expected a text, found a section with keys");
    assert_eq!(
        error("tenants:\n  a:\n    number: x\n"),
        "3:13: tenants.a.number: expected a whole number, found \"x\""
    );
    assert_eq!(error("- a"), "1:1: expected a section with keys, found a list");
}
