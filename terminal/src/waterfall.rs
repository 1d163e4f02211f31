//! A trace as lines of text: the tree on the left, time on the right.
//!
//! ```text
//! └─ payment payment/Charge     920.1 ms      ░░████████████
//! ```
//!
//! `█` is time that the trace waited for the span itself (the critical path), `░` the rest of the span.

use unicode_width::UnicodeWidthStr;

use crate::figures;
use crate::screen::{Screen, Style, harmless};
use crate::trace::{Span, Trace};

const ON_PATH: char = '█';
const OFF_PATH: char = '░';
/// A span that is too short to be seen.
const INSTANT: char = '▏';

const DURATION_CELLS: usize = 9;

/// The lines of a trace, at most `max_spans` of them.
pub(crate) fn waterfall(trace: &Trace, screen: &Screen, max_spans: usize) -> String {
    let label_cells = (screen.width * 45 / 100).max(20);
    let bar_cells = screen.width.saturating_sub(label_cells + DURATION_CELLS + 2);
    let scale = Scale::new(trace, bar_cells);
    let owed = owed(trace);
    let mut text = axis(&scale, label_cells + DURATION_CELLS + 2, screen);
    let mut guides = Guides::default();
    for (place, span) in trace.spans.iter().enumerate().take(max_spans) {
        let tree = guides.of(span, label_cells / 4);
        text.push_str(&line(span, &tree, &owed[place], &scale, label_cells, screen));
    }
    if trace.spans.len() > max_spans {
        let rest = figures::count((trace.spans.len() - max_spans) as u64);
        let remark = format!("… {rest} spans more; --q 'FILTER' picks some, --all shows all\n");
        text.push_str(&screen.paint(Style::Dim, &remark));
    }
    text
}

/// Stretches of the critical path, by span.
fn owed(trace: &Trace) -> Vec<Vec<(u64, u64)>> {
    let mut owed = vec![Vec::new(); trace.spans.len()];
    for segment in &trace.critical_path {
        owed[segment.span].push((segment.from_nanos, segment.to_nanos));
    }
    owed
}

fn line(span: &Span, tree: &str, owed: &[(u64, u64)], scale: &Scale, label_cells: usize, screen: &Screen) -> String {
    let mark = if span.is_error { "✗ " } else { "" };
    let service = harmless(&span.service);
    let message = if span.message.is_empty() { String::new() } else { format!(": {}", span.message) };
    let name = harmless(&format!("{mark}{}{message}", span.name));
    let left = label_cells.saturating_sub(tree.width());
    let service = figures::cut(&service, left);
    let name = figures::cell(&format!(" {name}"), left.saturating_sub(service.width()));
    let name_style = if span.is_error { Style::Error } else { Style::Plain };
    let bar: String = scale.bar(span, owed);
    let bar_style = if span.is_error { Style::Error } else { Style::Strong };
    let text = format!(
        "{}{}{} {:>DURATION_CELLS$} {}",
        screen.paint(Style::Dim, tree),
        screen.paint(Style::Service, &service),
        screen.paint(name_style, &name),
        figures::duration(span.duration_nanos()),
        screen.paint(bar_style, bar.trim_end()),
    );
    format!("{}\n", text.trim_end())
}

/// Which lines of the tree go on below each level. Levels that would leave no room for names stand below each other.
#[derive(Default)]
struct Guides(Vec<bool>);

impl Guides {
    fn of(&mut self, span: &Span, max_levels: usize) -> String {
        if span.depth == 0 {
            self.0.clear();
            return String::new();
        }
        self.0.truncate(span.depth - 1);
        let indent: String = self.0.iter().take(max_levels).map(|goes_on| if *goes_on { "│ " } else { "  " }).collect();
        self.0.push(!span.is_last);
        format!("{indent}{}", if span.is_last { "└─" } else { "├─" })
    }
}

/// Time → cells.
struct Scale {
    start_nanos: u64,
    length_nanos: u64,
    cells: usize,
}

