use super::*;
use crate::wire::Writer;

fn varint(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

fn behind_length(bytes: &[u8]) -> Vec<u8> {
    [varint(bytes.len() as i64), bytes.to_vec()].concat()
}

fn record_bytes(delta: i64, value: &str) -> Vec<u8> {
    let header = [behind_length(b"X-Scope-OrgID"), behind_length(b"team")].concat();
    let parts = [vec![0], varint(0), varint(delta), varint(-1), behind_length(value.as_bytes()), varint(1), header];
    behind_length(&parts.concat())
}

/// A batch of these values, from an offset on.
fn batch(base_offset: i64, attributes: i16, values: &[&str]) -> Vec<u8> {
    let records: Vec<u8> =
        values.iter().enumerate().flat_map(|(delta, value)| record_bytes(delta as i64, value)).collect();
    let mut content = Writer::default();
    content.i16(attributes);
    content.i32(values.len() as i32 - 1);
    content.i64(0);
    content.i64(0);
    content.i64(-1);
    content.i16(-1);
    content.i32(-1);
    content.i32(values.len() as i32);
    let content = [content.into_bytes().to_vec(), records].concat();
    let mut whole = Writer::default();
    whole.i64(base_offset);
    whole.i32(content.len() as i32 + 9);
    whole.i32(0);
    whole.i8(MAGIC);
    whole.i32(crc32c(&content).cast_signed());
    [whole.into_bytes().to_vec(), content].concat()
}

fn values(read: &Read) -> Vec<(i64, &str)> {
    let value = |record: &'_ Record| (record.place.offset, std::str::from_utf8(&record.value).unwrap().to_owned());
    let values: Vec<(i64, String)> = read.records.iter().map(value).collect();
    values.into_iter().map(|(offset, value)| (offset, &*value.leak())).collect()
}

#[test]
fn the_checksum_is_castagnolis() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn records_are_read_from_an_offset_on_and_a_batch_that_is_cut_off_waits() {
    let whole = [batch(10, 0, &["a", "b", "c"]), batch(13, 0, &["d"])].concat();
    let cut = &whole[..whole.len() - 1];
    let read = read(cut.to_vec().into(), 3, 11);
    assert_eq!(values(&read), [(11, "b"), (12, "c")]);
    assert_eq!((read.next_offset, read.damaged.len(), read.records[0].place.partition), (Some(13), 0, 3));
    assert_eq!(read.records[0].header("x-scope-orgid"), Some(b"team".as_slice()));
}

#[test]
fn what_is_damaged_is_told_and_left_behind() {
    let mut broken = batch(5, 0, &["a", "b"]);
    *broken.last_mut().unwrap() ^= 1;
    let read = read([broken, batch(7, 0, &["c"])].concat().into(), 0, 5);
    assert_eq!((values(&read), read.next_offset), (vec![(7, "c")], Some(8)));
    assert!(read.damaged[0].reason.contains("checksum") && read.damaged[0].place.offset == 5);
    // a batch that says it is compressed and is not
    let read = super::read([batch(1, 1, &["a", "b"]), batch(3, 0, &["c"])].concat().into(), 0, 1);
    assert_eq!((values(&read), read.next_offset), (vec![(3, "c")], Some(4)));
    assert!(read.damaged[0].reason.contains("unpack"), "{:?}", read.damaged);
    let mut old = batch(1, 0, &["a"]);
    old[16] = 1;
    assert!(super::read(old.into(), 0, 1).damaged[0].reason.contains("older than Kafka 0.11"));
}

#[test]
fn what_brokers_write_about_transactions_is_no_record() {
    let read = read([batch(1, CONTROL_BIT, &["commit"]), batch(2, 0, &["a"])].concat().into(), 0, 0);
    assert_eq!((values(&read), read.next_offset), (vec![(2, "a")], Some(3)));
    assert_eq!(super::read(Bytes::new(), 0, 9), Read::default());
}
