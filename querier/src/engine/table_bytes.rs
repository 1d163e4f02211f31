//! How much memory a table takes that shares texts with what was read.

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use spans::SpanTable;

/// About how much memory the spans of a table take. Texts that a column has once and names by number are not counted:
/// they are shared with what was read.
pub(crate) fn memory_bytes(table: &SpanTable) -> usize {
    table.spans.columns().iter().map(|column| array_bytes(column)).sum()
}

fn array_bytes(array: &dyn Array) -> usize {
    if let Some(list) = array.as_list_opt::<i32>() {
        let offsets = list.value_offsets();
        let values = list.values().slice(offsets[0] as usize, (offsets[offsets.len() - 1] - offsets[0]) as usize);
        return size_of_val(offsets) + array_bytes(&values);
    }
    match (array.as_struct_opt(), array.data_type()) {
        (Some(fields), _) => fields.columns().iter().map(|column| array_bytes(column)).sum(),
        (None, DataType::Dictionary(key, _)) => array.len() * key.primitive_width().unwrap_or_default(),
        (None, _) => array.to_data().get_slice_memory_size().unwrap_or_default(),
    }
}
