"""Do the real binaries read the settings that the chart writes, as a pod would?"""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from support.chart import EVERYTHING, ROLES, lay_secrets, objects, pods

NEEDS = ["longbow"]


class Settings(unittest.TestCase):
    def check(self, values, role):
        made = objects(values)
        pod = pods(made)[role]["spec"]
        container = pod["containers"][0]
        self.assertEqual(container["args"], ["--config", f"/etc/longbow/settings/{role}.toml"])
        with tempfile.TemporaryDirectory() as folder:
            config = pathlib.Path(folder) / "settings.toml"
            text = made[("ConfigMap", f"v-longbow-{role}")]["data"][f"{role}.toml"]
            for mounted, laid in lay_secrets(pod, folder).items():
                text = text.replace(mounted, laid)
            config.write_text(text)
            family = (values or {}).get("ipFamily", "IPv4")
            env = {"POD_NAME": f"v-longbow-{role}-0", "POD_IP": "10.0.0.7" if family == "IPv4" else "fd00::7"}
            for entry in container["env"]:
                value = entry.get("value", env.get(entry["name"], "id"))
                env[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda match: env[match[1]], value)
            line = [os.environ["LONGBOW_BIN"], "role", role, "--config", config, "--print-config"]
            return subprocess.run(line, env=env, capture_output=True, text=True, timeout=30)

    def test_settings_are_accepted(self):
        for values in ({}, EVERYTHING):
            for role in ROLES:
                with self.subTest(role=role, everything=bool(values)):
                    run = self.check(values, role)
                    self.assertEqual(run.returncode, 0, run.stderr)
                    self.assertNotIn("unknown", run.stderr)
                    self.assertIn(f"v-longbow-{role}-0", run.stdout)
                    self.assertIn("settings.toml", run.stdout)

    def test_a_typo_is_not(self):
        run = self.check({"shard": {"settings": {"hnsw.mm": 24}}}, "shard")
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("hnsw.mm", run.stderr)
