//! The corpus of queries with a real server's answers (`examples.yaml`), and the texts of more syntax errors.

use serde::Deserialize;

#[derive(Deserialize)]
struct Corpus {
    valid: Vec<Example>,
    parse_error: Vec<Example>,
    validation_error: Vec<Example>,
    runtime_error: Vec<Example>,
}

#[derive(Deserialize)]
struct Example {
    query: String,
    endpoint: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_contains: String,
}

fn corpus() -> Corpus {
    serde_saphyr::from_str(include_str!("examples.yaml")).expect("the corpus is valid YAML")
}

impl Example {
    /// What the language says; the endpoint puts its own words in front.
    fn message(&self) -> &str {
        let prefixes = ["invalid TraceQL query: ", "compiling query: "];
        prefixes.iter().find_map(|prefix| self.error.strip_prefix(prefix)).unwrap_or(&self.error)
    }

    fn refusal(&self) -> Option<traceql::Error> {
        let parsed = traceql::parse(&self.query);
        match self.endpoint.as_str() {
            "metrics" => parsed.and_then(|query| query.require_metrics().map(drop)).err(),
            _ => parsed.err(),
        }
    }
}

#[test]
fn valid_queries_parse_and_print_back() {
    for example in corpus().valid {
        let query = traceql::parse(&example.query).unwrap_or_else(|error| panic!("{}: {error}", example.query));
        let text = query.to_string();
        assert_eq!(traceql::parse(&text).as_ref(), Ok(&query), "{} prints {text}", example.query);
        assert_eq!(query.metrics.is_some(), example.endpoint == "metrics", "{}", example.query);
    }
}

#[test]
fn bad_queries_are_refused_with_the_servers_words() {
    let corpus = corpus();
    for (examples, is_parse_error) in [(corpus.parse_error, true), (corpus.validation_error, false)] {
        for example in examples {
            let error = example.refusal().unwrap_or_else(|| panic!("{} is accepted", example.query));
            assert_eq!(error.is_parse_error(), is_parse_error, "{}", example.query);
            assert_eq!(without_advice(&error), example.message(), "{}", example.query);
        }
    }
}

/// The reference's words: advice on what to write follows them.
fn without_advice(error: &traceql::Error) -> String {
    match error {
        traceql::Error::Parse { position, message, .. } => {
            traceql::Error::Parse { position: *position, message: message.clone(), advice: None }.to_string()
        }
        other => other.to_string(),
    }
}

/// Ordering of ids fails on a real server only once data is read; it is refused before that here.
#[test]
fn queries_that_fail_on_some_data_are_valid() {
    for example in corpus().runtime_error {
        let refusal = example.refusal().map(|error| error.to_string());
        let expected = example.error_contains.starts_with("operator not supported").then_some(example.error_contains);
        assert_eq!(refusal, expected, "{}", example.query);
    }
}

#[test]
fn syntax_errors_have_the_servers_words() {
    for (query, message) in [
        ("", ": syntax error: unexpected $end"),
        ("// nothing", "at line 1, col 11: syntax error: unexpected $end"),
        ("hello", "at line 1, col 1: syntax error: unexpected IDENTIFIER"),
        ("| { }", "at line 1, col 1: syntax error: unexpected |"),
        ("{ } |", "at line 1, col 6: syntax error: unexpected $end"),
        ("{ } | | { }", "at line 1, col 7: syntax error: unexpected |"),
        ("{ } { }", "at line 1, col 5: syntax error: unexpected {, expecting with"),
        ("{ } >>> { }", "at line 1, col 7: syntax error: unexpected >, expecting { or ("),
        ("{ colour = \"red\" }", "at line 1, col 3: unknown identifier: colour"),
        ("{ name = }", "at line 1, col 10: syntax error: unexpected }"),
        ("{ name \"x\" }", "at line 1, col 8: syntax error: unexpected STRING"),
        ("{ name = \"a\" and name = \"b\" }", "at line 1, col 14: syntax error: unexpected IDENTIFIER"),
        ("{ (name = \"x\" }", "at line 1, col 15: syntax error: unexpected }"),
        ("{ span.\"x = 1 }", "at line 0, col 3: unexpected EOF, expecting \""),
        ("{ span. = 1 }", "at line 0, col 3: syntax error: unexpected END_ATTRIBUTE, expecting IDENTIFIER"),
        ("{ . foo = 1 }", "at line 1, col 3: syntax error: unexpected END_ATTRIBUTE, expecting IDENTIFIER"),
        ("{ } | count(duration) > 1", "at line 1, col 13: syntax error: unexpected duration, expecting )"),
        ("{ } | count() = \"three\"", "at line 1, col 17: syntax error: unexpected STRING"),
        ("{ } | median(duration) > 1", "at line 1, col 7: syntax error: unexpected IDENTIFIER"),
        ("{ } | coalesce(1)", "at line 1, col 16: syntax error: unexpected INTEGER, expecting )"),
        ("{ } | sum_over_time()", "at line 1, col 21: syntax error: unexpected )"),
        ("{ } | /* never closed", "at line 1, col 7: comment not terminated"),
    ] {
        let error = without_advice(&traceql::parse(query).unwrap_err());
        assert_eq!(error.trim_start_matches("parse error ").trim_start(), message.trim_start(), "{query}");
    }
}

#[test]
fn further_refusals_have_the_servers_words() {
    for (query, message) in [
        ("{ true = 1 }", "binary operations must operate on the same type: true = 1"),
        ("{ name - \"x\" = \"y\" }", "illegal operation for the given types: name - `x`"),
        ("{ duration =~ \"1.*\" }", "binary operations must operate on the same type: duration =~ `1.*`"),
        ("{ name =~ \"(?!x).*\" }", "invalid regex: `(?!x).*`"),
        ("{ 3 }", "span filter field expressions must resolve to a boolean: { 3 }"),
        ("{ } | quantile_over_time(duration, 2)", "quantile must be between 0 and 1: 2"),
        ("{ \"a\" < span:id }", "operator not supported for IDs: <"),
        ("{ span.a = nil + 1 }", "binary operations must operate on the same type: (span.a = nil) + 1"),
    ] {
        assert_eq!(traceql::parse(query).unwrap_err().to_string(), message, "{query}");
    }
    assert_eq!(traceql::parse("").unwrap_err().to_string(), "parse error : syntax error: unexpected $end");
}
