//! From command line, environment and file to settings.

use std::path::PathBuf;

use longbow_types::{Error, ErrorCode};

use super::{COMMON, Setting, Settings, env, file, flags, print};

/// What a binary should do next.
#[derive(Debug)]
pub enum Loaded {
    /// Run with these.
    Run(Settings),
    /// Print this to standard output and exit with success: `--help`, `--version`, `--print-config`.
    Print(String),
    /// Say why it cannot run with these, and exit with failure.
    Refused(Refused),
}

/// A configuration that can be read, but not be used.
#[derive(Debug)]
pub struct Refused {
    /// What to print to standard output first, if `--print-config` asked for it.
    pub printed: Option<String>,
    /// What an operator should be told besides: a variable with a slip in its name may be the reason.
    pub warnings: Vec<String>,
    /// Why it is refused.
    pub error: Error,
}

/// Whether a role would start with these.
type Check = fn(&Settings) -> Result<(), Error>;

/// Loads the settings of one binary.
#[derive(Debug, Clone)]
pub struct Loader {
    bin: &'static str,
    about: &'static str,
    example: String,
    defaults: Settings,
    check: Option<Check>,
}

impl Loader {
    /// For a binary of this name that has these settings besides [`COMMON`].
    pub fn new(bin: &'static str, about: &'static str, tables: &[&[Setting]]) -> Self {
        let tables: Vec<_> = std::iter::once(COMMON).chain(tables.iter().copied()).collect();
        let example = format!(
            "{bin} --data-path /var/lib/longbow --gossip-seeds 10.0.0.1,10.0.0.2 --cluster-secret-file secret"
        );
        Self {
            bin,
            about,
            example,
            defaults: Settings::defaults(&tables),
            check: None,
        }
    }

    /// Replaces the example in the help text.
    #[must_use]
    pub fn example(mut self, example: impl Into<String>) -> Self {
        self.example = example.into();
        self
    }

    /// Refuses, before it runs or prints, settings that the role would refuse: `|s| Config::from_settings(s).map(drop)`.
    #[must_use]
    pub fn check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    /// Nothing but the defaults, to be filled by [`Settings::set`].
    pub fn defaults(&self) -> Settings {
        self.defaults.clone()
    }

    /// Loads from the process's own arguments and environment.
    pub fn load(&self) -> Result<Loaded, Error> {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        self.load_from(
            std::env::args_os().map(lossy),
            std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))),
        )
    }

    /// Loads from given arguments (the first is the program's name) and environment.
    pub fn load_from(
        &self,
        args: impl IntoIterator<Item = String>,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, Error> {
        let env: Vec<(String, String)> = env.into_iter().collect();
        let command = flags::command(self.bin, self.about, &self.example, &self.defaults);
        let matches = match command.try_get_matches_from(args) {
            Ok(matches) => matches,
            Err(error) if !error.use_stderr() => return Ok(Loaded::Print(error.to_string())),
            Err(error) => {
                let text = error.to_string();
                let text = text.trim().strip_prefix("error: ").unwrap_or(&text).to_owned();
                return Err(Error::new(ErrorCode::InvalidValue, text));
            }
        };
        let mut settings = self.defaults.clone();
        if let Some(path) = config_path(&matches, &env) {
            file::read(&mut settings, &path)?;
        }
        env::apply(&mut settings, &env);
        flags::apply(&mut settings, &matches);
        let printed = matches.get_flag("print-config").then(|| print::render(&settings));
        if let Some(Err(error)) = self.check.map(|check| check(&settings)) {
            return Ok(Loaded::Refused(Refused {
                printed,
                warnings: settings.warnings,
                error,
            }));
        }
        Ok(printed.map_or_else(|| Loaded::Run(settings), Loaded::Print))
    }
}

fn config_path(matches: &clap::ArgMatches, env: &[(String, String)]) -> Option<PathBuf> {
    let from_env = || {
        env.iter()
            .find(|(name, _)| name == "LONGBOW_CONFIG")
            .map(|(_, value)| value)
    };
    matches
        .get_one::<String>("config")
        .or_else(from_env)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}
