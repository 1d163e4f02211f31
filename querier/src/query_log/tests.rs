use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Mutex;

use model::TenantId;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;
use crate::lock::locked;
use crate::testing::{Gated, querier, service, source, span, trace_id};

/// Fields of the lines that were logged, by name. For the whole process, because what a thread alone listens to may be
/// missed: whether anybody listens to a line is remembered for all threads.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<BTreeMap<&'static str, String>>>>);

impl Lines {
    /// The only line of a tenant since the last time.
    fn one_of(&self, tenant: &TenantId) -> BTreeMap<&'static str, String> {
        let mut lines = std::mem::take(&mut *locked(&self.0));
        lines.retain(|line| line["tenant"] == tenant.as_str());
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "querier::query_log"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(BTreeMap::from([("level", event.metadata().level().to_string())]));
        event.record(&mut line);
        locked(&self.0).push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(BTreeMap<&'static str, String>);

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

fn search(query: &str) -> SearchRequest {
    SearchRequest {
        filter: SearchFilter::TraceQl(query.to_owned()),
        range: TimeRange::new(5, u64::MAX),
        limit: 20,
        spans_per_span_set: 3,
        after: None,
    }
}

#[tokio::test]
async fn a_question_is_one_line_however_it_ends() {
    let lines = Lines::default();
    tracing::subscriber::set_global_default(lines.clone()).unwrap();
    let tenant = TenantId::parse("asked-here").unwrap();
    let gated = Gated::closed(source(vec![service("s", vec![span(1, 1, 0, "op", 0, 1), span(1, 2, 1, "op", 0, 1)])]));
    let querier = querier(vec![gated.clone()]);

    let mut canceled = Box::pin(querier.search(&tenant, search("{ name = `op` }"), None));
    assert!(futures::poll!(&mut canceled).is_pending());
    drop(canceled);
    let line = lines.one_of(&tenant);
    assert_eq!((line["outcome"].as_str(), line["results"].as_str()), ("canceled", "0"));

    gated.open();
    querier.search(&tenant, search("{ name = `op` }"), None).await.unwrap();
    let line = lines.one_of(&tenant);
    for (field, expected) in [
        ("level", "INFO"),
        ("operation", "search"),
        ("tenant", "asked-here"),
        ("query", "{ name = `op` }"),
        ("start_nanos", "5"),
        ("bytes", "64"),
        ("blocks", "0"),
        ("spans", "2"),
        ("traces", "1"),
        ("results", "1"),
        ("outcome", "completed"),
    ] {
        assert_eq!(line[field], expected, "{field}");
    }
    assert!(line.contains_key("milliseconds") && !line.contains_key("error"), "{line:?}");

    querier.search(&tenant, search("{ name = }"), None).await.unwrap_err();
    let line = lines.one_of(&tenant);
    assert_eq!(line["outcome"], "invalid_input");
    assert!(line["error"].contains("syntax error"), "{line:?}");

    querier.trace_by_id(&tenant, trace_id(1), None).await.unwrap();
    let line = lines.one_of(&tenant);
    assert_eq!((line["operation"].as_str(), line["results"].as_str(), line["spans"].as_str()), ("traces", "2", "2"));
    assert_eq!(line["query"], trace_id(1).to_string());
}

#[test]
fn every_question_has_words() {
    let tenant = Tenants::from(TenantId::single());
    let tags = SearchFilter::Tags {
        tags: vec![("a".to_owned(), "b".to_owned())],
        min_duration: Some(std::time::Duration::from_millis(5)),
        max_duration: None,
    };
    let by_tags = QueryLog::search(&tenant, &SearchRequest { filter: tags, ..search("") });
    assert_eq!(by_tags.text, "a=b minDuration=5ms");
    let query = Some("{ span.b = 1 }".to_owned());
    let names = TagNamesRequest { scope: TagScope::All, range: TimeRange::ALL, query: query.clone(), limit: None };
    assert_eq!(QueryLog::tag_names(&tenant, &names).text, "names of scope all where { span.b = 1 }");
    let tag = Tag::Field(traceql::parse_field("span.a").unwrap());
    let values = TagValuesRequest { tag, range: TimeRange::ALL, query: None, limit: None, max_stale_sources: None };
    assert_eq!(QueryLog::tag_values(&tenant, &values).text, "values of span.a");
}

#[test]
fn long_texts_are_cut_between_characters() {
    for (text, kept) in [("é".repeat(512), 1024), (format!("x{}", "é".repeat(512)), 1023), ("x".repeat(2000), 1024)] {
        let logged = QueryLog::search(&TenantId::single().into(), &search(&text)).text;
        let expected = if text.len() > MAX_LOGGED_BYTES { format!("{}…", &text[..kept]) } else { text };
        assert_eq!(logged, expected);
    }
}
