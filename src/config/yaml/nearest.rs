//! Which known name an unknown one was meant to be.

/// The nearest of `names`, when it is near enough to be meant: one in three characters may differ.
pub(super) fn nearest<'n>(name: &str, names: &[&'n str]) -> Option<&'n str> {
    let written: Vec<char> = name.to_lowercase().chars().collect();
    let near = |known: &&'n str| {
        let known_chars: Vec<char> = known.chars().collect();
        let distance = distance(&written, &known_chars);
        (distance <= written.len().max(known_chars.len()).div_ceil(3)).then_some((distance, *known))
    };
    names.iter().filter_map(near).min().map(|(_, known)| known)
}

/// How many characters have to be put in, taken out, replaced or swapped with their neighbour to make one of the other.
fn distance(from: &[char], to: &[char]) -> usize {
    // rows of the table of distances between prefixes: the one before the last, the last, and the one being made
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut least = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                least = least.min(before_last[j - 1] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_hand_are_understood_and_other_words_are_not() {
        let names = ["server", "storage", "querier", "query_frontend", "overrides", "compaction_window"];
        for (written, meant) in [
            ("servr", Some("server")),
            ("sevrer", Some("server")),
            ("Storage", Some("storage")),
            ("query-frontend", Some("query_frontend")),
            ("compactionwindow", Some("compaction_window")),
            ("jaeger", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, &names), meant, "{written}");
        }
    }
}
