//! Values from flags, and the help text, both generated from the tables.

use clap::{Arg, ArgAction, ArgMatches, Command, parser::ValueSource};

use super::{Setting, Settings, Source};

/// The command line of a binary.
pub(super) fn command(bin: &'static str, about: &'static str, example: &str, settings: &Settings) -> Command {
    let mut command = Command::new(bin)
        .about(about)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .after_help(format!(
            "Every flag is also a key of the file (--gossip-seeds is `seeds` in [gossip]) and an environment \
             variable.\nPrecedence: file < environment < flag.\n\nExample:\n  {example}"
        ))
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .help("TOML file to read [env: LONGBOW_CONFIG]"),
        )
        .arg(
            Arg::new("print-config")
                .long("print-config")
                .action(ArgAction::SetTrue)
                .help("Print every setting, its value and where it came from, then exit"),
        );
    // Grouped by table, tables in the order of their keys.
    for setting in settings.declared.values() {
        command = command.arg(flag(setting));
    }
    command
}

fn flag(setting: &Setting) -> Arg {
    let env = setting.env_names().collect::<Vec<_>>().join(", ");
    let mut help = setting.help.to_owned();
    if let Some(default) = setting.default {
        help.push_str(&format!(" [default: {default}]"));
    }
    help.push_str(&format!(" [env: {env}]"));
    let arg = Arg::new(setting.key)
        .long(setting.flag())
        .value_name(if setting.list { "LIST" } else { "VALUE" })
        .help_heading(heading(setting))
        .help(help)
        .allow_hyphen_values(true);
    if setting.list {
        arg.action(ArgAction::Append)
    } else {
        arg.action(ArgAction::Set)
    }
}

fn heading(setting: &Setting) -> String {
    match setting.group() {
        "" => "General".to_owned(),
        group => format!("[{group}]"),
    }
}

/// Takes flags into the settings.
pub(super) fn apply(settings: &mut Settings, matches: &ArgMatches) {
    let declared: Vec<_> = settings.declared.values().copied().collect();
    for setting in declared {
        if matches.value_source(setting.key) != Some(ValueSource::CommandLine) {
            continue;
        }
        let given = matches.get_many::<String>(setting.key).into_iter().flatten();
        let value = given.map(String::as_str).collect::<Vec<_>>().join(",");
        settings
            .values
            .insert(setting.key, (value, Source::Flag(setting.flag())));
    }
}
