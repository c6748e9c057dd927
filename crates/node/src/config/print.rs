//! What `--print-config` prints: TOML that could be used as the file, each line with its provenance.

use std::fmt::Write as _;

use super::Settings;

/// What was not understood, then every key, its value (secrets masked) and where it came from.
pub(super) fn render(settings: &Settings) -> String {
    let mut out = String::new();
    // A slip in a variable's name is what this is asked for to find.
    for warning in &settings.warnings {
        let _ = writeln!(out, "# warning: {warning}");
    }
    let mut group = "";
    // Keys at the top must come before any table.
    let mut order: Vec<_> = settings.declared.values().collect();
    order.sort_by_key(|setting| !setting.group().is_empty());
    for setting in order {
        if setting.group() != group {
            group = setting.group();
            let _ = writeln!(out, "\n[{group}]");
        }
        let name = setting
            .key
            .strip_prefix(group)
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(setting.key);
        let Some((value, source)) = settings.values.get(setting.key) else {
            let _ = writeln!(out, "# {name} is not set");
            continue;
        };
        let shown = quoted(if setting.secret { "***" } else { value });
        let _ = match settings.overridden_by(setting.key) {
            // As a comment: in the printed file both would be of one rank.
            Some(other) => writeln!(out, "# {name} = {shown} # {source}, overridden by {other}"),
            None => writeln!(out, "{name} = {shown} # {source}"),
        };
    }
    out
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
