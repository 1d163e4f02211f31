//! What goes over the wire comes out as it went in; what does not belong there is refused.

use prost::Message;
use spans::testing::shop_request;
use spans::{SpanTable, TableBuilder};
use storage::memory::MemorySource;

use super::*;
use crate::source::memory_bytes;

fn table() -> SpanTable {
    let mut builder = TableBuilder::default();
    builder.append(&shop_request(3, 40, 1_000).encode_to_vec()).unwrap();
    builder.snapshot().unwrap()
}

fn question(reach: Reach) -> Question {
    let incarnation = Incarnation(Uuid::from_u128(7));
    Question { tenant: TenantId::single(), incarnation, manifest: 3, watermark: SegmentSequence(9), reach }
}

#[test]
fn tables_come_back_whole_and_sliced() {
    let table = table();
    let one = table.slice_traces(5..6).unwrap();
    for table in [table, one] {
        let back = decode(&encode(&table).unwrap()).unwrap();
        assert_eq!(back.spans, table.spans);
        assert_eq!((back.traces, back.resources, back.scopes), (table.traces, table.resources, table.scopes));
    }
}

#[test]
fn a_table_of_another_process_takes_the_memory_of_its_answer_once() {
    let sent = encode(&table()).unwrap();
    let received = MemorySource::new(BlockId::generate(), decode(&sent).unwrap()).unwrap();
    let bytes = memory_bytes(&received);
    assert!((sent.len() / 2..=sent.len() * 3 / 2).contains(&bytes), "{bytes} in memory, {} received", sent.len());
}

#[test]
fn questions_and_answers_come_back() {
    for reach in [Reach::Everything, Reach::Trace(TraceId([9; 16]))] {
        let asked = LiveRequest::from(&question(reach)).encode_to_vec();
        assert_eq!(LiveRequest::decode(&asked[..]).unwrap().question().unwrap(), question(reach));
    }
    let time_range = TimeRange::new(3, 5);
    let block_id = BlockId::generate();
    let kept = Listed { block_id, time_range, span_count: 4, rows: Rows::Kept(TableId(11)) };
    let given = Listed { rows: Rows::Given(table()), ..kept.clone() };
    let sent = LiveAnswer::of(&Answer::Rows(vec![kept, given])).unwrap().encode_to_vec();
    let Answer::Rows(listed) = LiveAnswer::decode(&sent[..]).unwrap().answer().unwrap() else { panic!("not gone") };
    assert_eq!((listed[0].block_id, listed[0].time_range, listed[0].span_count), (block_id, time_range, 4));
    assert!(matches!(listed[0].rows, Rows::Kept(TableId(11))));
    assert!(matches!(&listed[1].rows, Rows::Given(rows) if rows.span_count() == table().span_count()));
    let gone = LiveAnswer::of(&Answer::Gone { manifest: 12 }).unwrap();
    assert!(matches!(gone.answer().unwrap(), Answer::Gone { manifest: 12 }));
}

#[test]
fn bytes_that_are_no_table_are_refused() {
    let whole = encode(&table()).unwrap();
    for cut in (0..whole.len()).step_by(97) {
        assert!(decode(&whole[..cut]).is_err(), "{cut}");
    }
    let mut flipped = whole.clone();
    for at in (0..flipped.len()).step_by(131) {
        flipped[at] ^= 0x55;
        assert!(decode(&flipped).is_err(), "{at}");
        flipped[at] ^= 0x55;
    }
    let mut fewer = table();
    fewer.spans = fewer.spans.slice(0, fewer.span_count() - 1);
    let error = decode(&encode(&fewer).unwrap()).unwrap_err();
    assert!(error.to_string().contains("another number of spans"), "{error}");
}

#[test]
fn requests_of_others_are_refused() {
    let asked = LiveRequest::from(&question(Reach::Everything));
    let wrong = [
        LiveRequest { tenant: "a/b".to_owned(), ..asked.clone() },
        LiveRequest { incarnation: vec![1], ..asked.clone() },
        LiveRequest { trace_id: vec![1; 15], ..asked },
    ];
    for asked in wrong {
        assert!(matches!(asked.question(), Err(PeerError::Damaged(_))), "{asked:?}");
    }
}
