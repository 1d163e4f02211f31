//! Columns of text that line up.

use std::fmt;

/// A table that is printed when it is whole.
pub(super) struct Table {
    headings: Vec<Heading>,
    rows: Vec<Vec<String>>,
}

/// The top of a column, and where its cells stand.
pub(super) enum Heading {
    /// For words.
    Left(&'static str),
    /// For numbers.
    Right(&'static str),
}

use Heading::{Left, Right};

impl Table {
    pub(super) fn new(headings: impl Into<Vec<Heading>>) -> Self {
        Self { headings: headings.into(), rows: Vec::new() }
    }

    /// Adds a row with a cell for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        debug_assert_eq!(cells.len(), self.headings.len());
        self.rows.push(cells);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let top: Vec<String> = self.headings.iter().map(|(Left(text) | Right(text))| (*text).to_owned()).collect();
        let width_of = |column: usize| {
            let cells = std::iter::once(&top).chain(&self.rows).filter_map(move |row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..top.len()).map(width_of).collect();
        for row in std::iter::once(&top).chain(&self.rows) {
            let cells = row.iter().zip(&self.headings).zip(&widths).map(|((cell, heading), &width)| match heading {
                Left(_) => format!("{cell:<width$}"),
                Right(_) => format!("{cell:>width$}"),
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new([Left("NAME"), Right("SPANS"), Left("NOTE")]);
        table.row(["a".to_owned(), "12345678".to_owned(), String::new()]);
        table.row(["ключ и замок".to_owned(), "1".to_owned(), "x".to_owned()]);
        let expected = "NAME             SPANS  NOTE\na             12345678\nключ и замок         1  x\n";
        assert_eq!(table.to_string(), expected);
    }
}
