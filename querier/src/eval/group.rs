//! Grouping: a number for each distinct value of a column.
//!
//! A value is looked at once for each dictionary entry, and once for each number of a small range; a row then costs a
//! look-up in an array.

use arrow::array::{Array, ArrowPrimitiveType, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use hashbrown::HashMap;
use traceql::{Kind, Static, Status};

use super::column::{Cell, Column, Texts, TypedValues};

/// The rows of a batch with the number of their group.
pub(crate) struct Groups {
    /// By row; rows that were not asked for have the number of some group.
    pub numbers: Vec<u32>,
    /// By number. What cannot be compared is in the group of the missing values.
    pub values: Vec<Cell>,
    /// The group of all values beyond the most that are told apart.
    pub left_out: Option<u32>,
}

impl Groups {
    /// Groups the rows of `rows`. Values of different types are different: the int 1 is not the float 1.0.
    pub fn of(column: &Column, rows: &BooleanBuffer) -> Self {
        Self::of_most(column, rows, usize::MAX)
    }

    /// Groups rows, but puts the values beyond so many into one group.
    pub fn of_most(column: &Column, rows: &BooleanBuffer, most_values: usize) -> Self {
        let mut grouping = Grouping {
            rows,
            row_count: rows.count_set_bits(),
            most_values,
            numbers: vec![UNKNOWN; column.rows],
            by_text: HashMap::new(),
            by_key: HashMap::new(),
            values: Vec::new(),
            left_out: None,
        };
        for part in &column.parts {
            match part {
                TypedValues::Text(texts) => grouping.add_texts(texts),
                TypedValues::Int(array) => grouping.add_ints(array, |number| Some(Static::Int(number))),
                TypedValues::Duration(array) => grouping.add_ints(array, |nanos| Some(Static::Duration(nanos))),
                TypedValues::Status(array) => {
                    grouping.add_ints(array, |code| Some(Static::Status(otlp(code, Status::from_otlp)?)))
                }
                TypedValues::Kind(array) => {
                    grouping.add_ints(array, |code| Some(Static::Kind(otlp(code, Kind::from_otlp)?)))
                }
                TypedValues::Float(array) => {
                    let value = |bits| Some(Static::Float(f64::from_bits(bits as u64)));
                    grouping.add_hashed(array.nulls(), |row| array.value(row).to_bits() as i64, value);
                }
                TypedValues::Bool(array) => {
                    let value = |code| Some(Static::Bool(code == 1));
                    grouping.add_small(array.nulls(), |row| usize::from(array.value(row)), 2, value);
                }
                TypedValues::Lists(_) => grouping.add_others(part),
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

/// Stands for a row without a group, and for a code that was not looked at yet.
const UNKNOWN: u32 = u32::MAX;
/// Stands for a code that was looked at and means no value that can be compared.
const NO_VALUE: u32 = u32::MAX - 1;

/// Numbers are looked up in an array rather than hashed where fewer lie between the smallest and the largest.
const SMALL_RANGE: u64 = 1 << 16;

/// So many codes for each row are few enough for an array.
const FEW_CODES_OF_A_ROW: usize = 8;

struct Grouping<'a> {
    rows: &'a BooleanBuffer,
    /// How many rows `rows` has.
    row_count: usize,
    most_values: usize,
    numbers: Vec<u32>,
    by_text: HashMap<&'a str, u32>,
    /// Of what is no text.
    by_key: HashMap<Vec<Key>, u32>,
    values: Vec<Cell>,
    left_out: Option<u32>,
}

impl<'a> Grouping<'a> {
    fn has_all_rows(&self) -> bool {
        self.row_count == self.numbers.len()
    }

    /// Each text of a dictionary is looked up once.
    fn add_texts(&mut self, texts: &'a Texts) {
        let group = |grouping: &mut Self, number: usize| texts.of_number(number).map(|text| grouping.text_number(text));
        match texts.keys() {
            Some(keys) => {
                let numbers = keys.values();
                self.add_coded(keys.nulls(), |row| numbers[row] as usize, texts.number_count(), group);
                if let Some(nulls) = keys.nulls().filter(|_| texts.is_null_empty()) {
                    let nulls = NullBuffer::new(!nulls.inner());
                    self.add_coded(Some(&nulls), |_| 0, 1, |grouping, _| Some(grouping.text_number("")));
                }
            }
            None => self.add_coded(None, |row| row, texts.number_count(), group),
        }
    }

    fn add_ints<T>(&mut self, array: &PrimitiveArray<T>, value: impl Fn(i64) -> Option<Static>)
    where
        T: ArrowPrimitiveType<Native: Into<i64>>,
    {
        let numbers = array.values();
        let number = |row: usize| -> i64 { numbers[row].into() };
        let ends = |(least, most): (i64, i64), &number: &T::Native| (least.min(number.into()), most.max(number.into()));
        let (least, most) = numbers.iter().fold((i64::MAX, i64::MIN), ends);
        let range = most.wrapping_sub(least) as u64;
        if range < SMALL_RANGE {
            let of_code = |code: usize| value(least.wrapping_add(code as i64));
            self.add_small(array.nulls(), |row| number(row).wrapping_sub(least) as usize, range as usize + 1, of_code);
        } else if !array.is_empty() {
            self.add_hashed(array.nulls(), number, value);
        }
    }

    /// Each of a few codes is looked up once.
    fn add_small(
        &mut self,
        nulls: Option<&NullBuffer>,
        code: impl Fn(usize) -> usize,
        code_count: usize,
        value: impl Fn(usize) -> Option<Static>,
    ) {
        let group = |grouping: &mut Self, code: usize| Some(grouping.number(Cell::One(value(code)?)));
        self.add_coded(nulls, code, code_count, group);
    }

    /// Numbers rows by their codes; `group` is asked once for each code that occurs.
    fn add_coded(
        &mut self,
        nulls: Option<&NullBuffer>,
        code: impl Fn(usize) -> usize,
        code_count: usize,
        group: impl Fn(&mut Self, usize) -> Option<u32>,
    ) {
        if code_count / FEW_CODES_OF_A_ROW > self.row_count {
            // an array of all codes would cost more than the rows do
            let mut known: HashMap<usize, u32> = HashMap::new();
            return self.for_each_row(nulls, |grouping, row| {
                let code = code(row);
                let number = *known.entry(code).or_insert_with(|| group(grouping, code).unwrap_or(NO_VALUE));
                if number != NO_VALUE {
                    grouping.numbers[row] = number;
                }
            });
        }
        let mut known = vec![UNKNOWN; code_count];
        self.for_each_row(nulls, |grouping, row| {
            let code = code(row);
            let mut number = known[code];
            if number == UNKNOWN {
                number = group(grouping, code).unwrap_or(NO_VALUE);
                known[code] = number;
            }
            if number != NO_VALUE {
                grouping.numbers[row] = number;
            }
        });
    }

    fn add_hashed(
        &mut self,
        nulls: Option<&NullBuffer>,
        number: impl Fn(usize) -> i64,
        value: impl Fn(i64) -> Option<Static>,
    ) {
        let mut known: HashMap<i64, u32> = HashMap::new();
        self.for_each_row(nulls, |grouping, row| {
            let number = number(row);
            let group = || value(number).map_or(NO_VALUE, |value| grouping.number(Cell::One(value)));
            let group = *known.entry(number).or_insert_with(group);
            if group != NO_VALUE {
                grouping.numbers[row] = group;
            }
        });
    }

    fn add_others(&mut self, part: &TypedValues) {
        self.for_each_row(None, |grouping, row| match part.cell(row) {
            None | Some(Cell::Opaque) => {}
            Some(cell) => grouping.numbers[row] = grouping.number(cell),
        });
    }

    /// Takes each row that was asked for and is not null.
    #[inline]
    fn for_each_row(&mut self, nulls: Option<&NullBuffer>, mut take: impl FnMut(&mut Self, usize)) {
        match nulls.filter(|nulls| nulls.null_count() > 0) {
            None if self.has_all_rows() => (0..self.numbers.len()).for_each(|row| take(self, row)),
            None => self.rows.set_indices().for_each(|row| take(self, row)),
            Some(nulls) if self.has_all_rows() => nulls.valid_indices().for_each(|row| take(self, row)),
            Some(nulls) => (self.rows & nulls.inner()).set_indices().for_each(|row| take(self, row)),
        }
    }

    fn text_number(&mut self, text: &'a str) -> u32 {
        if let Some(left_out) = self.left_out {
            return left_out;
        }
        let next = self.values.len() as u32;
        let number = *self.by_text.entry(text).or_insert(next);
        if number == next {
            self.new_number(Cell::One(Static::String(text.to_owned())));
        }
        number
    }

    fn number(&mut self, cell: Cell) -> u32 {
        let key = Key::all_of(&cell);
        match (self.by_key.get(&key), self.left_out) {
            (Some(&number), _) => number,
            (None, Some(left_out)) if matches!(cell, Cell::One(_)) => left_out,
            (None, _) => {
                let number = self.new_number(cell);
                self.by_key.insert(key, number);
                number
            }
        }
    }

    fn new_number(&mut self, cell: Cell) -> u32 {
        let number = self.values.len() as u32;
        if self.values.len() >= self.most_values && matches!(cell, Cell::One(_)) {
            self.left_out = Some(number);
        }
        self.values.push(cell);
        number
    }

    /// Rows that have no group by now have no value.
    fn finish(mut self) -> Groups {
        let is_missing = |row: usize| self.numbers[row] == UNKNOWN;
        let some_are_missing = match self.has_all_rows() {
            true => self.numbers.contains(&UNKNOWN),
            false => self.rows.set_indices().any(is_missing),
        };
        let missing = if some_are_missing { self.number(Cell::Missing) } else { 0 };
        self.numbers.iter_mut().filter(|number| **number == UNKNOWN).for_each(|number| *number = missing);
        Groups { numbers: self.numbers, values: self.values, left_out: self.left_out }
    }
}

/// What a number on the wire means.
fn otlp<T>(code: i64, meaning: fn(i32) -> Option<T>) -> Option<T> {
    meaning(i32::try_from(code).ok()?)
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
