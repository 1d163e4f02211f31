//! Grouping: a number for each distinct value of a column.

use arrow::buffer::BooleanBuffer;
use hashbrown::HashMap;
use traceql::Static;

use super::column::{Cell, Column, Part};

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
        let mut grouping = Grouping::default();
        let mut numbers = vec![0; column.rows];
        let texts_of = |part: &Part| match part {
            Part::Text(texts) => vec![UNKNOWN; texts.number_count()],
            _ => Vec::new(),
        };
        let mut of_text: Vec<Vec<u32>> = column.parts.iter().map(texts_of).collect();
        for row in rows.set_indices() {
            numbers[row] = match text_number(column, row) {
                Some((part, number)) if of_text[part][number] != UNKNOWN => of_text[part][number],
                Some((part, number)) => {
                    of_text[part][number] = grouping.number(column.cell(row));
                    of_text[part][number]
                }
                None => grouping.number(column.cell(row)),
            };
        }
        Self { numbers, values: grouping.values }
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

const UNKNOWN: u32 = u32::MAX;

/// The text column that has a value at a row, and the number of its text there.
fn text_number(column: &Column, row: usize) -> Option<(usize, usize)> {
    column.parts.iter().enumerate().find_map(|(at, part)| match part {
        Part::Text(texts) => texts.number(row).map(|number| (at, number)),
        _ => None,
    })
}

#[derive(Default)]
struct Grouping {
    numbers: HashMap<Vec<Key>, u32>,
    values: Vec<Cell>,
}

impl Grouping {
    fn number(&mut self, cell: Cell) -> u32 {
        let cell = if cell == Cell::Opaque { Cell::Missing } else { cell };
        *self.numbers.entry(keys(&cell)).or_insert_with(|| {
            self.values.push(cell);
            self.values.len() as u32 - 1
        })
    }
}

/// A value that is equal to itself, whatever it is.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Text(String),
    Int(i64),
    Float(u64),
    Bool(bool),
    Duration(i64),
    Status(traceql::Status),
    Kind(traceql::Kind),
}

fn keys(cell: &Cell) -> Vec<Key> {
    match cell {
        Cell::Missing | Cell::Opaque => Vec::new(),
        Cell::One(value) => key(value).into_iter().collect(),
        Cell::Many(values) => values.iter().filter_map(key).collect(),
    }
}

fn key(value: &Static) -> Option<Key> {
    Some(match value {
        Static::Nil => return None,
        Static::String(text) => Key::Text(text.clone()),
        Static::Int(number) => Key::Int(*number),
        Static::Float(number) => Key::Float(number.to_bits()),
        Static::Bool(value) => Key::Bool(*value),
        Static::Duration(nanos) => Key::Duration(*nanos),
        Static::Status(status) => Key::Status(*status),
        Static::Kind(kind) => Key::Kind(*kind),
    })
}
