"""Does a real Helm accept the chart, and does Kubernetes accept what it makes?"""

import base64
import json
import re
import unittest

import helm_python
import kubernetes_validate
import yaml

from support import kube
from support.chart import CHART, EVERYTHING, ROLES, ROOT, lint, objects, pods, render, settings_of

NEEDS = []
VERSIONS = ["1.32", "1.34", "1.37"]


class Rendering(unittest.TestCase):
    def test_lint(self):
        for values in ({}, EVERYTHING):
            self.assertEqual(lint(values), [])

    def test_objects_are_valid_for_kubernetes(self):
        checked = 0
        for values in ({}, EVERYTHING):
            for (kind, name), doc in objects(values).items():
                if "coreos" in doc["apiVersion"]:
                    continue
                for version in VERSIONS:
                    with self.subTest(kind=kind, name=name, version=version):
                        kubernetes_validate.validate(doc, version, strict=True)
                        checked += 1
        self.assertGreater(checked, 60)

    def test_the_validator_sees_faults(self):
        doc = objects()[("Deployment", "v-longbow-router")]
        doc["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPrt"] = 1
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(doc, "1.34", strict=True)

    def test_templates_are_named_by_role_and_kind(self):
        kinds = {"Service": "service", "ConfigMap": "configmap", "PodDisruptionBudget": "poddisruptionbudget"}
        for path, text in render(EVERYTHING).items():
            if not path.endswith(".yaml"):
                continue
            for doc in yaml.safe_load_all(text):
                if doc:
                    kind = kinds.get(doc["kind"], doc["kind"].lower())
                    self.assertRegex(path, rf"^(router|shard|wal-keeper|cluster)-([a-z]+-)*{kind}\.yaml$")
                    self.assertTrue(path.startswith(doc["metadata"]["labels"]["app.kubernetes.io/component"]))

    def test_names_fit_where_kubernetes_puts_them(self):
        made = objects(name="a" * 53)
        for kind, name in made:
            # A router's pod adds "-xxxxxxxxxx-xxxxx"; node ids are pod names and hold 63.
            room = 63 - 17 if kind == "Deployment" else 63 - 12 if kind == "StatefulSet" else 63
            self.assertLessEqual(len(name), room, (kind, name))


