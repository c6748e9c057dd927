//! What can be set about a router?

use std::net::SocketAddr;

use longbow_node::config::{NodeConfig, Secret, Setting, Settings};
use longbow_types::{Error, ErrorCode, Result, Role};

/// Settings of a router, besides those that every role has.
pub const SETTINGS: &[Setting] = &[
    Setting::new(
        "router.listen_addr",
        "Data port: every public API. Other nodes know the router by it",
    )
    .default("0.0.0.0:3000")
    .env(&["LONGBOW_LISTEN_ADDR"]),
    Setting::new(
        "router.meta_addr",
        "Meta port: the same APIs, where Flight clients expect control calls",
    )
    .default("0.0.0.0:3001")
    .env(&["LONGBOW_META_ADDR"]),
    Setting::new(
        "router.api_key",
        "Key that clients of the public APIs must send, `authorization: Bearer KEY` [default: none]",
    )
    .secret(),
    Setting::new(
        "router.api_key_file",
        "File that holds the key; white space at its ends is cut",
    ),
];

/// How a router runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// What every role has.
    pub node: NodeConfig,
    /// Data port.
    pub listen: SocketAddr,
    /// Meta port.
    pub meta: SocketAddr,
    /// Key of the public APIs.
    pub api_key: Option<Secret>,
}

impl Config {
    /// Reads and checks the settings.
    ///
    /// # Errors
    /// `INVALID_VALUE` or `MISSING_FIELD`, naming the setting.
    pub fn from_settings(settings: &Settings) -> Result<Self> {
        let api_key = settings.secret("router.api_key", "router.api_key_file")?;
        if api_key.as_ref().is_some_and(|key| key.expose().is_empty()) {
            // A key file that is mounted but empty must not open the doors.
            return Err(Error::new(ErrorCode::InvalidValue, "the API key is empty").field("router.api_key"));
        }
        if settings.opt_str("rpc.listen_addr").is_some() {
            // Nothing would listen there.
            return Err(settings.bad(
                "rpc.listen_addr",
                "for a router: other nodes call it where its clients do, at router.listen_addr",
            ));
        }
        Ok(Self {
            node: NodeConfig::from_settings(settings, Role::Router)?,
            listen: settings.socket_addr("router.listen_addr")?,
            meta: settings.socket_addr("router.meta_addr")?,
            api_key,
        })
    }
}
