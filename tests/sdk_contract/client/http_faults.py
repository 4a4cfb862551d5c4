"""The HTTP side of the simulated server, with injected download faults."""

import json
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class HttpFault:
    """A fault that is injected into one download.

    Attributes:
        cut: bytes of the body after which the connection is closed.
        status: HTTP status to send instead of the object.
        ignore_range: send status 200 and the complete object.
        shift: difference between the served and the requested offset, bytes.
        claim: bytes by which `Content-Length` exceeds the body.
        flip: offset of a byte that is corrupted.
        slice: bytes per packet, with `delay` seconds between packets.
        headers: further response headers, sent with `status`.
    """

    cut: int | None = None
    status: int | None = None
    ignore_range: bool = False
    shift: int = 0
    claim: int = 0
    flip: int | None = None
    slice: int | None = None
    delay: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)


class LoopbackServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """Ignore disconnected clients, which many tests cause on purpose."""


class DeviceHandler(BaseHTTPRequestHandler):
    """The routes of the device API, and objects by range; `server_side` is the simulator."""

    protocol_version = "HTTP/1.1"
    server_side: Any

    def log_message(self, *_):
        """Log nothing."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        side = self.server_side
        if self.path == "/v1/device/enroll":
            return self.reply(*side.enroll(body))
        if self.path == "/v1/device/token":
            return self.reply(*side.renew(body))
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in side.tokens:
            return self.reply(401, problem(401, "token"))
        if self.path == "/v1/model/update":
            if side.poll_responses:
                return self.reply(*side.poll_responses.popleft())
            return self.reply(200, side.response(body))
        return self.reply(*side.take_events(body))

    def do_GET(self):
        side = self.server_side
        if self.path.startswith("/v1/trust"):
            after = int(self.path.partition("after=")[2])
            return self.reply(200, {"bundles": [json.loads(entry) for entry in side.trust_chain[after:]]})
        assert "Authorization" not in self.headers, "the access token was sent to an object store"
        return self.serve(self.path.removeprefix("/objects/").partition("?")[0])

    def reply(self, status, value, headers=None):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(data)

    def serve(self, digest):
        side = self.server_side
        with side.lock:
            fault = side.faults.popleft() if side.faults else HttpFault()
        if fault.status is not None:
            self.reply(fault.status, {}, fault.headers)
            return
        data = bytearray(side.objects[digest])
        if fault.flip is not None and fault.flip < len(data):
            data[fault.flip] ^= 1
        first, last = 0, len(data) - 1
        requested = self.headers.get("Range")
        partial = requested is not None and not fault.ignore_range
        if requested is not None and partial:
            first, last = (int(part) for part in requested.removeprefix("bytes=").split("-"))
            first = max(0, first + fault.shift)
        body = bytes(data[first : last + 1])
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Content-Length", str(len(body) + fault.claim))
        self.end_headers()
        self.send_body(body if fault.cut is None else body[: fault.cut], fault)
        side.downloads.append((digest, first, len(body)))
        self.close_connection = True

    def send_body(self, body, fault):
        step = fault.slice or len(body) or 1
        for at in range(0, len(body), step):
            self.wfile.write(body[at : at + step])
            self.server_side.sent_bytes += len(body[at : at + step])
            if fault.delay:
                # A slow connection, on purpose.
                time.sleep(fault.delay)


def problem(status, code):
    return {"type": "about:blank", "title": code, "status": status, "code": code}
