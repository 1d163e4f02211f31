//! The items of lists of attributes by their key: every item is looked at once, however many keys there are.

use arrow::array::{Array, AsArray, RecordBatch};
use hashbrown::HashMap;
use spans::schema::column;

use super::super::column::Column;
use super::{Found, Items};
use crate::error::Error;

/// Items of some rows of a batch, key by key.
pub(crate) struct ItemsByKey<'a> {
    items: Items<'a>,
    keys: Vec<String>,
    /// The items of key `i` are `starts[i]..starts[i + 1]` of `found`.
    starts: Vec<usize>,
    /// Place of the row among those that were given, and item; ascending for each key.
    found: Vec<Found>,
}

impl<'a> ItemsByKey<'a> {
    /// Of each row and key the first item that has a value. `None` when the batch has no list.
    pub fn of(batch: &'a RecordBatch, rows: impl Iterator<Item = u32>) -> Result<Option<Self>, Error> {
        let Some(lists) = batch.column_by_name(column::ATTRIBUTES) else { return Ok(None) };
        let lists = lists.as_list_opt::<i32>().ok_or_else(|| Error::damaged(column::ATTRIBUTES))?;
        let items = Items::of(lists.values())?;
        let key_texts = items.key_texts.clone();
        let mut numbering = KeyNumbering::new(items.key_texts.len());
        let (mut found, mut key_of_found): (Vec<Found>, Vec<u32>) = (Vec::new(), Vec::new());
        for (place, row) in (0..).zip(rows) {
            let row = row as usize;
            let of_row = lists.offsets()[row] as usize..lists.offsets()[row + 1] as usize;
            for item in of_row.filter(|&item| items.has_value(item)) {
                let number = items.keys.value(item) as usize;
                if let Some(key) = numbering.first_of_row(number, place, || key_texts.value(number)) {
                    found.push((place, item as u32));
                    key_of_found.push(key);
                }
            }
        }
        let keys = numbering.keys.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let (starts, found) = by_number(keys.len(), &key_of_found, &found);
        Ok(Some(Self { items, keys, starts, found }))
    }

    pub fn item_count(&self) -> usize {
        self.found.len()
    }

    /// Each key with the places of its rows and its items.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &[Found])> {
        let ranges = self.starts.windows(2).map(|ends| &self.found[ends[0]..ends[1]]);
        self.keys.iter().map(String::as_str).zip(ranges)
    }

    /// The values of some items of one key: a row for each.
    pub fn values(&self, items: &[Found]) -> Column {
        let numbered: Vec<Found> = (0..).zip(items).map(|(row, &(_, item))| (row, item)).collect();
        self.items.values(items.len(), &numbered)
    }
}

/// Numbers keys as they occur; two numbers of a dictionary may mean the same text.
struct KeyNumbering<'a> {
    by_text: HashMap<&'a str, u32>,
    keys: Vec<&'a str>,
    /// By number in the dictionary.
    known: Vec<u32>,
    /// By key: the last place where it was seen.
    last_places: Vec<u32>,
}

const UNKNOWN: u32 = u32::MAX;
const NO_PLACE: u32 = u32::MAX;

impl<'a> KeyNumbering<'a> {
    fn new(dictionary_len: usize) -> Self {
        let (by_text, keys, last_places) = Default::default();
        Self { by_text, keys, known: vec![UNKNOWN; dictionary_len], last_places }
    }

    /// The number of a key, unless it was seen at this place already.
    fn first_of_row(&mut self, number: usize, place: u32, text: impl Fn() -> &'a str) -> Option<u32> {
        if self.known[number] == UNKNOWN {
            let (keys, last_places) = (&mut self.keys, &mut self.last_places);
            self.known[number] = *self.by_text.entry(text()).or_insert_with_key(|text| {
                keys.push(text);
                last_places.push(NO_PLACE);
                keys.len() as u32 - 1
            });
        }
        let key = self.known[number];
        let last = std::mem::replace(&mut self.last_places[key as usize], place);
        (last != place).then_some(key)
    }
}

/// Sorts by number, in linear time: where each number starts, and what has it.
fn by_number(count: usize, numbers: &[u32], found: &[Found]) -> (Vec<usize>, Vec<Found>) {
    let mut starts = vec![0; count + 1];
    numbers.iter().for_each(|&number| starts[number as usize + 1] += 1);
    (0..count).for_each(|number| starts[number + 1] += starts[number]);
    let (mut next, mut sorted) = (starts.clone(), vec![(0, 0); found.len()]);
    for (&number, &one) in numbers.iter().zip(found) {
        sorted[next[number as usize]] = one;
        next[number as usize] += 1;
    }
    (starts, sorted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::Cell;
    use crate::testing::{attributes, int, service, span, table, text};
    use opentelemetry_proto::tonic::common::v1::AnyValue;
    use opentelemetry_proto::tonic::trace::v1::Span;
    use traceql::Static;

    #[test]
    fn the_first_value_of_a_key_counts() {
        let with =
            |id, pairs: &[(&str, AnyValue)]| Span { attributes: attributes(pairs), ..span(1, id, 0, "x", id, 1) };
        let nothing = || AnyValue { value: None };
        let table = table(vec![service(
            "s",
            vec![
                with(1, &[("a", int(1)), ("b", text("t")), ("a", int(2))]),
                with(2, &[("c", nothing())]),
                with(3, &[("a", nothing()), ("a", text("u"))]),
            ],
        )]);
        let by_key = ItemsByKey::of(&table.spans, [0, 1, 2, 2].into_iter()).unwrap().unwrap();
        let found = by_key.keys().map(|(key, items)| {
            let (places, values): (Vec<u32>, _) =
                (items.iter().map(|(place, _)| *place).collect(), by_key.values(items));
            (key, places, (0..values.rows).map(|row| values.cell(row)).collect())
        });
        let one = |value| Cell::One(value);
        let (t, u) = (|| one(Static::String("t".into())), || one(Static::String("u".into())));
        let expected: Vec<(&str, Vec<u32>, Vec<Cell>)> =
            vec![("a", vec![0, 2, 3], vec![one(Static::Int(1)), u(), u()]), ("b", vec![0], vec![t()])];
        assert_eq!(found.collect::<Vec<_>>(), expected);
        assert_eq!(by_key.item_count(), 4);
    }
}
