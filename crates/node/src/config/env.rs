//! Values from the environment.

use super::{Settings, Source, suggest::nearest};

/// Variables of ours that are no settings: the loader's own, that of clients, the kernels'.
const OTHERS: [&str; 3] = ["LONGBOW_CONFIG", "LONGBOW_ENDPOINT", "LONGBOW_SIMD"];

/// Takes variables into the settings. Never fails: what is not understood is a warning, because Kubernetes injects
/// `LONGBOW_<SERVICE>_PORT=tcp://…` and its kin for every Service. An empty value counts as not set.
pub(super) fn apply(settings: &mut Settings, vars: &[(String, String)]) {
    let declared: Vec<_> = settings.declared.values().copied().collect();
    let mut known = Vec::new();
    for setting in declared {
        let mut found: Vec<(String, &str)> = Vec::new();
        for name in setting.env_names() {
            let value = vars
                .iter()
                .find(|(have, _)| *have == name)
                .map(|(_, value)| value.trim());
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                if is_service_link(value) {
                    let warning =
                        format!("{name}={value} looks injected by Kubernetes for a Service: ignored");
                    settings.warnings.push(warning);
                } else {
                    found.push((name.clone(), value));
                }
            }
            known.push(name);
        }
        let Some((first, value)) = found.first().cloned() else {
            continue;
        };
        let value = if setting.list {
            found
                .iter()
                .map(|(_, value)| *value)
                .collect::<Vec<_>>()
                .join(",")
        } else {
            for (name, _) in found.iter().skip(1).filter(|(_, other)| *other != value) {
                settings
                    .warnings
                    .push(format!("{name} is ignored: {first} is set too and comes first"));
            }
            value.to_owned()
        };
        let names = if setting.list {
            found
                .into_iter()
                .map(|(name, _)| name)
                .collect::<Vec<_>>()
                .join(", ")
        } else {
            first
        };
        settings.values.insert(setting.key, (value, Source::Env(names)));
    }
    warn_of_unknown(settings, vars, &known);
}

fn warn_of_unknown(settings: &mut Settings, vars: &[(String, String)], known: &[String]) {
    let ours = vars
        .iter()
        .filter(|(name, _)| name.starts_with("LONGBOW_") && !OTHERS.contains(&name.as_str()));
    let mut injected = 0;
    for (name, value) in ours.filter(|(name, _)| !known.contains(name)) {
        if is_service_link(value) || is_service_name(name) {
            injected += 1;
            continue;
        }
        let hint = nearest(name, known.iter().map(String::as_str));
        let hint = hint
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        settings
            .warnings
            .push(format!("unknown environment variable {name} is ignored{hint}"));
    }
    if injected > 0 {
        // They come by the dozen: one line for all.
        settings.warnings.push(format!(
            "{injected} LONGBOW_* variables that Kubernetes injects for Services are ignored; \
             enableServiceLinks: false keeps them away"
        ));
    }
}

/// `<SERVICE>_SERVICE_HOST`, `<SERVICE>_SERVICE_PORT[_<NAME>]`, `<SERVICE>_PORT_<N>_TCP[_ADDR|_PORT|_PROTO]`.
fn is_service_name(name: &str) -> bool {
    let port = || {
        let (_, rest) = name.split_once("_PORT_")?;
        let (number, rest) = rest.split_once('_')?;
        let protocol = rest.split('_').next()?;
        Some(number.bytes().all(|b| b.is_ascii_digit()) && ["TCP", "UDP", "SCTP"].contains(&protocol))
    };
    name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || port() == Some(true)
}

fn is_service_link(value: &str) -> bool {
    ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::COMMON;

    fn read(vars: &[(&str, &str)]) -> Settings {
        let vars: Vec<_> = vars
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let mut settings = Settings::defaults(&[COMMON]);
        apply(&mut settings, &vars);
        settings
    }

    #[test]
    fn what_kubernetes_injects_does_no_harm() {
        let settings = read(&[
            ("LONGBOW_GOSSIP_PORT", "tcp://10.0.0.1:7946"),
            ("LONGBOW_ROUTER_PORT", "tcp://10.0.0.2:3000"),
            ("LONGBOW_ROUTER_SERVICE_HOST", "10.0.0.2"),
            ("LONGBOW_ROUTER_PORT_3000_TCP_ADDR", "10.0.0.2"),
            ("LONGBOW_ROUTER_SERVICE_PORT_META", "3001"),
        ]);
        assert_eq!(
            settings.socket_addr("gossip.listen_addr"),
            Ok("0.0.0.0:7946".parse().unwrap())
        );
        assert_eq!(settings.source("gossip.listen_addr"), Some(&Source::Default));
        assert_eq!(settings.warnings().len(), 2, "{:?}", settings.warnings());
    }

    #[test]
    fn a_port_alone_is_an_address() {
        let settings = read(&[("LONGBOW_GOSSIP_PORT", "7000")]);
        assert_eq!(
            settings.socket_addr("gossip.listen_addr"),
            Ok("0.0.0.0:7000".parse().unwrap())
        );
        assert_eq!(
            settings.source("gossip.listen_addr").unwrap().to_string(),
            "environment LONGBOW_GOSSIP_PORT"
        );
    }

    #[test]
    fn lists_add_up_and_others_prefer_the_first_name() {
        let settings = read(&[
            ("LONGBOW_GOSSIP_DNS_RECORD", "peers.local"),
            ("LONGBOW_GOSSIP_STATIC_PEERS", "a:1,b:2"),
            ("LONGBOW_HTTP_LISTEN_ADDR", "1"),
            ("LONGBOW_METRICS_ADDR", "2"),
            ("LONGBOW_LOG_LEVEL", ""),
        ]);
        assert_eq!(settings.list("gossip.seeds"), ["a:1", "b:2", "peers.local"]);
        assert_eq!(settings.str("http.listen_addr"), Ok("1"));
        assert_eq!(settings.str("log.level"), Ok("info"));
        assert_eq!(settings.warnings().len(), 1, "{:?}", settings.warnings());
    }

    /// Names that stand in manifests of Longbow's users; routers and shards have more of them.
    #[test]
    fn names_known_from_manifests_are_taken() {
        for (name, key) in [
            ("LONGBOW_METRICS_ADDR", "http.listen_addr"),
            ("LONGBOW_DATA_PATH", "data_path"),
            ("LONGBOW_NODE_ID", "node.id"),
            ("LONGBOW_LOG_FORMAT", "log.format"),
            ("LONGBOW_LOG_LEVEL", "log.level"),
            ("LONGBOW_GOSSIP_PORT", "gossip.listen_addr"),
            ("LONGBOW_GOSSIP_ADVERTISE_ADDR", "gossip.advertise_addr"),
            ("LONGBOW_GOSSIP_STATIC_PEERS", "gossip.seeds"),
            ("LONGBOW_GOSSIP_DNS_RECORD", "gossip.seeds"),
        ] {
            let settings = read(&[(name, "value")]);
            assert_eq!(settings.str(key), Ok("value"), "{name}");
            assert!(settings.warnings().is_empty(), "{:?}", settings.warnings());
        }
    }

    #[test]
    fn slips_are_hinted_at() {
        let settings = read(&[
            ("LONGBOW_LOG_LEVL", "debug"),
            ("HOME", "/root"),
            ("LONGBOW_CONFIG", "x.toml"),
        ]);
        assert_eq!(
            settings.warnings(),
            ["unknown environment variable LONGBOW_LOG_LEVL is ignored; did you mean LONGBOW_LOG_LEVEL?"]
        );
    }
}
