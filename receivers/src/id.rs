//! Ids as senders write them: numbers, bytes, or hex digits.

use crate::error::Error;

/// As OTLP has it: high half first. A 64-bit id has leading zeros.
pub(crate) fn trace_id(high: u64, low: u64) -> u128 {
    u128::from(high) << 64 | u128::from(low)
}

/// Hex digits of at most 128 bits, with or without leading zeros.
pub(crate) fn trace_id_of_hex(digits: &str) -> Result<u128, Error> {
    hex(digits, 32)
}

/// Hex digits of at most 64 bits.
pub(crate) fn span_id_of_hex(digits: &str) -> Result<u64, Error> {
    hex(digits, 16).map(|id| id as u64)
}

fn hex(digits: &str, most: usize) -> Result<u128, Error> {
    let is_id = (1..=most).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let id = is_id.then(|| u128::from_str_radix(digits, 16).ok()).flatten();
    id.ok_or_else(|| Error::new(format!("{digits:?} is no id: an id has 1 to {most} hex digits")))
}

/// 16 bytes, or 8 of an id of 64 bits; none for no id.
pub(crate) fn trace_id_of_bytes(bytes: &[u8]) -> Result<u128, Error> {
    match bytes.len() {
        0 | 8 | 16 => Ok(bytes.iter().fold(0, |id, byte| id << 8 | u128::from(*byte))),
        length => Err(Error::new(format!("a trace id has 16 bytes, not {length}"))),
    }
}

/// 8 bytes; none for no id.
pub(crate) fn span_id_of_bytes(bytes: &[u8]) -> Result<u64, Error> {
    match bytes.len() {
        0 | 8 => Ok(bytes.iter().fold(0, |id, byte| id << 8 | u64::from(*byte))),
        length => Err(Error::new(format!("a span id has 8 bytes, not {length}"))),
    }
}

/// As OTLP writes it; empty for no id.
pub(crate) fn span_id_bytes(id: u64) -> Vec<u8> {
    if id == 0 { Vec::new() } else { id.to_be_bytes().to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_64_bits_have_leading_zeros_and_what_is_no_id_is_named() {
        assert_eq!(trace_id_of_hex("463ac35c9f6413ad"), Ok(0x463a_c35c_9f64_13ad));
        assert_eq!(trace_id_of_hex("0af7651916cd43dd8448eb211c80319c"), Ok(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c));
        assert_eq!(span_id_of_hex("AB"), Ok(0xab));
        for wrong in ["", "xyz", "+1", "00000000000000001"] {
            let error = span_id_of_hex(wrong).unwrap_err().to_string();
            assert!(error.contains("1 to 16 hex digits"), "{error}");
        }
        assert_eq!(trace_id_of_bytes(&[0, 0, 0, 0, 0, 0, 1, 2]), Ok(0x102));
        assert!(trace_id_of_bytes(&[1; 7]).unwrap_err().to_string().contains("not 7"));
        assert_eq!((span_id_bytes(0), span_id_bytes(1)), (vec![], vec![0, 0, 0, 0, 0, 0, 0, 1]));
    }
}
