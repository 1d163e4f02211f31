//! Which spans the duration of a trace depends on: walked backwards from the end of the longest root, always into the
//! child that ended last before the point that is reached.

use std::cmp::Reverse;

/// A span as far as its place in time and in the tree goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// The place of the parent among the intervals; `None` for a root.
    pub parent: Option<usize>,
    pub start_nanos: u64,
    pub end_nanos: u64,
}

/// A stretch of time with the span that it is owed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The place of the span among the intervals.
    pub span: usize,
    pub from_nanos: u64,
    pub to_nanos: u64,
}

impl Segment {
    pub fn length_nanos(&self) -> u64 {
        self.to_nanos - self.from_nanos
    }
}

/// Stretches that do not overlap and cover the longest root, the last first. Spans that lead to no root have none.
pub fn critical_path(spans: &[Interval]) -> Vec<Segment> {
    let children = children(spans);
    let Some(root) = longest_root(spans) else { return Vec::new() };
    let mut segments = Vec::new();
    let mut open = vec![Frame::new(spans, &children, root, 0, spans[root].end_nanos)];
    while let Some(top) = open.last_mut() {
        let (span, start) = (top.span, top.start);
        let Some(child) = top.next_child(spans) else {
            push(&mut segments, span, start, top.cursor);
            open.pop();
            continue;
        };
        let end = spans[child].end_nanos.min(top.cursor);
        push(&mut segments, span, end, top.cursor);
        top.cursor = spans[child].start_nanos.max(start);
        open.push(Frame::new(spans, &children, child, start, end));
    }
    segments
}

/// A span on the way down, and how far back in time the walk has come in it.
struct Frame {
    span: usize,
    /// Where it begins, or its parent if that begins later.
    start: u64,
    cursor: u64,
    /// Children that may be walked into, the last to end at the end.
    left: Vec<usize>,
    is_first: bool,
}

impl Frame {
    fn new(spans: &[Interval], children: &[Vec<usize>], span: usize, parent_start: u64, cursor: u64) -> Self {
        let ended = |child: &usize| spans[*child].end_nanos.min(cursor);
        let start = spans[span].start_nanos.max(parent_start);
        let mut left: Vec<usize> = children[span].clone();
        left.retain(|child| spans[*child].start_nanos < cursor && ended(child) > start);
        // of those that end together the first in the trace is walked into
        left.sort_by_key(|child| (ended(child), Reverse(*child)));
        Self { span, start, cursor, left, is_first: true }
    }

    /// A child that outlives its parent counts up to the parent's end, and only as its last one.
    fn next_child(&mut self, spans: &[Interval]) -> Option<usize> {
        while let Some(child) = self.left.pop() {
            let Interval { start_nanos, end_nanos, .. } = spans[child];
            if if self.is_first { start_nanos < self.cursor } else { end_nanos <= self.cursor } {
                self.is_first = false;
                return Some(child);
            }
        }
        None
    }
}

fn children(spans: &[Interval]) -> Vec<Vec<usize>> {
    let mut children = vec![Vec::new(); spans.len()];
    for (place, span) in spans.iter().enumerate() {
        if let Some(of_parent) = span.parent.and_then(|parent| children.get_mut(parent)) {
            of_parent.push(place);
        }
    }
    children
}

fn longest_root(spans: &[Interval]) -> Option<usize> {
    let roots = (0..spans.len()).filter(|place| spans[*place].parent.is_none());
    roots.max_by_key(|place| (spans[*place].end_nanos.saturating_sub(spans[*place].start_nanos), Reverse(*place)))
}

fn push(segments: &mut Vec<Segment>, span: usize, from_nanos: u64, to_nanos: u64) {
    if to_nanos > from_nanos {
        segments.push(Segment { span, from_nanos, to_nanos });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parent, start, end of each span → span, from, to of each segment.
    fn path(spans: &[(Option<usize>, u64, u64)]) -> Vec<(usize, u64, u64)> {
        let interval = |&(parent, start_nanos, end_nanos)| Interval { parent, start_nanos, end_nanos };
        let segments = critical_path(&spans.iter().map(interval).collect::<Vec<_>>());
        segments.iter().map(|segment| (segment.span, segment.from_nanos, segment.to_nanos)).collect()
    }

    #[test]
    fn the_child_that_ended_last_is_waited_for() {
        let spans = [(None, 0, 100), (Some(0), 10, 40), (Some(0), 20, 90), (Some(2), 30, 80)];
        assert_eq!(path(&spans), [(0, 90, 100), (2, 80, 90), (3, 30, 80), (2, 20, 30), (0, 0, 20)]);
    }

    #[test]
    fn a_child_before_another_is_on_the_path_too() {
        let spans = [(None, 0, 100), (Some(0), 10, 40), (Some(0), 50, 90), (Some(0), 5, 60)];
        assert_eq!(path(&spans), [(0, 90, 100), (2, 50, 90), (0, 40, 50), (1, 10, 40), (0, 0, 10)]);
    }

    #[test]
    fn what_outlives_its_parent_counts_up_to_its_end() {
        assert_eq!(path(&[(None, 0, 100), (Some(0), 60, 150)]), [(1, 60, 100), (0, 0, 60)]);
        assert_eq!(path(&[(None, 50, 100), (Some(0), 0, 70)]), [(0, 70, 100), (1, 50, 70)]);
    }

    #[test]
    fn the_longest_root_is_the_one() {
        assert_eq!(path(&[(None, 0, 10), (None, 5, 50)]), [(1, 5, 50)]);
        assert_eq!(path(&[]), []);
        assert_eq!(path(&[(Some(1), 0, 5), (Some(0), 0, 5)]), [], "a circle has no root");
        assert_eq!(path(&[(None, 9, 3)]), [], "a clock that ran back");
    }
}
