//! `longbow wal …`: look at a keeper's log while the keeper is stopped. Only `cut` changes anything, and only where it is told
//! what is to be left.

mod cut;

use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Args, Subcommand};
use longbow_client::{Error, ErrorCode};
use longbow_wal::{
    EntryKind, FsDisk,
    inspect::{self, Content, RecordReport, Report},
};
use serde_json::{Value as Json, json};

use crate::{
    args::Global,
    output::{
        Output, say,
        table::{bytes, table, thousands},
    },
};

const INSPECT_EXAMPLES: &str = "\
Examples:
  longbow wal inspect /var/lib/longbow/wal-keeper
  longbow wal inspect ./data/keeper-1/wal --json | jq '.segments[].entries'";

const VERIFY_EXAMPLES: &str = "\
Examples:
  longbow wal verify /var/lib/longbow/wal-keeper && echo sound
  longbow wal verify ./data/keeper-1 --json

Exits with 1 if a byte that was durable is not what was written, and names the file and the offset.";

const DUMP_EXAMPLES: &str = "\
Examples:
  longbow wal dump /var/lib/longbow/wal-keeper --limit 20
  longbow wal dump ./data/keeper-1 --data --json | jq -r 'select(.kind == \"entry\") | .index'";

const CUT_EXAMPLES: &str = "\
Examples:
  longbow wal cut /var/lib/longbow/wal-keeper
  longbow wal cut /var/lib/longbow/wal-keeper --after 48211 --reason 'a sector of the only disk is gone'

Without --after nothing is changed: it says which entries would stay and which would be lost. What was acknowledged behind
the cut is lost for good; shards that have it go back to a snapshot before it.";

/// What to do with a log.
#[derive(Debug, Subcommand)]
pub enum WalCommand {
    /// Show segments, spares and groups.
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(WalArgs),
    /// Check every checksum below the last durable offset, as a start does.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(WalArgs),
    /// Print the records, one on a line, replaced ones included.
    #[command(after_help = DUMP_EXAMPLES)]
    Dump(DumpArgs),
    /// Cut a damaged log where the damage begins, if its keeper is the only one and there is no copy.
    #[command(after_help = CUT_EXAMPLES)]
    Cut(CutArgs),
}

/// Which log.
#[derive(Debug, Args)]
pub struct WalArgs {
    /// The keeper's data path, or the folder of the segments itself. The keeper must be stopped.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// What to print.
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// Which log.
    #[command(flatten)]
    pub log: WalArgs,
    /// Stop after this many records.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Also print data: as base64 in JSON, as hexadecimal digits in text.
    #[arg(long)]
    pub data: bool,
}

/// Where to cut.
#[derive(Debug, Args)]
pub struct CutArgs {
    /// The keeper's data path. The keeper must be stopped.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The last entry that stays, as the command says without this. Cuts.
    #[arg(long, value_name = "INDEX", requires = "reason")]
    pub after: Option<u64>,
    /// Why; stands in the log.
    #[arg(long, value_name = "TEXT", requires = "after")]
    pub reason: Option<String>,
}

/// Runs the command.
pub fn run(command: &WalCommand, global: &Global) -> anyhow::Result<()> {
    let output = Output { json: global.json };
    match command {
        WalCommand::Inspect(args) => {
            let report = verified(&args.dir)?;
            output.result(&as_json(&report), || as_text(&report))?;
        }
        WalCommand::Verify(args) => {
            let report = verified(&args.dir)?;
            let sound = json!({ "sound": true, "records": records(&report), "torn": torn_json(&report) });
            output.result(&sound, || verdict(&report))?;
        }
        WalCommand::Dump(args) => dump(args, global.json)?,
        WalCommand::Cut(args) => cut::run(args, &output)?,
    }
    Ok(())
}