class Promises(unittest.TestCase):
    """What the chart promises, on what it makes."""

    def setUp(self):
        self.made = objects()

    def test_every_pod_is_confined_and_probed(self):
        for role, template in pods(self.made).items():
            pod, container = template["spec"], template["spec"]["containers"][0]
            with self.subTest(role=role):
                self.assertIs(pod["enableServiceLinks"], False)
                self.assertIs(pod["automountServiceAccountToken"], False)
                self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
                self.assertEqual(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault")
                self.assertIs(container["securityContext"]["readOnlyRootFilesystem"], True)
                self.assertIs(container["securityContext"]["allowPrivilegeEscalation"], False)
                self.assertEqual(container["securityContext"]["capabilities"]["drop"], ["ALL"])
                self.assertEqual(container["readinessProbe"]["httpGet"], {"path": "/readyz", "port": "http"})
                self.assertEqual(container["livenessProbe"]["httpGet"], {"path": "/healthz", "port": "http"})
                self.assertIn("memory", container["resources"]["limits"])
                keys = {spread["topologyKey"] for spread in pod["topologySpreadConstraints"]}
                self.assertEqual(keys, {"kubernetes.io/hostname", "topology.kubernetes.io/zone"})

    def test_every_pod_advertises_itself_by_the_downward_api(self):
        for values, address in (({}, "$(POD_IP)"), ({"ipFamily": "IPv6"}, "[$(POD_IP)]")):
            for role, template in pods(objects(values)).items():
                env = template["spec"]["containers"][0]["env"]
                names = [entry["name"] for entry in env]
                env = {entry["name"]: entry for entry in env}
                with self.subTest(role=role, address=address):
                    self.assertEqual(env["POD_IP"]["valueFrom"]["fieldRef"]["fieldPath"], "status.podIP")
                    self.assertEqual(env["LONGBOW_GOSSIP_ADVERTISE_ADDR"]["value"], f"{address}:7946")
                    self.assertTrue(env["LONGBOW_RPC_ADVERTISE_ADDR"]["value"].startswith(f"{address}:"))
                    self.assertEqual(env["LONGBOW_NODE_ID"]["value"], "$(POD_NAME)")
                    # Kubernetes expands only what stands before.
                    self.assertLess(names.index("POD_IP"), names.index("LONGBOW_GOSSIP_ADVERTISE_ADDR"))
                    self.assertLess(names.index("POD_NAME"), names.index("LONGBOW_NODE_ID"))

    def test_quorum_and_dns_do_not_wait_for_each_other(self):
        for role in ("shard", "wal-keeper"):
            workload = self.made[("StatefulSet", f"v-longbow-{role}")]
            service = self.made[("Service", f"v-longbow-{role}-headless")]
            self.assertEqual(workload["spec"]["podManagementPolicy"], "Parallel")
            self.assertEqual(workload["spec"]["serviceName"], service["metadata"]["name"])
            self.assertIs(service["spec"]["publishNotReadyAddresses"], True)
            self.assertEqual(service["spec"]["clusterIP"], "None")
            claims = [claim["metadata"]["name"] for claim in workload["spec"]["volumeClaimTemplates"]]
            mounts = workload["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
            self.assertEqual(claims, ["data"])
            self.assertIn({"name": "data", "mountPath": "/var/lib/longbow"}, mounts)

    def test_services_select_pods_and_name_their_ports(self):
        for (kind, name), service in self.made.items():
            if kind != "Service":
                continue
            role = service["spec"]["selector"]["app.kubernetes.io/component"]
            template = pods(self.made)[role]
            self.assertLessEqual(service["spec"]["selector"].items(), template["metadata"]["labels"].items())
            ports = template["spec"]["containers"][0]["ports"]
            ports = {p["name"]: p["containerPort"] for p in ports} | {p["containerPort"]: p["containerPort"] for p in ports}
            for port in service["spec"]["ports"]:
                self.assertIn(port["targetPort"], ports, (name, port))

    def test_every_role_has_a_budget(self):
        for role in ROLES:
            budget = self.made[("PodDisruptionBudget", f"v-longbow-{role}")]
            labels = pods(self.made)[role]["metadata"]["labels"]
            self.assertLessEqual(budget["spec"]["selector"]["matchLabels"].items(), labels.items())

    def test_seeds_and_voters_are_what_the_chart_makes(self):
        made = objects({"walKeeper": {"replicas": 5}})
        for role in ROLES:
            settings = settings_of(made, role)
            for seed in settings["gossip"]["seeds"]:
                host, port = seed.rsplit(":", 1)
                service, namespace, svc = host.split(".")
                self.assertEqual((namespace, svc, port), ("ns", "svc", "7946"))
                self.assertIs(made[("Service", service)]["spec"]["publishNotReadyAddresses"], True)
        keepers = made[("StatefulSet", "v-longbow-wal-keeper")]
        names = [f"{keepers['metadata']['name']}-{n}" for n in range(keepers["spec"]["replicas"])]
        self.assertEqual(settings_of(made, "wal-keeper")["keeper"]["initial_voters"], names)

    def test_a_change_of_settings_restarts_the_pods(self):
        change = {"shard": {"settings": {"hnsw.m": 24}}}
        before, after = pods(self.made), pods(objects(change))
        for role in ROLES:
            same = before[role]["metadata"]["annotations"] == after[role]["metadata"]["annotations"]
            self.assertEqual(same, role != "shard")

    def test_the_secret_is_made_unless_there_is_one(self):
        secret = self.made[("Secret", "v-longbow-cluster")]
        self.assertEqual(set(secret["data"]), {"cluster-id", "cluster-secret"})
        self.assertEqual(secret["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")
        other = objects()[("Secret", "v-longbow-cluster")]
        self.assertNotEqual(secret["data"], other["data"], "two installs share a secret")
        mine = objects({"cluster": {"existingSecret": "mine"}})
        self.assertFalse([key for key in mine if key[0] == "Secret"])
        for template in pods(mine).values():
            volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
            self.assertEqual(volumes["cluster"]["secret"]["secretName"], "mine")

    def test_dashboard_and_alerts_are_the_ones_of_the_repository(self):
        made = objects(EVERYTHING)
        board = json.loads(made[("ConfigMap", "v-longbow-dashboard")]["data"]["longbow.json"])
        self.assertEqual(board, json.loads((ROOT / "deploy/grafana/longbow.json").read_text()))
        rules = made[("PrometheusRule", "v-longbow")]["spec"]
        self.assertEqual(rules, yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text()))


def upgrade(there, values=None):
    """Objects that an upgrade makes in a cluster that holds `there`, by path."""
    with kube.Server(there) as server:
        with helm_python.Config(kube_apiserver=server.url, namespace="ns", storage_driver="memory") as cluster:
            with helm_python.Chart.load(str(CHART)) as chart:
                files = cluster.render(chart, values or {}, name="v", namespace="ns", is_upgrade=True)
    documents = [doc for path, text in files.items() if path.endswith(".yaml") for doc in yaml.safe_load_all(text)]
    return {(doc["kind"], doc["metadata"]["name"]): doc for doc in documents if doc}


class Upgrades(unittest.TestCase):
    """What the chart does where an installation stands already."""

    data = {"cluster-id": base64.b64encode(b"v-longbow-abc").decode(), "cluster-secret": "c2VjcmV0"}
    secret = {
        "/api/v1/namespaces/ns/secrets/v-longbow-cluster": {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "v-longbow-cluster", "namespace": "ns"},
            "data": data,
        }
    }
    keepers = {
        "/apis/apps/v1/namespaces/ns/statefulsets/v-longbow-wal-keeper": {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "v-longbow-wal-keeper", "namespace": "ns"},
            "spec": {"replicas": 3},
        }
    }

    def test_the_secret_stays(self):
        made = upgrade(self.secret | self.keepers)
        self.assertEqual(made[("Secret", "v-longbow-cluster")]["data"], self.data)
        same = upgrade(self.secret, {"cluster": {"id": "v-longbow-abc"}})
        self.assertEqual(same[("Secret", "v-longbow-cluster")]["data"], self.data)

    def test_without_one_it_is_made(self):
        made = upgrade({})
        self.assertNotEqual(made[("Secret", "v-longbow-cluster")]["data"], self.data)

    def test_an_identity_never_changes(self):
        with self.assertRaisesRegex(helm_python.HelmError, "an identity never changes"):
            upgrade(self.secret, {"cluster": {"id": "other"}})

    def test_the_number_of_keepers_never_changes(self):
        with self.assertRaisesRegex(helm_python.HelmError, "formed of 3"):
            upgrade(self.secret | self.keepers, {"walKeeper": {"replicas": 5}})
        made = upgrade(self.secret | self.keepers, {"shard": {"replicas": 9}})
        self.assertEqual(made[("StatefulSet", "v-longbow-shard")]["spec"]["replicas"], 9)


