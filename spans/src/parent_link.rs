//! Spans whose parent is named by a link: OpenTracing's bridge to OpenTelemetry writes so what is not the first of several
//! parents. Such a span has no parent id, and yet it is not the root of its trace. In the tree it stands on top, as in
//! Tempo: where its parent stands is not looked up.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;

use crate::error::Error;
use crate::schema::column;

const KEY: &[u8] = b"opentracing.ref_type";
const VALUE: &[u8] = b"child_of";

/// Whether an attribute of a link says that the span is a child of the one that the link leads to.
pub(crate) fn says_child(key: &[u8], value: &[u8]) -> bool {
    key == KEY && value == VALUE
}

/// The links of a batch of spans.
pub(crate) struct ParentLinks<'a> {
    links: &'a ListArray,
    trace_id: &'a BinaryArray,
    attributes: &'a ListArray,
    key: Text<'a>,
    string: Text<'a>,
}

impl<'a> ParentLinks<'a> {
    /// `None` when the links were not read.
    ///
    /// # Errors
    /// [`Error::Damaged`] for columns of other types.
    pub fn of(spans: &'a RecordBatch) -> Result<Option<Self>, Error> {
        let damaged = || Error::damaged("the links have another shape");
        let Some(links) = spans.column_by_name(column::LINKS) else { return Ok(None) };
        let links = links.as_list_opt::<i32>().ok_or_else(damaged)?;
        let items = links.values().as_struct_opt().ok_or_else(damaged)?;
        let trace_id = items.column_by_name("trace_id").and_then(|ids| ids.as_binary_opt()).ok_or_else(damaged)?;
        let attributes = items.column_by_name(column::ATTRIBUTES).ok_or_else(damaged)?;
        let attributes = attributes.as_list_opt::<i32>().ok_or_else(damaged)?;
        let pairs = attributes.values().as_struct_opt().ok_or_else(damaged)?;
        let text = |name: &str| pairs.column_by_name(name).and_then(Text::of).ok_or_else(damaged);
        let (key, string) = (text("key")?, text("string")?);
        Ok(Some(Self { links, trace_id, attributes, key, string }))
    }

    /// Whether a link to a span of the same trace is the parent of the span in this row.
    pub fn is_child(&self, row: usize, trace_id: &[u8]) -> bool {
        let offsets = self.links.value_offsets();
        let mut links = (offsets[row]..offsets[row + 1]).map(|link| link as usize);
        links.any(|link| self.trace_id.value(link) == trace_id && self.says_child(link))
    }

    fn says_child(&self, link: usize) -> bool {
        let offsets = self.attributes.value_offsets();
        let mut pairs = (offsets[link]..offsets[link + 1]).map(|pair| pair as usize);
        pairs.any(|pair| {
            let texts = self.key.get(pair).zip(self.string.get(pair));
            texts.is_some_and(|(key, value)| says_child(key.as_bytes(), value.as_bytes()))
        })
    }
}

/// A column of texts, with a dictionary or without.
struct Text<'a> {
    keys: Option<&'a Int32Array>,
    values: &'a StringArray,
}

impl<'a> Text<'a> {
    fn of(array: &'a ArrayRef) -> Option<Self> {
        match array.as_dictionary_opt::<Int32Type>() {
            Some(dictionary) => {
                Some(Self { keys: Some(dictionary.keys()), values: dictionary.values().as_string_opt()? })
            }
            None => Some(Self { keys: None, values: array.as_string_opt()? }),
        }
    }

    fn get(&self, row: usize) -> Option<&'a str> {
        let row = match self.keys {
            Some(keys) => keys.is_valid(row).then(|| keys.value(row) as usize)?,
            None => row,
        };
        self.values.is_valid(row).then(|| self.values.value(row))
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
    use opentelemetry_proto::tonic::trace::v1::span::Link;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;

    use crate::schema::trace_column;
    use crate::{Copies, SpanTable, TableBuilder, encode, merge_tables};

    const TRACE: [u8; 16] = [7; 16];

    fn table(spans: Vec<Span>) -> SpanTable {
        let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
        let mut builder = TableBuilder::default();
        builder.append(&ExportTraceServiceRequest { resource_spans }.encode_to_vec()).unwrap();
        builder.snapshot().unwrap()
    }

    fn span(id: u8, start: u64, name: &str, links: Vec<Link>) -> Span {
        let (trace_id, span_id, name) = (TRACE.to_vec(), vec![id; 8], name.to_owned());
        let end_time_unix_nano = start + 1;
        Span { trace_id, span_id, name, start_time_unix_nano: start, end_time_unix_nano, links, ..Default::default() }
    }

    fn text(key: &str, text: &str) -> KeyValue {
        let value = Some(AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) });
        KeyValue { key: key.to_owned(), value, ..Default::default() }
    }

    fn link(trace_id: [u8; 16], key: &str, value: &str) -> Link {
        let (trace_id, span_id) = (trace_id.to_vec(), vec![1; 8]);
        Link { trace_id, span_id, attributes: vec![text("other", "x"), text(key, value)], ..Default::default() }
    }

    fn root_names(table: &SpanTable) -> Vec<Option<String>> {
        let names = crate::column(&table.traces, trace_column::ROOT_NAME).unwrap();
        let names = arrow::compute::cast(names, &arrow::datatypes::DataType::Utf8).unwrap();
        let names = arrow::array::AsArray::as_string::<i32>(&names);
        names.iter().map(|name| name.map(str::to_owned)).collect()
    }

    #[test]
    fn a_span_whose_link_is_its_parent_is_not_the_root_wherever_its_parts_lie() {
        let spans = || {
            let child = span(2, 10, "child", vec![link(TRACE, "opentracing.ref_type", "child_of")]);
            [child, span(1, 20, "root", vec![])]
        };
        assert_eq!(root_names(&table(spans().into())), [Some("root".to_owned())]);
        let parts = spans().map(|span| table(vec![span]));
        assert_eq!(root_names(&parts[0]), [None]);
        assert_eq!(root_names(&merge_tables(&parts, Copies::Keep).unwrap().table), [Some("root".to_owned())]);
        for other in [
            link(TRACE, "opentracing.ref_type", "follows_from"),
            link([8; 16], "opentracing.ref_type", "child_of"),
            link(TRACE, "ref_type", "child_of"),
        ] {
            let first = vec![span(2, 10, "first", vec![other]), span(1, 20, "second", vec![])];
            assert_eq!(root_names(&table(first)), [Some("first".to_owned())]);
        }
    }

    #[test]
    fn a_parent_id_of_zeros_is_no_parent_id() {
        let spans = [Span { parent_span_id: vec![0; 8], ..span(1, 10, "root", vec![]) }];
        let table = table(spans.into());
        assert_eq!(root_names(&table), [Some("root".to_owned())]);
        assert_eq!(encode(&table).unwrap()[0].scope_spans[0].spans[0].parent_span_id, Vec::<u8>::new());
    }
}
