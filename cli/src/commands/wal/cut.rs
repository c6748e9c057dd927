//! `longbow wal cut`: what would be lost, and losing it.

use longbow_wal_keeper::cut::{Plan, plan};
use serde_json::json;

use super::CutArgs;
use crate::output::{Output, table::thousands};

pub(super) fn run(args: &CutArgs, output: &Output) -> anyhow::Result<()> {
    let Some(plan) = plan(&args.dir)? else {
        let sound = json!({ "sound": true, "cut": false });
        output.result(&sound, || "the log is sound: nothing is to be cut".to_owned())?;
        return Ok(());
    };
    let is_cut = args.after.is_some();
    let (json, text) = (as_json(&plan, is_cut), as_text(&plan, args, is_cut));
    if let (Some(after), Some(reason)) = (args.after, &args.reason) {
        plan.perform(&args.dir, after, reason)?;
    }
    output.result(&json, || text)?;
    Ok(())
}

fn as_json(plan: &Plan, is_cut: bool) -> serde_json::Value {
    json!({
        "sound": false,
        "cut": is_cut,
        "damage": plan.damage,
        "first_index": plan.first,
        "last_index": plan.last,
        "lost_up_to": plan.bound,
        "checkpoint_index": plan.checkpoint,
        "incarnation": plan.incarnation,
        "set_aside": plan.set_aside,
    })
}

fn as_text(plan: &Plan, args: &CutArgs, is_cut: bool) -> String {
    let Plan {
        damage,
        first,
        last,
        bound,
        incarnation,
        ..
    } = plan;
    let dir = args.dir.display();
    let most = thousands(bound - last);
    let files = plan.set_aside.join(", ");
    if is_cut {
        return format!(
            "{damage}\nEntries {first} to {last} are left, and life {incarnation} of the log begins behind them. Set aside: {files}.\n\
             Start the keeper: shards that have more go back to a snapshot before it."
        );
    }
    format!(
        "{damage}\nEntries {first} to {last} would stay; at most {most} behind them were acknowledged and would be lost, and \
         life {incarnation} of the log would begin. Set aside would be: {files}.\nNothing was changed. Is there a copy of the data path, put \
         that back. To cut:\n  longbow wal cut {dir} --after {last} --reason 'why'"
    )
}
