//! What to write instead, where the place of a syntax error tells what was meant. The words of the error itself are the
//! reference's; the advice follows them.

use crate::error::Error;
use crate::position::Position;

/// Words of other languages, and what TraceQL has in their place.
const FOREIGN: [(&str, &str); 7] = [
    ("and", "write && in place of and"),
    ("or", "write || in place of or"),
    ("not", "write ! before what is negated"),
    ("in", "write =~ \"a|b\" to match one of several texts"),
    ("like", "write =~ with a regular expression, such as =~ \".*a.*\""),
    ("contains", "write =~ with a regular expression, such as =~ \".*a.*\""),
    ("unless", "write !>> or another negated operator"),
];

/// Words that name an intrinsic behind a scope only.
const SCOPED: [(&str, &str); 8] = [
    ("childCount", "span:childCount"),
    ("id", "span:id or trace:id"),
    ("parentID", "span:parentID"),
    ("rootService", "trace:rootService"),
    ("spanID", "link:spanID"),
    ("timeSinceStart", "event:timeSinceStart"),
    ("traceID", "link:traceID"),
    ("version", "instrumentation:version"),
];

const DURATION_UNITS: [&str; 9] = ["ms", "min", "mins", "sec", "secs", "seconds", "minutes", "hours", "hour"];

const AGGREGATES: [&str; 5] = ["count", "avg", "max", "min", "sum"];

/// The error with advice on how to mend the text.
pub(crate) fn with_advice(error: Error, text: &str) -> Error {
    match error {
        Error::Parse { position, message, .. } => {
            let advice = advice(text, position, &message);
            Error::Parse { position, message, advice }
        }
        other => other,
    }
}

/// The advice for a syntax error with this message at this place of the text.
fn advice(text: &str, position: Position, message: &str) -> Option<String> {
    let (before, after) = text.split_at(offset_of(text, position)?);
    let word = leading_word(after);
    if let Some(name) = message.strip_prefix("unknown identifier: ") {
        return Some(for_unknown(name));
    }
    match message {
        "literal not terminated" => return Some("end the text with the quote that it begins with".to_owned()),
        "invalid char escape" => return Some("write \\\\ for a backslash, or put the text in backticks".to_owned()),
        "invalid char literal" => return Some(QUOTES.to_owned()),
        _ if message.ends_with("expecting \"") => return Some("end the quoted name with a quote".to_owned()),
        _ if message.contains("unexpected END_ATTRIBUTE") => {
            return Some("a name stands right behind its scope, as in span.name or .name".to_owned());
        }
        _ => {}
    }
    let unexpected = message.strip_prefix("syntax error: unexpected ")?;
    let before_word = before.trim_end();
    if unexpected == "IDENTIFIER"
        && before_word.ends_with(|c: char| c.is_ascii_digit())
        && DURATION_UNITS.contains(&word)
    {
        return Some("a duration is a number with its unit behind it, as in 10ms, 5m or 1h30m".to_owned());
    }
    let known =
        |table: &[(&str, &str)]| table.iter().find(|(other, _)| *other == word).map(|(_, meant)| (*meant).to_owned());
    if let Some(advice) = known(&FOREIGN) {
        return Some(advice);
    }
    if let Some(scoped) = known(&SCOPED).filter(|_| !before.ends_with([':', '.'])) {
        return Some(format!("write {scoped}"));
    }
    match unexpected {
        "=" if before_word.ends_with('=') => Some("write = in place of ==".to_owned()),
        "$end" if opens(text, '{') > opens(text, '}') => Some("close the span filter with }".to_owned()),
        "$end" if ends_with_aggregate(before) => Some("compare the aggregate, as in count() > 2".to_owned()),
        "topk" | "bottomk" => Some("a metrics function stands before it, as in rate() | topk(5)".to_owned()),
        _ if matches!(word, "name" | "status" | "kind" | "duration") && !before.contains('{') => {
            Some("conditions stand in braces, as in { name = \"a\" }".to_owned())
        }
        _ if unexpected.starts_with(['+', '-', '*', '/', '%'])
            && before.contains("|")
            && !before.contains("select")
            && unexpected.ends_with("expecting with") =>
        {
            Some(IN_PARENTHESES.to_owned())
        }
        _ => None,
    }
}

