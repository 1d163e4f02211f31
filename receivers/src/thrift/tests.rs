use super::*;

/// A struct with a field of every kind that is not read, then field 20, a text.
fn with_unread_fields(encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::Binary => [
            &[2, 0, 1, 1][..],                                            // bool
            &[3, 0, 2, 9],                                                // byte
            &[4, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0],                           // double
            &[6, 0, 4, 0, 1, 8, 0, 5, 0, 0, 0, 1],                        // i16, i32
            &[10, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1],                          // i64
            &[12, 0, 7, 2, 0, 1, 0, 0],                                   // struct with a bool
            &[13, 0, 8, 8, 11, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, b'x'], // map of i32 to text
            &[13, 0, 9, 0, 0, 0, 0, 0, 0],                                // empty map
            &[14, 0, 10, 3, 0, 0, 0, 2, 1, 2],                            // set of bytes
            &[15, 0, 11, 15, 0, 0, 0, 1, 2, 0, 0, 0, 1, 1],               // list of lists of bools
            &[11, 0, 20, 0, 0, 0, 2, b'o', b'k', 0],
        ]
        .concat(),
        Encoding::Compact => [
            &[0x11, 0x12, 0x13, 9][..],      // bools, byte
            &[0x17, 0, 0, 0, 0, 0, 0, 0, 0], // double
            &[0x14, 2, 0x15, 2, 0x16, 2],    // i16, i32, i64
            &[0x1c, 0x11, 0],                // struct with a bool
            &[0x1b, 1, 0x58, 2, 1, b'x'],    // map of i32 to text
            &[0x1b, 0],                      // empty map
            &[0x1a, 0x23, 1, 2],             // set of bytes
            &[0x19, 0x19, 0x11, 1],          // list of lists of bools
            &[0x08, 40, 2, b'o', b'k', 0],   // text; its id is given whole
        ]
        .concat(),
    }
}

fn text_of_field_20(bytes: &[u8], encoding: Encoding) -> Result<String, Error> {
    let mut text = String::new();
    Input::new(bytes, encoding).structure(|input, field| {
        if (field.id, field.kind) != (20, Kind::Bytes) {
            return Ok(false);
        }
        text = input.text()?;
        Ok(true)
    })?;
    Ok(text)
}

#[test]
fn fields_that_nobody_reads_are_skipped_in_both_encodings() {
    for encoding in [Encoding::Binary, Encoding::Compact] {
        let bytes = with_unread_fields(encoding);
        assert_eq!(text_of_field_20(&bytes, encoding).as_deref(), Ok("ok"), "{encoding:?}");
        for length in 0..bytes.len() {
            let error = text_of_field_20(&bytes[..length], encoding).unwrap_err().to_string();
            assert!(error.contains("ends early") || error.contains("cannot be in"), "{encoding:?} {length}: {error}");
        }
    }
}

#[test]
fn a_length_that_cannot_be_takes_no_memory() {
    for (bytes, encoding, expected) in [
        (&[0x7f, 0xff, 0xff, 0xff][..], Encoding::Binary, "ends early"),
        (&[0xff, 0xff, 0xff, 0xff], Encoding::Binary, "-1 bytes"),
        (&[0xff, 0xff, 0xff, 0xff, 0x0f], Encoding::Compact, "ends early"),
        (&[0xff; 11], Encoding::Compact, "more than 64 bits"),
    ] {
        let error = Input::new(bytes, encoding).text().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let list = [12, 0x7f, 0xff, 0xff, 0xff, 0];
    let error = Input::new(&list, Encoding::Binary).list(|_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("2147483647 items cannot be in 1 bytes"), "{error}");
}

#[test]
fn a_request_of_empty_items_is_refused() {
    let mut list = vec![12];
    list.extend((MAX_ITEMS as i32 + 1).to_be_bytes());
    list.resize(list.len() + MAX_ITEMS + 1, 0);
    let error = Input::new(&list, Encoding::Binary).list(|_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("send smaller batches"), "{error}");
}

#[test]
fn structs_in_structs_end_somewhere() {
    let nested = [12, 0, 1].repeat(10_000);
    let error = Input::new(&nested, Encoding::Binary).structure(|_, _| Ok(false)).unwrap_err().to_string();
    assert!(error.contains("more than 32 structs"), "{error}");
}

#[test]
fn calls_are_known_in_both_forms_of_the_binary_encoding() {
    let strict = [&[0x80, 1, 0, 4, 0, 0, 0, 4][..], b"emit", &[0, 0, 0, 1]].concat();
    let older = [&[0, 0, 0, 4][..], b"emit", &[4, 0, 0, 0, 1]].concat();
    let compact = [&[0x82, 0x81, 1, 4][..], b"emit"].concat();
    for (bytes, encoding) in [(strict, Encoding::Binary), (older, Encoding::Binary), (compact, Encoding::Compact)] {
        assert_eq!(Input::new(&bytes, encoding).call().as_deref(), Ok("emit"), "{bytes:?}");
    }
    assert!(Input::new(b"GET /", Encoding::Compact).call().unwrap_err().to_string().contains("compact encoding"));
    assert!(Input::new(b"GET /", Encoding::Binary).call().unwrap_err().to_string().contains("binary encoding"));
}
