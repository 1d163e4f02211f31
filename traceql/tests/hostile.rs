//! Texts that are made to cost much: each is read or refused in bounded time, and what is read is of bounded size.

use std::time::{Duration, Instant};

use traceql::{MAX_QUERY_BYTES, parse, parse_tag_filter};

/// Far above what reading takes (a tenth of a second for most, in a debug build), far below what a text takes that is
/// read in quadratic time.
const PATIENCE: Duration = Duration::from_secs(20);

/// As much of the text, over and over, as a query may have bytes, between what opens and what closes it.
fn longest(open: &str, repeated: &str, close: &str) -> String {
    let room = MAX_QUERY_BYTES - open.len() - close.len();
    format!("{open}{}{close}", repeated.repeat(room / repeated.len()))
}

fn list(count: usize, joint: &str, each: impl Fn(usize) -> String) -> String {
    (0..count).map(each).collect::<Vec<_>>().join(joint)
}

/// What becomes of a text, as a query and as a tag filter, within the patience.
fn outcome(text: &str) -> String {
    let started = Instant::now();
    let outcome = parse(text).map_or_else(|error| error.to_string(), |_| "read".to_owned());
    let _ = parse_tag_filter(text, 100);
    assert!(started.elapsed() < PATIENCE, "{:?} for {}", started.elapsed(), &text[..40.min(text.len())]);
    outcome
}

#[test]
fn long_chains_are_read_in_time() {
    for text in [
        longest("{ .a=1", "||.a=1", " }"),
        longest("{ .a=1", "&&.a=1", " }"),
        longest("{ .a=1", "&&(.a=1||.b=1)", " }"),
        longest("{ .a=1", "||(.a=1&&.b=1)", " }"),
        longest("{ .a=`", "x", "` }"),
        longest("{} with(a=1", ",a=1", ")"),
        longest("{}", " with(a=1)", ""),
    ] {
        assert_eq!(outcome(&text), "read");
    }
}

#[test]
fn what_makes_an_answer_large_is_limited() {
    for (text, refusal) in [
        (longest("{}", "|{}", ""), "too many stages (limit: 64)"),
        (longest("{}", "|by(.a)", ""), "too many stages (limit: 64)"),
        (longest("({}", "|count()>1", ") && ({})"), "too many stages (limit: 64)"),
        (longest("{}|rate()", "|topk(1)", ""), "too many stages (limit: 64)"),
        (longest("{}|rate()", ">1", ""), "too many stages (limit: 64)"),
        (longest("{}|select(.a", ",.a", ")"), "too many entries in lists (limit: 256)"),
        (longest("{}|quantile_over_time(duration,0.5", ",0.5", ")"), "too many entries in lists (limit: 256)"),
        (
            format!("{{}}|rate() by({})", list(9000, ",", |n| format!(".a{n}"))),
            "too many entries in lists (limit: 256)",
        ),
        (format!("{{ {} }}", list(9000, "||", |n| format!(".a{n}=1"))), "too many different fields (limit: 512)"),
        (longest("{}", "||{}", ""), "too many operators between span sets (limit: 64)"),
        (longest("{ ", "!", ".a }"), "expression is nested too deeply (limit: 256)"),
        (" ".repeat(MAX_QUERY_BYTES + 1), "TraceQL expression exceeds the configured maximum size of 131072 bytes"),
    ] {
        let outcome = outcome(&text);
        assert!(outcome.contains(refusal), "{outcome}");
    }
    assert_eq!(outcome(&format!("{{ {} }}", list(512, "||", |n| format!(".a{n}=1")))), "read");
    assert_eq!(outcome(&format!("{{}} | select({})", list(257, ",", |n| format!(".a{n}")))), "read");
}

/// What a worker of the process has left of its four megabytes when it reads a query, at the least.
const STACK_BYTES: usize = 3_584 << 10;

#[test]
fn no_nesting_exhausts_the_stack_of_a_worker() {
    let nested = || {
        let fields = |count| "!(".repeat(count);
        for (text, refusal) in [
            (longest("{}|", "(", "{}"), "expression is nested too deeply (limit: 128)"),
            (longest("", "(", "{}"), "expression is nested too deeply (limit: 128)"),
            (longest("{ ", "!(", ".a"), "expression is nested too deeply (limit: "),
            (format!("{}{{ {}", "(".repeat(128), fields(300)), "expression is nested too deeply (limit: 256)"),
            (format!("{}{{ {}", "(".repeat(256), fields(300)), "expression is nested too deeply (limit: 128)"),
        ] {
            let outcome = outcome(&text);
            assert!(outcome.contains(refusal), "{outcome}");
        }
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(nested).unwrap().join().unwrap();
}

#[test]
fn patterns_cost_what_they_may() {
    assert_eq!(outcome(&format!("{{ {} }}", list(128, "||", |n| format!(r".a=~`(?i)\pL{{20}}x{n}`")))), "read");
    for pattern in ["((((a{100}){100}){100}){100}){100}".to_owned(), r"\pL{1000}".repeat(50), "(".repeat(100_000)] {
        let outcome = outcome(&format!("{{ .a =~ `{pattern}` }}"));
        assert!(outcome.starts_with("invalid regex: "), "{outcome}");
    }
    assert!(outcome(&longest("{ .a=~`", "(a|b)*", "` }")).starts_with("invalid regex: "));
}

#[test]
fn tag_filters_of_thousands_of_groups_are_refused() {
    for text in [
        format!("{{ {} }}", list(5000, " || ", |n| format!("span.a{n} = {n}"))),
        format!("{{ {} }}", list(64, " && ", |n| format!("(span.a = {n} || span.b = {n})"))),
    ] {
        let started = Instant::now();
        let refusal = parse_tag_filter(&text, 100).unwrap_err().to_string();
        assert!(refusal.starts_with("maximum condition groups reached (limit: 100)"), "{refusal}");
        assert!(started.elapsed() < PATIENCE);
    }
}
