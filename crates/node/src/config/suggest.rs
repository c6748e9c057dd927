//! Which known name was probably meant?

/// The known name nearest to a given one, if any is near enough to be a slip of the pen.
pub(super) fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let budget = (given.chars().count() / 3).max(2);
    let scored = known.map(|name| (distance(given, name), name));
    // A key given without its table is no slip, but easily recognised.
    let scored = scored.map(|(d, name)| {
        if name.rsplit('.').next() == Some(given) {
            (0, name)
        } else {
            (d, name)
        }
    });
    scored.filter(|(d, _)| *d <= budget).min().map(|(_, name)| name)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let change = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised() {
        let known = ["gossip.listen_addr", "gossip.seeds", "log.level"];
        let ask = |given| nearest(given, known.into_iter());
        assert_eq!(ask("gossip.seed"), Some("gossip.seeds"));
        assert_eq!(ask("gosip.listen_adr"), Some("gossip.listen_addr"));
        assert_eq!(ask("level"), Some("log.level"));
        assert_eq!(ask("completely.different"), None);
    }

    #[test]
    fn distances() {
        for (a, b, d) in [("", "abc", 3), ("kitten", "sitting", 3), ("x", "x", 0)] {
            assert_eq!(distance(a, b), d);
        }
    }
}
