import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from typer.testing import CliRunner

from service.cli.rollouts.commands import app
from tests.service.support.actors import enroll, flush, publish, roll_out

COMPLETED = {
    "state": "completed",
    "history": [
        {"sequence": 7, "at": "2026-11-20T12:00:00Z", "kind": "complete", "actor": "gates", "reason": "ok"}
    ],
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(COMPLETED).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        """Print nothing."""


def test_watch_survives_an_outage_of_the_server():
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    servers = []

    def start_server():
        servers.append(ThreadingHTTPServer(("127.0.0.1", port), _Handler))
        servers[0].serve_forever(0.05)

    timer = threading.Timer(0.5, start_server)
    timer.start()
    environment = {"GRAYLAG_URL": f"http://127.0.0.1:{port}", "GRAYLAG_TOKEN": "x"}
    done = CliRunner().invoke(app, ["watch", "r"], env=environment)
    servers[0].shutdown()
    timer.join()
    servers[0].server_close()
    assert (done.exit_code, done.exception) == (0, None), done.output
    assert "complete" in done.output


def test_status_shows_a_forecast(graylag):
    publish(graylag.live, "v1", b"weights of a forecast")
    enroll(graylag.live).poll()
    flush(graylag.live)
    roll_out(graylag.live, "r", "v1", policy={"pacing": {"max_bytes_per_hour": 10**6}})
    assert "left: 1 device," in graylag("rollout", "status", "r")
    assert graylag.json("rollout", "status", "r")["forecast"]["limited_by"] == "max_bytes_per_hour"
