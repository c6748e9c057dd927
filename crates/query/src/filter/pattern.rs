//! Does a text look like a pattern? `%` stands for any text, `_` for any one character.

use hashbrown::HashMap;
use longbow_types::limits::FILTER_PATTERN_BYTES_MAX;

/// A pattern in its one spelling.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pattern {
    /// What stands between runs of `%`: the first at the beginning of the text, the last at its end, the others in
    /// between, in order and apart. Invariant: not empty.
    pieces: Vec<Piece>,
}

/// A piece of a pattern that matches a fixed number of characters. Invariant: no two literals follow each other, none is
/// empty, and the same of gaps, so that equal pieces are equal.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Piece {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    /// This text.
    Literal(String),
    /// So many characters.
    Gap(usize),
}

/// What a pattern asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One text.
    Exact(String),
    /// All texts that begin so.
    Prefix(String),
    /// Anything else.
    Pattern(Pattern),
}

impl Shape {
    /// Reads a pattern in which `escape` takes the meaning from what follows it; none if nothing does.
    pub(super) fn parse(text: &str, escape: char) -> Option<Self> {
        let mut pieces = vec![Piece::default()];
        let mut many = false;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c == '%' && c != escape {
                many = true;
                continue;
            }
            let gap = c == '_' && c != escape;
            let c = if c == escape { chars.next()? } else { c };
            // `%_` is `_%`: gaps stand before what may be of any length.
            let last = pieces.last_mut().expect("there is a first piece");
            if many && gap {
                last.gap();
                continue;
            }
            if std::mem::take(&mut many) {
                pieces.push(Piece::default());
            }
            let last = pieces.last_mut().expect("there is a first piece");
            if gap { last.gap() } else { last.literal(c) }
        }
        if many {
            pieces.push(Piece::default());
        }
        let literal = |piece: &Piece| match piece.parts.as_slice() {
            [] => Some(String::new()),
            [Part::Literal(text)] => Some(text.clone()),
            _ => None,
        };
        Some(match pieces.as_slice() {
            [one] if let Some(text) = literal(one) => Shape::Exact(text),
            [first, last]
                if last.parts.is_empty()
                    && let Some(text) = literal(first) =>
            {
                Shape::Prefix(text)
            }
            _ => Shape::Pattern(Pattern { pieces }),
        })
    }
}

impl Piece {
    fn gap(&mut self) {
        match self.parts.last_mut() {
            Some(Part::Gap(count)) => *count += 1,
            _ => self.parts.push(Part::Gap(1)),
        }
    }

    fn literal(&mut self, c: char) {
        match self.parts.last_mut() {
            Some(Part::Literal(text)) => text.push(c),
            _ => self.parts.push(Part::Literal(c.into())),
        }
    }

    /// What is left of a text that begins as the piece says.
    fn strip<'a>(&self, text: &'a str) -> Option<&'a str> {
        self.parts.iter().try_fold(text, |text, part| match part {
            Part::Literal(literal) => text.strip_prefix(literal.as_str()),
            Part::Gap(count) => skip(text, *count),
        })
    }

    /// Whether a text ends as the piece says.
    fn ends(&self, text: &str) -> bool {
        let characters: usize = self.parts.iter().map(Part::characters).sum();
        let start = match characters.checked_sub(1) {
            None => return true,
            Some(last) => text.char_indices().nth_back(last).map(|(at, _)| at),
        };
        start.and_then(|start| self.strip(&text[start..])) == Some("")
    }
}

impl Part {
    fn characters(&self) -> usize {
        match self {
            Part::Literal(text) => text.chars().count(),
            Part::Gap(count) => *count,
        }
    }
}

fn skip(text: &str, characters: usize) -> Option<&str> {
    let last = characters.checked_sub(1)?;
    let (at, c) = text.char_indices().nth(last)?;
    Some(&text[at + c.len_utf8()..])
}

impl Pattern {
    /// The pattern with all worked out that does not depend on texts.
    pub(super) fn matcher(&self) -> Matcher {
        let (first, rest) = self.pieces.split_first().expect("there is a first piece");
        let (last, middle) = match rest.split_last() {
            Some((last, middle)) => (Some(last.clone()), middle),
            None => (None, rest),
        };
        Matcher {
            first: first.clone(),
            middle: middle.iter().map(Finder::new).collect(),
            last,
        }
    }
}

/// Asks text after text whether it looks like a pattern.
#[derive(Debug, Clone)]
pub(super) struct Matcher {
    first: Piece,
    middle: Vec<Finder>,
    /// None where no `%` stands in the pattern.
    last: Option<Piece>,
}

impl Matcher {
    /// Whether a text looks like the pattern. O(text), and O(text · piece / 64) for pieces with `_` in them.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(text) = self.first.strip(text) else {
            return false;
        };
        let Some(last) = &self.last else {
            return text.is_empty();
        };
        // The leftmost fit leaves the most to the others.
        let text = self.middle.iter().try_fold(text, |text, piece| piece.find(text));
        text.is_some_and(|text| last.ends(text))
    }
}

