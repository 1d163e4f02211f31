use super::*;

fn kinds(text: &str) -> Vec<Token> {
    tokens(text).into_iter().map(|(token, _)| token).collect()
}

fn first(text: &str) -> Token {
    kinds(text).remove(0)
}

#[test]
fn operators_are_read_greedily() {
    for (text, expected) in [
        ("!>>=", vec!["!>>", "="]),
        (">>>", vec![">>", ">"]),
        ("&&&~", vec!["&&", "&~"]),
        ("<<<=", vec!["<<", "<="]),
        ("||||", vec!["||", "||"]),
        ("=~!~", vec!["=~", "!~"]),
        ("=-", vec!["=", "-"]),
    ] {
        let mut expected: Vec<Token> = expected.into_iter().map(Token::Symbol).collect();
        expected.push(Token::End);
        assert_eq!(kinds(text), expected, "{text}");
    }
    assert_eq!(first("& &"), Token::Identifier("&".to_owned()));
}

#[test]
fn numbers_durations_and_what_is_left_of_bad_ones() {
    for (text, expected) in [
        ("010", Token::Integer(10)),
        ("3.", Token::Float(3.0)),
        (".5", Token::Float(0.5)),
        ("2.5E-2", Token::Float(0.025)),
        ("1e3", Token::Float(1000.0)),
        ("1y", Token::Duration(365 * 86_400_000_000_000)),
        ("1w2d", Token::Duration(9 * 86_400_000_000_000)),
        ("1500µs", Token::Duration(1_500_000)),
        ("1m30.5s", Token::Duration(90_500_000_000)),
        ("1s30m", Token::Duration(1_801_000_000_000)),
        ("1d1ms", Token::Duration(86_400_001_000_000)),
        ("1.5d", Token::Float(1.5)),
        ("1h30", Token::Integer(1)),
        ("5min", Token::Duration(300_000_000_000)),
        ("1ms1d", Token::Integer(1)),
        ("10 ms", Token::Integer(10)),
        ("0o17", Token::Bad(r#"strconv.Atoi: parsing "0o17": invalid syntax"#.to_owned())),
        ("1e999", Token::Bad(r#"strconv.ParseFloat: parsing "1e999": value out of range"#.to_owned())),
    ] {
        assert_eq!(first(text), expected, "{text}");
    }
}

#[test]
fn strings_have_gos_escapes() {
    let string = |text: &str| Token::String(text.to_owned());
    for (text, expected) in [
        (r#""a\n\t\"\\\x41\101\u00e9\U0001F680""#, string("a\n\t\"\\AAé🚀")),
        ("`raw \"\\n` ", string("raw \"\\n")),
        (r#""\xff""#, string("\u{fffd}")),
        (r#""\ud800""#, Token::Bad("invalid char escape".to_owned())),
        (r#""\'""#, Token::Bad("invalid char escape".to_owned())),
        ("\"a\n\"", Token::Bad("literal not terminated".to_owned())),
        ("'ab'", Token::Bad("invalid char literal".to_owned())),
        ("'a'", Token::Identifier("'a'".to_owned())),
    ] {
        assert_eq!(first(text), expected, "{text}");
    }
}

#[test]
fn attribute_names_end_where_operators_begin() {
    for (text, prefix, name) in [
        ("span.a+b = 1", "span.", "a+b"),
        ("span.n^2", "span.", "n"),
        ("..a", ".", ".a"),
        ("resource.a.\"b c\".d)", "resource.", "a.b c.d"),
        ("span.\"\" = 1", "span.", ""),
        (".\"5num\"", ".", "5num"),
        ("parent.span.x", "parent.", "span.x"),
        ("span.a[0]//b", "span.", "a[0]//b"),
    ] {
        assert_eq!(first(text), Token::Attribute { prefix, name: Ok(name.to_owned()) }, "{text}");
    }
    assert_eq!(first(".5num"), Token::Float(0.5));
    assert_eq!(kinds("span : name").len(), 4);
}

#[test]
fn positions_count_characters_and_lines() {
    let positions: Vec<String> = tokens("é = /* ä\n */ 5 // x\n").iter().map(|(_, p)| p.to_string()).collect();
    assert_eq!(positions, ["at line 1, col 1", "at line 1, col 3", "at line 2, col 5", "at line 3, col 1"]);
}

#[test]
fn some_tokens_print_no_line() {
    for (text, line) in [
        ("&&", 0),
        ("!>>", 0),
        ("10ms", 0),
        ("trace:", 0),
        ("span.a", 0),
        (".a", 2),
        ("=", 2),
        ("10", 2),
        ("rate", 2),
        ("`a`", 2),
    ] {
        let text = format!("\n {text}");
        assert_eq!(tokens(&text)[0].1.to_string(), format!("at line {line}, col 2"), "{text}");
    }
}
