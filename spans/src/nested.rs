//! Serialized `AnyValue`s: arrays, key/value lists and bytes, read back whatever their texts hold.

use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value::Value as Any};
use prost::Message;

use crate::error::Error;
use crate::wire::Reader;

/// The value that a request brought. Text that is no UTF-8 gets U+FFFD, as it does outside of arrays and lists.
pub(crate) fn read(message: &[u8]) -> Option<Any> {
    AnyValue::decode(message).or_else(|_| mended(message)).ok()?.value
}

/// The message read field by field; its depth was bounded when it was accepted.
fn mended(message: &[u8]) -> Result<AnyValue, Error> {
    let mut any = AnyValue::default();
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next()? {
        any.value = Some(match number {
            1 => Any::StringValue(text(field.bytes()?)),
            2 => Any::BoolValue(field.varint()? != 0),
            3 => Any::IntValue(field.varint()?.cast_signed()),
            4 => Any::DoubleValue(f64::from_bits(field.fixed64()?)),
            5 => Any::ArrayValue(ArrayValue { values: items(field.bytes()?, mended)? }),
            6 => Any::KvlistValue(KeyValueList { values: items(field.bytes()?, mended_pair)? }),
            7 => Any::BytesValue(field.bytes()?.to_vec()),
            _ => continue,
        });
    }
    Ok(any)
}

fn mended_pair(message: &[u8]) -> Result<KeyValue, Error> {
    let mut pair = KeyValue::default();
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => pair.key = text(field.bytes()?),
            2 => pair.value = Some(mended(field.bytes()?)?),
            _ => {}
        }
    }
    Ok(pair)
}

fn items<T>(message: &[u8], read: fn(&[u8]) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    let mut items = Vec::new();
    let mut reader = Reader::new(message);
    while let Some((number, field)) = reader.next()? {
        if number == 1 {
            items.push(read(field.bytes()?)?);
        }
    }
    Ok(items)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
    }

    #[test]
    fn one_damaged_text_in_a_list_of_messages_leaves_the_others_as_they_are() {
        let item = |text: &[u8]| field(1, &field(1, text));
        let array = field(5, &[item(b"whole"), item(b"cut \xed\xa0\xbd"), field(1, &[0x18, 7])].concat());
        let Some(Any::ArrayValue(read_array)) = read(&array) else { panic!("{:?}", read(&array)) };
        let values: Vec<_> = read_array.values.into_iter().map(|value| value.value.unwrap()).collect();
        let string = |text: &str| Any::StringValue(text.to_owned());
        assert_eq!(values, [string("whole"), string("cut \u{fffd}\u{fffd}\u{fffd}"), Any::IntValue(7)]);
        assert_eq!(crate::array_elements(&field(5, &[item(b"a"), item(b"\xff")].concat())).unwrap()[0], string("a"));

        let pair = [field(1, b"key \xff"), field(2, &field(5, &item(b"\xff")))].concat();
        let Some(Any::KvlistValue(list)) = read(&field(6, &field(1, &pair))) else { panic!("no list") };
        assert_eq!(list.values[0].key, "key \u{fffd}");
        assert!(
            matches!(&list.values[0].value.as_ref().unwrap().value, Some(Any::ArrayValue(array)) if array.values.len() == 1)
        );
    }

    #[test]
    fn bytes_stay_bytes() {
        assert_eq!(read(&field(7, b"\xff\xfe")), Some(Any::BytesValue(vec![0xff, 0xfe])));
    }
}