const IN_PARENTHESES: &str =
    "each metrics query of an operation stands in parentheses, as in ({ } | rate()) / ({ } | rate())";

const QUOTES: &str = "texts stand in double quotes or backticks";

fn for_unknown(name: &str) -> String {
    match name {
        "[" => "there are no lists: write =~ \"a|b\" to match one of several texts".to_owned(),
        "trace" => {
            "traces have no attributes: write span., resource. or an intrinsic such as trace:duration".to_owned()
        }
        _ if name.starts_with('\'') => QUOTES.to_owned(),
        _ if name.chars().all(|c| c.is_alphanumeric() || c == '_') => {
            format!("write .{name}, span.{name} or resource.{name} for an attribute, \"{name}\" for a text")
        }
        _ => "names of attributes stand behind a dot or a scope, as in .name or span.name".to_owned(),
    }
}

/// Where a position stands in the text, in bytes.
fn offset_of(text: &str, position: Position) -> Option<usize> {
    let line_start = match position.line {
        0 | 1 => 0,
        line => text.match_indices('\n').nth(line - 2)?.0 + 1,
    };
    let line = &text[line_start..];
    let column = position.column.checked_sub(1)?;
    let in_line = line.char_indices().nth(column).map_or(line.len(), |(offset, _)| offset);
    Some(line_start + in_line)
}

fn leading_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn opens(text: &str, brace: char) -> usize {
    text.matches(brace).count()
}

fn ends_with_aggregate(text: &str) -> bool {
    let Some((head, _)) = text.trim_end().strip_suffix(')').and_then(|head| head.rsplit_once('(')) else {
        return false;
    };
    AGGREGATES.iter().any(|aggregate| head.trim_end().ends_with(aggregate))
}

#[cfg(test)]
mod tests {
    /// What follows the reference's words.
    fn advice(query: &str) -> String {
        let error = crate::parse(query).unwrap_err();
        let crate::Error::Parse { advice, .. } = error else { panic!("{query}: {error}") };
        advice.unwrap_or_default()
    }

    #[test]
    fn advice_is_given_where_it_can_be_known() {
        for (query, expected) in [
            ("{ name == `a` }", "write = in place of =="),
            ("{ .a = 1 and .b = 2 }", "write && in place of and"),
            ("{ .a = 1 }\n  or { .b = 2 }", "write || in place of or"),
            ("{ span.a in (\"x\") }", "write =~ \"a|b\" to match one of several texts"),
            ("{ span.a = [\"x\"] }", "there are no lists: write =~ \"a|b\" to match one of several texts"),
            ("{ name = 'a' }", "texts stand in double quotes or backticks"),
            ("{ name = 'abc' }", "texts stand in double quotes or backticks"),
            ("{ name = \"a }", "end the text with the quote that it begins with"),
            (
                "{ colour = `red` }",
                "write .colour, span.colour or resource.colour for an attribute, \"colour\" for a text",
            ),
            ("{ duration > 10 ms }", "a duration is a number with its unit behind it, as in 10ms, 5m or 1h30m"),
            ("{ childCount > 1 }", "write span:childCount"),
            ("{ span. a = 1 }", "a name stands right behind its scope, as in span.name or .name"),
            ("{ name = `a`", "close the span filter with }"),
            ("{ } | count()", "compare the aggregate, as in count() > 2"),
            ("{ } | topk(3)", "a metrics function stands before it, as in rate() | topk(5)"),
            ("{ } | rate() * 2", super::IN_PARENTHESES),
            ("name = `a`", "conditions stand in braces, as in { name = \"a\" }"),
            ("{ name = }", ""),
            ("{ } | by()", ""),
        ] {
            assert_eq!(advice(query), expected, "{query}");
        }
    }

    #[test]
    fn advice_follows_the_words_of_the_error() {
        assert_eq!(
            crate::parse("{ }\n| count() and 5").unwrap_err().to_string(),
            "parse error at line 2, col 11: syntax error: unexpected IDENTIFIER; write && in place of and"
        );
    }
}
