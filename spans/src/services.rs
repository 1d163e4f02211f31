//! Which service each resource belongs to.

use arrow::array::{Array, ArrayAccessor, AsArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;

use crate::error::Error;
use crate::schema::column;
use crate::table;

/// The attribute of a resource that names its service.
const SERVICE_NAME: &str = "service.name";

/// The `service.name` of each resource, where that has one; `None` when one of them is no text, or is there twice.
/// `resources` have no attribute columns.
///
/// # Errors
/// [`Error::Damaged`] when the list of attributes is missing or has another type.
pub fn service_names(resources: &RecordBatch) -> Result<Option<Vec<Option<&str>>>, Error> {
    let damaged = || Error::damaged("the attributes of resources have another type");
    let lists = table::column(resources, column::ATTRIBUTES)?.as_list_opt::<i32>().ok_or_else(damaged)?;
    let items = lists.values().as_struct_opt().ok_or_else(damaged)?;
    let texts = |name: &str| {
        let texts = items.column_by_name(name)?.as_dictionary_opt::<Int32Type>()?;
        texts.downcast_dict::<StringArray>()
    };
    let (keys, values) = (texts("key").ok_or_else(damaged)?, texts("string").ok_or_else(damaged)?);
    let is_service = |item: &usize| keys.is_valid(*item) && keys.value(*item) == SERVICE_NAME;
    let mut names = Vec::with_capacity(lists.len());
    for bounds in lists.value_offsets().windows(2) {
        let mut of_resource = (bounds[0] as usize..bounds[1] as usize).filter(is_service);
        let named = of_resource.next();
        let name = named.filter(|&item| values.is_valid(item)).map(|item| values.value(item));
        if of_resource.next().is_some() || named.is_some() != name.is_some() {
            return Ok(None);
        }
        names.push(name);
    }
    Ok(Some(names))
}
