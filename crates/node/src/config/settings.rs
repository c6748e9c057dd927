//! Resolved values with their provenance, and typed access to them.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use longbow_types::{Error, ErrorCode};

use super::Setting;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The declaration.
    Default,
    /// A file, at a line if that is known.
    File(PathBuf, Option<usize>),
    /// Environment variables.
    Env(String),
    /// A flag.
    Flag(String),
    /// The program itself: a role started inside another program.
    Program,
}

impl Source {
    /// The higher rank holds.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Source::Default => 0,
            Source::File(..) => 1,
            Source::Env(_) => 2,
            Source::Flag(_) => 3,
            Source::Program => 4,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(path, Some(line)) => write!(f, "file {}:{line}", path.display()),
            Source::File(path, None) => write!(f, "file {}", path.display()),
            Source::Env(name) => write!(f, "environment {name}"),
            Source::Flag(name) => write!(f, "flag --{name}"),
            Source::Program => f.write_str("program"),
        }
    }
}

/// Resolved values. Asking for a key that no table declares is a defect and panics in the role's first test.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(super) declared: BTreeMap<&'static str, Setting>,
    pub(super) values: BTreeMap<&'static str, (String, Source)>,
    pub(super) warnings: Vec<String>,
}

impl Settings {
    /// Nothing but the defaults of these tables. Of two declarations of a key the later holds.
    pub fn defaults(tables: &[&[Setting]]) -> Self {
        let declared: BTreeMap<_, _> = tables.iter().copied().flatten().map(|s| (s.key, *s)).collect();
        let values = declared
            .values()
            .filter_map(|s| Some((s.key, (s.default?.to_owned(), Source::Default))))
            .collect();
        Self {
            declared,
            values,
            warnings: Vec::new(),
        }
    }

    /// Sets a value from inside the program, for roles that are started by another program and for tests.
    pub fn set(&mut self, key: &str, value: impl fmt::Display) -> &mut Self {
        let key = self.declaration(key).key;
        self.values.insert(key, (value.to_string(), Source::Program));
        self
    }

    /// What an operator should be told once logging works.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where a value came from; none if there is no value.
    pub fn source(&self, key: &str) -> Option<&Source> {
        self.values
            .get(self.declaration(key).key)
            .map(|(_, source)| source)
    }

    /// The value as text, if there is one that is not empty.
    pub fn opt_str(&self, key: &str) -> Option<&str> {
        let (text, _) = self.values.get(self.declaration(key).key)?;
        Some(text.trim()).filter(|text| !text.is_empty())
    }

    /// The value as text.
    pub fn str(&self, key: &str) -> Result<&str, Error> {
        self.opt_str(key).ok_or_else(|| self.missing(key))
    }

    /// `true` or `false`.
    pub fn bool(&self, key: &str) -> Result<bool, Error> {
        self.parse(key, "true or false", |text| match text {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        })
    }

    /// A whole number inside bounds.
    pub fn u64(&self, key: &str, bounds: RangeInclusive<u64>) -> Result<u64, Error> {
        let form = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        self.parse(key, &form, |text| {
            let number = text.replace('_', "").parse().ok()?;
            bounds.contains(&number).then_some(number)
        })
    }

    /// A whole number inside bounds, as `usize`.
    pub fn usize(&self, key: &str, bounds: RangeInclusive<u64>) -> Result<usize, Error> {
        let number = self.u64(key, bounds)?;
        usize::try_from(number).map_err(|_| self.bad(key, "a number that fits this machine"))
    }

    /// A time such as `250ms`, `3s`, `1m30s`; at least a microsecond.
    pub fn duration(&self, key: &str) -> Result<Duration, Error> {
        self.parse(key, "a time such as 250ms, 3s, 5m or 1h", parse_duration)
    }

    /// An address to listen on: `IP:PORT`, `[IPv6]:PORT`, or just a port for all addresses.
    pub fn socket_addr(&self, key: &str) -> Result<SocketAddr, Error> {
        self.parse(key, "IP:PORT, [IPv6]:PORT, or just a port", parse_listen)
    }

    /// Like [`Settings::socket_addr`], none if not given.
    pub fn opt_socket_addr(&self, key: &str) -> Result<Option<SocketAddr>, Error> {
        self.opt_str(key).map(|_| self.socket_addr(key)).transpose()
    }

