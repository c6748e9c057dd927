//! What is told when the command line itself is wrong: text for people, with `--json` the shape of every other error.

use std::{ffi::OsString, process::ExitCode};

use clap::{
    Error,
    error::{ContextKind, ContextValue, ErrorKind},
};
use longbow_client::ErrorCode;
use serde_json::{Value as Json, json};

/// Prints help, the version, or what is wrong with the line, and gives the exit code.
pub fn report(error: &Error, line: &[OsString]) -> ExitCode {
    if error.exit_code() == 0 || !line.iter().any(|arg| arg == "--json") {
        error.exit();
    }
    eprintln!("{}", as_json(error));
    // What clap exits with.
    ExitCode::from(2)
}

fn as_json(error: &Error) -> Json {
    let code = match error.kind() {
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => ErrorCode::MissingField,
        _ => ErrorCode::InvalidValue,
    };
    json!({"error": {
        "code": code.as_str(),
        "message": message(error),
        "field": words(error, ContextKind::InvalidArg, ", "),
        "limit": words(error, ContextKind::ValidValue, ", "),
        "hint": "`longbow --help` and `longbow COMMAND --help` show what can be said",
    }})
}

/// Clap's own words, without usage and tips, on one line.
fn message(error: &Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "the line names no command".to_owned();
    }
    let text = error.render().to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn words(error: &Error, kind: ContextKind, between: &str) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(word) => Some(word.clone()),
        ContextValue::Strings(words) if !words.is_empty() => Some(words.join(between)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn told(line: &[&str]) -> Json {
        let error = crate::args::Cli::try_parse_from([&["longbow"], line].concat()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line:?}");
        as_json(&error)["error"].clone()
    }

    #[test]
    fn machines_are_told_what_is_wrong_with_the_line() {
        let number = told(&["search", "words", "--id", "1", "-k", "abc", "--json"]);
        assert_eq!(number["code"], "INVALID_VALUE");
        assert_eq!(number["field"], "--k <K>");
        let message = number["message"].as_str().unwrap();
        assert!(message.contains("'abc'") && !message.contains('\n'), "{message}");
        assert!(
            !message.contains("Usage") && !message.contains("error:"),
            "{message}"
        );

        let choice = told(&[
            "dataset",
            "create",
            "x",
            "--dimension=3",
            "--metric=near",
            "--json",
        ]);
        assert_eq!(choice["limit"], "cosine, l2, dot");

        let missing = told(&["search", "--json"]);
        assert_eq!(missing["code"], "MISSING_FIELD");
        assert!(
            missing["message"].as_str().unwrap().contains("<DATASET>"),
            "{missing}"
        );
        assert_eq!(told(&["dataset", "--json"])["code"], "MISSING_FIELD");
        assert_eq!(told(&["serach", "--json"])["code"], "INVALID_VALUE");
    }
}
