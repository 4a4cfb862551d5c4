import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from typer.testing import CliRunner

from service.cli.rollouts import app

OVER = {
    "state": "completed",
    "history": [
        {"sequence": 7, "at": "2026-11-20T12:00:00Z", "kind": "complete", "actor": "gates", "reason": "ok"}
    ],
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(OVER).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        """Quiet."""


def test_a_watch_outlives_a_server_that_is_away_for_a_while():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    servers = []

    def come_back():
        servers.append(ThreadingHTTPServer(("127.0.0.1", port), _Handler))
        servers[0].serve_forever(0.05)

    timer = threading.Timer(0.5, come_back)
    timer.start()
    environment = {"GRAYLAG_URL": f"http://127.0.0.1:{port}", "GRAYLAG_TOKEN": "x"}
    done = CliRunner().invoke(app, ["watch", "r"], env=environment)
    servers[0].shutdown()
    timer.join()
    servers[0].server_close()
    assert (done.exit_code, done.exception) == (0, None), done.output
    assert "complete" in done.output
