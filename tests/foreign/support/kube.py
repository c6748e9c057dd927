"""Just enough of a Kubernetes API server for `lookup` in templates: discovery, and objects by their path."""

import http.server
import json
import threading

RESOURCES = {
    "v1": [{"name": "secrets", "kind": "Secret", "namespaced": True, "verbs": ["get"]}],
    "apps/v1": [{"name": "statefulsets", "kind": "StatefulSet", "namespaced": True, "verbs": ["get"]}],
}
APPS = {"groupVersion": "apps/v1", "version": "v1"}


class Server:
    """Serves objects, given by path, on a free port. A context manager; `url` is where."""

    def __init__(self, objects):
        answers = {
            "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {
                "kind": "APIGroupList",
                "groups": [{"name": "apps", "versions": [APPS], "preferredVersion": APPS}],
            },
            "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": RESOURCES["v1"]},
            "/apis/apps/v1": {
                "kind": "APIResourceList",
                "groupVersion": "apps/v1",
                "resources": RESOURCES["apps/v1"],
            },
            **objects,
        }

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                found = answers.get(self.path.split("?")[0])
                missing = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
                body = json.dumps(found or missing).encode()
                self.send_response(200 if found else 404)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
