//! "Did you mean": the known word with the fewest edits.

/// The closest of `known`, if it is close enough to be a slip: at most a third of its letters.
pub(super) fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let word = word.to_ascii_lowercase().replace(['-', ' ', '.'], "_");
    known
        .map(|candidate| (distance(&word, candidate), candidate))
        .min()
        .filter(|(edits, candidate)| *edits <= candidate.len().div_ceil(3))
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = ["multi_user", "pre_login", "configs", "auto_connect"];
        let closest = |word| closest(word, known.iter().copied());
        assert_eq!(closest("multiuser"), Some("multi_user"));
        assert_eq!(closest("Pre-Login"), Some("pre_login"));
        assert_eq!(closest("config"), Some("configs"));
        assert_eq!(closest("autoconnect"), Some("auto_connect"));
        assert_eq!(closest("wallpaper"), None);
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2)] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }
}
