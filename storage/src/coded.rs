//! Columns of attributes by code: which rows have a value, and for each of these the number of its value.
//!
//! Most attributes stand at few of the rows, and have few distinct values. Parquet's reader gives a place to every row all
//! the same, and looks at the text of every number of a dictionary. What counts values needs neither: a page says which
//! rows have one by run lengths or a bit each (definition levels), and then the numbers of just these. Where only the rows
//! are counted, the numbers are not looked at.

mod runs;
mod values;

use std::ops::Range;

use arrow::array::{Array, ArrayRef};
use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::Page;
use parquet::errors::ParquetError;
use spans::schema::AttributeColumn;

use self::values::{DistinctValues, PlainValues};
use crate::error::Error;

/// How a column of an attribute is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// In the batch, like other columns.
    InBatch,
    /// Beside the batch, by code.
    ByCode,
}

/// How columns of attributes are wanted.
pub type Codings<'a> = dyn Fn(&AttributeColumn) -> Coding + Sync + 'a;

/// A column of an attribute, whose values are still in their pages.
#[derive(Debug, Clone)]
pub struct CodedColumn {
    pub attribute: AttributeColumn,
    /// Which of the rows that were read have a value, ascending.
    rows: Vec<u32>,
    /// Places of their values among all of the column; `None` where these are all.
    places: Option<Vec<u32>>,
    dictionary: Option<PlainValues>,
    pages: Vec<ValuePage>,
}

/// The values of a column, by code.
#[derive(Debug, Clone)]
pub struct CodedValues {
    /// All of them are below the length of `by_code`.
    pub codes: Vec<u32>,
    /// An array of the attribute's type without nulls. One value may have several codes.
    pub by_code: ArrayRef,
}

#[derive(Debug, Clone)]
struct ValuePage {
    /// Of its values among all of the column.
    places: Range<u32>,
    encoding: Encoding,
    content: Bytes,
}

impl CodedColumn {
    /// Which of the rows that were read have a value, ascending.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The values of [`rows`](Self::rows).
    ///
    /// # Errors
    /// [`Error::Parquet`] when the pages are not what a writer of blocks makes.
    pub fn values(&self) -> Result<CodedValues, Error> {
        let values = self.decode(|_| true)?;
        let Some(places) = &self.places else { return Ok(values) };
        let codes = places.iter().map(|&place| values.codes[place as usize]).collect();
        Ok(CodedValues { codes, ..values })
    }

    /// The values of a few rows, ascending: for each the place among them of one that has a value, and its code.
    ///
    /// # Errors
    /// As [`values`](Self::values).
    pub fn values_of(&self, rows: &[u32]) -> Result<(Vec<usize>, CodedValues), Error> {
        let mut found = Vec::new();
        let mut wanted = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            if let Ok(at) = self.rows.binary_search(row) {
                found.push(number);
                wanted.push(self.places.as_ref().map_or(at as u32, |places| places[at]));
            }
        }
        if wanted.is_empty() {
            let by_code = DistinctValues::new(self.attribute.kind).finish()?;
            return Ok((found, CodedValues { codes: Vec::new(), by_code }));
        }
        let is_wanted = |page: &Range<u32>| {
            let first = wanted.partition_point(|&place| place < page.start);
            wanted.get(first).is_some_and(|&place| place < page.end)
        };
        let values = self.decode(is_wanted)?;
        let codes = wanted.iter().map(|&place| values.codes[place as usize]).collect();
        Ok((found, CodedValues { codes, ..values }))
    }

    /// The values of some pages. Those of the others have any codes.
    fn decode(&self, is_wanted: impl Fn(&Range<u32>) -> bool) -> Result<CodedValues, Error> {
        let mut values = DistinctValues::new(self.attribute.kind);
        if let Some(PlainValues { bytes, count }) = &self.dictionary {
            values.append(bytes, *count)?;
        }
        let mut codes = Vec::with_capacity(self.pages.last().map_or(0, |last| last.places.end as usize));
        for ValuePage { places, encoding, content } in &self.pages {
            if is_wanted(places) {
                values.take(*encoding, content, places.len(), &mut codes)?;
            }
            codes.resize(places.end as usize, 0);
        }
        let by_code = values.finish()?;
        match codes.iter().all(|&code| (code as usize) < by_code.len()) {
            true => Ok(CodedValues { codes, by_code }),
            false => Err(unexpected("names values that are not there").into()),
        }
    }

    /// About how much memory its rows take, and their codes once they are decoded.
    pub fn memory_bytes(&self) -> usize {
        2 * size_of_val(self.rows.as_slice())
    }
}