fn open(dir: &Path) -> anyhow::Result<FsDisk> {
    let inner = dir.join("wal");
    let dir = if inner.is_dir() { &inner } else { dir };
    let disk = FsDisk::open_to_read(dir).map_err(|error| {
        Error::new(ErrorCode::StorageFailed, format!("{}: {error}", dir.display()))
            .field("DIR")
            .limit("the data path of a keeper that is stopped")
    })?;
    Ok(disk)
}

fn verified(dir: &Path) -> anyhow::Result<Report> {
    let disk = open(dir)?;
    let report = inspect::verify(&disk).map_err(typed);
    let report = report.with_context(|| format!("the log in {}", dir.display()))?;
    if report.log_id.is_none() {
        let message = format!("{} holds no segments of a log", dir.display());
        return Err(Error::new(ErrorCode::InvalidValue, message).field("DIR").into());
    }
    Ok(report)
}

/// An error of the log, with the place in fields of its own.
fn typed(error: longbow_wal::Error) -> Error {
    let message = error.to_string();
    match error {
        longbow_wal::Error::Corruption { file, offset, .. } => Error::new(ErrorCode::Corruption, message)
            .field(file)
            .limit(format!("sound bytes; byte {offset} starts what is not")),
        _ => Error::new(ErrorCode::StorageFailed, message),
    }
}

fn records(report: &Report) -> u64 {
    report.segments.iter().map(|segment| segment.records).sum()
}

fn torn_json(report: &Report) -> Json {
    report.torn.as_ref().map_or(
        Json::Null,
        |torn| json!({ "file": torn.file, "offset": torn.offset }),
    )
}

fn as_json(report: &Report) -> Json {
    let segments: Vec<Json> = report
        .segments
        .iter()
        .map(|segment| {
            json!({
                "file": segment.file,
                "generation": segment.generation,
                "bytes": segment.bytes,
                "end": segment.end,
                "durable": segment.durable,
                "recycled": segment.recycled,
                "records": segment.records,
                "flushes": segment.flushes,
                "entries": segment.entries,
                "entry_bytes": segment.entry_bytes,
            })
        })
        .collect();
    let groups: Vec<Json> = report
        .groups
        .iter()
        .map(|(id, group)| {
            json!({
                "group": id,
                "first_index": group.first_index,
                "last_index": group.last_index,
                "term": group.hard_state.term,
                "vote": group.hard_state.vote,
                "commit": group.hard_state.commit,
            })
        })
        .collect();
    json!({
        "log_id": report.log_id.map(|id| format!("{id:016x}")),
        "closed": report.closed,
        "unproven_records": report.unproven,
        "torn": torn_json(report),
        "segments": segments,
        "spares": report.spares,
        "groups": groups,
    })
}

fn as_text(report: &Report) -> String {
    let mut segments = table(
        [
            "segment", "size", "used", "records", "flushes", "entries", "data", "indexes",
        ],
        &["size", "used", "records", "flushes", "entries", "data"],
    );
    for segment in &report.segments {
        let indexes: Vec<String> = segment
            .indexes
            .values()
            .map(|range| format!("{}..{}", range.start(), range.end()))
            .collect();
        segments.add_row([
            segment.file.clone(),
            bytes(segment.bytes),
            bytes(segment.end),
            thousands(segment.records),
            thousands(segment.flushes),
            thousands(segment.entries),
            bytes(segment.entry_bytes),
            indexes.join(" "),
        ]);
    }
    let mut groups = table(
        ["group", "first", "last", "term", "vote", "commit"],
        &["first", "last", "term", "vote", "commit"],
    );
    for (id, group) in &report.groups {
        let state = group.hard_state;
        groups.add_row([
            id.to_string(),
            group.first_index.to_string(),
            group.last_index.to_string(),
            state.term.to_string(),
            state.vote.to_string(),
            state.commit.to_string(),
        ]);
    }
    let log_id = report.log_id.unwrap_or_default();
    let spares = report.spares.len();
    format!(
        "log {log_id:016x}, {spares} spare segments\n{segments}\n{groups}\n{}",
        verdict(report)
    )
}

