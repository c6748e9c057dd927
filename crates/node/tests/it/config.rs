//! Settings from file, environment and flags together.

use std::{fs, time::Duration};

use longbow_node::config::{COMMON, Loaded, Loader, NodeConfig, Refused, Setting, Settings, Source};
use longbow_types::{ErrorCode, Role};
use proptest::prelude::*;
use tempfile::tempdir;

use crate::support::SECRET;

const OWN: &[Setting] = &[
    Setting::new("hnsw.m", "Links of a node in the graph").default("16"),
    Setting::new("shard.search_threads", "Threads that search").env(&["LONGBOW_THREADS"]),
    Setting::new("router.api_key", "Key that callers must show").secret(),
];

fn loader() -> Loader {
    Loader::new("longbow-shard", "Holds replicas.", &[OWN]).example("longbow-shard --hnsw-m 32")
}

fn load(args: &[&str], env: &[(&str, &str)]) -> Result<Loaded, longbow_types::Error> {
    let args = std::iter::once("longbow-shard")
        .chain(args.iter().copied())
        .map(str::to_owned);
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    loader().load_from(args, env)
}

fn run(args: &[&str], env: &[(&str, &str)]) -> Settings {
    match load(args, env) {
        Ok(Loaded::Run(settings)) => settings,
        other => panic!("{other:?}"),
    }
}

fn print(args: &[&str], env: &[(&str, &str)]) -> String {
    match load(args, env) {
        Ok(Loaded::Print(text)) => text,
        other => panic!("{other:?}"),
    }
}

proptest! {
    /// Of all the places that give a value, the one of highest rank holds, and says so.
    #[test]
    fn precedence(file in any::<Option<u16>>(), env in any::<Option<u16>>(), flag in any::<Option<u16>>()) {
        let dir = tempdir().unwrap();
        let path = dir.path().join("node.toml");
        let text = file.map_or(String::new(), |value| format!("[hnsw]\nm = {value}\n"));
        fs::write(&path, text).unwrap();
        let path = path.display().to_string();
        let (env_text, flag_text) = (env.map(|v| v.to_string()), flag.map(|v| v.to_string()));
        let mut args = vec!["--config", &path];
        args.extend(flag_text.iter().flat_map(|value| ["--hnsw-m", value]));
        let vars: Vec<_> = env_text.iter().map(|value| ("LONGBOW_HNSW_M", value.as_str())).collect();
        let settings = run(&args, &vars);

        let want = flag.or(env).or(file).map_or(16, u64::from);
        prop_assert_eq!(settings.u64("hnsw.m", 0..=u64::from(u16::MAX)), Ok(want));
        let source = settings.source("hnsw.m").unwrap().to_string();
        let named = match (flag, env, file) {
            (Some(_), _, _) => "flag --hnsw-m".to_owned(),
            (_, Some(_), _) => "environment LONGBOW_HNSW_M".to_owned(),
            (_, _, Some(_)) => format!("file {path}:2"),
            _ => "default".to_owned(),
        };
        prop_assert_eq!(source, named);
    }
}

#[test]
fn mistakes_are_errors_that_name_what_was_meant() {
    let error = load(&["--hnsw-n", "3"], &[]).unwrap_err();
    assert!(
        error.message.contains("--hnsw-n") && error.message.contains("--hnsw-m"),
        "{error}"
    );

    let error = load(&["--config", "/no/such/file.toml"], &[]).unwrap_err();
    assert!(error.message.contains("/no/such/file.toml"), "{error}");

    let dir = tempdir().unwrap();
    let path = dir.path().join("node.toml");
    fs::write(&path, "# ours\n[hnws]\nm = 3\n").unwrap();
    let error = load(&[], &[("LONGBOW_CONFIG", path.to_str().unwrap())]).unwrap_err();
    assert!(
        error
            .message
            .ends_with("node.toml:3: unknown key hnws.m; did you mean hnsw.m?"),
        "{error}"
    );
}

