//! Filters as people type them: `pos = 'noun' and (word_count >= 2 or not lexname in ('noun.animal'))`.
//!
//! ```text
//! any        = all { "or" all }
//! all        = part { "and" part }
//! part       = "not" part | "(" any ")" | comparison
//! comparison = column ( op value | "is" [ "not" ] "null" | [ "not" ] fits )
//! fits       = "in" values | "between" value "and" value | "like" 'pattern' [ "escape" 'character' ]
//!            | "starts" "with" value | "contains" ( value | "any" values | "all" values )
//! values     = "(" value { "," value } ")"
//! op         = "=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">="
//! value      = 'text' | number | true | false | ( "timestamp" | "date" | "time" ) 'time'
//! column     = word | "any text"
//! ```
//! What is `not` of a column is not true of its nulls, as `<>` is not; `not (n in (1))` is true of them.
//! Keywords may be in any case; a quote inside a text is doubled. What a time looks like: `time_text`.

use longbow_client::{Column, Error, ErrorCode, Filter, Value, all, any, col};

use crate::time_text;

/// Nesting that the server would refuse anyway.
const DEPTH_MAX: usize = 32;

/// Reads a filter.
pub fn parse(text: &str) -> Result<Filter, Error> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens, at: 0 };
    let filter = parser.any(0)?;
    match parser.next() {
        None => Ok(filter),
        Some(token) => Err(wrong(format!("{token} stands after the end of the filter"))),
    }
}

fn wrong(message: String) -> Error {
    Error::new(ErrorCode::InvalidValue, message)
        .field("filter")
        .limit("for example: pos = 'noun' and word_count >= 2")
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A bare word: a keyword or a column.
    Word(String),
    /// A column in double quotes.
    Column(String),
    /// A literal.
    Value(Value),
    /// An operator, a parenthesis or a comma.
    Mark(&'static str),
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Word(word) => write!(f, "{word}"),
            Token::Column(name) => write!(f, "{name:?}"),
            Token::Value(value) => write!(f, "'{value}'"),
            Token::Mark(mark) => write!(f, "'{mark}'"),
        }
    }
}

/// Longest first, so that `<=` is not read as `<`.
const MARKS: [&str; 11] = ["==", "!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ","];

fn tokens(text: &str) -> Result<Vec<Token>, Error> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let taken = if first == '\'' || first == '"' {
            let (inner, taken) = quoted(rest, first)?;
            tokens.push(if first == '"' {
                Token::Column(inner)
            } else {
                Token::Value(Value::Utf8(inner))
            });
            taken
        } else if let Some(mark) = MARKS.iter().find(|mark| rest.starts_with(**mark)) {
            tokens.push(Token::Mark(mark));
            mark.len()
        } else {
            let ends = |c: char| c.is_whitespace() || "'\"=!<>(),".contains(c);
            let end = rest.find(ends).unwrap_or(rest.len());
            if end == 0 {
                return Err(wrong(format!("{first:?} means nothing here")));
            }
            tokens.push(word(&rest[..end]));
            end
        };
        rest = rest[taken..].trim_start();
    }
    Ok(tokens)
}

/// The text inside quotes, and how many bytes it took with them.
fn quoted(rest: &str, quote: char) -> Result<(String, usize), Error> {
    let mut inner = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            inner.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            inner.push(quote);
        } else {
            return Ok((inner, at + 1));
        }
    }
    Err(wrong(format!("the text that begins at {rest:.20} has no end")))
}

