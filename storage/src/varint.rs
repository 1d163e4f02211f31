//! Small numbers as bytes: little-endian base 128, the high bit set on all but the last byte.

/// Appends a number.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends bytes with their length before them.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes a number off the front; `None` where there is none.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Takes a number that must fit.
pub(crate) fn take_usize(bytes: &mut &[u8]) -> Option<usize> {
    take(bytes)?.try_into().ok()
}

/// Takes bytes that were put with their length.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_usize(bytes)?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(numbers in prop::collection::vec(any::<u64>(), 0..20), text in "\\PC*") {
            let mut out = Vec::new();
            numbers.iter().for_each(|&number| put(&mut out, number));
            put_bytes(&mut out, text.as_bytes());
            let mut rest = out.as_slice();
            for number in numbers {
                prop_assert_eq!(take(&mut rest), Some(number));
            }
            prop_assert_eq!(take_bytes(&mut rest), Some(text.as_bytes()));
            prop_assert!(rest.is_empty() && take(&mut rest).is_none());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            let mut rest = bytes.as_slice();
            while take_bytes(&mut rest).is_some() {}
        }
    }
}
