//! Protocol files are documented field by field, versioned, and named in one way.

use crate::{Finding, Tree};

/// Calls that answer with another call's message, because they are the same stream from another node.
const SHARED_ANSWERS: &[(&str, &str)] = &[("WatchShardCatalogue", "WatchCatalogueResponse")];

/// Finds what a reader of the protocol would stumble over.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let protos = tree.texts().filter(|(path, _)| path.ends_with(".proto"));
    protos
        .flat_map(|(path, text)| Linter::new(path).run(text))
        .collect()
}

/// What a block of braces is.
enum Scope {
    Message,
    Oneof,
    Enum { prefix: String, values: usize },
    Service,
}

struct Linter<'a> {
    path: &'a str,
    line: usize,
    commented: bool,
    scopes: Vec<Scope>,
    findings: Vec<Finding>,
}

impl<'a> Linter<'a> {
    fn new(path: &'a str) -> Self {
        Self {
            path,
            line: 0,
            commented: false,
            scopes: Vec::new(),
            findings: Vec::new(),
        }
    }

    fn run(mut self, text: &str) -> Vec<Finding> {
        if !text.starts_with("// ") {
            self.find("the file does not begin with a comment");
        }
        if !text.contains("\nsyntax = \"proto3\";") {
            self.find("the file is not proto3");
        }
        self.package(text);
        for (number, line) in text.lines().enumerate() {
            self.line = number + 1;
            let line = line.trim();
            if line.starts_with("//") {
                self.commented = true;
                continue;
            }
            self.statement(line);
            self.commented = false;
        }
        self.findings
    }

    fn find(&mut self, text: impl Into<String>) {
        self.findings.push(Finding::at(self.path, self.line, text));
    }

    fn wants_comment(&mut self, what: &str, name: &str) {
        if !self.commented {
            self.find(format!("{what} {name} has no comment"));
        }
    }

    fn package(&mut self, text: &str) {
        let package = text
            .lines()
            .find_map(|line| line.strip_prefix("package ")?.strip_suffix(';'));
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        match package {
            None => self.find("the file has no package"),
            Some(name) => {
                let version = name.rsplit('.').next().and_then(|last| last.strip_prefix('v'));
                if version.is_none_or(|digits| digits.parse::<u32>().is_err()) {
                    self.find(format!("package {name} has no version"));
                }
                if !folder.ends_with(&name.replace('.', "/")) {
                    self.find(format!("package {name} does not match the folder {folder}"));
                }
            }
        }
    }

    fn statement(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let opens = line.ends_with('{');
        let name = words.get(1).map_or("", |word| word.trim_end_matches(['{', '}']));
        match words.first().copied() {
            None | Some("syntax" | "package" | "import" | "option" | "reserved") => {}
            Some("}") => drop(self.scopes.pop()),
            Some("message") => self.open("message", name, Scope::Message, opens),
            Some("service") => self.open("service", name, Scope::Service, opens),
            Some("oneof") => self.open("oneof", name, Scope::Oneof, opens),
            Some("enum") => {
                let scope = Scope::Enum {
                    prefix: format!("{}_", upper_snake(name)),
                    values: 0,
                };
                self.open("enum", name, scope, opens);
            }
            Some("rpc") => self.rpc(line),
            Some(_) => self.member(&words),
        }
    }

    fn open(&mut self, what: &str, name: &str, scope: Scope, opens: bool) {
        self.wants_comment(what, name);
        if opens {
            self.scopes.push(scope);
        }
    }

    fn rpc(&mut self, line: &str) {
        let parts: Vec<&str> = line.split(['(', ')']).collect();
        let name = parts[0].trim_start_matches("rpc ").trim();
        self.wants_comment("rpc", name);
        let type_at = |at: usize| {
            parts
                .get(at)
                .map(|part| part.trim_start_matches("stream ").trim())
        };
        if SHARED_ANSWERS.contains(&(name, type_at(3).unwrap_or_default())) {
            return;
        }
        if type_at(1) != Some(&format!("{name}Request")) || type_at(3) != Some(&format!("{name}Response")) {
            self.find(format!(
                "rpc {name} does not go from {name}Request to {name}Response"
            ));
        }
    }

    fn member(&mut self, words: &[&str]) {
        let Some(equals) = words.iter().position(|word| *word == "=") else {
            return;
        };
        let name = words[equals - 1];
        match self.scopes.last_mut() {
            Some(Scope::Message | Scope::Oneof) => {
                self.wants_comment("field", name);
                if name.contains(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')) {
                    self.find(format!("field {name} is not in lower_snake_case"));
                }
            }
            Some(Scope::Enum { prefix, values }) => {
                let zero = format!("{prefix}UNSPECIFIED");
                let first = *values == 0;
                let starts = name.starts_with(prefix.as_str());
                *values += 1;
                self.wants_comment("value", name);
                if first && (name != zero || words.get(equals + 1) != Some(&"0;")) {
                    self.find(format!("the first value is not {zero} = 0"));
                }
                if !starts {
                    self.find(format!("value {name} does not begin with the name of its enum"));
                }
            }
            Some(Scope::Service) | None => {}
        }
    }
}

fn upper_snake(name: &str) -> String {
    let mut out = String::new();
    for (at, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "// Words.
syntax = \"proto3\";

package a.v1;

// Does.
service Doer {
  // Does it.
  rpc Do(stream DoRequest) returns (DoResponse);
}

// Kinds.
enum ThingKind {
  // None.
  THING_KIND_UNSPECIFIED = 0;
  // One.
  THING_KIND_ONE = 1;
}

// Asks.
message DoRequest {
  // Whose.
  oneof which {
    // A field.
    map<string, uint32> one_field = 1;
  }
}

// Answers.
message DoResponse {}
";

    fn findings(from: &str, to: &str) -> Vec<String> {
        assert!(GOOD.contains(from));
        let found = check(&Tree::of(&[("proto/a/v1/a.proto", &GOOD.replacen(from, to, 1))]));
        found.into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn a_good_file_passes() {
        assert_eq!(findings("Words", "Words"), [""; 0]);
    }

    #[test]
    fn each_fault_is_found() {
        let cases = [
            ("// Words.\n", "\n", "does not begin"),
            ("a.v1;", "a;", "no version"),
            ("a.v1;", "b.v1;", "does not match"),
            ("  // Does it.\n", "", "rpc Do has no comment"),
            ("// Kinds.\n", "", "enum ThingKind has no comment"),
            ("  // One.\n", "", "value THING_KIND_ONE has no comment"),
            ("  // Whose.\n", "", "oneof which has no comment"),
            ("    // A field.\n", "", "field one_field has no comment"),
            ("// Answers.\n", "", "message DoResponse has no comment"),
            (
                "THING_KIND_UNSPECIFIED = 0",
                "THING_KIND_NONE = 0",
                "is not THING_KIND_UNSPECIFIED",
            ),
            ("THING_KIND_ONE", "ONE", "does not begin with the name"),
            ("(DoResponse)", "(Answer)", "does not go from"),
            ("one_field", "oneField", "lower_snake_case"),
        ];
        for (from, to, expected) in cases {
            let found = findings(from, to);
            assert!(
                found.iter().any(|text| text.contains(expected)),
                "{from:?} -> {to:?}: {found:?}"
            );
        }
    }
}
