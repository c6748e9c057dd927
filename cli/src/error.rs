//! What a person is told when something fails, and what to do about it.

use longbow_client::{Error, ErrorCode};
use serde_json::{Value as Json, json};

/// Prints an error to stderr and gives the exit code.
pub fn report(error: &anyhow::Error, json: bool) -> u8 {
    if is_broken_pipe(error) {
        return 0;
    }
    if json {
        eprintln!("{}", as_json(error));
    } else {
        eprint!("{}", as_text(error));
    }
    1
}

/// What was done and what went wrong, without what else an error of ours holds.
fn message(error: &anyhow::Error) -> String {
    let Some(ours) = find(error) else {
        return format!("{error:#}");
    };
    let context = error.chain().take_while(|cause| !cause.is::<Error>());
    let parts: Vec<String> = context
        .map(ToString::to_string)
        .chain([ours.message.to_string()])
        .collect();
    parts.join(": ")
}

fn as_text(error: &anyhow::Error) -> String {
    let mut out = format!("error: {}\n", message(error));
    if let Some(ours) = find(error) {
        out = format!("error: {} [{}]\n", message(error), ours.code);
        let mut line = |name: &str, value: &Option<std::borrow::Cow<'static, str>>| {
            if let Some(value) = value {
                out.push_str(&format!("  {name}: {value}\n"));
            }
        };
        line("at fault", &ours.field);
        line("accepted", &ours.limit);
        if let Some(hint) = hint(ours) {
            out.push_str(&format!("  what to do: {hint}\n"));
        }
    }
    out
}

fn as_json(error: &anyhow::Error) -> Json {
    match find(error) {
        Some(ours) => json!({"error": {
            "code": ours.code.as_str(),
            "message": message(error),
            "field": ours.field,
            "limit": ours.limit,
            "hint": hint(ours),
        }}),
        None => json!({"error": {"code": null, "message": format!("{error:#}")}}),
    }
}

/// What a person can do about an error.
fn hint(error: &Error) -> Option<&'static str> {
    Some(match error.code {
        ErrorCode::Unreachable => {
            "start a cluster with `longbow demo` or `longbow up`, or name a router with --endpoint or LONGBOW_ENDPOINT"
        }
        ErrorCode::Unauthenticated => "pass the routers' key with --api-key or LONGBOW_API_KEY",
        ErrorCode::DatasetNotFound => "`longbow dataset list` shows what is there",
        // The name is taken; any other field is one in which the dataset that is there differs.
        ErrorCode::DatasetExists if error.field.as_deref() == Some("name") => {
            "pass --if-not-exists if it will do as it is, or drop it with `longbow dataset drop`"
        }
        ErrorCode::DatasetExists => {
            "take it as it is, choose another name, or drop it with `longbow dataset drop`"
        }
        ErrorCode::LatchTripped => {
            "`longbow latch status` names the failed disk; once it is repaired, `longbow latch reset` lets writes go on"
        }
        ErrorCode::NoLeader | ErrorCode::NotLeader => {
            "a majority of the wal-keepers must be up: `longbow status` shows who is missing; then try again"
        }
        ErrorCode::KeeperNotFound => "`longbow keeper list` shows who is there",
        ErrorCode::QuorumAtRisk => {
            "`longbow keeper list` shows who is missing: bring those back, or add others first"
        }
        ErrorCode::LearnerBehind => "wait until `longbow keeper list` shows that it has caught up",
        ErrorCode::LogFull => "`longbow keeper list` shows the size of the log; raise keeper.log_bytes_max",
        ErrorCode::NoReplica | ErrorCode::NotEnoughShards => {
            "`longbow status` shows which shards are missing"
        }
        ErrorCode::ReplicaStopped => "`longbow status` names the replica and why it stopped",
        ErrorCode::ReplicaLost => "`longbow status --partitions` names the replica and why it is lost",
        ErrorCode::TypeMismatch => {
            "`longbow dataset describe NAME` shows columns and types; in a filter, a time is written \
             timestamp '2020-01-02T03:04:05Z'"
        }
        ErrorCode::DimensionMismatch | ErrorCode::UnknownColumn => {
            "`longbow dataset describe NAME` shows columns, types and the dimension"
        }
        ErrorCode::DeadlineExceeded => "give it more time with --timeout, or look at `longbow status`",
        ErrorCode::Overloaded => "wait a moment and try again, or send less at once",
        _ => return None,
    })
}

/// The error of ours among the causes.
pub fn find(error: &anyhow::Error) -> Option<&Error> {
    error.chain().find_map(|cause| cause.downcast_ref::<Error>())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_the_fault_the_limit_and_the_way_out() {
        let ours = Error::new(ErrorCode::DimensionMismatch, "a vector of 3 elements")
            .field("vector")
            .limit(384);
        let error = anyhow::Error::from(ours).context("searching words");
        let text = as_text(&error);
        assert_eq!(
            text,
            "error: searching words: a vector of 3 elements [DIMENSION_MISMATCH]\n  at fault: vector\n  \
             accepted: 384\n  what to do: `longbow dataset describe NAME` shows columns, types and the dimension\n"
        );
        let json = as_json(&error);
        assert_eq!(json["error"]["code"], "DIMENSION_MISMATCH");
        assert_eq!(
            json["error"]["message"],
            "searching words: a vector of 3 elements"
        );
    }

    #[test]
    fn nobody_is_told_to_pass_what_was_passed() {
        let exists = |field: &'static str| Error::new(ErrorCode::DatasetExists, "x").field(field);
        assert!(hint(&exists("name")).unwrap().contains("--if-not-exists"));
        assert!(!hint(&exists("schema")).unwrap().contains("--if-not-exists"));
    }

    #[test]
    fn a_reader_who_left_is_no_failure() {
        let error = anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(report(&error, false), 0);
        assert_eq!(report(&anyhow::anyhow!("x"), false), 1);
    }
}
