//! Damage costs speed and never answers; what is read of an index is a small part of it.

use std::sync::Arc;

use model::{BlockId, Scope, TenantId};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;
use prost::Message;
use spans::testing::{odd_request, shop_request};
use spans::{Copies, Promotion, SpanTable, TableBuilder};
use traceql::{CompareOp, Condition, Conditions, Field, Static};

use super::{BlockIndex, IndexBuilder, IndexCache, Limits, encode};
use crate::block::{self, BlockCache, BlockSource, EncodedBlock};
use crate::cpu::CpuPool;
use crate::paths::{self, BlockFile};
use crate::source::Source;
use crate::telemetry::Telemetry;

const SMALL: Limits = Limits {
    page_spans: 1,
    least_hashed_texts: 4,
    most_listed_texts: 8,
    most_listed_numbers: 2,
    most_hashes: usize::MAX,
    most_fields: 30,
};

fn table(seeds: std::ops::Range<u64>) -> SpanTable {
    let mut builder = TableBuilder::default();
    seeds.for_each(|seed| _ = builder.append(&odd_request(seed).encode_to_vec()).unwrap());
    builder.snapshot().unwrap()
}

fn index(table: &SpanTable, limits: Limits) -> bytes::Bytes {
    let mut builder = IndexBuilder::new(limits);
    builder.add(table).unwrap();
    builder.finish().unwrap()
}

#[test]
fn attributes_with_columns_of_their_own_are_indexed_as_those_in_lists() {
    let of_lists = table(0..60);
    let promotion = Promotion::plan(&of_lists.spans, Scope::Span).unwrap();
    let of_columns = SpanTable { spans: promotion.apply(&of_lists.spans).unwrap(), ..of_lists.clone() };
    let expected = index(&of_lists, Limits::default());
    assert_eq!(index(&of_columns, Limits::default()), expected);
    // put together with others, columns may be empty, and their texts are numbered anew
    let joined = spans::merge_tables(&[of_columns.slice_traces(0..30).unwrap(), of_columns], Copies::DropAll).unwrap();
    assert_eq!(index(&joined.table, Limits::default()), expected);
}

/// A stored block whose index is these bytes, which the manifest takes for `claimed` bytes long.
async fn stored(table: &SpanTable, index: bytes::Bytes, claimed: usize) -> BlockSource {
    let (objects, tenant, id): (Arc<dyn ObjectStore>, _, _) =
        (Arc::new(InMemory::new()), TenantId::single(), BlockId::generate());
    let block: EncodedBlock = block::encode(id, &tenant, table, None).unwrap();
    block.put(&tenant, objects.as_ref()).await.unwrap();
    objects.put(&paths::block_file(&tenant, &id, BlockFile::Index), index.into()).await.unwrap();
    let mut entry = block.entry();
    entry.files.index_bytes = claimed as u64;
    BlockSource::new(tenant, entry, objects, CpuPool::new(1), BlockCache::new(1 << 20, Telemetry::unregistered()))
}

/// Conditions of each kind, on fields that [`odd_request`] fills.
pub(super) fn filters() -> Vec<Conditions> {
    use CompareOp::{Eq, Ge, Lt, Match, Ne, NotMatch};
    let of = |scope, name: &str| Field::Attribute { scope, name: name.to_owned() };
    let text = |text: &str| Static::String(text.to_owned());
    let conditions = [
        (of(Some(Scope::Span), "key.0"), Eq, Static::Int(3)),
        (of(Some(Scope::Span), "key.1"), Ge, Static::Float(2.5)),
        (of(None, "key.2"), Ne, Static::Nil),
        (of(Some(Scope::Resource), "service.name"), Match, text("service-[01]")),
        (of(Some(Scope::Event), "key.0"), NotMatch, text("unique.*")),
        (of(Some(Scope::Span), "key.3"), Eq, text("unique-7")),
        (of(Some(Scope::Span), "no such key"), Eq, text("x")),
        (Field::Intrinsic(model::Intrinsic::Duration), Lt, Static::Duration(500_000)),
        (Field::Intrinsic(model::Intrinsic::Name), Eq, text("GET /")),
    ];
    let alone = |(field, op, value)| Conditions { all: vec![Condition { field, op, value }], any: Vec::new() };
    conditions.into_iter().map(alone).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_damaged_index_answers_as_before_or_not_at_all(
        at in any::<prop::sample::Index>(), mask in 1u8.., cut in any::<prop::sample::Index>(), small: bool, kind in 0..3,
    ) {
        let table = table(0..40);
        let whole = index(&table, if small { SMALL } else { Limits::default() });
        let mut bytes = whole.to_vec();
        match kind {
            0 => bytes[at.index(whole.len())] ^= mask,
            1 => bytes.truncate(cut.index(whole.len())),
            _ => bytes.clear(),
        }
        let claimed = if kind == 1 && mask % 2 == 0 { bytes.len() } else { whole.len() };
        runtime().block_on(async {
            let right = stored(&table, whole.clone(), whole.len()).await;
            let damaged = stored(&table, bytes.into(), claimed).await;
            let expected = right.may_match(&filters()).await.unwrap();
            assert!(expected.iter().any(Option::is_some));
            for _ in 0..2 {
                let answers = damaged.may_match(&filters()).await.unwrap();
                for (answer, expected) in answers.iter().zip(&expected) {
                    assert!(answer.is_none() || answer == expected);
                }
            }
            assert_eq!(damaged.keys().await.unwrap(), right.keys().await.unwrap());
            let field = Field::Attribute { scope: Some(Scope::Resource), name: "service.name".to_owned() };
            let listed = damaged.values(&field).await.unwrap();
            assert!(listed.is_none() || listed == right.values(&field).await.unwrap());
        });
    }

    #[test]
    fn an_index_of_parts_is_the_index_of_the_whole(seed in 0u64..1000, small: bool) {
        let table = table(seed..seed + 6);
        let limits = if small { SMALL } else { Limits::default() };
        let traces = table.traces().unwrap();
        let mut builder = IndexBuilder::new(limits);
        for trace in 0..traces.len() {
            builder.add(&table.slice_traces(trace..trace + 1).unwrap()).unwrap();
        }
        prop_assert_eq!(builder.finish().unwrap(), index(&table, limits));
    }
}

