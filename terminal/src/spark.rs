//! A curve in one line of text.

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The values as at most `cells` levels between 0, or the least if it is below, and the largest. Where several values
/// share a cell the largest is shown: a peak must not vanish. No value is a blank.
pub(crate) fn sparkline(values: &[f64], cells: usize) -> String {
    let shown = squeezed(values, cells);
    let known = || shown.iter().copied().filter(|value| value.is_finite());
    let (least, largest) = (known().fold(0.0, f64::min), known().fold(f64::MIN, f64::max));
    shown.iter().map(|value| level(*value, least, largest)).collect()
}

fn level(value: f64, least: f64, largest: f64) -> char {
    if !value.is_finite() {
        return ' ';
    }
    let share = if largest > least { (value - least) / (largest - least) } else { 0.0 };
    LEVELS[((share * 7.0).round() as usize).min(7)]
}

fn squeezed(values: &[f64], cells: usize) -> Vec<f64> {
    if values.len() <= cells || cells == 0 {
        return values.to_vec();
    }
    let bounds = |cell: usize| cell * values.len() / cells;
    (0..cells).map(|cell| values[bounds(cell)..bounds(cell + 1)].iter().copied().fold(f64::NAN, f64::max)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_between_nothing_and_the_largest() {
        assert_eq!(sparkline(&[0.0, 3.5, 7.0], 10), "▁▅█");
        assert_eq!(sparkline(&[7.0, f64::NAN, 7.0], 10), "█ █");
        assert_eq!(sparkline(&[-1.0, 0.0, 1.0], 10), "▁▅█");
        assert_eq!(sparkline(&[0.0, 0.0], 10), "▁▁");
        assert_eq!(sparkline(&[], 10), "");
    }

    #[test]
    fn a_peak_is_seen_in_few_cells() {
        let mut values = vec![1.0; 100];
        values[57] = 8.0;
        assert_eq!(sparkline(&values, 10), "▂▂▂▂▂█▂▂▂▂");
    }
}
