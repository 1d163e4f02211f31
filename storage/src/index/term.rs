//! Values as terms of the dictionary, and as hashes.
//!
//! ```text
//! term   field u16 BE │ tag u8 │ value
//!        1 present    │        any value, also one that cannot be compared
//!        2 bool       │ 0 or 1
//!        3 code       │ i32, sign turned, BE: OTLP's number of a status or a kind
//!        4 int        │ i64, sign turned, BE
//!        5 float      │ f64 in an order-keeping form, BE
//!        6 bucket     │ the first two bytes of the number's float form: 16 buckets from a power of two to the next
//!        7 text       │ at most 128 bytes
//!        8 long text  │ the first 64 bytes, then the 64-bit hash of the whole
//! ```
//!
//! Terms of a field and a tag stand together, in the order of their values.

/// Longest text that is a term as it is.
pub(super) const MAX_TEXT_BYTES: usize = 128;
/// What is kept of a longer one.
pub(super) const LONG_TEXT_PREFIX_BYTES: usize = 64;

/// What kind of value a term holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Tag {
    Present = 1,
    Bool,
    Code,
    Int,
    Float,
    Bucket,
    Text,
    LongText,
}

/// A value of a span, an event or another row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar<'a> {
    Bool(bool),
    /// OTLP's number of a status or a kind.
    Code(i32),
    Int(i64),
    Float(f64),
    Text(&'a str),
}

/// The bytes before the value.
pub(super) fn prefix(field: u16, tag: Tag) -> [u8; 3] {
    let [high, low] = field.to_be_bytes();
    [high, low, tag as u8]
}

/// The prefix that follows all terms with this one.
pub(super) fn after(prefix: [u8; 3]) -> [u8; 3] {
    [prefix[0], prefix[1], prefix[2] + 1] // tags end far below 255
}

impl Scalar<'_> {
    pub fn tag(&self) -> Tag {
        match self {
            Self::Bool(_) => Tag::Bool,
            Self::Code(_) => Tag::Code,
            Self::Int(_) => Tag::Int,
            Self::Float(_) => Tag::Float,
            Self::Text(text) if text.len() > MAX_TEXT_BYTES => Tag::LongText,
            Self::Text(_) => Tag::Text,
        }
    }

    /// The value of its term.
    pub fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(value) => out.push(u8::from(*value)),
            Self::Code(code) => out.extend(((*code as u32) ^ (1 << 31)).to_be_bytes()),
            Self::Int(number) => out.extend(((*number as u64) ^ (1 << 63)).to_be_bytes()),
            Self::Float(number) => out.extend(sortable(*number).to_be_bytes()),
            Self::Text(text) if text.len() > MAX_TEXT_BYTES => {
                out.extend_from_slice(&text.as_bytes()[..LONG_TEXT_PREFIX_BYTES]);
                out.extend(hash_bytes(text.as_bytes(), 0).to_be_bytes());
            }
            Self::Text(text) => out.extend_from_slice(text.as_bytes()),
        }
    }

    /// The whole term.
    pub fn term(&self, field: u16) -> Vec<u8> {
        let mut term = prefix(field, self.tag()).to_vec();
        self.put(&mut term);
        term
    }

    /// A hash of field and value that stays the same from version to version.
    pub fn hash(&self, field_seed: u64) -> u64 {
        let of_number = |tag: Tag, bits: u64| mix(bits ^ FIRST, field_seed ^ SECOND.wrapping_mul(tag as u64));
        match self {
            Self::Text(text) => hash_bytes(text.as_bytes(), field_seed),
            Self::Bool(value) => of_number(Tag::Bool, u64::from(*value)),
            Self::Code(code) => of_number(Tag::Code, *code as u64),
            Self::Int(number) => of_number(Tag::Int, *number as u64),
            Self::Float(number) => of_number(Tag::Float, sortable(one_zero(*number))),
        }
    }
}

