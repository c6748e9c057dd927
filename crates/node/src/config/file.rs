//! Values from a TOML file.

use std::path::Path;

use longbow_types::{Error, ErrorCode};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Settings, Source, suggest::nearest};

/// Reads a file into the settings.
pub(super) fn read(settings: &mut Settings, path: &Path) -> Result<(), Error> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::new(
            ErrorCode::InvalidValue,
            format!("cannot read the file {}: {error}", path.display()),
        )
        .field("config")
    })?;
    apply(settings, path, &text)
}

/// Takes a file's text into the settings.
pub(super) fn apply(settings: &mut Settings, path: &Path, text: &str) -> Result<(), Error> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        refuse(path, line, error.message())
    })?;
    walk(settings, path, text, "", table.get_ref())
}

fn walk(
    settings: &mut Settings,
    path: &Path,
    text: &str,
    prefix: &str,
    table: &DeTable<'_>,
) -> Result<(), Error> {
    for (name, value) in table {
        let line = line_of(text, name.span().start);
        let key = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        if let Some(declared) = settings.declared.get(key.as_str()).copied() {
            let Some(text) = text_of(value, declared.list) else {
                let form = if declared.list {
                    "text or an array of text"
                } else {
                    "text, a number, true or false"
                };
                return Err(refuse(path, line, &format!("{key} must be {form}")).field(key));
            };
            settings
                .values
                .insert(declared.key, (text, Source::File(path.to_owned(), Some(line))));
        } else if let DeValue::Table(inner) = value.get_ref()
            && (!inner.is_empty() || is_table(settings, &key))
        {
            walk(settings, path, text, &key, inner)?;
        } else {
            let hint = match value.get_ref() {
                DeValue::Table(_) => nearest(&key, tables(settings)),
                _ => nearest(&key, settings.declared.keys().copied()),
            };
            let hint = hint
                .map(|name| format!("; did you mean {name}?"))
                .unwrap_or_default();
            return Err(refuse(path, line, &format!("unknown key {key}{hint}")).field(key));
        }
    }
    Ok(())
}

/// The tables that hold declared keys.
fn tables(settings: &Settings) -> impl Iterator<Item = &'static str> {
    let keys = settings.declared.keys();
    keys.filter_map(|key| key.rsplit_once('.').map(|(table, _)| table))
}

fn is_table(settings: &Settings, key: &str) -> bool {
    tables(settings).any(|table| table == key)
}

fn text_of(value: &Spanned<DeValue<'_>>, list: bool) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Array(items) if list => {
            let items: Option<Vec<_>> = items.iter().map(|item| text_of(item, false)).collect();
            Some(items?.join(","))
        }
        DeValue::Array(_) | DeValue::Table(_) | DeValue::Datetime(_) => None,
    }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text
        .as_bytes()
        .iter()
        .take(at)
        .filter(|&&byte| byte == b'\n')
        .count()
}

fn refuse(path: &Path, line: usize, what: &str) -> Error {
    Error::new(
        ErrorCode::InvalidValue,
        format!("{}:{line}: {what}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::COMMON;

    fn read(text: &str) -> Result<Settings, Error> {
        let mut settings = Settings::defaults(&[COMMON]);
        apply(&mut settings, Path::new("node.toml"), text).map(|()| settings)
    }

    #[test]
    fn values_come_with_their_line() {
        let settings =
            read("data_path = \"/data\"\n[gossip]\nlisten_addr = 7000\nseeds = [\"a:1\", \"b\"]\n").unwrap();
        assert_eq!(settings.str("gossip.listen_addr").unwrap(), "7000");
        assert_eq!(settings.list("gossip.seeds"), ["a:1", "b"]);
        assert_eq!(
            settings.source("gossip.seeds").unwrap().to_string(),
            "file node.toml:4"
        );
        assert_eq!(
            settings.source("data_path").unwrap().to_string(),
            "file node.toml:1"
        );
        assert_eq!(settings.source("log.level"), Some(&Source::Default));
    }

    #[test]
    fn mistakes_name_file_line_and_the_nearest_key() {
        for (text, want) in [
            (
                "\n[gossip]\nlisten_adr = 1\n",
                "node.toml:3: unknown key gossip.listen_adr; did you mean gossip.listen_addr?",
            ),
            ("\nunheard_of = 1\n", "node.toml:2: unknown key unheard_of"),
            ("gossip.x.y = 1\n", "node.toml:1: unknown key gossip.x.y"),
            ("a = = 1\n", "node.toml:1: "),
            (
                "[log]\nlevel = [\"info\"]\n",
                "node.toml:2: log.level must be text, a number, true or false",
            ),
            ("log = 3\n", "node.toml:1: unknown key log"),
            (
                "[log]\n[gosip]\n",
                "node.toml:2: unknown key gosip; did you mean gossip?",
            ),
            ("[log]\nx = {}\n", "node.toml:2: unknown key log.x"),
            ("[log.level]\nx = 1\n", "node.toml:1: log.level must be"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidValue);
            assert!(error.message.starts_with(want), "{} / {want}", error.message);
        }
    }
}
