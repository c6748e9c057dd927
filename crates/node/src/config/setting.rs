//! One setting, declared once: its key, what it means, where it may come from.

/// A declaration. Build tables of them as constants: `Setting::new("hnsw.m", "Links per node").default("16")`.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Key in the file, dots separating tables: `gossip.listen_addr`.
    pub key: &'static str,
    /// Names of environment variables besides the derived one, which is `LONGBOW_` and the key in upper case.
    pub env: &'static [&'static str],
    /// Value when nothing else is given.
    pub default: Option<&'static str>,
    /// For people: meaning, unit, bounds.
    pub help: &'static str,
    /// Whether the value must never be shown.
    pub secret: bool,
    /// Whether the value is a list: several variables add up, a file may give an array.
    pub list: bool,
}

impl Setting {
    /// A setting without a default.
    pub const fn new(key: &'static str, help: &'static str) -> Self {
        Self {
            key,
            env: &[],
            default: None,
            help,
            secret: false,
            list: false,
        }
    }

    /// With a default.
    #[must_use]
    pub const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }

    /// With further environment variables.
    #[must_use]
    pub const fn env(mut self, names: &'static [&'static str]) -> Self {
        self.env = names;
        self
    }

    /// A value that must never be shown.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// A list, written `a,b,c` or as an array in the file.
    #[must_use]
    pub const fn list(mut self) -> Self {
        self.list = true;
        self
    }

    /// Names of the environment variables, the derived one first.
    pub fn env_names(&self) -> impl Iterator<Item = String> {
        let derived = format!("LONGBOW_{}", self.key.replace('.', "_").to_uppercase());
        std::iter::once(derived).chain(self.env.iter().map(|&name| name.to_owned()))
    }

    /// Name of the flag, without the dashes: `gossip-listen-addr`.
    pub fn flag(&self) -> String {
        self.key.replace(['.', '_'], "-")
    }

    /// The table of the file that it stands in; empty for the top.
    pub fn group(&self) -> &'static str {
        self.key.split_once('.').map_or("", |(group, _)| group)
    }
}