    /// Comma-separated items, white space cut, empty ones left out.
    pub fn list(&self, key: &str) -> Vec<String> {
        let items = self.opt_str(key).unwrap_or_default().split(',');
        items
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// `HOST[:PORT]` items; those without a port get the default one.
    pub fn host_ports(&self, key: &str, default_port: u16) -> Result<Vec<(String, u16)>, Error> {
        let form = "HOST or HOST:PORT, comma-separated";
        let items = self.list(key);
        items
            .iter()
            .map(|item| parse_host_port(item, default_port).ok_or_else(|| self.bad(key, form)))
            .collect()
    }

    /// One `HOST[:PORT]`, if given.
    pub fn opt_host_port(&self, key: &str, default_port: u16) -> Result<Option<(String, u16)>, Error> {
        let Some(text) = self.opt_str(key) else {
            return Ok(None);
        };
        let parsed = parse_host_port(text, default_port);
        parsed.map(Some).ok_or_else(|| self.bad(key, "HOST or HOST:PORT"))
    }

    /// A path, if given.
    pub fn opt_path(&self, key: &str) -> Option<PathBuf> {
        self.opt_str(key).map(PathBuf::from)
    }

    /// A path.
    pub fn path(&self, key: &str) -> Result<PathBuf, Error> {
        self.str(key).map(PathBuf::from)
    }

    /// Anything that can be read from text: node ids, enums.
    pub fn parsed<T: FromStr>(&self, key: &str, form: &str) -> Result<T, Error> {
        self.parse(key, form, |text| text.parse().ok())
    }

    /// The error of a value that cannot be used: names the key, where the value came from, and what is accepted.
    pub fn bad(&self, key: &str, form: &str) -> Error {
        let declared = self.declaration(key);
        let Some((text, source)) = self.values.get(declared.key) else {
            return self.missing(key);
        };
        let shown = if declared.secret { "***" } else { text };
        Error::new(
            ErrorCode::InvalidValue,
            format!("{key} = {shown:?} (from {source}) is not {form}"),
        )
        .field(key.to_owned())
        .limit(form)
    }

    /// The error of a value that is needed and not there: names every way to give it.
    pub fn missing(&self, key: &str) -> Error {
        let declared = self.declaration(key);
        let env = declared.env_names().next().unwrap_or_default();
        let message = format!(
            "{key} is not set: give it in the file, as {env} or as --{}. {}",
            declared.flag(),
            declared.help
        );
        Error::new(ErrorCode::MissingField, message).field(key.to_owned())
    }

    fn parse<T>(&self, key: &str, form: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
        parse(self.str(key)?).ok_or_else(|| self.bad(key, form))
    }

    pub(super) fn declaration(&self, key: &str) -> &Setting {
        match self.declared.get(key) {
            Some(declared) => declared,
            None => panic!("setting {key} is not in any table: declare it"),
        }
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let seconds = match rest[..end].trim() {
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        rest = &rest[end..];
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
    }
    (total >= Duration::from_micros(1)).then_some(total)
}

fn parse_listen(text: &str) -> Option<SocketAddr> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) {
        return Some(SocketAddr::new(
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            port.parse().ok()?,
        ));
    }
    text.parse().ok()
}

fn parse_host_port(text: &str, default_port: u16) -> Option<(String, u16)> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Some((addr.ip().to_string(), addr.port()));
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some((ip.to_string(), default_port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (text, default_port),
    };
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (!host.is_empty() && host.len() <= 253 && host.chars().all(valid)).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read_with_their_units() {
        for (text, ms) in [
            ("250ms", 250),
            ("3s", 3000),
            ("1m30s", 90_000),
            ("0.5s", 500),
            ("1h", 3_600_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in [
            "",
            "3",
            "s",
            "0s",
            "-1s",
            "3x",
            "1s2",
            "1e400s",
            "99999999999999999999h",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_may_be_just_a_port() {
        assert_eq!(parse_listen("7946"), "0.0.0.0:7946".parse().ok());
        assert_eq!(parse_listen(":7946"), "0.0.0.0:7946".parse().ok());
        assert_eq!(parse_listen("[::]:80"), "[::]:80".parse().ok());
        for bad in ["", ":", "65536", "localhost:80", "tcp://10.0.0.1:7946"] {
            assert_eq!(parse_listen(bad), None, "{bad}");
        }
    }

    #[test]
    fn hosts_get_the_default_port() {
        let read = |text| parse_host_port(text, 7946);
        assert_eq!(read("a.b"), Some(("a.b".to_owned(), 7946)));
        assert_eq!(read("a.b:1"), Some(("a.b".to_owned(), 1)));
        assert_eq!(read("10.0.0.1"), Some(("10.0.0.1".to_owned(), 7946)));
        assert_eq!(read("::1"), Some(("::1".to_owned(), 7946)));
        assert_eq!(read("[::1]:5"), Some(("::1".to_owned(), 5)));
        for bad in ["", ":1", "a:b", "a:70000", "a b", "tcp://a:1"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let table = [Setting::new("k", "A key").secret()];
        let mut settings = Settings::defaults(&[&table]);
        settings.set("k", "hush");
        assert!(!settings.u64("k", 0..=1).unwrap_err().to_string().contains("hush"));
    }

    proptest! {
        #[test]
        fn readers_never_panic(text in "\\PC{0,24}") {
            let _ = parse_duration(&text);
            let _ = parse_listen(&text);
            let _ = parse_host_port(&text, 1);
        }

        #[test]
        fn numbers_keep_to_their_bounds(number in any::<u64>(), low in 0..50_u64, high in 50..100_u64) {
            let table = [Setting::new("n", "A number")];
            let mut settings = Settings::defaults(&[&table]);
            settings.set("n", number);
            prop_assert_eq!(settings.u64("n", low..=high).is_ok(), (low..=high).contains(&number));
        }
    }
}