/// What a start would make of the log.
fn verdict(report: &Report) -> String {
    let mut out = format!("{} records are sound", thousands(records(report)));
    if report.closed {
        out.push_str("; the log was closed cleanly");
    } else {
        let unproven = thousands(report.unproven as u64);
        out.push_str(&format!(
            "; the log was not closed, and {unproven} more sound records are not proven to be synced"
        ));
    }
    if let Some(torn) = &report.torn {
        out.push_str(&format!(
            "; a torn tail in {} at byte {} would be cut",
            torn.file, torn.offset
        ));
    }
    out
}

/// Ends a dump early.
enum Stop {
    Limit,
    Failed(anyhow::Error),
}

impl From<longbow_wal::Error> for Stop {
    fn from(error: longbow_wal::Error) -> Self {
        Stop::Failed(typed(error).into())
    }
}

fn dump(args: &DumpArgs, json: bool) -> anyhow::Result<()> {
    let disk = open(&args.log.dir)?;
    let mut left = args.limit.unwrap_or(u64::MAX);
    let dumped = inspect::dump(&disk, |record| {
        if left == 0 {
            return Err(Stop::Limit);
        }
        left -= 1;
        let line = if json {
            record_json(&record, args.data).to_string()
        } else {
            record_text(&record, args.data)
        };
        say(&line).map_err(|error| Stop::Failed(error.into()))
    });
    match dumped {
        Ok(()) | Err(Stop::Limit) => Ok(()),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn kind_name(content: &Content) -> &'static str {
    match content {
        Content::Entry {
            kind: EntryKind::Normal,
            ..
        } => "entry",
        Content::Entry { .. } => "membership-entry",
        Content::HardState(_) => "hard-state",
        Content::ConfState(_) => "membership",
        Content::Start { .. } => "start",
        Content::Flush => "flush",
        Content::Close => "close",
    }
}

fn record_json(record: &RecordReport, with_data: bool) -> Json {
    let mut out = json!({
        "file": record.file,
        "offset": record.offset,
        "group": record.group,
        "kind": kind_name(&record.content),
    });
    let mut data = |payload: &[u8]| {
        out["bytes"] = json!(payload.len());
        if with_data {
            out["data"] = json!(STANDARD.encode(payload));
        }
    };
    match &record.content {
        Content::Entry {
            term,
            index,
            data: payload,
            ..
        } => {
            data(payload);
            out["term"] = json!(term);
            out["index"] = json!(index);
        }
        Content::ConfState(payload) => data(payload),
        Content::HardState(state) => {
            out["term"] = json!(state.term);
            out["vote"] = json!(state.vote);
            out["commit"] = json!(state.commit);
        }
        Content::Start { term, index } => {
            out["term"] = json!(term);
            out["index"] = json!(index);
        }
        Content::Flush | Content::Close => {}
    }
    out
}

fn record_text(record: &RecordReport, with_data: bool) -> String {
    let (file, offset) = (&record.file, record.offset);
    let mut out = format!(
        "{file} {offset:>10} group {} {:<16}",
        record.group,
        kind_name(&record.content)
    );
    let hex = |payload: &[u8]| -> String {
        if !with_data {
            return String::new();
        }
        let digits: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(" {digits}")
    };
    match &record.content {
        Content::Entry {
            term, index, data, ..
        } => {
            let len = data.len();
            out.push_str(&format!(" term {term} index {index}, {len} bytes{}", hex(data)));
        }
        Content::HardState(state) => {
            out.push_str(&format!(
                " term {} vote {} commit {}",
                state.term, state.vote, state.commit
            ));
        }
        Content::Start { term, index } => out.push_str(&format!(" behind term {term} index {index}")),
        Content::ConfState(data) => out.push_str(&format!(" {} bytes{}", data.len(), hex(data))),
        Content::Flush | Content::Close => {}
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests;