/// Makes a column of its pages, which it takes in their order.
pub(crate) struct CodedReader {
    column: CodedColumn,
    /// Whether rows may have no value.
    is_nullable: bool,
    /// The row that the next page begins with.
    row: usize,
}

impl CodedReader {
    pub fn new(attribute: AttributeColumn, is_nullable: bool) -> Self {
        let column = CodedColumn { attribute, rows: Vec::new(), places: None, dictionary: None, pages: Vec::new() };
        Self { column, is_nullable, row: 0 }
    }

    /// Passes over the rows of a page that was not read.
    pub fn skip(&mut self, rows: usize) {
        self.row += rows;
    }

    /// # Errors
    /// When it is not a page that a writer of blocks makes.
    pub fn take(&mut self, page: Page) -> Result<(), ParquetError> {
        match page {
            Page::DictionaryPage { buf, num_values, .. } => {
                self.column.dictionary = Some(PlainValues { bytes: buf, count: num_values as usize });
                Ok(())
            }
            Page::DataPage { buf, num_values, encoding, .. } => {
                let before = self.column.rows.len() as u32;
                let content = self.take_rows(buf, num_values as usize)?;
                self.row += num_values as usize;
                let places = before..self.column.rows.len() as u32;
                if !places.is_empty() {
                    self.column.pages.push(ValuePage { places, encoding, content });
                }
                Ok(())
            }
            Page::DataPageV2 { .. } => Err(unexpected("has version 2")),
        }
    }

    /// Notes which rows of a page have a value, and leaves the values.
    fn take_rows(&mut self, page: Bytes, page_rows: usize) -> Result<Bytes, ParquetError> {
        let ends = u32::try_from(self.row + page_rows).ok().zip(i32::try_from(page_rows).ok());
        let (end, _) = ends.ok_or_else(|| unexpected("has too many rows"))?;
        let (first, rows) = (self.row as u32, &mut self.column.rows);
        if !self.is_nullable {
            rows.extend(first..end);
            return Ok(page);
        }
        let (length, rest) = page.split_first_chunk().ok_or_else(too_short)?;
        let length = u32::from_le_bytes(*length) as usize;
        let levels = rest.get(..length).ok_or_else(too_short)?;
        runs::take_rows(levels, first, page_rows, rows)?;
        Ok(page.slice(size_of::<u32>() + length..))
    }

    /// The column, of whose `all` rows these ranges are wanted; all of them when `None`.
    ///
    /// # Errors
    /// When the pages had other rows.
    pub fn finish(self, all: usize, wanted: Option<&[Range<usize>]>) -> Result<CodedColumn, ParquetError> {
        let mut column = self.column;
        if self.row != all {
            return Err(unexpected("has other rows than its row group"));
        }
        if let Some(wanted) = wanted {
            let (rows, places) = within(wanted, &column.rows);
            (column.rows, column.places) = (rows, Some(places));
        }
        Ok(column)
    }
}

/// Those of the rows that lie in some ranges, numbered as the rows of these ranges are one after another, and their places.
fn within(ranges: &[Range<usize>], rows: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let (mut within, mut places) = (Vec::new(), Vec::new());
    let (mut next, mut before) = (0, 0);
    for (place, &row) in rows.iter().enumerate() {
        let row = row as usize;
        while let Some(range) = ranges.get(next).filter(|range| range.end <= row) {
            before += range.len();
            next += 1;
        }
        let Some(range) = ranges.get(next) else { break };
        if range.start <= row {
            within.push((before + row - range.start) as u32);
            places.push(place as u32);
        }
    }
    (within, places)
}

fn too_short() -> ParquetError {
    unexpected("is shorter than it says")
}

fn unexpected(what: &str) -> ParquetError {
    ParquetError::General(format!("a page {what}"))
}

#[cfg(test)]
mod tests;
