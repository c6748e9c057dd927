"""A demo cluster, started once for all suites that want one, on free ports and a directory of its own."""

import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading

PATIENCE_SECONDS = 120

_running = None


class Demo:
    """A running `longbow demo --json`: where it listens and what it said of itself."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="longbow-foreign-")
        self.log = os.path.join(self.folder, "log")
        line = [os.environ["LONGBOW_BIN"], "demo", "--json", "--data-dir", os.path.join(self.folder, "data")]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=log, text=True)
        reports = queue.Queue()
        threading.Thread(target=self._read, args=(reports,), daemon=True).start()
        try:
            self.report = json.loads(reports.get(timeout=PATIENCE_SECONDS))
        except (queue.Empty, json.JSONDecodeError) as error:
            code = self.stop()
            raise RuntimeError(f"the demo did not serve; it ended with {code}:\n{self.said}") from error
        nodes = self.report["nodes"]
        router = next(node for node in nodes if node["role"] == "router")
        self.data_addr, self.meta_addr = router["rpc_addr"], router["meta_addr"]
        self.http_addrs = [node["http_addr"] for node in nodes]

    def _read(self, reports):
        """Passes on the line that says it serves, or an empty one at the end; reads on, so that it never waits."""
        for line in self.process.stdout:
            if '"event":"serving"' in line:
                reports.put(line)
        reports.put("")

    def command(self, *arguments):
        """What `longbow ARGUMENTS --json` says of this cluster."""
        line = [os.environ["LONGBOW_BIN"], *arguments, "--json", "--endpoint", f"http://{self.data_addr}"]
        run = subprocess.run(line, capture_output=True, text=True, timeout=60)
        if run.returncode != 0:
            raise RuntimeError(f"{line} ended with {run.returncode}:\n{run.stdout}{run.stderr}")
        return json.loads(run.stdout)

    def stop(self):
        """Ends it by SIGTERM; gives its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=30)
        finally:
            self.process.kill()
            with open(self.log) as log:
                self.said = log.read()[-4000:]
            shutil.rmtree(self.folder, ignore_errors=True)


def running() -> Demo:
    """The demo, started by the first who asks."""
    global _running
    if _running is None:
        _running = Demo()
    return _running


def stop():
    """Ends the demo, if one runs, and gives its exit code; None if none ran."""
    global _running
    demo, _running = _running, None
    return demo.stop() if demo else None
