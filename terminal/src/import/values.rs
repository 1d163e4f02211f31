//! JSON: one value after the other, each OTLP, Jaeger's or Zipkin's.

use serde_json::{Deserializer, Value};

use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use super::record::{Place, Record, Records, Source};
use super::{jaeger, zipkin};
use crate::error::Error;
use crate::otlp::json;

pub(super) fn records(source: Source) -> Records {
    let Source { bytes, path, start } = source;
    let mut values = Deserializer::from_reader(bytes).into_iter::<Value>();
    let mut next_start = start;
    let mut is_over = false;
    let records = std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let Place { offset: from, parts: done } = next_start;
        let parts = values.next()?.map_err(|error| unreadable(&error)).and_then(|value| parts(&value));
        let end = start.offset + values.byte_offset() as u64;
        next_start = Place { offset: end, parts: 0 };
        is_over = parts.is_err();
        Some(match parts {
            Ok(parts) => of_parts(parts, from, done, end).into_iter().map(Ok).collect::<Vec<_>>(),
            Err(reason) => vec![Err(Error::Content { path: path.clone(), offset: from, reason })],
        })
    });
    Box::new(records.flatten())
}

fn unreadable(error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "the file ends in the middle of a value; what is before it is sent".to_owned();
    }
    format!("it is not JSON: {error}")
}

/// Parts after those that are done. After the last of them reading goes on behind the value.
fn of_parts(parts: Vec<Vec<ResourceSpans>>, from: u64, done: u64, end: u64) -> Vec<Record> {
    let count = parts.len() as u64;
    if count == 0 {
        return vec![Record { resource_spans: Vec::new(), next: Place { offset: end, parts: 0 } }];
    }
    let parts = parts.into_iter().zip(1..).filter(|(_, number)| *number > done);
    let next = |number| match number == count {
        true => Place { offset: end, parts: 0 },
        false => Place { offset: from, parts: number },
    };
    parts.map(|(resource_spans, number)| Record { resource_spans, next: next(number) }).collect()
}

/// What one value holds, in parts that can be sent one after the other.
pub(super) fn parts(value: &Value) -> Result<Vec<Vec<ResourceSpans>>, String> {
    let has = |name| value.get(name).is_some();
    match value {
        Value::Object(_) if has("resourceSpans") => Ok(vec![json::read(value)?]),
        Value::Object(_) if has("data") || has("spans") => jaeger::parts(value),
        // other signals in the same file
        Value::Object(_) if has("resourceLogs") || has("resourceMetrics") || has("resourceProfiles") => Ok(Vec::new()),
        Value::Object(object) if object.is_empty() => Ok(Vec::new()),
        Value::Array(_) => zipkin::parts(value),
        _ => Err("neither OTLP (resourceSpans), nor Jaeger's (data), nor Zipkin's (a list of spans)".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::read;
    use super::*;

    const LINE: &str =
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"01","spanId":"02","name":"NAME"}]}]}]}"#;

    /// Names of spans, and where the file goes on after each record.
    fn names(content: &[u8], start: Place) -> Vec<Result<(String, Place), String>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let name = |record: Record| {
            let spans = record.resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|s| &s.spans);
            (spans.map(|span| span.name.clone()).collect::<Vec<_>>().join(","), record.next)
        };
        let short = |error: Error| error.to_string().split_once(": at ").unwrap().1.to_owned();
        read::records(file.path(), start).map(|record| record.map(name).map_err(short)).collect()
    }

    fn at(offset: usize, parts: u64) -> Place {
        Place { offset: offset as u64, parts }
    }

    #[test]
    fn lines_are_records_and_reading_goes_on_after_each() {
        let lines =
            format!("{}\n\n{}\n{{\"resourceLogs\":[]}}\n", LINE.replace("NAME", "a"), LINE.replace("NAME", "b"));
        let first = LINE.len() - 3;
        let expected = [
            Ok(("a".to_owned(), at(first, 0))),
            Ok(("b".to_owned(), at(2 * first + 2, 0))),
            Ok((String::new(), at(lines.len() - 1, 0))),
        ];
        assert_eq!(names(lines.as_bytes(), Place::default()), expected);
        assert_eq!(names(lines.as_bytes(), at(first, 0)), expected[1..]);
        let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        zipped.write_all(lines.as_bytes()).unwrap();
        assert_eq!(names(&zipped.finish().unwrap(), at(first, 0)), expected[1..]);
        assert_eq!(names(&zstd::encode_all(lines.as_bytes(), 0).unwrap(), at(first, 0)), expected[1..]);
    }

    #[test]
    fn a_torn_end_is_named_after_what_is_whole() {
        let torn = format!("{LINE}\n{}", &LINE[..40]);
        let read = names(torn.as_bytes(), Place::default());
        assert_eq!(read.len(), 2, "{read:?}");
        let problem = format!("byte {}: the file ends in the middle of a value; what is before it is sent", LINE.len());
        assert_eq!(read[1], Err(problem));
        assert_eq!(
            names(b"hello", Place::default())[0].as_ref().unwrap_err().split(": ").nth(1),
            Some("it is not JSON")
        );
    }

    #[test]
    fn a_document_of_many_traces_goes_on_in_the_middle() {
        let trace = |id: u8| {
            format!(
                r#"{{"traceID":"{id:02}","processes":{{}},"spans":[{{"traceID":"{id:02}","spanID":"1","operationName":"{id}"}}]}}"#
            )
        };
        let text = format!("{{\"data\": [{}, {}]}}", trace(1), trace(2));
        let end = at(text.len(), 0);
        assert_eq!(
            names(text.as_bytes(), Place::default()),
            [Ok(("1".to_owned(), at(0, 1))), Ok(("2".to_owned(), end))]
        );
        assert_eq!(names(text.as_bytes(), at(0, 1)), [Ok(("2".to_owned(), end))]);
    }

    #[test]
    fn frames_hold_messages_of_any_kind() {
        use prost::Message;
        let value = serde_json::from_str(&LINE.replace("NAME", "a")).unwrap();
        let data = opentelemetry_proto::tonic::trace::v1::TracesData { resource_spans: json::read(&value).unwrap() };
        let message = data.encode_to_vec();
        let frame = |content: &[u8]| [(content.len() as u32).to_be_bytes().as_slice(), content].concat();
        let packed = zstd::encode_all(LINE.as_bytes(), 0).unwrap();
        let file = [frame(&message), frame(&packed), vec![0, 0, 0, 9, 1]].concat();
        let read = names(&file, Place::default());
        let second = 8 + message.len() + packed.len();
        assert_eq!(read[..2], [Ok(("a".to_owned(), at(4 + message.len(), 0))), Ok(("NAME".to_owned(), at(second, 0)))]);
        assert!(
            read[2]
                .as_ref()
                .unwrap_err()
                .ends_with("the file ends in the middle of a message; what is before it is sent")
        );
        assert_eq!(names(&file, at(4 + message.len(), 0))[0], Ok(("NAME".to_owned(), at(second, 0))));
        assert_eq!(names(&message, Place::default()), [Ok(("a".to_owned(), at(message.len(), 0)))]);
    }
}
