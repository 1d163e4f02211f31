//! Rows for people, in columns that fit the screen, or for programs, tab-separated.

use unicode_width::UnicodeWidthStr;

use crate::error::Error;
use crate::figures;
use crate::screen::{Form, Screen, Style, harmless, print};
use crate::time::rfc3339;

const GAP: &str = "  ";
/// A column that gives way keeps so much.
const LEAST_CELLS: usize = 8;

/// A column: its heading, and how its cells behave.
pub(crate) struct Column {
    name: &'static str,
    is_number: bool,
    /// Cut where the screen is too narrow.
    gives_way: bool,
    /// Not for programs.
    is_picture: bool,
}

impl Column {
    pub(crate) fn text(name: &'static str) -> Self {
        Self { name, is_number: false, gives_way: true, is_picture: false }
    }

    /// Text that is of no use when cut.
    pub(crate) fn whole(name: &'static str) -> Self {
        Self { gives_way: false, ..Self::text(name) }
    }

    pub(crate) fn number(name: &'static str) -> Self {
        Self { is_number: true, gives_way: false, ..Self::text(name) }
    }

    pub(crate) fn picture(name: &'static str) -> Self {
        Self { is_picture: true, gives_way: false, ..Self::text(name) }
    }
}

/// What stands in a column, for either reader.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    people: String,
    program: String,
    style: Style,
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { people: harmless(&text), program: text, style: Style::Plain }
    }

    /// What is told to people in another form.
    pub(crate) fn of(people: &str, program: String) -> Self {
        Self { people: harmless(people), program, style: Style::Plain }
    }

    /// Nanoseconds for programs.
    pub(crate) fn duration(nanos: u64) -> Self {
        Self { people: figures::duration(nanos), program: nanos.to_string(), style: Style::Plain }
    }

    /// RFC 3339 for programs; of the same for people the part that tells.
    pub(crate) fn time(unix_nanos: u64) -> Self {
        let program = rfc3339(unix_nanos);
        let people = program.chars().skip("2026-".len()).collect::<String>().trim_end_matches('Z').replace('T', " ");
        Self { people, program, style: Style::Dim }
    }

    pub(crate) fn count(number: u64) -> Self {
        Self { people: figures::count(number), program: number.to_string(), style: Style::Plain }
    }

    pub(crate) fn number(value: f64) -> Self {
        let program = if value.is_nan() { String::new() } else { value.to_string() };
        Self { people: figures::number(value), program, style: Style::Plain }
    }

    /// A count that should be nothing.
    pub(crate) fn errors(number: u64) -> Self {
        let people = if number == 0 { "-".to_owned() } else { figures::count(number) };
        let style = if number == 0 { Style::Dim } else { Style::Error };
        Self { people, program: number.to_string(), style }
    }

    pub(crate) fn styled(self, style: Style) -> Self {
        Self { style, ..self }
    }
}

pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// Adds a row with a cell for each column.
    pub(crate) fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        let cells = cells.into();
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    pub(crate) fn print(&self, screen: &Screen) -> Result<(), Error> {
        print(&self.show(screen, true))
    }

    /// As text, with or without the heading.
    pub(crate) fn show(&self, screen: &Screen, has_heading: bool) -> String {
        match screen.form {
            Form::People => self.for_people(screen, has_heading),
            Form::Tsv | Form::Json => self.for_programs(has_heading),
        }
    }

    fn for_programs(&self, has_heading: bool) -> String {
        let is_shown = |column: &&Column| !column.is_picture;
        let heading = self.columns.iter().filter(is_shown).map(|column| column.name.to_lowercase().replace(' ', "_"));
        let heading = has_heading.then(|| heading.collect::<Vec<_>>());
        let rows = self.rows.iter().map(|row| {
            let cells = row.iter().zip(&self.columns).filter(|(_, column)| is_shown(column));
            // what would end a cell or a row
            cells.map(|(cell, _)| cell.program.replace(['\t', '\n', '\r'], " ")).collect::<Vec<_>>()
        });
        heading.into_iter().chain(rows).map(|cells| cells.join("\t") + "\n").collect()
    }

    fn for_people(&self, screen: &Screen, has_heading: bool) -> String {
        let columns = self.fitting(screen.width);
        let heading = self.columns.iter().map(|column| Cell::text(column.name).styled(Style::Heading)).collect();
        let heading: Option<Vec<Cell>> = has_heading.then_some(heading);
        let mut text = String::new();
        for row in heading.iter().chain(&self.rows) {
            let cells = columns.iter().filter_map(|(place, width)| {
                let (cell, column) = (row.get(*place)?, self.columns.get(*place)?);
                let fitted = figures::cut(&cell.people, *width);
                let blanks = " ".repeat(width.saturating_sub(fitted.width()));
                let painted = screen.paint(cell.style, &fitted);
                let is_last = place + 1 == row.len();
                Some(match column.is_number {
                    true => blanks + &painted,
                    false if is_last => painted,
                    false => painted + &blanks,
                })
            });
            text.push_str(cells.collect::<Vec<_>>().join(GAP).trim_end());
            text.push('\n');
        }
        text
    }

    /// The columns that are shown, with their widths. Where all are too wide together the widest that may give way do;
    /// where that is not enough pictures go.
    fn fitting(&self, screen: usize) -> Vec<(usize, usize)> {
        let all = self.narrowed((0..self.columns.len()).collect(), screen);
        if total(&all) <= screen {
            return all;
        }
        let is_text = |place: &usize| !self.columns[*place].is_picture;
        self.narrowed((0..self.columns.len()).filter(is_text).collect(), screen)
    }

    fn narrowed(&self, places: Vec<usize>, screen: usize) -> Vec<(usize, usize)> {
        let mut columns: Vec<(usize, usize)> = places.into_iter().map(|place| (place, self.width_of(place))).collect();
        while total(&columns) > screen {
            let yielding =
                columns.iter_mut().filter(|(place, width)| self.columns[*place].gives_way && *width > LEAST_CELLS);
            match yielding.max_by_key(|(_, width)| *width) {
                Some((_, widest)) => *widest -= 1,
                None => break,
            }
        }
        columns
    }

    /// As wide as what stands in it.
    fn width_of(&self, place: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(place)).map(|cell| cell.people.width());
        cells.max().unwrap_or_default().max(self.columns[place].name.width())
    }
}

fn total(columns: &[(usize, usize)]) -> usize {
    columns.iter().map(|(_, width)| width).sum::<usize>() + GAP.len() * columns.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let columns = [Column::text("NAME"), Column::number("SPANS"), Column::picture("CURVE"), Column::whole("ID")];
        let mut table = Table::new(columns);
        table.row([Cell::text("ключ\tи замок"), Cell::count(1234), Cell::text("▁█"), Cell::text("abc")]);
        table.row([Cell::text("a"), Cell::errors(0), Cell::text("█▁"), Cell::text("def")]);
        table
    }

    #[test]
    fn people_get_columns_that_line_up() {
        let shown = table().show(&Screen::for_tests(Form::People, 80), true);
        let expected =
            "NAME          SPANS  CURVE  ID\nключ\u{fffd}и замок  1,234  ▁█     abc\na                 -  █▁     def\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_narrow_screen_cuts_what_may_be_cut() {
        let shown = table().show(&Screen::for_tests(Form::People, 27), true);
        assert_eq!(shown.lines().nth(1), Some("ключ\u{fffd}и …  1,234  ▁█     abc"), "{shown}");
    }

    #[test]
    fn a_screen_that_is_too_narrow_has_no_pictures() {
        let shown = table().show(&Screen::for_tests(Form::People, 24), true);
        assert_eq!(shown.lines().nth(1), Some("ключ\u{fffd}и замок  1,234  abc"), "{shown}");
    }

    #[test]
    fn programs_get_whole_values_and_no_pictures() {
        let shown = table().show(&Screen::for_tests(Form::Tsv, 10), true);
        assert_eq!(shown, "name\tspans\tid\nключ и замок\t1234\tabc\na\t0\tdef\n");
    }
}
