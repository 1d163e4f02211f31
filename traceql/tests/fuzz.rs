//! Whatever is typed, the parser answers or refuses; and what it accepts prints to a text that means the same.

use serde::Deserialize;

#[derive(Deserialize)]
struct Corpus {
    valid: Vec<Example>,
    parse_error: Vec<Example>,
    validation_error: Vec<Example>,
}

#[derive(Deserialize)]
struct Example {
    query: String,
}

/// Forms that are rare in the corpus.
const MORE: [&str; 3] = [
    "{ (-5) * span.a ^ 2 - -1.5 % .b / 3 >= 1ms && minInt != -.c }",
    r#"{ span."a \"b\\ c".d = `x` || !(resource."" || event."9") }"#,
    "({ !.a } | by(-.b) | coalesce()) &>> ({ } | avg(.a * -2) <= -1.5) with (a=1ms, b=`c`)",
];

#[test]
fn fuzz_parse_print_parse() {
    let corpus: Corpus = serde_saphyr::from_str(include_str!("examples.yaml")).expect("the corpus is valid YAML");
    let examples = [corpus.valid, corpus.parse_error, corpus.validation_error].into_iter().flatten();
    let more = MORE.map(str::to_owned);
    let queries: Vec<String> =
        examples.map(|example| example.query).chain(more).filter(|query| !query.is_empty()).collect();
    fuzz::fuzz(
        "traceql",
        |random| fuzz::text::bend(random, &queries).into_bytes(),
        |input| {
            let Ok(text) = std::str::from_utf8(input) else { return };
            if let Ok(query) = traceql::parse(text) {
                let printed = query.to_string();
                // a text that is near the limit may print to one beyond it
                if printed.len() <= traceql::MAX_QUERY_BYTES {
                    assert_eq!(traceql::parse(&printed).as_ref(), Ok(&query), "prints {printed}");
                }
            }
            if let Ok(field) = traceql::parse_field(text) {
                assert_eq!(traceql::parse_field(&field.to_string()), Ok(field));
            }
            drop(traceql::parse_tag_filter(text, 100));
        },
    );
}
