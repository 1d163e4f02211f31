//! One dictionary for several tables: each text that a row refers to gets a number, the same in all of them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, ListArray, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type};
use hashbrown::HashMap;

use crate::error::Error;
use crate::keys::items;
use crate::strings::Interner;
use crate::table::wrong_type;

/// No row refers to the text.
const UNSEEN: i32 = -1;

/// The texts of all tables, and the new numbers of those that rows refer to.
#[derive(Default)]
pub(super) struct Texts {
    pub(super) interner: Interner,
    /// New numbers by address of the dictionary values they replace; columns of a table share their values.
    numbers: HashMap<usize, Vec<i32>>,
}

impl Texts {
    /// Numbers the texts that the dictionary columns in `array` refer to.
    pub(super) fn learn(&mut self, array: &ArrayRef) -> Result<(), Error> {
        match array.data_type() {
            DataType::Dictionary(_, _) => self.learn_keys(dictionary(array)?),
            DataType::Struct(_) => array.as_struct().columns().iter().try_for_each(|column| self.learn(column)),
            DataType::List(_) => self.learn(&items(array)?),
            _ => Ok(()),
        }
    }

    fn learn_keys(&mut self, dictionary: &DictionaryArray<Int32Type>) -> Result<(), Error> {
        let texts = dictionary.values().as_string_opt::<i32>().ok_or_else(|| wrong_type("dictionary values"))?;
        let Self { interner, numbers } = self;
        let numbers = numbers.entry(address(dictionary)?).or_insert_with(|| vec![UNSEEN; texts.len()]);
        let keys = dictionary.keys();
        for (row, &key) in keys.values().iter().enumerate() {
            if keys.is_valid(row) && numbers[key as usize] == UNSEEN {
                numbers[key as usize] = interner.intern(texts.value(key as usize).as_bytes());
            }
        }
        Ok(())
    }

    /// The new number of each text of a dictionary whose column was [learnt](Self::learn).
    pub(super) fn numbers(&self, dictionary: &DictionaryArray<Int32Type>) -> Result<NewNumbers<'_>, Error> {
        Ok(NewNumbers(self.numbers.get(&address(dictionary)?).map_or(&[], Vec::as_slice)))
    }

    /// A small array with the numbers in place of the texts.
    pub(super) fn plain(&mut self, array: &ArrayRef) -> Result<ArrayRef, Error> {
        Ok(match array.data_type() {
            DataType::Dictionary(_, _) => {
                self.learn(array)?;
                let dictionary = dictionary(array)?;
                let numbers = self.numbers(dictionary)?;
                Arc::new(dictionary.keys().unary::<_, Int32Type>(|key| numbers.of(key)))
            }
            DataType::Struct(_) => {
                let parts = array.as_struct();
                let columns =
                    parts.columns().iter().map(|column| self.plain(column)).collect::<Result<Vec<_>, Error>>()?;
                Arc::new(StructArray::try_new(fields_of(parts, &columns).into(), columns, parts.nulls().cloned())?)
            }
            DataType::List(_) => {
                let lists = array.as_list::<i32>();
                let values = self.plain(lists.values())?;
                let field = Arc::new(Field::new("item", values.data_type().clone(), false));
                Arc::new(ListArray::try_new(field, lists.offsets().clone(), values, lists.nulls().cloned())?)
            }
            _ => array.clone(),
        })
    }
}

/// See [`Texts::numbers`].
#[derive(Clone, Copy)]
pub(super) struct NewNumbers<'a>(&'a [i32]);

impl NewNumbers<'_> {
    /// 0 for the key of a null, which may be any.
    #[inline]
    pub(super) fn of(&self, key: i32) -> i32 {
        self.0.get(key as usize).map_or(0, |&number| number.max(0))
    }
}

pub(super) fn dictionary(array: &ArrayRef) -> Result<&DictionaryArray<Int32Type>, Error> {
    array.as_dictionary_opt::<Int32Type>().ok_or_else(|| wrong_type("dictionary"))
}

fn address(dictionary: &DictionaryArray<Int32Type>) -> Result<usize, Error> {
    let texts = dictionary.values().as_string_opt::<i32>().ok_or_else(|| wrong_type("dictionary values"))?;
    Ok(texts.offsets().as_ptr() as usize)
}

fn fields_of(parts: &StructArray, columns: &[ArrayRef]) -> Vec<FieldRef> {
    let with_type = |(field, column): (&FieldRef, &ArrayRef)| {
        Arc::new(Field::new(field.name(), column.data_type().clone(), field.is_nullable()))
    };
    parts.fields().iter().zip(columns).map(with_type).collect()
}
