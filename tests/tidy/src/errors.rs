//! docs/errors.md has one section for every error code, with the right status, and no section for any other.

use longbow_types::{ErrorCode, error::ErrorKind};

use crate::{Finding, Tree};

const PAGE: &str = "docs/errors.md";

/// Finds codes that the page leaves out, gets wrong or invents.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.text(PAGE) else {
        return vec![Finding::file(PAGE, "is missing")];
    };
    let mut findings = Vec::new();
    let sections: Vec<(&str, &str)> = page
        .split("\n## ")
        .skip(1)
        .map(|section| section.split_once('\n').unwrap_or((section, "")))
        .collect();
    for (name, _) in &sections {
        if ErrorCode::parse(name.trim()).is_none() {
            findings.push(Finding::file(
                PAGE,
                format!("describes {name}, which is not a code"),
            ));
        }
    }
    for code in ErrorCode::ALL {
        let Some((_, body)) = sections.iter().find(|(name, _)| name.trim() == code.as_str()) else {
            findings.push(Finding::file(PAGE, format!("says nothing of {code}")));
            continue;
        };
        let status = format!("Status: `{}`", status(code.kind()));
        if !body.contains(&status) {
            findings.push(Finding::file(PAGE, format!("{code}: expected \"{status}\"")));
        }
        if !body.contains("What to do:") {
            findings.push(Finding::file(
                PAGE,
                format!("{code}: does not say \"What to do:\""),
            ));
        }
    }
    findings
}

/// The gRPC status of a kind, as its specification spells it.
fn status(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidArgument => "INVALID_ARGUMENT",
        ErrorKind::NotFound => "NOT_FOUND",
        ErrorKind::AlreadyExists => "ALREADY_EXISTS",
        ErrorKind::PermissionDenied => "PERMISSION_DENIED",
        ErrorKind::Unauthenticated => "UNAUTHENTICATED",
        ErrorKind::ResourceExhausted => "RESOURCE_EXHAUSTED",
        ErrorKind::FailedPrecondition => "FAILED_PRECONDITION",
        ErrorKind::Aborted => "ABORTED",
        ErrorKind::Unavailable => "UNAVAILABLE",
        ErrorKind::DeadlineExceeded => "DEADLINE_EXCEEDED",
        ErrorKind::Cancelled => "CANCELLED",
        ErrorKind::Unimplemented => "UNIMPLEMENTED",
        ErrorKind::DataLoss => "DATA_LOSS",
        ErrorKind::Internal => "INTERNAL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(change: impl Fn(&str, String) -> String) -> String {
        let section = |code: &ErrorCode| {
            let body = format!(
                "\n## {code}\nStatus: `{}`\nWhat to do: act.\n",
                status(code.kind())
            );
            change(code.as_str(), body)
        };
        ErrorCode::ALL.iter().map(section).collect()
    }

    fn findings(page: &str) -> usize {
        check(&Tree::of(&[(PAGE, page)])).len()
    }

    #[test]
    fn a_whole_page_is_fine() {
        assert_eq!(findings(&page(|_, body| body)), 0);
    }

    #[test]
    fn missing_wrong_and_invented_codes_are_found() {
        assert_eq!(
            findings(&page(|code, body| if code == "NO_LEADER" {
                String::new()
            } else {
                body
            })),
            1
        );
        assert_eq!(
            findings(&page(|_, body| body.replace("`DATA_LOSS`", "`INTERNAL`"))),
            1
        );
        assert_eq!(
            findings(&page(|_, body| body.replace("NO_LEADER\n", "NO_LEADERS\n"))),
            2
        );
        assert_eq!(
            findings(&page(|_, body| body.replace("What to do", ""))),
            ErrorCode::ALL.len()
        );
    }
}