/// Finds a piece in texts.
#[derive(Debug, Clone)]
enum Finder {
    Literal(String),
    /// All places at once, a bit for each character of the piece (Baeza-Yates and Gonnet, 1992): a bit is set while the
    /// text so far ends with that much of the piece.
    Gapped {
        characters: usize,
        /// Where a character may stand, for those that are in the piece.
        places: HashMap<char, Vec<u64>>,
        /// Where any may stand.
        gaps: Vec<u64>,
    },
}

impl Finder {
    fn new(piece: &Piece) -> Self {
        if let [Part::Literal(literal)] = piece.parts.as_slice() {
            return Finder::Literal(literal.clone());
        }
        let characters: usize = piece.parts.iter().map(Part::characters).sum();
        let mut gaps = vec![0_u64; characters.div_ceil(64)];
        let mut literals = Vec::new();
        let mut at = 0;
        for part in &piece.parts {
            match part {
                Part::Gap(count) => (at..at + count).for_each(|at| gaps[at / 64] |= 1 << (at % 64)),
                Part::Literal(text) => literals.extend(text.chars().zip(at..)),
            }
            at += part.characters();
        }
        let mut places: HashMap<char, Vec<u64>> = HashMap::new();
        for (c, at) in literals {
            places.entry(c).or_insert_with(|| gaps.clone())[at / 64] |= 1 << (at % 64);
        }
        Finder::Gapped {
            characters,
            places,
            gaps,
        }
    }

    /// What is left behind the first place where the piece fits.
    fn find<'a>(&self, text: &'a str) -> Option<&'a str> {
        let (characters, places, gaps) = match self {
            Finder::Literal(literal) => {
                return text.find(literal.as_str()).map(|at| &text[at + literal.len()..]);
            }
            Finder::Gapped {
                characters,
                places,
                gaps,
            } => (*characters, places, gaps),
        };
        let last = characters.checked_sub(1)?;
        let mut ends = [0_u64; FILTER_PATTERN_BYTES_MAX.div_ceil(64)];
        for (at, c) in text.char_indices() {
            let mut begins = 1;
            for (word, places) in ends.iter_mut().zip(places.get(&c).unwrap_or(gaps)) {
                let next = (*word << 1 | begins) & places;
                begins = *word >> 63;
                *word = next;
            }
            if ends[last / 64] >> (last % 64) & 1 == 1 {
                return Some(&text[at + c.len_utf8()..]);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Straight from what the signs mean.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['%', rest @ ..] => (0..=text.len()).any(|at| naive(rest, &text[at..])),
            ['_', rest @ ..] => !text.is_empty() && naive(rest, &text[1..]),
            ['\\', c, rest @ ..] | [c, rest @ ..] => text.first() == Some(c) && naive(rest, &text[1..]),
        }
    }

    fn matches(shape: &Shape, text: &str) -> bool {
        match shape {
            Shape::Exact(exact) => text == exact,
            Shape::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Shape::Pattern(pattern) => pattern.matcher().matches(text),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn agrees_with_what_the_signs_mean(
            pattern in "[abé%_]{0,7}|(a|%|_|\\\\%|\\\\_|\\\\\\\\){0,5}",
            text in "[abé%_\\\\]{0,8}") {
            let shape = Shape::parse(&pattern, '\\').unwrap();
            let (signs, chars): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(matches(&shape, &text), naive(&signs, &chars), "{:?} {:?} {:?}", pattern, text, shape);
        }
    }

    #[test]
    fn patterns_have_one_spelling() {
        let parse = |text: &str| Shape::parse(text, '\\').unwrap();
        assert_eq!(parse("a%_%%_b"), parse("a__%b"));
        assert_eq!(parse("\\a"), Shape::Exact("a".into()));
        assert_eq!(parse("a\\%%%"), Shape::Prefix("a%".into()));
        assert_eq!(parse("%"), Shape::Prefix(String::new()));
        assert_eq!(Shape::parse("50!%", '!'), Some(Shape::Exact("50%".into())));
        assert_eq!(Shape::parse("%%", '%'), Some(Shape::Exact("%".into())));
        assert_eq!(Shape::parse("a\\", '\\'), None);
    }

    #[test]
    fn literals_are_found_where_they_overlap() {
        let shape = Shape::parse("%aa_b%", '\\').unwrap();
        assert!(matches(&shape, "xaaacb"));
    }

    #[test]
    fn long_pieces_are_found_across_words() {
        for gaps in [1, 63, 64, 65, 200] {
            let shape = Shape::parse(&format!("%a{}b%", "_".repeat(gaps)), '\\').unwrap();
            let text = |between: usize| format!("aéa{}b", "é".repeat(between));
            assert!(matches(&shape, &text(gaps)), "{gaps}");
            assert!(!matches(&shape, &text(gaps - 1)), "{gaps}");
            assert!(!matches(&shape, &text(gaps + 1)), "{gaps}");
        }
    }
}