impl Scale {
    fn new(trace: &Trace, cells: usize) -> Self {
        let start_nanos = trace.start_nanos();
        Self { start_nanos, length_nanos: trace.end_nanos().saturating_sub(start_nanos).max(1), cells: cells.max(1) }
    }

    fn cell(&self, nanos: u64) -> usize {
        let since = u128::from(nanos.saturating_sub(self.start_nanos));
        usize::try_from(since * self.cells as u128 / u128::from(self.length_nanos)).unwrap_or(self.cells)
    }

    /// The cells that a stretch of time touches; one at least.
    fn stretch(&self, from_nanos: u64, to_nanos: u64) -> (usize, usize) {
        let from = self.cell(from_nanos).min(self.cells - 1);
        (from, self.cell(to_nanos).clamp(from + 1, self.cells))
    }

    fn bar(&self, span: &Span, owed: &[(u64, u64)]) -> String {
        let mut cells = vec![' '; self.cells];
        let (from, to) = self.stretch(span.start_nanos, span.end_nanos);
        let is_visible = self.cell(span.end_nanos) > self.cell(span.start_nanos);
        cells[from..to].fill(if is_visible { OFF_PATH } else { INSTANT });
        for (owed_from, owed_to) in owed {
            let (from, to) = self.stretch(*owed_from, *owed_to);
            // a sliver of the path must not hide that the span mostly waited
            if self.cell(*owed_to) > self.cell(*owed_from) || owed.len() == 1 {
                cells[from..to].fill(ON_PATH);
            }
        }
        cells.into_iter().collect()
    }
}

/// The times of the left and the right end, above the bars.
fn axis(scale: &Scale, left: usize, screen: &Screen) -> String {
    let (from, to) = ("0", figures::duration(scale.length_nanos));
    let gap = scale.cells.saturating_sub(from.len() + to.width());
    let axis = format!("{}{from}{}{to}", " ".repeat(left), " ".repeat(gap));
    format!("{}\n", screen.paint(Style::Dim, &axis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::Form;
    use crate::trace::testing::resource_spans;

    fn shown(spans: &[(u8, u8, &str, u64, u64, bool)], width: usize, max_spans: usize) -> String {
        let trace = Trace::of(&[resource_spans("shop", spans)]);
        waterfall(&trace, &Screen::for_tests(Form::People, width), max_spans)
    }

    const SHOP: [(u8, u8, &str, u64, u64, bool); 4] = [
        (1, 0, "order", 0, 1000, false),
        (2, 1, "stock", 100, 300, false),
        (3, 1, "pay", 300, 900, true),
        (4, 3, "bank", 400, 900, false),
    ];

    #[test]
    fn bars_show_what_the_trace_waited_for() {
        let expected = "\
\u{20}                                   0             1.00 s
shop order                   1.00 s ██░░░░░░░░░░░░░░░░██
├─shop stock               200.0 ms   ████
└─shop ✗ pay: broken       600.0 ms       ██░░░░░░░░░░
  └─shop bank              500.0 ms         ██████████
";
        let shown = shown(&SHOP, 56, 10);
        assert_eq!(shown, expected);
        assert!(shown.lines().all(|line| line.width() <= 56), "{shown}");
    }

    #[test]
    fn a_trace_of_many_spans_is_cut_with_a_word() {
        let shown = shown(&SHOP, 80, 2);
        assert_eq!(shown.lines().count(), 4);
        assert!(shown.ends_with("… 2 spans more; --q 'FILTER' picks some, --all shows all\n"), "{shown}");
    }

    #[test]
    fn spans_that_are_too_short_to_see_are_seen() {
        let shown = shown(&[(1, 0, "a", 0, 100_000, false), (2, 1, "b", 50_000, 50_000, false)], 80, 9);
        assert!(shown.lines().nth(2).is_some_and(|line| line.ends_with('▏')), "{shown}");
    }
}
