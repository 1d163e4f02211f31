use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::limits::Limits;
use model::{TenantId, TimeRange};
use prometheus_client::registry::Registry;
use proptest::prelude::*;
use storage::source::{Source, TracePart};
use storage::{CpuPool, Telemetry};

use super::*;
use crate::Config;
use crate::engine::Engine;
use crate::engine::budget::{Budget, Shares};
use crate::testing::{listing_block, service, span, table, trace_id};

const BLOCKS: usize = 5;

fn engine() -> Engine {
    Engine::new(Config::default(), CpuPool::new(1), &Telemetry::unregistered(), &mut Registry::default())
}

/// Blocks that have these traces, each younger than the one before it.
async fn blocks(traces: &[BTreeSet<u8>]) -> Vec<Arc<dyn Source>> {
    let (mut blocks, mut older): (Vec<Arc<dyn Source>>, BTreeSet<TraceId>) = (Vec::new(), BTreeSet::new());
    for (number, of_block) in traces.iter().enumerate() {
        let start_ms = 10 * number as u64;
        let spans = of_block.iter().map(|&trace| span(trace, number as u64 + 1, 0, "op", start_ms, 5)).collect();
        let ids: BTreeSet<TraceId> = of_block.iter().map(|&trace| trace_id(trace)).collect();
        let continued: Vec<TraceId> = ids.intersection(&older).copied().collect();
        blocks.push(Arc::new(listing_block(&table(vec![service("s", spans)]), &continued).await));
        older.extend(ids);
    }
    blocks
}

type Known = BTreeMap<TraceId, (TimeRange, BTreeMap<BlockId, TracePart>)>;

async fn known(engine: &Engine, sources: Vec<Arc<dyn Source>>) -> Known {
    let sources = QuerySources::new(engine, Budget::unlimited(), sources, TimeRange::ALL);
    let split = sources.split_at_rest().await.unwrap();
    let of_trace = |trace: &SplitTrace| {
        let parts: BTreeMap<BlockId, TracePart> = trace.parts.iter().copied().collect();
        assert_eq!(parts.len(), trace.parts.len(), "a part is there twice");
        (trace.time_range(), parts)
    };
    split.iter().map(|(id, trace)| (*id, of_trace(trace))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_is_known_of_some_blocks_tells_of_others_what_looking_through_all_would(
        traces in prop::collection::vec(prop::collection::btree_set(1..12_u8, 1..6), BLOCKS),
        views in prop::collection::vec(prop::collection::vec(any::<bool>(), BLOCKS), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (blocks, remembering) = (runtime.block_on(blocks(&traces)), engine());
        for view in views {
            let of_view = || blocks.iter().zip(&view).filter(|(_, is_there)| **is_there).map(|(block, _)| block.clone());
            let found = runtime.block_on(known(&remembering, of_view().collect()));
            prop_assert_eq!(&found, &runtime.block_on(known(&engine(), of_view().collect())));
            let listed = traces.iter().zip(&view).filter(|(_, is_there)| **is_there).flat_map(|(traces, _)| traces);
            let lies_in = |id: &u8| traces.iter().zip(&view).filter(|(of, is_there)| **is_there && of.contains(id)).count();
            for id in listed.filter(|id| lies_in(id) > 1) {
                prop_assert_eq!(found[&trace_id(*id)].1.len(), lies_in(id));
            }
        }
    }
}

/// The query that holds the memory may be one of those that wait for what is found.
#[tokio::test]
async fn blocks_are_looked_through_for_all_while_one_query_holds_the_memory() {
    let config = Config { max_memory_bytes: 1 << 20, max_memory_bytes_per_query: 1 << 20, ..Config::default() };
    let shares = Shares::new(&config);
    let [first, second] = [(); 2].map(|()| Budget::new(&config, &shares, &TenantId::single(), Limits::default()));
    let _all = first.hold(1 << 20).unwrap();
    assert!(second.turn().now_or_never().is_none(), "the second waits for room before it reads");
    let (engine, blocks) = (engine(), blocks(&[BTreeSet::from([1, 2]), BTreeSet::from([2, 3])]).await);
    let sources = QuerySources::new(&engine, second, blocks, TimeRange::ALL);
    let looked = tokio::time::timeout(Duration::from_secs(20), sources.split_at_rest()).await;
    assert_eq!(looked.expect("it does not wait for room").unwrap().len(), 1);
}
