"""Does Prometheus accept the rules, the metrics of a live cluster, and every query of the dashboard?"""

import json
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import yaml

from support import demo, traffic

NEEDS = ["longbow", "promtool", "prometheus"]
ROOT = pathlib.Path(__file__).resolve().parents[3]
RULES = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "longbow.json"


def promtool(*arguments, stdin=None):
    """Exit code and all output."""
    run = subprocess.run(["promtool", *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=60)
    return run.returncode, run.stdout + run.stderr


class Rules(unittest.TestCase):
    def test_the_rules_are_rules(self):
        code, output = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES / "alerts.yml")
        self.assertEqual(code, 0, output)

    def test_the_rules_do_what_their_tests_say(self):
        code, output = promtool("test", "rules", RULES / "alerts_test.yml")
        self.assertEqual(code, 0, output)

    def test_the_tests_see_a_broken_rule(self):
        broken = (
            ("longbow_latch_tripped) > 0", "longbow_latch_tripped) > 1"),
            ("for: 1m", "for: 10m"),
            ("longbow_replicas_lost) > 0", "longbow_replicas_lost) > 3"),
        )
        for before, after in broken:
            with tempfile.TemporaryDirectory() as folder:
                text = (RULES / "alerts.yml").read_text()
                self.assertIn(before, text)
                pathlib.Path(folder, "alerts.yml").write_text(text.replace(before, after))
                shutil.copy(RULES / "alerts_test.yml", folder)
                code, _ = promtool("test", "rules", pathlib.Path(folder, "alerts_test.yml"))
                self.assertNotEqual(code, 0, before)

    def test_every_alert_is_tested(self):
        alerts = {rule["alert"] for group in yaml.safe_load((RULES / "alerts.yml").read_text())["groups"] for rule in group["rules"]}
        tested = re.findall(r"alertname: (\w+)", (RULES / "alerts_test.yml").read_text())
        self.assertEqual(alerts, set(tested))

    def test_runbooks_are_there(self):
        for runbook in re.findall(r"runbook: (\S+)", (RULES / "alerts.yml").read_text()):
            self.assertTrue((ROOT / runbook).is_file(), runbook)


class Live(unittest.TestCase):
    """A Prometheus scrapes the demo while it is used."""

    @classmethod
    def setUpClass(cls):
        cls.demo = demo.running()
        cls.server = Prometheus(cls.demo.http_addrs)
        cls.addClassCleanup(cls.server.stop)
        deadline = time.monotonic() + 60
        # Rates need two scrapes with a change between them.
        while time.monotonic() < deadline:
            traffic.run(cls.demo)
            if cls.server.query("min(count_over_time(longbow_node_info[1m])) >= 5"):
                return
        raise AssertionError("Prometheus did not scrape the demo five times in a minute")

    def test_the_metrics_are_metrics(self):
        for address in self.demo.http_addrs:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
                text = answer.read().decode()
            code, output = promtool("check", "metrics", stdin=text)
            self.assertEqual((code, output.strip()), (0, ""), address)
            self.assertIn("# HELP longbow_node_info", text)

    def test_health_and_readiness(self):
        for address in self.demo.http_addrs:
            for path in ("healthz", "readyz"):
                with urllib.request.urlopen(f"http://{address}/{path}", timeout=10) as answer:
                    self.assertEqual(answer.status, 200)

    def test_every_query_of_the_dashboard_has_an_answer(self):
        board = json.loads(DASHBOARD.read_text())
        empty = []
        queries = 0
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                queries += 1
                if not self.server.query(filled(target["expr"])):
                    empty.append((panel["title"], target["expr"]))
        self.assertGreater(queries, 20)
        self.assertEqual(empty, [])

    def test_the_dashboard_is_laid_out(self):
        board = json.loads(DASHBOARD.read_text())
        panels = board["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        taken = set()
        for panel in panels:
            g = panel["gridPos"]
            cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
            self.assertLessEqual(max(x for x, _ in cells), 23, panel["title"])
            self.assertFalse(cells & taken, f"{panel['title']} lies over another panel")
            taken |= cells
            self.assertTrue(panel["type"] == "row" or panel["description"])
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = re.match(r"label_values\((\w+).*, (\w+)\)", variable["query"]["query"]).groups()
                self.assertTrue(self.server.query(f"count by ({label}) ({metric}{{{label}!=''}})"), variable["name"])

    def test_no_alert_fires_on_a_healthy_cluster(self):
        self.assertEqual(self.server.query("ALERTS"), [])
        self.assertTrue(self.server.query("longbow_latch_tripped == 0"))


def filled(expr):
    """The query with the dashboard's variables as Grafana would fill them in."""
    return expr.replace("$__rate_interval", "30s").replace("$job", ".*").replace("$instance", ".*")


class Prometheus:
    """A Prometheus on a free port that scrapes addresses each second."""

    def __init__(self, addresses):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="longbow-prometheus-"))
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES / "alerts.yml")],
            "scrape_configs": [{"job_name": "longbow", "static_configs": [{"targets": sorted(set(addresses))}]}],
        }
        (self.folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        line = ["prometheus", f"--config.file={self.folder}/prometheus.yml", f"--web.listen-address={self.address}"]
        line += [f"--storage.tsdb.path={self.folder}/data", "--log.level=warn"]
        self.process = subprocess.Popen(line, stderr=open(self.folder / "log", "w"))
        deadline = time.monotonic() + 30
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Prometheus did not start:\n{(self.folder / 'log').read_text()}")
            time.sleep(0.1)

    def ready(self):
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def query(self, expr):
        """Series that the query gives; an error of the query is raised."""
        url = f"http://{self.address}/api/v1/query?" + urllib.parse.urlencode({"query": expr})
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expr}: {error.read().decode()}") from error

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=20)
        shutil.rmtree(self.folder, ignore_errors=True)
