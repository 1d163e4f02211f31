//! The attributes of a batch, key by key. Each item of a list is looked at once, however many keys there are.

use arrow::array::{Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use hashbrown::HashMap;
use model::Scope;
use spans::schema::AttributeColumn;
use storage::coded::CodedColumn;

use super::counted::{self, Counted};
use crate::cancellation::Cancellation;
use crate::error::Error;
use crate::eval::Column;
use crate::eval::attributes::{ItemsByKey, own_part};

/// Takes each key with values of it, the rows of these that count, and what is counted there. A key may come twice, with
/// values of different rows. What stands in columns beside the batch goes before its lists, and is not taken here.
pub(super) fn for_each(
    (batch, besides): (&RecordBatch, &[CodedColumn]),
    scope: Scope,
    counted: &[Counted],
    cancellation: &Cancellation,
    mut take: impl FnMut(&str, &Column, &BooleanBuffer, &[Counted]) -> Result<(), Error>,
) -> Result<(), Error> {
    let (own, rows) = (own_columns(batch, scope)?, counted::mask(counted, batch.num_rows()));
    for (key, column) in &own {
        cancellation.count_work(counted.len())?;
        take(key, column, &rows, counted)?;
    }
    let Some(by_key) = ItemsByKey::of(batch, counted.iter().map(|counted| counted.row))? else { return Ok(()) };
    cancellation.count_work(by_key.item_count())?;
    for (key, items) in by_key.keys() {
        cancellation.count_work(items.len())?;
        let mut items = items.to_vec();
        if let Some(column) = own.get(key) {
            // a column of its own goes before the list
            let taken = column.present();
            items.retain(|&(place, _)| !taken.value(counted[place as usize].row as usize));
        }
        for column in besides.iter().filter(|column| column.attribute.key == key) {
            items.retain(|&(place, _)| column.rows().binary_search(&counted[place as usize].row).is_err());
        }
        let in_list = (0..).zip(&items).map(|(row, &(place, _))| Counted { row, ..counted[place as usize] });
        let (in_list, all) = (in_list.collect::<Vec<_>>(), BooleanBuffer::new_set(items.len()));
        take(key, &by_key.values(&items), &all, &in_list)?;
    }
    Ok(())
}

/// The attributes that have columns of their own, by key.
fn own_columns(batch: &RecordBatch, scope: Scope) -> Result<HashMap<String, Column>, Error> {
    let mut own: HashMap<String, Column> = HashMap::new();
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let has_values = array.null_count() < array.len();
        if let Some(of) = AttributeColumn::of(field).filter(|of| has_values && of.scope == scope) {
            let part = own_part(&of, array)?;
            own.entry(of.key).or_insert_with(|| Column::missing(batch.num_rows())).parts.push(part);
        }
    }
    Ok(own)
}