#[tokio::test]
async fn a_block_without_an_index_says_that_it_cannot_say() {
    let table = table(0..5);
    let block = stored(&table, bytes::Bytes::new(), 0).await;
    assert_eq!(block.may_match(&filters()).await.unwrap(), vec![None; filters().len()]);
    assert_eq!(block.keys().await.unwrap(), spans::attribute_keys(&table).unwrap());
}

#[tokio::test]
async fn keys_and_counted_values_are_those_of_the_table() {
    let table = table(0..60);
    let whole = encode(&table).unwrap();
    let block = stored(&table, whole.clone(), whole.len()).await;
    assert_eq!(block.keys().await.unwrap(), spans::attribute_keys(&table).unwrap());
    let names = block.values(&Field::Intrinsic(model::Intrinsic::Name)).await.unwrap().unwrap();
    assert_eq!(names.iter().map(|name| name.rows).sum::<u64>(), table.span_count() as u64);
    assert!(names.iter().any(|name| name.value == super::FieldValue::String("ключ".to_owned()) && name.rows > 1));
}

#[tokio::test]
async fn a_question_reads_a_few_kilobytes() {
    let mut builder = TableBuilder::default();
    (0..40).for_each(|seed| _ = builder.append(&shop_request(seed, 45, seed << 30).encode_to_vec()).unwrap());
    let table = builder.snapshot().unwrap();
    let whole = encode(&table).unwrap();
    let (objects, path, cpu) = (InMemory::new(), object_store::path::Path::from("index.bundle"), CpuPool::new(1));
    objects.put(&path, whole.clone().into()).await.unwrap();
    let user = |number: &str| Conditions {
        all: vec![Condition {
            field: Field::attribute(Scope::Span, "app.user.id"),
            op: CompareOp::Eq,
            value: Static::String(format!("user-{number}")),
        }],
        any: Vec::new(),
    };
    for (filter, most_traces) in [(user("none"), 0), (user("77"), table.trace_count() / 3)] {
        let cache = IndexCache::new(1 << 20, Telemetry::unregistered());
        let (objects, cpu, cache_ref) = (&objects, &cpu, &cache);
        let index = BlockIndex {
            block_id: BlockId::generate(),
            path: path.clone(),
            object_bytes: whole.len() as u64,
            objects,
            cpu,
            cache: cache_ref,
        };
        let ranges = index.traces(&[filter]).await.unwrap().remove(0).unwrap();
        assert!(ranges.iter().map(ExactSizeIterator::len).sum::<usize>() <= most_traces);
        assert!(cache.held_bytes() < 32 << 10, "{} of {} bytes", cache.held_bytes(), whole.len());
    }
}

#[tokio::test]
async fn what_was_asked_before_is_answered_without_the_index() {
    let table = table(0..60);
    let whole = encode(&table).unwrap();
    let (objects, cpu) = (InMemory::new(), CpuPool::new(1));
    let cache = IndexCache::new(1 << 20, Telemetry::unregistered());
    let path = object_store::path::Path::from("index.bundle");
    objects.put(&path, whole.clone().into()).await.unwrap();
    let block_id = BlockId::generate();
    let index = |of: &str| BlockIndex {
        block_id,
        path: of.into(),
        object_bytes: whole.len() as u64,
        objects: &objects,
        cpu: &cpu,
        cache: &cache,
    };
    let filters = filters();
    let first = index(path.as_ref()).traces(&filters).await.unwrap();
    assert_eq!(index("elsewhere").traces(&filters).await.unwrap(), first);
    assert!(first.iter().any(Option::is_some));
    cache.forget(&block_id);
    assert_eq!(
        index("elsewhere").traces(&filters).await.unwrap(),
        vec![None; filters.len()],
        "it is forgotten with its block"
    );
}