/// The value of a term with this tag, if the term has all of it.
pub(super) fn value(tag: Tag, bytes: &[u8]) -> Option<Scalar<'_>> {
    Some(match tag {
        Tag::Bool => Scalar::Bool(bytes == [1]),
        Tag::Code => Scalar::Code((u32::from_be_bytes(bytes.try_into().ok()?) ^ (1 << 31)) as i32),
        Tag::Int => Scalar::Int((u64::from_be_bytes(bytes.try_into().ok()?) ^ (1 << 63)) as i64),
        Tag::Float => Scalar::Float(unsortable(u64::from_be_bytes(bytes.try_into().ok()?))),
        Tag::Text => Scalar::Text(str::from_utf8(bytes).ok()?),
        Tag::Present | Tag::Bucket | Tag::LongText => return None,
    })
}

/// The bucket of a number: a greater number is in no lesser bucket, whatever its type.
pub(super) fn bucket(number: f64) -> u16 {
    (sortable(one_zero(number)) >> 48) as u16
}

/// The two zeros are equal.
fn one_zero(number: f64) -> f64 {
    number + 0.0
}

/// The bits of a number, so that they order as numbers do.
fn sortable(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 0 { bits ^ (1 << 63) } else { !bits }
}

fn unsortable(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits ^ (1 << 63) } else { !bits })
}

const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0xc2b2_ae3d_27d4_eb4f;

/// The two halves of the product, folded.
fn mix(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

/// A 64-bit hash of bytes. Part of the format: it must never change.
pub(crate) fn hash_bytes(bytes: &[u8], seed: u64) -> u64 {
    let mut hash = mix(seed ^ FIRST, (bytes.len() as u64) ^ SECOND);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash ^ u64::from_le_bytes(word) ^ SECOND, FIRST).wrapping_add(hash.rotate_left(23));
    }
    mix(hash ^ FIRST, SECOND)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn terms_order_as_their_values_do(left: i64, right: i64, low: f64, high: f64) {
            prop_assert_eq!(Scalar::Int(left).term(1).cmp(&Scalar::Int(right).term(1)), left.cmp(&right));
            if low < high {
                prop_assert!(Scalar::Float(low).term(1) < Scalar::Float(high).term(1));
            }
            if low <= high {
                prop_assert!(bucket(low) <= bucket(high));
            }
            if left <= right {
                prop_assert!(bucket(left as f64) <= bucket(right as f64));
            }
        }

        #[test]
        fn terms_give_their_values_back(int: i64, float: f64, text in "\\PC{0,40}", code: i32, flag: bool) {
            for scalar in [Scalar::Int(int), Scalar::Float(float), Scalar::Text(&text), Scalar::Code(code), Scalar::Bool(flag)] {
                let term = scalar.term(7);
                prop_assert_eq!(value(scalar.tag(), &term[3..]), Some(scalar));
            }
        }
    }

    #[test]
    fn both_zeros_are_one_value() {
        assert_eq!(bucket(-0.0), bucket(0.0));
        assert_eq!(Scalar::Float(-0.0).hash(1), Scalar::Float(0.0).hash(1));
    }

    #[test]
    fn the_hash_is_the_one_that_stored_indexes_have() {
        assert_eq!(hash_bytes(b"", 0), 0xfa6ceea77e706d0d);
        assert_eq!(hash_bytes(b"request-17", 5), 0xd92c975cada76c6e);
        let texts = (0..20_000).map(|number| format!("request-{number}"));
        let hashes: HashSet<u64> = texts.map(|text| hash_bytes(text.as_bytes(), 5) >> 32).collect();
        assert!(hashes.len() > 19_990, "{} of 20,000 differ in 32 bits", hashes.len());
        assert_ne!(hash_bytes(b"a", 1), hash_bytes(b"a", 2));
        assert_ne!(hash_bytes(b"a\0", 1), hash_bytes(b"a", 1));
    }
}
