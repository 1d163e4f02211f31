//! Grouping: a number for each distinct value of a column.

use std::hash::Hash;

use arrow::array::{Array, ArrowPrimitiveType, PrimitiveArray};
use arrow::buffer::BooleanBuffer;
use hashbrown::HashMap;
use traceql::Static;

use super::column::{Cell, Column, Part, Texts};

/// The rows of a batch with the number of their group.
pub(crate) struct Groups {
    /// By row; rows that were not asked for have number 0.
    pub numbers: Vec<u32>,
    /// By number. What cannot be compared is in the group of the missing values.
    pub values: Vec<Cell>,
}

impl Groups {
    /// Groups the rows of `rows`. Values of different types are different: the int 1 is not the float 1.0.
    pub fn of(column: &Column, rows: &BooleanBuffer) -> Self {
        let mut grouping =
            Grouping { rows, numbers: vec![UNKNOWN; column.rows], by_key: HashMap::new(), values: Vec::new() };
        for part in &column.parts {
            match part {
                Part::Text(texts) => grouping.add_texts(texts),
                Part::Int(array) => grouping.add_numbers(array, Static::Int),
                Part::Duration(array) => grouping.add_numbers(array, Static::Duration),
                _ => grouping.add_others(part),
            }
        }
        grouping.finish()
    }

    /// Splits rows by group, in the order in which groups first occur.
    pub fn split(&self, rows: Vec<u32>) -> Vec<(u32, Vec<u32>)> {
        let mut groups: Vec<(u32, Vec<u32>)> = Vec::new();
        let mut places: HashMap<u32, usize> = HashMap::new();
        for row in rows {
            let number = self.numbers[row as usize];
            let place = *places.entry(number).or_insert_with(|| {
                groups.push((number, Vec::new()));
                groups.len() - 1
            });
            groups[place].1.push(row);
        }
        groups
    }
}

/// Stands for a row or a text that has no number yet.
const UNKNOWN: u32 = u32::MAX;

struct Grouping<'a> {
    rows: &'a BooleanBuffer,
    numbers: Vec<u32>,
    by_key: HashMap<Vec<Key>, u32>,
    values: Vec<Cell>,
}

impl Grouping<'_> {
    /// Each text of a dictionary is looked up once.
    fn add_texts(&mut self, texts: &Texts) {
        let mut known = vec![UNKNOWN; texts.number_count()];
        for row in self.rows.set_indices() {
            self.numbers[row] = match texts.number(row) {
                Some(number) if known[number] != UNKNOWN => known[number],
                found => {
                    let Some(text) = texts.get(row) else { continue };
                    let group = self.number(Cell::One(Static::String(text.to_owned())));
                    if let Some(number) = found {
                        known[number] = group;
                    }
                    group
                }
            };
        }
    }

    fn add_numbers<T: ArrowPrimitiveType>(&mut self, array: &PrimitiveArray<T>, value: fn(T::Native) -> Static)
    where
        T::Native: Eq + Hash,
    {
        let (mut known, rows): (HashMap<T::Native, u32>, _) = (HashMap::new(), self.rows);
        for row in rows.set_indices().filter(|&row| array.is_valid(row)) {
            let number = array.value(row);
            self.numbers[row] = *known.entry(number).or_insert_with(|| self.number(Cell::One(value(number))));
        }
    }

    fn add_others(&mut self, part: &Part) {
        for row in self.rows.set_indices() {
            match part.cell(row) {
                None | Some(Cell::Opaque) => {}
                Some(cell) => self.numbers[row] = self.number(cell),
            }
        }
    }

    fn number(&mut self, cell: Cell) -> u32 {
        *self.by_key.entry(Key::all_of(&cell)).or_insert_with(|| {
            self.values.push(cell);
            self.values.len() as u32 - 1
        })
    }

    /// Rows that have no group by now have no value.
    fn finish(mut self) -> Groups {
        let mut missing = None;
        for row in self.rows.set_indices() {
            if self.numbers[row] == UNKNOWN {
                self.numbers[row] = *missing.get_or_insert_with(|| self.number(Cell::Missing));
            }
        }
        let numbers = self.numbers.into_iter().map(|number| if number == UNKNOWN { 0 } else { number });
        Groups { numbers: numbers.collect(), values: self.values }
    }
}

/// A value that is equal to itself, whatever it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Text(String),
    Int(i64),
    /// The bits of a float.
    Float(u64),
    Bool(bool),
    /// Nanoseconds.
    Duration(i64),
    Status(traceql::Status),
    Kind(traceql::Kind),
}

impl Key {
    /// Memory of the key and of its text.
    pub fn memory_bytes(&self) -> usize {
        let text = if let Self::Text(text) = self { text.len() } else { 0 };
        size_of::<Self>() + text
    }

    /// `None` for nil.
    pub fn of(value: &Static) -> Option<Self> {
        Some(match value {
            Static::Nil => return None,
            Static::String(text) => Self::Text(text.clone()),
            Static::Int(number) => Self::Int(*number),
            Static::Float(number) => Self::Float(number.to_bits()),
            Static::Bool(value) => Self::Bool(*value),
            Static::Duration(nanos) => Self::Duration(*nanos),
            Static::Status(status) => Self::Status(*status),
            Static::Kind(kind) => Self::Kind(*kind),
        })
    }

    pub fn value(&self) -> Static {
        match self {
            Self::Text(text) => Static::String(text.clone()),
            Self::Int(number) => Static::Int(*number),
            Self::Float(bits) => Static::Float(f64::from_bits(*bits)),
            Self::Bool(value) => Static::Bool(*value),
            Self::Duration(nanos) => Static::Duration(*nanos),
            Self::Status(status) => Static::Status(*status),
            Self::Kind(kind) => Static::Kind(*kind),
        }
    }

    /// None for a missing value, several for an array.
    fn all_of(cell: &Cell) -> Vec<Self> {
        match cell {
            Cell::Missing | Cell::Opaque => Vec::new(),
            Cell::One(value) => Self::of(value).into_iter().collect(),
            Cell::Many(values) => values.iter().filter_map(Self::of).collect(),
        }
    }
}