#[test]
fn values_that_cannot_be_read_name_key_source_and_form() {
    let settings = run(
        &["--gossip-probe-interval", "fast", "--http-listen-addr=metrics"],
        &[("LONGBOW_HNSW_M", "-3")],
    );
    let error = settings.u64("hnsw.m", 2..=128).unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::InvalidValue, Some("hnsw.m"))
    );
    assert_eq!(
        error.message,
        "hnsw.m = \"-3\" (from environment LONGBOW_HNSW_M) is not a whole number from 2 to 128"
    );
    let error = settings.duration("gossip.probe_interval").unwrap_err();
    assert!(
        error.message.contains("flag --gossip-probe-interval") && error.message.contains("250ms"),
        "{error}"
    );
    assert!(
        settings
            .socket_addr("http.listen_addr")
            .unwrap_err()
            .message
            .contains("IP:PORT")
    );
    let error = settings.u64("shard.search_threads", 1..=64).unwrap_err();
    assert_eq!(error.code, ErrorCode::MissingField);
    assert!(error.message.contains("--shard-search-threads"), "{error}");
    assert!(error.message.contains("LONGBOW_SHARD_SEARCH_THREADS"), "{error}");
}

#[test]
fn print_config_shows_every_key_its_source_and_no_secret() {
    let text = print(
        &[
            "--print-config",
            "--cluster-secret",
            "hush-hush-hush-hush",
            "--gossip-seeds",
            "a",
            "--gossip-seeds=b:1",
        ],
        &[
            ("LONGBOW_THREADS", "4"),
            ("LONGBOW_ROUTER_API_KEY", "hidden"),
            ("LONGBOW_FOO", "1"),
            ("LONGBOW_ENDPOINT", "http://localhost:3000"),
        ],
    );
    assert!(
        text.starts_with("# warning: unknown environment variable LONGBOW_FOO"),
        "{text}"
    );
    assert!(
        !text.contains("LONGBOW_ENDPOINT"),
        "a client's variable is no slip: {text}"
    );
    assert!(!text.contains("hush") && !text.contains("hidden"), "{text}");
    for line in [
        "secret = \"***\" # flag --cluster-secret",
        "api_key = \"***\" # environment LONGBOW_ROUTER_API_KEY",
        "seeds = \"a,b:1\" # flag --gossip-seeds",
        "search_threads = \"4\" # environment LONGBOW_THREADS",
        "m = \"16\" # default",
        "# data_path is not set",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
    let keys = COMMON.iter().chain(OWN).count();
    let lines = text
        .lines()
        .filter(|line| line.contains(" = ") || line.ends_with("is not set"))
        .count();
    assert_eq!(lines, keys);

    // What is printed is a file that gives the same again.
    let dir = tempdir().unwrap();
    let path = dir.path().join("again.toml");
    fs::write(&path, text.replace("***", "0123456789abcdef")).unwrap();
    let again = run(&["--config", path.to_str().unwrap()], &[]);
    assert_eq!(again.list("gossip.seeds"), ["a", "b:1"]);
}

#[test]
fn help_is_grouped_and_has_an_example() {
    let text = print(&["--help"], &[]);
    for part in [
        "Holds replicas.",
        "[gossip]:",
        "[hnsw]:",
        "General:",
        "--hnsw-m",
        "LONGBOW_GOSSIP_PORT",
        "Example:",
        "longbow-shard --hnsw-m 32",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(print(&["--version"], &[]).starts_with("longbow-shard "));
}

#[test]
fn a_node_needs_a_secret_worth_the_name() {
    let node = |settings: &Settings| NodeConfig::from_settings(settings, Role::Shard);
    let error = node(&run(&[], &[])).unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::MissingField, Some("cluster.secret"))
    );
    let error = node(&run(&["--cluster-secret", "short"], &[])).unwrap_err();
    assert!(
        error.to_string().contains("at least 16 bytes") && !error.to_string().contains("short"),
        "{error}"
    );

    let dir = tempdir().unwrap();
    let path = dir.path().join("secret");
    fs::write(&path, format!("{SECRET}\n")).unwrap();
    let path = path.to_str().unwrap();
    let config = node(&run(&["--cluster-secret-file", path], &[])).unwrap();
    assert_eq!(config.secret.expose(), SECRET.as_bytes());
    let both = node(&run(
        &["--cluster-secret-file", path, "--cluster-secret", SECRET],
        &[],
    ))
    .unwrap_err();
    assert!(both.message.contains("both"), "{both}");
    assert!(
        node(&run(&["--cluster-secret-file", "/no/such"], &[]))
            .unwrap_err()
            .message
            .contains("/no/such")
    );
}

