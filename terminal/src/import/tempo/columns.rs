//! Nested columns, by name. A column that may hold nothing, one value or a list of them is the same to those who read it.

use std::ops::Range;

use arrow::array::{Array, AsArray, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;

/// The fields of a group: of a trace, a span, an event, an attribute.
#[derive(Clone, Copy)]
pub(super) struct Group<'a>(pub &'a StructArray);

/// For each row a range of rows of what is repeated in it.
pub(super) struct Lists<'a, T> {
    offsets: &'a OffsetBuffer<i32>,
    pub items: T,
}

impl<T> Lists<'_, T> {
    pub(super) fn at(&self, row: usize) -> Range<usize> {
        self.offsets[row] as usize..self.offsets[row + 1] as usize
    }
}

/// For each row none, one or many values.
pub(super) struct Values<'a, A> {
    offsets: Option<&'a OffsetBuffer<i32>>,
    items: &'a A,
}

impl<'a, A: Array> Values<'a, A> {
    /// Where the values of a row stand in [`Self::items`].
    pub(super) fn at(&self, row: usize) -> Range<usize> {
        match self.offsets {
            Some(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            None => row..row + usize::from(self.items.is_valid(row)),
        }
    }

    pub(super) fn items(&self) -> &'a A {
        self.items
    }
}

impl<'a> Group<'a> {
    pub(super) fn has(self, name: &str) -> bool {
        self.0.column_by_name(name).is_some()
    }

    fn column(self, name: &str) -> Result<&'a dyn Array, String> {
        self.0.column_by_name(name).map(AsRef::as_ref).ok_or_else(|| format!("the column {name} is missing"))
    }

    /// A column that has one value in each row.
    pub(super) fn one<A: Array + 'static>(self, name: &str) -> Result<&'a A, String> {
        self.column(name)?.as_any().downcast_ref().ok_or_else(|| self.other_type(name))
    }

    pub(super) fn group(self, name: &str) -> Result<Self, String> {
        Ok(Self(self.one(name)?))
    }

    /// A repeated group.
    pub(super) fn groups(self, name: &str) -> Result<Lists<'a, Group<'a>>, String> {
        let list: &ListArray = self.one(name)?;
        let items = list.values().as_struct_opt().ok_or_else(|| self.other_type(name))?;
        Ok(Lists { offsets: list.offsets(), items: Group(items) })
    }

    /// A column with any number of values in a row.
    pub(super) fn values<A: Array + 'static>(self, name: &str) -> Result<Values<'a, A>, String> {
        let column = self.column(name)?;
        let list = column.as_list_opt::<i32>();
        let items = list.map_or(column, |list| list.values().as_ref());
        let items = items.as_any().downcast_ref().ok_or_else(|| self.other_type(name))?;
        Ok(Values { offsets: list.map(ListArray::offsets), items })
    }

    fn other_type(self, name: &str) -> String {
        let found = self.0.column_by_name(name).map(|column| column.data_type().to_string()).unwrap_or_default();
        format!("the column {name} is of type {found}, which is not what Tempo writes")
    }
}

impl<'a, T> Lists<'a, T> {
    /// The same lists of what is made of their items.
    pub(super) fn try_map<U>(self, make: impl FnOnce(T) -> Result<U, String>) -> Result<Lists<'a, U>, String> {
        Ok(Lists { offsets: self.offsets, items: make(self.items)? })
    }
}
