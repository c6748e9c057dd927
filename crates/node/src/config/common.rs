//! Settings every role has.

use super::Setting;

/// Settings every role has.
pub const COMMON: &[Setting] = &[
    Setting::new(
        "cluster.id",
        "Identity of the cluster; nodes of another cluster are refused",
    )
    .default("longbow"),
    Setting::new(
        "cluster.secret",
        "Secret shared by all nodes; authenticates RPC and gossip. At least 16 bytes",
    )
    .secret(),
    Setting::new(
        "cluster.secret_file",
        "File that holds the secret; white space at its ends is cut",
    ),
    Setting::new(
        "node.id",
        "Identity of the node, unique in the cluster and kept over restarts \
         [default: as stored in data_path, else HOSTNAME-ROLE]",
    ),
    Setting::new(
        "node.pod_ip",
        "Address of the pod, used where nothing is advertised explicitly",
    )
    .env(&["POD_IP"]),
    Setting::new("data_path", "Directory for what the node keeps"),
    Setting::new(
        "rpc.listen_addr",
        "Where to listen for other nodes; not for routers, which have router.listen_addr \
         [default: 0.0.0.0:3100 (shard), 0.0.0.0:3200 (wal-keeper)]",
    ),
    Setting::new(
        "rpc.advertise_addr",
        "Where other nodes reach the RPC, HOST or HOST:PORT [default: the pod's address, else the one on the route to a seed]",
    ),
    Setting::new(
        "gossip.listen_addr",
        "UDP address to listen on for gossip, or just a port",
    )
    .default("0.0.0.0:7946")
    .env(&["LONGBOW_GOSSIP_PORT"]),
    Setting::new(
        "gossip.advertise_addr",
        "Where other nodes reach the gossip, HOST or HOST:PORT [default: as rpc.advertise_addr]",
    ),
    Setting::new(
        "gossip.seeds",
        "Nodes to join by, HOST[:PORT] each; a name may stand for many nodes (a headless Service)",
    )
    .env(&["LONGBOW_GOSSIP_STATIC_PEERS", "LONGBOW_GOSSIP_DNS_RECORD"])
    .list(),
    Setting::new("gossip.probe_interval", "How often to probe one other node").default("1s"),
    Setting::new(
        "gossip.suspect_timeout",
        "How long a node that does not answer may take to object before it is down",
    )
    .default("3s"),
    Setting::new(
        "gossip.announce_interval",
        "How often to look the seeds up and call them while no other node is known",
    )
    .default("1s"),
    Setting::new(
        "http.listen_addr",
        "Where to serve /metrics, /healthz and /readyz, or just a port",
    )
    .default("0.0.0.0:9090")
    .env(&["LONGBOW_METRICS_ADDR"]),
    Setting::new(
        "log.level",
        "error, warn, info, debug, trace, or target=level pairs",
    )
    .default("info"),
    Setting::new("log.format", "text or json").default("text"),
];