class Values(unittest.TestCase):
    def test_bad_values_are_refused_by_name(self):
        bad = [
            ({"walKeeper": {"replicas": 2}}, "replicas"),
            ({"walKeeper": {"replicas": 0}}, "replicas"),
            ({"router": {"replicas": "two"}}, "replicas"),
            ({"router": {"replica": 2}}, "replica"),
            ({"shards": {"replicas": 2}}, "shards"),
            ({"shard": {"storage": {"size": "20 GB"}}}, "size"),
            ({"shard": {"settings": {"HNSW_M": 16}}}, "HNSW_M"),
            ({"shard": {"settings": {"hnsw": {"m": 16}}}}, "settings"),
            ({"log": {"format": "xml"}}, "format"),
            ({"ipFamily": "IPv5"}, "ipFamily"),
            ({"router": {"service": {"port": 70000}}}, "port"),
            ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
            ({"cluster": {"id": "two words"}}, "id"),
            ({"fullnameOverride": "x" * 39}, "fullnameOverride"),
            ({"walKeeper": {"podDisruptionBudget": {"enabled": True, "maxUnavailable": 3}}}, "maxUnavailable"),
        ]
        for values, name in bad:
            with self.subTest(values=values):
                errors = lint(values)
                self.assertTrue(errors, "accepted")
                self.assertIn(name, " ".join(errors))

    def test_values_and_schema_are_one_list(self):
        values = yaml.safe_load((CHART / "values.yaml").read_text())
        schema = json.loads((CHART / "values.schema.json").read_text())
        self.assertEqual(list(difference(values, schema, "")), [])

    def test_every_value_is_documented_where_it_stands(self):
        lines = (CHART / "values.yaml").read_text().splitlines()
        containers = {"image", "cluster", "log", "serviceAccount", "router", "shard", "walKeeper", "metrics"}
        containers |= {"apiKey", "service", "podDisruptionBudget", "storage", "serviceMonitor", "prometheusRule", "dashboards"}
        undocumented = []
        for number, line in enumerate(lines):
            key = re.match(r"^( *)([a-zA-Z]+):", line)
            inner = key and number > 0 and lines[number - 1].strip() in ("resources:", "labels:")
            if not key or key[2] in containers or inner or key[2] in ("requests", "limits"):
                continue
            above = [text.strip() for text in lines[max(0, number - 4) : number]]
            if not any(text.startswith("# -- ") for text in above) or not above[-1].startswith("#"):
                undocumented.append(line.strip())
        self.assertEqual(undocumented, [])


def difference(values, schema, path):
    """Keys that only one of values and schema has."""
    properties = schema.get("properties")
    if properties is None or not isinstance(values, dict):
        return
    optional = {"global", "claims"}
    for key in set(values) ^ set(properties) - (optional - set(values)):
        yield f"{path}{key}"
    for key in set(values) & set(properties):
        yield from difference(values[key], properties[key], f"{path}{key}.")
