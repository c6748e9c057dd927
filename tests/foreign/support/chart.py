"""The chart as a real Helm renders it."""

import copy
import pathlib
import tomllib

import helm_python
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy" / "helm" / "longbow"
ROLES = ["router", "shard", "wal-keeper"]
EVERYTHING = {
    "cluster": {"existingSecret": "mine"},
    "ipFamily": "IPv6",
    "image": {"repository": "registry.example/longbow", "tag": "x", "pullSecrets": [{"name": "regcred"}]},
    "podLabels": {"team": "search"},
    "podAnnotations": {"note": "yes"},
    "router": {
        "replicas": 3,
        "apiKey": {"existingSecret": "keys"},
        "extraEnv": [{"name": "TZ", "value": "UTC"}],
        "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
        "nodeSelector": {"pool": "front"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
    },
    "shard": {"replicas": 4, "settings": {"hnsw.m": 24}, "storage": {"size": "1Ti", "storageClassName": "fast", "annotations": {"a": "b"}}},
    "walKeeper": {"replicas": 5, "podDisruptionBudget": {"enabled": False, "maxUnavailable": 1}},
    "metrics": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}},
}


def render(values=None, name="v", namespace="ns"):
    """Templates' output by file name, without the folder."""
    with helm_python.Chart.load(str(CHART)) as chart:
        files = chart.render(copy.deepcopy(values or {}), name=name, namespace=namespace, revision=1, is_install=True)
    return {path.split("/")[-1]: text for path, text in files.items()}


def objects(values=None, **where):
    """Every object made, by kind and name."""
    found = {}
    for path, text in render(values, **where).items():
        if path.endswith(".yaml"):
            for doc in yaml.safe_load_all(text):
                if doc:
                    key = (doc["kind"], doc["metadata"]["name"])
                    assert key not in found, f"{key} is made twice"
                    found[key] = doc
    return found


def lint(values):
    """Errors and warnings of `helm lint --strict`."""
    report = helm_python.lint(str(CHART), values, strict=True, namespace="ns", kube_version="v1.33.0")
    return report["errors"] + [m["error"] for m in report["messages"] if m["severity"] >= 2]


def pods(made):
    """The pod template of every workload, by role."""
    workloads = [doc for (kind, _), doc in made.items() if kind in ("Deployment", "StatefulSet")]
    return {doc["spec"]["template"]["spec"]["containers"][0]["name"]: doc["spec"]["template"] for doc in workloads}


def settings_of(made, role):
    """The settings file of a role, parsed."""
    return tomllib.loads(made[("ConfigMap", f"v-longbow-{role}")]["data"][f"{role}.toml"])


def lay_secrets(pod, folder):
    """Writes the files of a pod's mounted Secrets below a folder, as a kubelet would; where each mount path came to lie."""
    secrets = {volume["name"]: volume["secret"]["items"] for volume in pod["volumes"] if "secret" in volume}
    laid = {}
    for mount in pod["containers"][0]["volumeMounts"]:
        if mount["name"] in secrets:
            at = pathlib.Path(folder) / mount["name"]
            at.mkdir()
            for item in secrets[mount["name"]]:
                (at / item["path"]).write_text(f"a value of {item['key']}, long enough to be a secret")
            laid[f"{mount['mountPath']}/"] = f"{at}/"
    return laid
