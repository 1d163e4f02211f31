use super::limits::MAX_DEPTH;
use super::*;

/// The canonical text of the tree, neither folded nor checked.
fn tree(text: &str) -> String {
    query(text).map_or_else(|error| error.to_string(), |query| query.to_string())
}

#[test]
fn operators_of_expressions_bind_as_listed() {
    for (text, expected) in [
        (".a || .b && .c", "(.a || .b) && .c"),
        (".a && .b = .c + .d * .e ^ .f", ".a && (.b = (.c + (.d * (.e ^ .f))))"),
        ("!.a = .b", "(!.a) = .b"),
        ("!.a * .b", "!(.a * .b)"),
        ("!.a + .b", "(!.a) + .b"),
        ("-.a * .b", "-(.a * .b)"),
        ("-.a + .b", "(-.a) + .b"),
        ("-.a ^ .b", "-(.a ^ .b)"),
        (".a * -.b * .c", ".a * (-(.b * .c))"),
        (".a * -.b + .c", "(.a * (-.b)) + .c"),
        (".a - .b - .c", "(.a - .b) - .c"),
        (".a ^ .b ^ .c", ".a ^ (.b ^ .c)"),
        (".a = .b = .c", "(.a = .b) = .c"),
        (".a + nil = 2", ".a + (nil = 2)"),
        (".a = nil && .b", "(.a = nil) && .b"),
        ("nil != .a + 1 && .b", "(nil != (.a + 1)) && .b"),
        (".a = nil = .b", ".a = (nil = .b)"),
        ("nil = nil", "nil = nil"),
        ("!.a = nil", "(!.a) = nil"),
    ] {
        assert_eq!(tree(&format!("{{{text}}}")), format!("{{ {expected} }}"), "{text}");
    }
}

#[test]
fn operators_of_span_sets_bind_as_listed() {
    for (text, expected) in [
        ("{.a} || {.b} && {.c}", "({ .a } || { .b }) && { .c }"),
        ("{.a} && {.b} > {.c}", "{ .a } && ({ .b } > { .c })"),
        ("{.a} > {.b} >> {.c}", "({ .a } > { .b }) >> { .c }"),
        ("{.a} !< ({.b} &~ {.c}) | {}", "{ .a } !< ({ .b } &~ { .c }) | { true }"),
        ("(({.a}))", "{ .a }"),
        ("({.a} | by(.x)) && ({.b})", "({ .a } | by(.x)) && ({ .b })"),
        ("({.a}) && ({.b} | by(.x))", "({ .a }) && ({ .b } | by(.x))"),
        ("({.a}) && ({.b}) || ({.c} | by(.x))", "({ .a } && { .b }) || ({ .c } | by(.x))"),
        ("(({.a} | by(.x)) && ({.b})) > (by(.y))", "(({ .a } | by(.x)) && ({ .b })) > (by(.y))"),
        ("({.a} | count() > 1)", "({ .a } | count() > 1)"),
        ("{} | (count()) > 1", "{ true } | count() > 1"),
        ("(count() + 1) * 2 = -3ms", "(count() + 1) * 2 = -3ms"),
        ("({} | count()) + 1 > 2", "({ true } | count()) + 1 > 2"),
    ] {
        assert_eq!(tree(text), expected, "{text}");
    }
}

#[test]
fn operands_of_span_sets_do_not_mix() {
    for (text, message) in [
        ("({} | by(.x)) > {}", "at line 1, col 17: syntax error: unexpected {, expecting ("),
        ("{} > ({} | by(.x))", "at line 1, col 10: syntax error: unexpected |"),
        ("({}) && {} > ({} | by(.x))", "at line 1, col 18: syntax error: unexpected |"),
        ("({} | by(.x)) | {}", "at line 1, col 15: syntax error: unexpected |, expecting with"),
        ("{} | ({} | by(.x))", "at line 1, col 10: syntax error: unexpected |"),
        ("{} | (count() > 1)", "at line 1, col 18: syntax error: unexpected )"),
        ("{} > (count())", "at line 1, col 14: syntax error: unexpected )"),
        ("count() > ({})", "at line 1, col 14: syntax error: unexpected )"),
        ("(count() + 1", "at line 1, col 13: syntax error: unexpected $end"),
    ] {
        assert_eq!(tree(text), format!("parse error {message}"), "{text}");
    }
}

#[test]
fn long_chains_are_balanced_and_short_ones_are_not() {
    let chain = |count: usize| (0..count).map(|n| format!(".a = {n}")).collect::<Vec<_>>().join(" || ");
    assert_eq!(tree(&format!("{{{}}}", chain(4))), "{ (((.a = 0) || (.a = 1)) || (.a = 2)) || (.a = 3) }");
    let long = query(&format!("{{{}}}", chain(5000))).unwrap();
    assert_eq!(query(&long.to_string()), Ok(long));
}

#[test]
fn hostile_texts_are_refused_not_followed() {
    let deep = |open: &str, close: &str| format!("{{ {}.a{} }}", open.repeat(10_000), close.repeat(10_000));
    for text in [
        deep("(", ")"),
        deep("!", ""),
        deep("- ", ""),
        deep("2 ^ ", ""),
        deep("nil = ", ""),
        deep("", " + 1"),
        deep("", " || .b && .c"),
        "(".repeat(100_000),
        "{} > ".repeat(10_000) + "{}",
        "1 + ".repeat(10_000) + "1 > 1",
        format!("{{ {} }}", ".a =~ `x` || ".repeat(1000)),
    ] {
        let message = tree(&text);
        assert!(message.contains("(limit: "), "{message}");
    }
    assert_eq!(query(&" ".repeat(MAX_QUERY_BYTES + 1)), Err(Error::TooLong));
}

#[test]
fn the_deepest_tree_that_is_read_can_be_walked() {
    // printed, each level is in parentheses, and a prefix operator may stand before them
    for deepest in [
        ".a".to_owned() + &" + 1".repeat(MAX_DEPTH - 2) + " = 2",
        "!".repeat(MAX_DEPTH - 1) + ".a",
        "-".repeat(MAX_DEPTH - 2) + ".a = 2",
        ".a ^ ".repeat(MAX_DEPTH - 2) + ".a = 2",
    ] {
        let deepest = crate::parse(&format!("{{ {deepest} }}")).unwrap();
        assert_eq!(crate::parse(&deepest.to_string()), Ok(deepest));
    }
}

#[test]
fn the_last_hints_count() {
    let query = query("{} with (a=1) with (b=`x`, c=5ms, b=ok)").unwrap();
    assert_eq!(query.hint("a"), None);
    assert_eq!(query.hint("b"), Some(&Static::Status(Status::Ok)));
}
