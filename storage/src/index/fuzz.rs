//! Whatever an index holds, its questions come to an end. Only tantivy's code may panic over it, which
//! [`super::read`] takes for damage.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use prost::Message;
use spans::TableBuilder;
use spans::testing::odd_request;
use traceql::Conditions;

use super::bundle::{Parts, Payloads, Shape, verified};
use super::directory::Directory;
use super::lookup::Lookup;
use super::tests::filters;
use super::{IndexBuilder, Limits};

fn example(limits: Limits) -> Bytes {
    let mut table = TableBuilder::default();
    (0..3).for_each(|seed| _ = table.append(&odd_request(seed).encode_to_vec()).expect("a request"));
    let mut builder = IndexBuilder::new(limits);
    builder.add(&table.snapshot().expect("a table")).expect("columns of spans");
    builder.finish().expect("an index")
}

/// All of an object, as after every sheet was fetched; `None` when a checksum does not match.
fn payloads(object: &Bytes) -> Option<Payloads> {
    let shape = Shape::of(object.len() as u64);
    let payloads = Payloads::new(shape);
    for number in shape.tail(u64::MAX) {
        let place = shape.sheet(number);
        payloads.hold(number, verified(&object.slice(place.start as usize..place.end as usize), number)?);
    }
    Some(payloads)
}

/// One of the parts is bent, and the object made of them has the right checksums and places.
fn bend_a_part(random: &mut ::fuzz::SmallRng, object: &Bytes) -> Vec<u8> {
    let payloads = payloads(object).expect("an undamaged index");
    let places = payloads.places().expect("an undamaged index");
    let part = |range| payloads.read(range).expect("an undamaged index");
    let mut parts = Parts {
        fingerprints: part(places.fingerprints),
        postings: part(places.postings),
        terms: part(places.terms),
        directory: part(places.directory),
    };
    let bent = match ::fuzz::RngExt::random_range(random, 0..4) {
        0 => &mut parts.fingerprints,
        1 => &mut parts.postings,
        2 => &mut parts.terms,
        _ => &mut parts.directory,
    };
    *bent = ::fuzz::bytes::bend(random, bent);
    parts.encode().to_vec()
}

fn ask_all(object: &[u8], filters: &[Conditions]) {
    let Some(payloads) = payloads(&Bytes::copy_from_slice(object)) else { return };
    let Ok(places) = payloads.places() else { return };
    let Ok(directory) = payloads.read(places.directory.clone()) else { return };
    let Some(directory) = Directory::decode(&directory) else { return };
    let _outcome = catch_unwind(AssertUnwindSafe(|| {
        let Ok(lookup) = Lookup::open(&payloads, &places, &directory) else { return };
        for filter in filters {
            let _traces = lookup.traces(filter);
        }
        for info in &directory.fields {
            let _values = lookup.values(&info.field);
        }
    }));
}

#[test]
fn fuzz_index() {
    let few = Limits { page_spans: 1, most_listed_texts: 8, most_listed_numbers: 2, ..Limits::default() };
    let examples = [example(Limits::default()), example(few)];
    let filters = filters();
    examples.iter().for_each(|example| assert!(payloads(example).expect("whole").places().is_ok()));
    let make = |random: &mut ::fuzz::SmallRng| {
        let example = ::fuzz::one_of(random, &examples);
        match ::fuzz::RngExt::random_range(random, 0..10) {
            0 => ::fuzz::bytes::bend(random, example),
            _ => bend_a_part(random, example),
        }
    };
    ::fuzz::fuzz("index", make, |input| ask_all(input, &filters));
}