fn word(text: &str) -> Token {
    if let Ok(number) = text.parse::<i64>() {
        return Token::Value(Value::I64(number));
    }
    if let Ok(number) = text.parse::<u64>() {
        return Token::Value(Value::U64(number));
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    if numeric && let Ok(number) = text.parse::<f64>() {
        return Token::Value(Value::F64(number));
    }
    match text.to_ascii_lowercase().as_str() {
        "true" => Token::Value(Value::Bool(true)),
        "false" => Token::Value(Value::Bool(false)),
        _ => Token::Word(text.to_owned()),
    }
}

/// How the values of a column fit, where a word says it.
enum Fits {
    In(Vec<Value>),
    Other(Filter),
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn need(&mut self, what: &str) -> Result<Token, Error> {
        self.next()
            .ok_or_else(|| wrong(format!("the filter ends where {what} should be")))
    }

    fn take_word(&mut self, keyword: &str) -> bool {
        let found =
            matches!(self.tokens.get(self.at), Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(found);
        found
    }

    fn take_mark(&mut self, mark: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Mark(found)) if *found == mark);
        self.at += usize::from(found);
        found
    }

    fn any(&mut self, depth: usize) -> Result<Filter, Error> {
        self.joined("or", depth, any, Self::all)
    }

    fn all(&mut self, depth: usize) -> Result<Filter, Error> {
        self.joined("and", depth, all, Self::part)
    }

    fn joined(
        &mut self,
        keyword: &str,
        depth: usize,
        join: fn(Vec<Filter>) -> Filter,
        part: fn(&mut Self, usize) -> Result<Filter, Error>,
    ) -> Result<Filter, Error> {
        let mut parts = vec![part(self, depth)?];
        while self.take_word(keyword) {
            parts.push(part(self, depth)?);
        }
        match <[Filter; 1]>::try_from(parts) {
            Ok([one]) => Ok(one),
            Err(parts) => Ok(join(parts)),
        }
    }

    fn part(&mut self, depth: usize) -> Result<Filter, Error> {
        if depth >= DEPTH_MAX {
            return Err(wrong(format!("the filter is nested more than {DEPTH_MAX} deep")));
        }
        if self.take_word("not") {
            return Ok(!self.part(depth + 1)?);
        }
        if self.take_mark("(") {
            let inner = self.any(depth + 1)?;
            if !self.take_mark(")") {
                return Err(wrong("a parenthesis is not closed".to_owned()));
            }
            return Ok(inner);
        }
        let column = match self.need("a column")? {
            Token::Word(name) | Token::Column(name) => col(name),
            other => return Err(wrong(format!("{other} stands where a column should be"))),
        };
        if self.take_word("is") {
            let not = self.take_word("not");
            if !self.take_word("null") {
                return Err(wrong("after 'is' comes 'null' or 'not null'".to_owned()));
            }
            return Ok(if not { !column.is_null() } else { column.is_null() });
        }
        if self.take_word("not") {
            let Some(filter) = self.fits(&column)? else {
                let message = "after 'not' comes 'in', 'between', 'like', 'starts with' or 'contains'";
                return Err(wrong(message.to_owned()));
            };
            return Ok(match filter {
                Fits::In(values) => column.not_in(values),
                Fits::Other(filter) => (!filter).and(!column.is_null()),
            });
        }
        match self.fits(&column)? {
            Some(Fits::In(values)) => return Ok(column.is_in(values)),
            Some(Fits::Other(filter)) => return Ok(filter),
            None => {}
        }
        let op = match self.need("an operator")? {
            Token::Mark(op) if !matches!(op, "(" | ")" | ",") => op,
            other => return Err(wrong(format!("{other} stands where an operator should be"))),
        };
        let value = self.value()?;
        Ok(match op {
            "=" | "==" => column.eq(value),
            "!=" | "<>" => column.ne(value),
            "<" => column.lt(value),
            "<=" => column.le(value),
            ">" => column.gt(value),
            _ => column.ge(value),
        })
    }

    /// What a column is compared with by a word, if one follows.
    fn fits(&mut self, column: &Column) -> Result<Option<Fits>, Error> {
        let column = column.clone();
        Ok(Some(if self.take_word("in") {
            Fits::In(self.values("in")?)
        } else if self.take_word("between") {
            let low = self.value()?;
            if !self.take_word("and") {
                return Err(wrong("after 'between' come two values: 1 and 2".to_owned()));
            }
            Fits::Other(column.between(low, self.value()?))
        } else if self.take_word("like") {
            Fits::Other(self.like(column)?)
        } else if self.take_word("starts") {
            if !self.take_word("with") {
                return Err(wrong("after 'starts' comes 'with'".to_owned()));
            }
            Fits::Other(column.starts_with(self.value()?))
        } else if self.take_word("contains") {
            Fits::Other(if self.take_word("any") {
                column.contains_any(self.values("any")?)
            } else if self.take_word("all") {
                column.contains_all(self.values("all")?)
            } else {
                column.contains_any([self.value()?])
            })
        } else {
            return Ok(None);
        }))
    }

    /// What comes after the word `like`.
    fn like(&mut self, column: Column) -> Result<Filter, Error> {
        let pattern = self.text("a pattern")?;
        if !self.take_word("escape") {
            return Ok(column.like(pattern));
        }
        let escape = self.text("a character")?;
        let mut chars = escape.chars();
        match (chars.next(), chars.next()) {
            (Some(escape), None) => Ok(column.like_escaped(pattern, escape)),
            _ => Err(wrong(format!("'{escape}' is not one character"))),
        }
    }

    fn text(&mut self, what: &str) -> Result<String, Error> {
        match self.need(what)? {
            Token::Value(Value::Utf8(text)) => Ok(text),
            other => Err(wrong(format!("{other} stands where {what} in quotes should be"))),
        }
    }

    fn values(&mut self, after: &str) -> Result<Vec<Value>, Error> {
        if !self.take_mark("(") {
            return Err(wrong(format!("after '{after}' comes a list: ('a', 'b')")));
        }
        let mut values = vec![self.value()?];
        while self.take_mark(",") {
            values.push(self.value()?);
        }
        if !self.take_mark(")") {
            return Err(wrong(format!("the list after '{after}' is not closed")));
        }
        Ok(values)
    }

    fn value(&mut self) -> Result<Value, Error> {
        match self.need("a value")? {
            Token::Value(value) => Ok(value),
            Token::Word(word)
                if ["timestamp", "date"]
                    .iter()
                    .any(|known| word.eq_ignore_ascii_case(known)) =>
            {
                self.instant(&word)
            }
            // What it is depends on the column's unit, and is read where the column is known.
            Token::Word(word) if word.eq_ignore_ascii_case("time") => self.text("a time").map(Value::Utf8),
            Token::Word(word) => Err(wrong(format!("text must be quoted: '{word}'"))),
            other => Err(wrong(format!("{other} stands where a value should be"))),
        }
    }

    /// What comes after the words `timestamp` and `date`. Sent as it stands: the column knows its unit.
    fn instant(&mut self, word: &str) -> Result<Value, Error> {
        match self.need("a time")? {
            Token::Value(Value::Utf8(text)) => match time_text::check(&text) {
                Ok(()) => Ok(Value::Utf8(text)),
                Err(why) => Err(wrong(why)),
            },
            other => Err(wrong(format!(
                "after '{word}' comes a time in quotes, not {other}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::proptest;

    use super::*;

    #[test]
    fn filters_mean_what_they_say() {
        let noun = || col("pos").eq("noun");
        let cases = [
            ("pos = 'noun'", noun()),
            ("pos=='noun'", noun()),
            ("\"pos\" = 'noun'", noun()),
            ("n != -3", col("n").ne(-3)),
            ("n <> 1.5", col("n").ne(1.5)),
            ("n<=18446744073709551615", col("n").le(u64::MAX)),
            ("b = TRUE", col("b").eq(true)),
            ("t = 'it''s'", col("t").eq("it's")),
            ("n in (1, 2)", col("n").is_in([1_i64, 2])),
            ("at < timestamp '1970-01-02'", col("at").lt("1970-01-02")),
            (
                "at in (TIMESTAMP '1970-01-01T00:00:01Z', 2)",
                col("at").is_in([Value::from("1970-01-01T00:00:01Z"), Value::from(2_i64)]),
            ),
            ("d = date '1970-01-02'", col("d").eq("1970-01-02")),
            ("t > time '10:00:00'", col("t").gt("10:00:00")),
            ("date = 1", col("date").eq(1)),
            ("timestamp = 1", col("timestamp").eq(1)),
            ("t IS NULL", col("t").is_null()),
            ("t is not null", !col("t").is_null()),
            ("not n > 1", !col("n").gt(1)),
            ("n not in (1, 2)", col("n").not_in([1_i64, 2])),
            (
                "n between 1 and 2 and n > 0",
                all([col("n").between(1, 2), col("n").gt(0)]),
            ),
            (
                "n NOT BETWEEN 1 AND 2",
                all([!col("n").between(1, 2), !col("n").is_null()]),
            ),
            ("t like '%o_k'", col("t").like("%o_k")),
            ("t like '50!%' escape '!'", col("t").like_escaped("50!%", '!')),
            (
                "t not like 'a%'",
                all([!col("t").like("a%"), !col("t").is_null()]),
            ),
            ("t starts with 'noun.'", col("t").starts_with("noun.")),
            ("l contains 'dog'", col("l").contains_any(["dog"])),
            ("l contains any ('a', 'b')", col("l").contains_any(["a", "b"])),
            ("l contains ALL ('a', 'b')", col("l").contains_all(["a", "b"])),
            ("\"like\" like 'x'", col("like").like("x")),
            ("like = 'x'", col("like").eq("x")),
            (
                "pos = 'noun' and n >= 2 or n < 0",
                any([all([noun(), col("n").ge(2)]), col("n").lt(0)]),
            ),
            (
                "pos = 'noun' AND (n >= 2 OR n < 0)",
                all([noun(), any([col("n").ge(2), col("n").lt(0)])]),
            ),
        ];
        for (text, filter) in cases {
            assert_eq!(parse(text).unwrap(), filter, "{text}");
        }
    }

    #[test]
    fn faults_are_told() {
        for (text, say) in [
            ("", "ends"),
            ("pos", "ends"),
            ("pos = noun", "quoted"),
            ("pos = 'noun", "no end"),
            ("pos = 'noun' n", "after the end"),
            ("(a = 1", "not closed"),
            ("a in 1", "list"),
            ("a is 1", "null"),
            ("a not 1", "after 'not'"),
            ("a between 1", "two values"),
            ("a between 1 or 2", "two values"),
            ("a like 1", "a pattern in quotes"),
            ("a like 'x' escape 'yz'", "one character"),
            ("a starts 'x'", "'with'"),
            ("a contains any 'x'", "list"),
            ("a contains all ('x'", "not closed"),
            ("a ! 1", "means nothing"),
            ("a < timestamp", "ends"),
            ("a < timestamp 3", "a time in quotes"),
            ("a < timestamp 'soon'", "no time"),
            ("= 1", "where a column"),
            (&"(".repeat(40), "nested"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(say), "{text}: {error}");
            assert_eq!(error.field.as_deref(), Some("filter"));
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,60}") {
            let _ = parse(&text);
        }
    }
}
