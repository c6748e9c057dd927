//! Which parts of a Rust file are code, and which of them are tests?
//!
//! A scanner, not a parser: it knows comments, strings, characters and braces, which is all that the rules need.

/// The text with comments and the insides of strings and characters blanked; lines keep their numbers.
pub fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => comment_end(&chars, at),
            '"' => string_end(&chars, at),
            'r' if !inside_word(&chars, at) => raw_end(&chars, at).unwrap_or(at),
            '\'' => character_end(&chars, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Code without items under `#[cfg(test)]`; takes what [`code`] returns.
pub fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = code.to_owned();
    while let Some(start) = out.find(MARK) {
        let end = item_end(&out, start + MARK.len());
        let blank: String = out[start..end]
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' })
            .collect();
        out.replace_range(start..end, &blank);
    }
    out
}

/// Whether a whole file is test or benchmark code.
pub fn is_test(path: &str) -> bool {
    path.starts_with("tests/")
        || path.starts_with("bench/")
        || path.ends_with("tests.rs")
        || ["/tests/", "/benches/", "/fuzz/"]
            .iter()
            .any(|folder| path.contains(folder))
}

/// Lines of a text that hold `word` as a word of its own, counted from 1.
pub fn lines_with(text: &str, word: &str) -> Vec<usize> {
    let hit = |line: &str| {
        line.match_indices(word)
            .any(|(at, _)| whole(line, at, at + word.len()))
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| hit(line))
        .map(|(number, _)| number + 1)
        .collect()
}

/// Every word of `text` that starts with `prefix` and goes on with `a-z`, `0-9`, `_` (or capitals).
pub fn words_with_prefix<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        let rest = &text[at..];
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        if whole(text, at, at + end) && end > prefix.len() {
            found.push(&rest[..end]);
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn whole(line: &str, start: usize, end: usize) -> bool {
    !line[..start].ends_with(is_word) && !line[end..].starts_with(is_word)
}

fn inside_word(chars: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).map(|i| chars[i]);
    // `br"…"` and `cr"…"` are raw strings as well.
    before.is_some_and(|c| is_word(c) && !((c == 'b' || c == 'c') && (at < 2 || !is_word(chars[at - 2]))))
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..]
        .iter()
        .position(|c| *c == '\n')
        .map_or(chars.len(), |n| at + n)
}

fn comment_end(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (at, depth) = (at + 2, depth + 1),
            ('*', Some('/')) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn raw_end(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    (chars.get(open) == Some(&'"')).then_some(())?;
    let closes = |at: usize| {
        chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    Some(
        (open + 1..chars.len())
            .find(|at| closes(*at))
            .map_or(chars.len(), |at| at + 1 + hashes),
    )
}

fn character_end(chars: &[char], start: usize) -> Option<usize> {
    match (chars.get(start + 1)?, chars.get(start + 2)?) {
        ('\\', _) => chars[start + 3..]
            .iter()
            .position(|c| *c == '\'')
            .map(|n| start + 4 + n),
        (_, '\'') => Some(start + 3),
        _ => None, // a lifetime
    }
}

fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (c == ';' || c == '}') {
            return start + at + c.len_utf8();
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_characters_are_not_code() {
        let text = "a // x\nb /* x /* x */ x */ c \"x \\\" x\" r#\"x \" x\"# br\"x\" '\\'' 'x' fn f<'x>() {}";
        let left = code(text);
        assert_eq!(left.lines().count(), 2);
        assert_eq!(lines_with(&left, "x"), [2], "only the lifetime is left: {left}");
        assert!(
            ["a", "b", "c", "fn", "f"]
                .iter()
                .all(|word| !lines_with(&left, word).is_empty())
        );
    }

    #[test]
    fn test_items_are_cut_and_the_rest_stays() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { {} } }\n#[cfg(test)]\nuse c;\nfn d() {}";
        let left = without_tests(&code(text));
        assert!(left.contains("fn a") && left.contains("fn d"));
        assert!(!left.contains("fn b") && !left.contains("use c"));
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(lines_with("unsafe_op\nan unsafe {}", "unsafe"), [2]);
        assert_eq!(
            words_with_prefix("rate(m_x_total[1m]) + xm_y + m_", "m_"),
            ["m_x_total"]
        );
    }
}
