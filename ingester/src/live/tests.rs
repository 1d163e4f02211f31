//! What queries see of live rows, and when.

use prost::Message;
use spans::testing::shop_request;
use storage::source::Source;

use super::*;

fn request(seed: u64) -> Vec<u8> {
    shop_request(seed, 5, seed * 1_000_000).encode_to_vec()
}

fn found(live: &Live) -> usize {
    live.tables(&TenantId::single()).unwrap().iter().map(|table| table.source.span_count()).sum()
}

#[test]
fn staged_rows_are_found_once_they_are_shown() {
    let (live, tenant) = (Live::default(), TenantId::single());
    let first = live.stage(&tenant, &request(1)).unwrap();
    assert_eq!(found(&live), 0);
    live.show(&tenant);
    assert_eq!(found(&live), first);
    let second = live.stage(&tenant, &request(2)).unwrap();
    assert_eq!(found(&live), first, "also after a query has sorted the shown rows");
    live.show(&tenant);
    assert_eq!(found(&live), first + second);
}

#[test]
fn a_batch_that_is_sent_again_is_found_once() {
    let (live, tenant) = (Live::default(), TenantId::single());
    let mut sent = 0;
    for _ in 0..3 {
        sent = live.stage(&tenant, &request(1)).unwrap();
        live.show(&tenant);
        assert_eq!(found(&live), sent);
    }
    let cut = live.cut(SegmentSequence(1));
    assert_eq!((found(&live), cut[0].received_spans()), (sent, 3 * sent as u64));
}

#[test]
fn rows_whose_log_entry_was_not_synced_are_gone() {
    let (live, tenant) = (Live::default(), TenantId::single());
    live.stage(&tenant, &request(1)).unwrap();
    live.discard(&tenant);
    assert_eq!(live.size(), LiveSize { memory_bytes: 0, oldest: None });
    assert!(live.cut(SegmentSequence(1)).is_empty());
    let kept = live.stage(&tenant, &request(2)).unwrap();
    live.show(&tenant);
    live.stage(&tenant, &request(3)).unwrap();
    live.discard(&tenant);
    assert_eq!(found(&live), kept);
    live.show(&tenant);
    assert_eq!(found(&live), kept, "what is discarded is not shown later");
}

#[test]
fn rows_are_found_once_while_they_go_from_open_to_chunk_to_flushing() {
    let (live, tenant) = (Live::default(), TenantId::single());
    let mut sent = live.stage(&tenant, &request(1)).unwrap();
    live.show(&tenant);
    assert_eq!(found(&live), sent);
    let (mut chunks, mut seed) = (Vec::new(), 1);
    for full in 1..=2 {
        while chunks.len() < full {
            seed += 1;
            sent += live.stage(&tenant, &shop_request(seed, 400, seed).encode_to_vec()).unwrap();
            chunks.extend(live.show(&tenant));
        }
        // the first is met by a query before anybody has sorted it, the second is not
        if full == 1 {
            assert_eq!(found(&live), sent);
        }
    }
    assert_eq!(live.received_spans(), sent as u64);
    let cut = live.cut(SegmentSequence(1));
    assert_eq!((found(&live), live.received_spans()), (sent, sent as u64));
    chunks[0].source().unwrap();
    assert_eq!(found(&live), sent);
    live.published(&cut[0]);
    assert_eq!((found(&live), live.received_spans()), (0, 0));
}

#[test]
fn every_chunk_is_handed_on_once_when_it_is_closed_or_cut() {
    let (live, tenant) = (Live::keeping_closed(), TenantId::single());
    let spans = |live: &Live| live.take_closed().iter().map(|spans| spans.table().unwrap().span_count()).sum::<usize>();
    let mut all = live.stage(&tenant, &request(1)).unwrap();
    live.close_shown();
    assert_eq!(spans(&live), 0, "what is staged may be taken back");
    live.show(&tenant);
    assert_eq!(spans(&live), 0, "the chunk is open");
    live.close_shown();
    assert_eq!((spans(&live), spans(&live)), (all, 0));
    all = live.stage(&tenant, &request(2)).unwrap();
    live.show(&tenant);
    live.cut(SegmentSequence(1));
    assert_eq!((spans(&live), spans(&live)), (all, 0));
}

#[test]
fn nothing_is_handed_on_where_nobody_wants_it() {
    let (live, tenant) = (Live::default(), TenantId::single());
    live.stage(&tenant, &request(1)).unwrap();
    live.show(&tenant);
    live.close_shown();
    live.cut(SegmentSequence(1));
    assert!(live.take_closed().is_empty());
}

#[test]
fn rows_that_are_asked_for_become_a_chunk_when_they_are_many() {
    let (live, tenant) = (Live::default(), TenantId::single());
    let ids = || live.tables(&tenant).unwrap().iter().map(|table| table.id).collect::<Vec<_>>();
    let few = live.stage(&tenant, &request(1)).unwrap();
    live.show(&tenant);
    assert_eq!(ids(), [None]);
    let many = live.stage(&tenant, &shop_request(2, 400, 2_000_000).encode_to_vec()).unwrap();
    assert!((ASKED_CHUNK_SPANS..CHUNK_SPANS).contains(&many), "{many}");
    assert_eq!(ids(), [None], "staged rows are in no chunk");
    live.show(&tenant);
    let closed = ids();
    assert!(matches!(closed[..], [Some(_)]) && found(&live) == few + many);
    live.stage(&tenant, &request(3)).unwrap();
    live.show(&tenant);
    assert_eq!(ids(), [closed[0], None]);
}

#[test]
fn a_tenant_waits_for_no_other() {
    let (busy, free) = (TenantId::parse("busy").unwrap(), TenantId::parse("free").unwrap());
    let live = Live::default();
    let mut sent = 0;
    for tenant in [&busy, &free] {
        sent = live.stage(tenant, &request(1)).unwrap();
        live.show(tenant);
    }
    // would not return, if it needed what is held here
    live.with(&busy, |_| {
        sent += live.stage(&free, &request(2)).unwrap();
        live.show(&free);
        let found: usize = live.tables(&free).unwrap().iter().map(|table| table.source.span_count()).sum();
        assert_eq!(found, sent);
    });
}

#[test]
fn no_row_goes_with_a_tenant_that_seems_empty() {
    let (live, tenant) = (Live::default(), TenantId::single());
    std::thread::scope(|scope| {
        let (cut, to_publish) = std::sync::mpsc::channel::<Arc<CutHead>>();
        let live = &live;
        // forgets the tenant whenever all of it is published, while new rows come
        let publishing = scope.spawn(move || {
            let published = to_publish.iter().map(|head| {
                live.published(&head);
                head.received_spans()
            });
            published.sum::<u64>()
        });
        let mut sent = 0;
        for seed in 0..200 {
            sent += live.stage(&tenant, &request(seed)).unwrap() as u64;
            live.show(&tenant);
            live.cut(SegmentSequence(1)).into_iter().for_each(|head| cut.send(head).unwrap());
        }
        drop(cut);
        assert_eq!(publishing.join().unwrap(), sent);
    });
    assert!(live.is_empty());
}
