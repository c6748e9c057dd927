//! Vectors as people give them: `0.1,0.2`, `[0.1, 0.2]`, `@file`, or `-` for stdin.

use std::io::Read;

use longbow_client::{Error, ErrorCode};

/// Longest text read from a file or stdin.
const BYTES_MAX: u64 = 16 << 20;

/// Reads a vector from an argument, the file that it names, or stdin.
pub fn read(argument: &str) -> Result<Vec<f64>, Error> {
    let cannot = |error: std::io::Error| {
        let message = format!("the vector cannot be read from {argument}: {error}");
        Error::new(ErrorCode::InvalidValue, message).field("vector")
    };
    let text = if argument == "-" {
        slurp(std::io::stdin().lock()).map_err(cannot)?
    } else if let Some(path) = argument.strip_prefix('@') {
        std::fs::File::open(path).and_then(slurp).map_err(cannot)?
    } else {
        argument.to_owned()
    };
    parse(&text)
}

fn slurp(source: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    source.take(BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Reads numbers separated by commas or white space, with or without brackets.
pub fn parse(text: &str) -> Result<Vec<f64>, Error> {
    let text = text.trim();
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let numbers = inner
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|part| !part.is_empty());
    let vector = numbers
        .map(|part| {
            part.parse::<f64>().map_err(|_| {
                Error::new(ErrorCode::InvalidVector, format!("{part:?} is not a number"))
                    .field("vector")
                    .limit("numbers separated by commas, @FILE, or - for stdin")
            })
        })
        .collect::<Result<Vec<f64>, Error>>()?;
    if vector.is_empty() {
        return Err(Error::new(ErrorCode::MissingField, "the vector is empty").field("vector"));
    }
    Ok(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_read() {
        for text in ["1,2.5,-3e-1", "[1, 2.5, -0.3]", " 1 2.5\n-0.3\n"] {
            assert_eq!(parse(text).unwrap(), [1.0, 2.5, -0.3], "{text}");
        }
        assert_eq!(parse("1,x").unwrap_err().code, ErrorCode::InvalidVector);
        assert_eq!(parse("[]").unwrap_err().code, ErrorCode::MissingField);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = read("@/nowhere/v.json").unwrap_err();
        assert_eq!(
            (error.code, error.field.as_deref()),
            (ErrorCode::InvalidValue, Some("vector"))
        );
        assert!(error.message.contains("/nowhere/v.json"), "{error}");
    }
}