#[test]
fn defaults_differ_by_role_and_all_of_them_are_read() {
    let settings = run(
        &["--cluster-secret", SECRET, "--gossip-seeds", "peers, 10.0.0.1:7"],
        &[("POD_IP", "10.1.2.3")],
    );
    for (role, port) in [(Role::Router, 3000), (Role::Shard, 3100), (Role::WalKeeper, 3200)] {
        let config = NodeConfig::from_settings(&settings, role).unwrap();
        assert_eq!(config.rpc_listen, ([0, 0, 0, 0], port).into());
        assert_eq!(config.pod_ip, Some([10, 1, 2, 3].into()));
        assert_eq!(config.gossip.probe_interval, Duration::from_secs(1));
        let seeds: Vec<_> = config
            .seeds
            .iter()
            .map(|seed| (seed.host.as_str(), seed.port))
            .collect();
        assert_eq!(seeds, [("peers", 7946), ("10.0.0.1", 7)]);
    }
    assert_eq!(settings.source("log.level"), Some(&Source::Default));
}

#[tokio::test]
async fn advertised_is_what_is_said_else_what_is_bound_else_the_pod_else_the_route() {
    let ask = async |args: &[&str], bound: &str| {
        let mut all = vec!["--cluster-secret", SECRET];
        all.extend(args);
        let config = NodeConfig::from_settings(&run(&all, &[]), Role::Shard).unwrap();
        let bound = bound.parse().unwrap();
        let rpc = longbow_node::advertise::rpc(&config, bound).await.unwrap();
        let gossip = longbow_node::advertise::gossip(&config, bound, rpc).await;
        (rpc.to_string(), gossip.unwrap().to_string())
    };
    let same = |text: &str| (text.to_owned(), text.to_owned());
    let pod = ["--node-pod-ip", "10.1.2.3"];
    assert_eq!(ask(&[], "0.0.0.0:31").await, same("127.0.0.1:31"));
    assert_eq!(ask(&[], "[::]:31").await, same("[::1]:31"));
    assert_eq!(
        ask(&["--gossip-seeds", "127.0.0.7:1"], "0.0.0.0:31").await,
        same("127.0.0.1:31")
    );
    assert_eq!(ask(&pod, "0.0.0.0:31").await, same("10.1.2.3:31"));
    assert_eq!(ask(&pod, "127.0.0.2:31").await, same("127.0.0.2:31"));
    let explicit = [
        &pod[..],
        &[
            "--rpc-advertise-addr",
            "127.0.0.5:99",
            "--gossip-advertise-addr",
            "localhost",
        ],
    ]
    .concat();
    assert_eq!(
        ask(&explicit, "0.0.0.0:31").await,
        ("127.0.0.5:99".to_owned(), "127.0.0.1:31".to_owned())
    );
    let one = [&pod[..], &["--rpc-advertise-addr", "127.0.0.5:99"]].concat();
    assert_eq!(
        ask(&one, "0.0.0.0:31").await,
        ("127.0.0.5:99".to_owned(), "127.0.0.5:31".to_owned())
    );
}

/// Where one half of a pair may be given, in rising rank.
const LAYERS: [&str; 3] = ["file", "env", "flag"];

/// Loads with a secret given in one layer and a secret's file in another.
fn pair(secret: &str, secret_file: &str, text: &str, path: &str) -> (Settings, String) {
    let dir = tempdir().unwrap();
    let config = dir.path().join("node.toml");
    let mut toml = "[cluster]\n".to_owned();
    let (mut env, mut args) = (Vec::new(), Vec::new());
    let halves = [
        (
            secret,
            text,
            "secret",
            "LONGBOW_CLUSTER_SECRET",
            "--cluster-secret",
        ),
        (
            secret_file,
            path,
            "secret_file",
            "LONGBOW_CLUSTER_SECRET_FILE",
            "--cluster-secret-file",
        ),
    ];
    for (layer, value, key, name, flag) in halves {
        match layer {
            "file" => toml.push_str(&format!("{key} = {value:?}\n")),
            "env" => env.push((name, value)),
            _ => args.extend([flag, value]),
        }
    }
    fs::write(&config, toml).unwrap();
    args.extend(["--config", config.to_str().unwrap()]);
    let settings = run(&args, &env);
    args.push("--print-config");
    (settings, print(&args, &env))
}

