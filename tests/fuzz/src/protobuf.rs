//! Protobuf messages, bent field by field. Lengths are made right again, so that what is bent is still a message.

use rand::RngExt;
use rand::rngs::SmallRng;

use crate::one_of;

/// One field; `Bytes` may be a text or a message.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(Vec<u8>),
}

type Fields = Vec<(u64, Value)>;

const ODD_NUMBERS: [u64; 8] = [0, 1, 2, 127, 128, u32::MAX as u64, i64::MAX as u64, u64::MAX];
const ODD_BYTES: [&[u8]; 6] = [b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80", &[0; 16], &[7; 17]];
/// How often a message is put into itself.
const DEPTHS: [usize; 5] = [1, 2, 10, 40, 400];

/// The message after a few changes, deep inside as often as on top.
pub fn bend(random: &mut SmallRng, message: &[u8]) -> Vec<u8> {
    let mut bent = message.to_vec();
    for _ in 0..random.random_range(0..6_u32) {
        bent = bend_once(random, &bent);
    }
    if random.random_range(0..20) == 0 {
        bent.truncate(random.random_range(0..=bent.len()));
    }
    if random.random_range(0..20) == 0 && !bent.is_empty() {
        let at = random.random_range(0..bent.len());
        bent[at] ^= 1 << random.random_range(0..8);
    }
    bent
}

fn bend_once(random: &mut SmallRng, message: &[u8]) -> Vec<u8> {
    let Some(mut fields) = fields(message).filter(|fields| !fields.is_empty()) else {
        return one_of(random, &ODD_BYTES).to_vec();
    };
    let at = random.random_range(0..fields.len());
    // down into the field first, most of the time
    if let Value::Bytes(inner) = &fields[at].1
        && random.random_range(0..5) > 0
    {
        fields[at].1 = Value::Bytes(bend_once(random, inner));
        return encoded(&fields);
    }
    let second = random.random_range(0..fields.len());
    match random.random_range(0..9) {
        0 => drop(fields.remove(at)),
        1 => fields.insert(second, fields[at].clone()),
        2 => fields.swap(at, second),
        3 => fields[at].0 = random.random_range(1..20),
        4 => fields[at].1 = Value::Varint(*one_of(random, &ODD_NUMBERS)),
        5 => fields[at].1 = Value::Fixed64(one_of(random, &ODD_NUMBERS).to_le_bytes()),
        6 => fields[at].1 = Value::Fixed32(random.random()),
        7 => fields[at].1 = Value::Bytes(one_of(random, &ODD_BYTES).to_vec()),
        _ => {
            let (depth, mut inner) = (*one_of(random, &DEPTHS), Vec::new());
            let numbers = [random.random_range(1..12), random.random_range(1..12)];
            for level in 0..depth {
                inner = encoded(&vec![(numbers[level % 2], Value::Bytes(inner))]);
            }
            fields[at].1 = Value::Bytes(inner);
        }
    }
    encoded(&fields)
}

/// The fields of a message; `None` for what is none.
fn fields(mut message: &[u8]) -> Option<Fields> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut message)?),
            1 => Value::Fixed64(take(&mut message)?),
            5 => Value::Fixed32(take(&mut message)?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                let (bytes, rest) = message.split_at_checked(length)?;
                message = rest;
                Value::Bytes(bytes.to_vec())
            }
            _ => return None,
        };
        fields.push((tag >> 3, value));
    }
    Some(fields)
}

fn take<const N: usize>(message: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = message.split_first_chunk()?;
    *message = rest;
    Some(*taken)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn encoded(fields: &Fields) -> Vec<u8> {
    let mut message = Vec::new();
    for (number, value) in fields {
        let (wire_type, bytes): (u64, &[u8]) = match value {
            Value::Varint(_) => (0, &[]),
            Value::Fixed64(bytes) => (1, bytes),
            Value::Bytes(bytes) => (2, bytes),
            Value::Fixed32(bytes) => (5, bytes),
        };
        put_varint(&mut message, number << 3 | wire_type);
        match value {
            Value::Varint(value) => put_varint(&mut message, *value),
            Value::Bytes(_) => put_varint(&mut message, bytes.len() as u64),
            Value::Fixed64(_) | Value::Fixed32(_) => {}
        }
        message.extend_from_slice(bytes);
    }
    message
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_as_they_were() {
        let fields_of = vec![
            (1, Value::Varint(u64::MAX)),
            (2, Value::Bytes(vec![1, 2])),
            (16, Value::Fixed32([9; 4])),
            (3, Value::Fixed64([1; 8])),
        ];
        assert_eq!(fields(&encoded(&fields_of)), Some(fields_of));
        assert_eq!(fields(&[0x0a, 5, 1]), None);
    }
}
