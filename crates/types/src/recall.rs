//! The recall that a search asks for in place of a width.

use crate::{Error, ErrorCode};

/// Checks a recall target beside what else says how thorough a search is: `ef` (0: not given) and `exact`.
///
/// # Errors
/// `INVALID_VALUE` naming `recall_target`.
pub fn check_recall_target(target: f32, ef: usize, exact: bool) -> Result<(), Error> {
    let refused = |message: String, limit: &'static str| {
        Err(Error::new(ErrorCode::InvalidValue, message)
            .field("recall_target")
            .limit(limit))
    };
    // Not a number is in no range.
    if !(target > 0.0 && target < 1.0) {
        let message = format!("a recall target of {target}; `exact` finds all");
        return refused(message, "above 0 and below 1");
    }
    if ef != 0 {
        let message = format!("both ef = {ef} and a recall target say how wide to search");
        return refused(message, "recall_target or ef");
    }
    if exact {
        let message = "an exact search finds all, whatever the recall target".to_owned();
        return refused(message, "recall_target or exact");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_share_and_stands_alone() {
        for good in [f32::MIN_POSITIVE, 0.5, 0.95, 1.0 - f32::EPSILON] {
            check_recall_target(good, 0, false).unwrap();
        }
        let refused = |target, ef, exact, limit: &str| {
            let error = check_recall_target(target, ef, exact).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidValue);
            assert_eq!(error.field.as_deref(), Some("recall_target"));
            assert_eq!(error.limit.as_deref(), Some(limit), "{error}");
        };
        for bad in [0.0, -0.5, 1.0, 95.0, f32::NAN, f32::INFINITY] {
            refused(bad, 0, false, "above 0 and below 1");
        }
        refused(0.9, 1, false, "recall_target or ef");
        refused(0.9, 0, true, "recall_target or exact");
    }
}