/// A secret and the file of a secret are one setting given in two ways: the layer of higher rank holds.
#[test]
fn of_a_secret_and_its_file_the_one_of_higher_rank_holds() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("secret");
    fs::write(&path, "the secret of the file").unwrap();
    let path = path.to_str().unwrap();
    for (direct_rank, direct) in LAYERS.iter().enumerate() {
        for (file_rank, by_file) in LAYERS.iter().enumerate() {
            let (settings, printed) = pair(direct, by_file, SECRET, path);
            let config = NodeConfig::from_settings(&settings, Role::Shard);
            let line = |name: &str| {
                printed
                    .lines()
                    .find(|line| line.contains(name))
                    .unwrap()
                    .to_owned()
            };
            if direct_rank == file_rank {
                let error = config.unwrap_err();
                assert_eq!(error.code, ErrorCode::InvalidValue);
                assert!(error.message.contains("both cluster.secret"), "{error}");
                continue;
            }
            let (want, idle, holds) = if direct_rank > file_rank {
                (SECRET, line("secret_file ="), "cluster.secret")
            } else {
                ("the secret of the file", line("secret ="), "cluster.secret_file")
            };
            let secret = config.unwrap().secret;
            assert_eq!(secret.expose(), want.as_bytes(), "{direct} and {by_file}");
            // What does not hold is printed as a comment, so that the printed file gives the same again.
            assert!(idle.starts_with("# "), "{idle}");
            assert!(idle.ends_with(&format!("overridden by {holds}")), "{idle}");
        }
    }
}

/// A pair set by the program itself outranks every layer, and an empty value counts as not given.
#[test]
fn the_program_has_the_last_word_on_a_pair() {
    let mut settings = run(&["--cluster-secret-file", "/no/such"], &[]);
    settings.set("cluster.secret", SECRET);
    let config = NodeConfig::from_settings(&settings, Role::Shard).unwrap();
    assert_eq!(config.secret.expose(), SECRET.as_bytes());
    let settings = run(&["--cluster-secret-file="], &[("LONGBOW_CLUSTER_SECRET", SECRET)]);
    let config = NodeConfig::from_settings(&settings, Role::Shard).unwrap();
    assert_eq!(config.secret.expose(), SECRET.as_bytes());
}

fn load_checked(args: &[&str], env: &[(&str, &str)]) -> Loaded {
    let args = std::iter::once("longbow-shard").chain(args.iter().copied());
    let env = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    loader()
        .check(|settings| {
            settings.u64("hnsw.m", 2..=128)?;
            NodeConfig::from_settings(settings, Role::Shard).map(drop)
        })
        .load_from(args.map(str::to_owned), env)
        .unwrap()
}

#[test]
fn what_a_start_would_refuse_is_refused_and_printed_if_asked() {
    let good = ["--cluster-secret", SECRET];
    assert!(matches!(load_checked(&good, &[]), Loaded::Run(_)));
    let Loaded::Print(text) = load_checked(&[&good[..], &["--print-config"]].concat(), &[]) else {
        panic!("a good configuration is refused");
    };
    assert!(text.contains("m = \"16\" # default"), "{text}");

    for (bad, field) in [
        (["--hnsw-m", "1"], "hnsw.m"),
        (["--gossip-probe-interval", "banana"], "gossip.probe_interval"),
        (["--log-format", "xml"], "log.format"),
        (["--log-level", "info=loud"], "log.level"),
    ] {
        for ask in [&[][..], &["--print-config"]] {
            let args = [&good[..], &bad, ask].concat();
            let Loaded::Refused(Refused {
                printed,
                warnings,
                error,
            }) = load_checked(&args, &[("LONGBOW_HNSW_N", "3")])
            else {
                panic!("{args:?} is taken");
            };
            assert_eq!(
                (error.code, error.field.as_deref()),
                (ErrorCode::InvalidValue, Some(field))
            );
            // A slip in a variable's name is often the reason.
            assert!(
                warnings.iter().any(|line| line.contains("LONGBOW_HNSW_N")),
                "{warnings:?}"
            );
            match printed {
                Some(text) => assert!(!ask.is_empty() && text.contains(bad[1]), "{text}"),
                None => assert!(ask.is_empty(), "nothing is printed"),
            }
        }
    }
    // Help needs no configuration.
    assert!(matches!(load_checked(&["--help"], &[]), Loaded::Print(_)));
}
